//! Alarms: one of our keys, or the decoy, was in something that was to leave. It did not leave; but somebody reads what he
//! should not, so the owner is told. Says what carried it, never what it was.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openclaw_wire::egress::Alarm;
use tokio::sync::Notify;

use crate::live::now;

/// Alarms that are kept.
const MOST: usize = 32;
/// The same again within this time, in seconds, is the same alarm.
const AGAIN: u64 = 3600;

/// All alarms since the start.
#[derive(Debug, Default)]
pub struct Alarms {
    all: Mutex<Vec<Alarm>>,
    news: Notify,
}

impl Alarms {
    /// One more, told of as "a request of the gateway".
    pub fn raise(&self, what: &str) {
        tracing::error!(
            "a key or the decoy was in {what}; it was taken out. Somebody reads what he should not"
        );
        let (mut all, at) = (self.lock(), now());
        if all.iter().any(|known| known.what == what && known.at + AGAIN > at) {
            return;
        }
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(Alarm { at, what: what.to_owned() });
        drop(all);
        self.news.notify_one();
    }

    /// All that are kept.
    pub fn list(&self) -> Vec<Alarm> {
        self.lock().clone()
    }

    /// Waits for the next one.
    pub async fn next(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Alarm>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Alarms, MOST};

    #[tokio::test]
    async fn each_is_told_once_and_they_are_bounded() {
        let alarms = Alarms::default();
        alarms.raise("a request");
        alarms.next().await;
        alarms.raise("a request");
        assert_eq!(alarms.list().len(), 1);
        (0..2 * MOST).for_each(|number| alarms.raise(&number.to_string()));
        assert_eq!(alarms.list().len(), MOST);
    }
}
