//! Messages there and back: what one costs in CPU time with many chats at work, and how long one alone takes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::sync::Mutex;

use crate::{
    accept::{CONNECTIONS, settle},
    far::Far,
    floor::{Disk, Floor},
    hook::{Hook, next_update, request},
    middle,
    program::{Openclaw, PEOPLE, cpu},
};

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// CPU time of one message, in milliseconds.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cost {
    /// All four processes.
    pub whole: f64,
    /// Each of them.
    pub parts: Vec<(String, f64)>,
    /// The floor bot.
    pub floor: f64,
    /// Messages in one second, there and back.
    pub rate: f64,
}

/// Times of one message, in milliseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Delay {
    /// From the webhook request to `sendMessage`, the middle one.
    pub answer: f64,
    /// From the webhook request to its 200.
    pub accept: f64,
    /// One write forced to the same disk.
    pub force: f64,
    /// The same message through the floor bot.
    pub floor: f64,
}

/// `messages` through as many chats at once, each chat with one message at a time. Gives messages each second.
pub fn exchange(
    far: &Far,
    port: u16,
    secret: &str,
    chats: std::ops::Range<i64>,
    messages: u64,
) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lanes = (chats.end - chats.start) as u64;
    let started = Instant::now();
    runtime.block_on(async {
        let mut hooks = Vec::new();
        for _ in 0..CONNECTIONS.min(lanes as usize) {
            hooks.push(Mutex::new(Hook::connect(port).await?));
        }
        let hooks = &hooks;
        let lane = async |at: usize, chat: i64| {
            let count = messages / lanes + u64::from((at as u64) < messages % lanes);
            for _ in 0..count {
                once(far, &hooks[at % hooks.len()], secret, chat).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let all = chats.enumerate().map(|(at, chat)| lane(at, chat));
        futures_util::future::try_join_all(all).await
    })?;
    Ok(messages as f64 / started.elapsed().as_secs_f64())
}

/// One message and its answer: how long until it was accepted, and until the answer came.
async fn once(
    far: &Far,
    hook: &Mutex<Hook>,
    secret: &str,
    chat: i64,
) -> anyhow::Result<(Duration, Duration)> {
    let (number, text) = far.question();
    let told = far.expect(number);
    let request = request(secret, next_update(), chat, &text);
    let started = Instant::now();
    let status = hook.lock().await.post(&request).await?;
    let accepted = started.elapsed();
    ensure!(status == 200, "an update was answered with {status}");
    let told = tokio::time::timeout(PATIENCE, told).await.context("an answer is missing")?;
    Ok((accepted, told.context("asked twice")?.duration_since(started)))
}

/// So many that Telegram's pace of one message a second in each chat is not what is waited for.
pub const CHATS: i64 = 1_024;

/// CPU time for `messages` on a machine that has nothing else to do, ours and the floor's.
pub fn cost(openclaw: &Openclaw<'_>, far: &Far, disk: &Path, messages: u64) -> anyhow::Result<Cost> {
    let secret = openclaw.secret()?;
    let chats = PEOPLE.start..PEOPLE.start + CHATS;
    // The first exchange opens connections and prepares statements.
    exchange(far, openclaw.port, &secret, chats.clone(), CHATS as u64)?;
    settle(openclaw)?;
    let before = openclaw.cpu()?;
    let rate = exchange(far, openclaw.port, &secret, chats.clone(), messages)?;
    settle(openclaw)?;
    let each = |time: Duration| time.as_secs_f64() * 1e3 / messages as f64;
    let pairs = before.into_iter().zip(openclaw.cpu()?);
    let parts: Vec<_> = pairs.map(|((name, before), (_, after))| (name, each(after - before))).collect();

    let floor = Floor::bot(far.port, disk)?;
    exchange(far, floor.port, &secret, chats.clone(), CHATS as u64)?;
    let before = cpu(floor.id())?;
    exchange(far, floor.port, &secret, chats, messages)?;
    let floor = each(cpu(floor.id())? - before);
    Ok(Cost { whole: parts.iter().map(|(_, cost)| cost).sum(), parts, floor, rate })
}

/// One message at a time, and between any two of them one write forced to the disk.
pub fn delay(openclaw: &Openclaw<'_>, far: &Far, disk: &Path, messages: u64) -> anyhow::Result<Delay> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let secret = openclaw.secret()?;
    let floor = Floor::bot(far.port, disk)?;
    let mut force = Disk::new(disk)?;
    let (mut answers, mut accepts, mut forced, mut floors) = (vec![], vec![], vec![], vec![]);
    runtime.block_on(async {
        let ours = Mutex::new(Hook::connect(openclaw.port).await?);
        let theirs = Mutex::new(Hook::connect(floor.port).await?);
        // Many chats, because one chat is held to Telegram's pace of one message a second.
        for chat in (PEOPLE.start + 100..PEOPLE.end).take(messages as usize) {
            let (accepted, answered) = once(far, &ours, &secret, chat).await?;
            accepts.push(accepted);
            answers.push(answered);
            // The record of the sent message is committed behind the answer.
            tokio::time::sleep(Duration::from_millis(10)).await;
            floors.push(once(far, &theirs, &secret, chat).await?.1);
            forced.push(force.force()?);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let of = |times: Vec<Duration>| middle(times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect());
    Ok(Delay { answer: of(answers), accept: of(accepts), force: of(forced), floor: of(floors) })
}
