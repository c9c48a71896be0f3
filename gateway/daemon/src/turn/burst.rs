//! A backlog is taken in before its turns begin: when Telegram delivers what it has kept for hours, all of it is safe
//! on the disk within moments, instead of waiting behind the first answers. Never for long, and never without pause.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// So many updates that are being stored at the same moment are a burst, not people who type.
const MANY: usize = 16;
/// After this time without so many it is over. Several group commits fit into it.
const QUIET: Duration = Duration::from_millis(20);
/// How long turns wait at most for its end. Then they run beside what is stored, for as long as they waited at least.
const LONGEST: Duration = Duration::from_secs(1);

/// Updates that are being stored at this moment.
#[derive(Debug, Default)]
pub struct Bursts {
    storing: AtomicUsize,
    /// Beginning of the last burst, and when there were last [`MANY`].
    last: Mutex<Option<(Instant, Instant)>>,
    /// One looks at the clock for all that wait.
    looks: tokio::sync::Mutex<()>,
}

/// One of them.
#[derive(Debug)]
pub struct Storing<'a>(&'a Bursts);

impl Bursts {
    /// An update is being stored until what this gives is dropped.
    pub fn enter(&self) -> Storing<'_> {
        if self.storing.fetch_add(1, Ordering::Relaxed) + 1 >= MANY {
            let now = Instant::now();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = match *last {
                Some((since, seen)) if now <= end(since, seen) => Some((since, now)),
                Some((since, seen)) if now < end(since, seen) + (end(since, seen) - since) => *last,
                _ => Some((now, now)),
            };
        }
        Storing(self)
    }

    /// Waits for the end of a burst, at most [`LONGEST`] from its beginning.
    pub async fn over(&self) {
        if self.left(Instant::now()).is_none() {
            return;
        }
        let _looks = self.looks.lock().await;
        while let Some(left) = self.left(Instant::now()) {
            tokio::time::sleep(left).await;
        }
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let (since, seen) = (*self.last.lock().unwrap_or_else(PoisonError::into_inner))?;
        let left = end(since, seen).saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

/// When turns go on: `seen` is the last moment with many.
fn end(since: Instant, seen: Instant) -> Instant {
    (seen + QUIET).min(since + LONGEST)
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        self.0.storing.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Bursts, LONGEST, MANY, QUIET};

    #[test]
    fn turns_wait_for_the_end_of_a_burst_but_not_for_ever() {
        let bursts = Bursts::default();
        let few: Vec<_> = (1..MANY).map(|_| bursts.enter()).collect();
        assert_eq!(bursts.left(Instant::now()), None, "people who type");
        let many = bursts.enter();
        let (since, seen) = bursts.last.lock().expect("lock").expect("a burst");
        assert!(bursts.left(since).is_some_and(|left| left <= QUIET), "a burst");
        assert_eq!(bursts.left(seen + QUIET), None, "its end");

        // It goes on without end: there is a bound, and then as long a pause until turns wait again.
        let now = Instant::now();
        let begin = |since: Instant| {
            *bursts.last.lock().expect("lock") = Some((since, now));
            drop(bursts.enter());
            bursts.left(now).is_some()
        };
        drop(many);
        let _many: Vec<_> = (few.len()..MANY).map(|_| bursts.enter()).collect();
        assert!(begin(now - LONGEST / 2), "within its longest time");
        assert!(!begin(now - LONGEST - QUIET), "its longest time is over");
        assert!(begin(now - 2 * LONGEST), "after the pause");
        // One that was short is followed by a short pause.
        *bursts.last.lock().expect("lock") = Some((now - 4 * QUIET, now - 3 * QUIET));
        drop(bursts.enter());
        assert!(bursts.left(now).is_some(), "the next one");
    }
}
