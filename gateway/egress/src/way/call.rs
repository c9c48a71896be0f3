//! The calls that have a way out, or may have one: registered by the gateway, redeemed once by the runner, bounded, and
//! over when the gateway says so or their time has passed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use openclaw_wire::{
    egress::{Closed, Denial},
    id::SkillId,
    skill::HostGrant,
};
use tokio_util::sync::CancellationToken;

use super::denial::Why;

/// Calls at the same time: more than the runner has jails and waiting connections.
const MOST: usize = 512;
/// Longest id of a call.
const ID: usize = 128;
/// Within this time the runner must have redeemed it: a call waits a minute for its place.
const REDEEM: Duration = Duration::from_secs(120);
/// A redeemed call lasts no longer: manifests allow ten minutes.
pub const WHOLE: Duration = Duration::from_secs(900);
/// Denials that are kept.
const DENIALS: usize = 16;

/// What one call may use of its way out.
pub const REQUESTS: u32 = 512;
/// Bytes that it may send, bodies and tunnels together.
pub const SENT: u64 = 64 << 20;
/// Bytes that it may receive.
pub const RECEIVED: u64 = 256 << 20;

/// All calls.
#[derive(Default)]
pub struct Calls(Mutex<HashMap<String, Entry>>);

struct Entry {
    call: Arc<Call>,
    since: Instant,
    redeemed: bool,
}

/// One call's way out.
#[derive(Debug)]
pub struct Call {
    /// The skill.
    pub skill: SkillId,
    /// The chat that pays; empty for none.
    pub chat: String,
    /// What egress's own store lets it reach.
    pub hosts: Vec<HostGrant>,
    /// Hosts of the URLs among its arguments, by the argument's name.
    pub named: BTreeMap<String, String>,
    /// Ends every connection of it.
    pub stop: CancellationToken,
    used: Mutex<Closed>,
}

impl Call {
    /// A call that has used nothing yet.
    pub fn new(skill: SkillId, chat: String, hosts: Vec<HostGrant>, named: BTreeMap<String, String>) -> Self {
        Self { skill, chat, hosts, named, stop: CancellationToken::new(), used: Mutex::default() }
    }

    /// Waits for its end: somebody stopped it, or the whole of its time has passed.
    pub async fn over(&self, whole: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(whole) => tracing::warn!(skill = %self.skill, "a call's time has passed"),
        }
    }

    /// One more request.
    pub fn request(&self) -> Result<(), Why> {
        let mut used = lock(&self.used);
        if used.requests >= REQUESTS {
            return Err(Why::Budget("512 requests"));
        }
        used.requests += 1;
        Ok(())
    }

    /// Bytes that are about to go out.
    pub fn sends(&self, bytes: usize) -> Result<(), Why> {
        let mut used = lock(&self.used);
        used.sent += bytes as u64;
        if used.sent > SENT { Err(Why::Budget("64 MiB sent")) } else { Ok(()) }
    }

    /// Bytes that came in.
    pub fn receives(&self, bytes: usize) -> Result<(), Why> {
        let mut used = lock(&self.used);
        used.received += bytes as u64;
        if used.received > RECEIVED { Err(Why::Budget("256 MiB received")) } else { Ok(()) }
    }

    /// Keeps a denial, and logs it once.
    pub fn denied(&self, why: &Why) -> Denial {
        let denial = why.denial(&self.skill);
        let mut used = lock(&self.used);
        if used.denials.len() < DENIALS && !used.denials.contains(&denial) {
            tracing::warn!(skill = %self.skill, "denied: {}; {}", denial.message, denial.mend);
            used.denials.push(denial.clone());
        }
        denial
    }
}

