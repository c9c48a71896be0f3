//! A breaker for each host: after several connections in a row that did not come about, requests to that host are refused
//! at once for a while, and then one of them may try. Counts connections only: an answer of any kind is an answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row after which it opens.
const FAILURES: u32 = 5;
/// How long it stays open the first time; twice as long each further time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time. A network that comes back is noticed after this at the latest.
const LONGEST: Duration = Duration::from_secs(30);
/// Hosts that are remembered; more than any table has.
const HOSTS: usize = 256;

/// All breakers.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<HashMap<String, Breaker>>);

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

impl Breakers {
    /// Whether to try; else how long not yet.
    pub fn allows(&self, host: &str, now: Instant) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(breaker) = all.get_mut(host) else { return Ok(()) };
        match breaker.until {
            Some(until) if until > now => Err(until - now),
            Some(_) => {
                // This one may try; others wait for what comes of it.
                breaker.until = Some(now + pause(breaker.failures));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The host was reached.
    pub fn reached(&self, host: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As nearly always.
        if !all.is_empty() {
            all.remove(host);
        }
    }

    /// It was not.
    pub fn failed(&self, host: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= HOSTS && !all.contains_key(host) {
            all.clear();
        }
        let breaker = all.entry(host.to_owned()).or_default();
        breaker.failures += 1;
        if breaker.failures >= FAILURES {
            breaker.until = Some(now + pause(breaker.failures));
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES).min(16);
    (FIRST * 2_u32.pow(doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Breakers, FAILURES, LONGEST};

    #[test]
    fn it_opens_after_failures_lets_one_try_and_closes_when_the_host_is_reached() {
        let breakers = Breakers::default();
        let start = Instant::now();
        for _ in 0..FAILURES {
            assert_eq!(breakers.allows("h", start), Ok(()));
            breakers.failed("h", start);
        }
        assert_eq!(breakers.allows("h", start), Err(Duration::from_secs(1)));
        assert_eq!(breakers.allows("other", start), Ok(()), "each host has its own");
        let later = start + Duration::from_secs(1);
        assert_eq!(breakers.allows("h", later), Ok(()), "one may try");
        assert!(breakers.allows("h", later).is_err(), "and one only");
        breakers.failed("h", later);
        assert_eq!(breakers.allows("h", later), Err(Duration::from_secs(2)));
        let last = later + Duration::from_secs(2);
        assert_eq!(breakers.allows("h", last), Ok(()));
        breakers.reached("h");
        assert_eq!((breakers.allows("h", last), breakers.allows("h", last)), (Ok(()), Ok(())));
        for _ in 0..40 {
            breakers.failed("h", last);
        }
        assert_eq!(breakers.allows("h", last), Err(LONGEST));
    }
}
