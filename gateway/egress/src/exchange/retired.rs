//! What was exchanged and may still be in use: a state is gone when the last request that began with it has ended. Holds
//! no key, only names, times, and a way to see whether the state is still there.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use openclaw_wire::egress;

use crate::{
    keys::{Key, Used},
    live::{Live, now},
};

/// Exchanges of keys that are remembered.
const MOST: usize = 32;

/// All exchanges since the start.
#[derive(Default)]
pub struct Retirements(Mutex<Vec<Retired>>);

struct Retired {
    number: u64,
    keys: Vec<(String, Arc<Used>)>,
    since: u64,
    live: Weak<Live>,
}

impl Retired {
    fn shown(&self) -> egress::Retired {
        // The clients' connections end by themselves when the state is gone.
        let requests = self.live.strong_count();
        egress::Retired {
            number: self.number,
            names: self.keys.iter().map(|(name, _)| name.clone()).collect(),
            since: self.since,
            last_used: self.keys.iter().filter_map(|(_, used)| used.at()).max(),
            requests,
            safe_to_revoke: requests == 0,
        }
    }
}

impl Retirements {
    /// A state was replaced; `keys` are those that are not in the new one.
    pub fn add(&self, old: Arc<Live>, keys: Vec<Key>) -> egress::Retired {
        let keys = keys.into_iter().map(|key| (key.name, key.used)).collect();
        let retired = Retired { number: old.number, keys, since: now(), live: Arc::downgrade(&old) };
        drop(old);
        let shown = retired.shown();
        if retired.keys.is_empty() {
            return shown;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(retired);
        shown
    }

    /// Those that are remembered.
    pub fn list(&self) -> Vec<egress::Retired> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(Retired::shown).collect()
    }
}