impl Calls {
    /// Registers a call. One of the same id that is still there is over: ids are the gateway's.
    pub fn open(&self, id: &str, call: Call) -> Result<(), &'static str> {
        if id.is_empty() || id.len() > ID {
            return Err("the call's id is empty or too long");
        }
        let mut calls = self.expired();
        if calls.len() >= MOST && !calls.contains_key(id) {
            return Err("too many calls have a way out already");
        }
        let entry = Entry { call: Arc::new(call), since: Instant::now(), redeemed: false };
        if let Some(before) = calls.insert(id.to_owned(), entry) {
            before.call.stop.cancel();
        }
        Ok(())
    }

    /// Hands a registered call out, once.
    pub fn redeem(&self, id: &str) -> Option<Arc<Call>> {
        let mut calls = self.expired();
        let entry = calls.get_mut(id).filter(|entry| !entry.redeemed)?;
        entry.redeemed = true;
        entry.since = Instant::now();
        Some(entry.call.clone())
    }

    /// Ends a call and says what it did.
    pub fn close(&self, id: &str) -> Closed {
        let Some(entry) = self.expired().remove(id) else { return Closed::default() };
        entry.call.stop.cancel();
        let used = lock(&entry.call.used);
        used.clone()
    }

    /// Ends the calls of a skill.
    pub fn end(&self, skill: &SkillId) {
        self.expired().retain(|_, entry| {
            let other = entry.call.skill != *skill;
            if !other {
                entry.call.stop.cancel();
            }
            other
        });
    }

    /// The calls, those without whose time has passed.
    fn expired(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        let mut calls = lock(&self.0);
        calls.retain(|_, entry| {
            let lives = entry.since.elapsed() < if entry.redeemed { WHOLE } else { REDEEM };
            if !lives {
                entry.call.stop.cancel();
            }
            lives
        });
        calls
    }
}

/// What is in there is right whatever panicked beside it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Call, Calls, MOST, REQUESTS, SENT, Why};

    fn call() -> Call {
        Call::new("weather".parse().expect("id"), String::new(), Vec::new(), Default::default())
    }

    #[test]
    fn a_call_is_redeemed_once_and_only_if_it_was_registered() {
        let calls = Calls::default();
        assert!(calls.redeem("1").is_none(), "nobody registered it");
        calls.open("1", call()).expect("opens");
        let first = calls.redeem("1").expect("registered");
        assert!(calls.redeem("1").is_none(), "a second time");
        calls.open("1", call()).expect("opens again");
        assert!(first.stop.is_cancelled(), "the first is over");
        let second = calls.redeem("1").expect("registered anew");
        calls.close("1");
        assert!(second.stop.is_cancelled() && calls.redeem("1").is_none());
        assert_eq!(calls.close("1").requests, 0, "closing twice does no harm");
    }

    /// By itself, and whether or not anybody asks for another call meanwhile.
    #[tokio::test]
    async fn a_redeemed_call_ends_when_its_time_has_passed() {
        let call = call();
        call.over(std::time::Duration::ZERO).await;
        let mut over = std::pin::pin!(call.over(super::WHOLE));
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(over.as_mut().poll(cx))).await;
        assert!(first.is_pending(), "it has its time");
        call.stop.cancel();
        over.await;
    }

    #[test]
    fn calls_are_bounded_and_end_with_their_skill() {
        let calls = Calls::default();
        for number in 0..MOST {
            calls.open(&number.to_string(), call()).expect("opens");
        }
        assert!(calls.open("more", call()).is_err() && calls.open("", call()).is_err());
        assert!(calls.open(&"x".repeat(200), call()).is_err());
        let one = calls.redeem("7").expect("registered");
        calls.end(&"other".parse().expect("id"));
        assert!(!one.stop.is_cancelled());
        calls.end(&"weather".parse().expect("id"));
        assert!(one.stop.is_cancelled() && calls.redeem("8").is_none());
    }

    #[test]
    fn budgets_end_and_denials_are_kept_once() {
        let calls = Calls::default();
        calls.open("1", call()).expect("opens");
        let call = calls.redeem("1").expect("registered");
        for _ in 0..REQUESTS {
            call.request().expect("within the budget");
        }
        let why = call.request().expect_err("used up");
        call.sends(SENT as usize).expect("within the budget");
        assert!(call.sends(1).is_err() && call.receives(5).is_ok());
        for _ in 0..100 {
            call.denied(&why);
        }
        for number in 0..100 {
            call.denied(&Why::Undeclared(number.to_string()));
        }
        let closed = calls.close("1");
        assert_eq!((closed.denials.len(), closed.requests, closed.received), (16, REQUESTS, 5));
    }
}
