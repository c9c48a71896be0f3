//! Durable accepts each second at 64 connections, against what the same handler does without storage, and with one
//! commit for each row.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    far::Far,
    floor::{Floor, commits_per_second},
    hook::{flood, next_update, request},
    middle,
    program::{Openclaw, PEOPLE, STRANGER},
};

/// Connections that are kept; Telegram opens at most 100 to one bot.
pub const CONNECTIONS: usize = 64;
/// Chats that the updates come from.
const CHATS: u64 = 2_000;
/// For the floors.
const TIME: Duration = Duration::from_secs(1);

/// Rates in one second: the middle of several rounds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Accepts {
    /// Updates of people whose turns run at the same time.
    pub people: f64,
    /// Updates of strangers: accepted, stored, then refused.
    pub strangers: f64,
    /// The same handler without storage.
    pub handler: f64,
    /// Rows committed one by one.
    pub commits: f64,
    /// Middle of each round's own ratio to the lower floor.
    pub people_ratio: f64,
    /// The same.
    pub strangers_ratio: f64,
}

/// Measures in rounds, so that what else runs on the machine hits all alike.
pub fn measure(
    openclaw: &Openclaw<'_>,
    far: &Far,
    disk: &Path,
    updates: u64,
    rounds: usize,
) -> anyhow::Result<Accepts> {
    let secret = openclaw.secret()?;
    let floor = Floor::handler(&secret)?;
    let body = request(&secret, 1, PEOPLE.start, &far.question().1);
    let mut found: Vec<Accepts> = Vec::new();
    for _ in 0..rounds {
        let make = |chat: &dyn Fn(u64) -> i64| -> Vec<Vec<u8>> {
            let one = |n| request(&secret, next_update(), chat(n), &far.question().1);
            (0..updates).map(one).collect()
        };
        let any = make(&|n| STRANGER + (n % CHATS) as i64);
        let handler = flood(floor.port, any, CONNECTIONS)?.rate();
        let commits = commits_per_second(disk, &body, TIME)?;

        let strangers = flood(openclaw.port, make(&|n| STRANGER + (n % CHATS) as i64), CONNECTIONS)?;
        settle(openclaw)?;

        let before = far.answers();
        let people = flood(openclaw.port, make(&|n| PEOPLE.start + (n % CHATS) as i64), CONNECTIONS)?;
        answered(far, before + people.accepted)?;
        settle(openclaw)?;
        ensure!(
            people.refused + strangers.refused == 0,
            "{} updates were refused",
            people.refused + strangers.refused
        );

        let lower = handler.min(CONNECTIONS as f64 * commits);
        found.push(Accepts {
            people: people.rate(),
            strangers: strangers.rate(),
            handler,
            commits,
            people_ratio: people.rate() / lower,
            strangers_ratio: strangers.rate() / lower,
        });
    }
    let of = |pick: fn(&Accepts) -> f64| middle(found.iter().map(pick).collect());
    Ok(Accepts {
        people: of(|one| one.people),
        strangers: of(|one| one.strangers),
        handler: of(|one| one.handler),
        commits: of(|one| one.commits),
        people_ratio: of(|one| one.people_ratio),
        strangers_ratio: of(|one| one.strangers_ratio),
    })
}

/// Waits until every accepted update has its answer: what was accepted was not only written down.
pub fn answered(far: &Far, count: u64) -> anyhow::Result<()> {
    let mut last = (far.answers(), Instant::now());
    while far.answers() < count {
        std::thread::sleep(Duration::from_millis(10));
        if far.answers() > last.0 {
            last = (far.answers(), Instant::now());
        }
        let missing = count.saturating_sub(far.answers());
        ensure!(last.1.elapsed() < Duration::from_secs(60), "{missing} answers are missing");
    }
    Ok(())
}

/// Waits until its processes have nothing more to do.
pub fn settle(openclaw: &Openclaw<'_>) -> anyhow::Result<()> {
    let spent =
        || Ok::<_, anyhow::Error>(openclaw.cpu()?.into_iter().map(|(_, time)| time).sum::<Duration>());
    let until = Instant::now() + Duration::from_secs(60);
    let mut before = spent()?;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = spent()?;
        if now - before <= Duration::from_millis(10) {
            return Ok(());
        }
        before = now;
        (Instant::now() < until).then_some(()).context("openclaw does not come to rest")?;
    }
}
