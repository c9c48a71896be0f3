//! Wrong secrets are counted for each address. Past the limit the address is refused before its secret is looked at.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Wrong secrets that one address has in one window: more than a mistake, less than a search.
const LIMIT: u32 = 10;
/// After this time an address starts anew.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. When it is full, those whose window is over go; if there are none, newcomers are
/// not counted: their secrets are still compared, and our memory does not grow.
const ADDRESSES: usize = 4096;

/// How long an address that has shown a right secret is not throttled. Anybody can point a bot of his own at our address,
/// and then Telegram itself sends us wrong secrets, from the same servers that carry the right ones.
const TRUSTED: Duration = Duration::from_secs(3600);
/// Addresses that are remembered for their right secret. Telegram uses a handful.
const KNOWN: usize = 256;

/// The counters.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    right: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    /// Whether the address may try at all.
    pub fn allows(&self, address: IpAddr, now: Instant) -> bool {
        self.within_limit(address, now) || self.trusts(address, now)
    }

    /// Remembers a right secret.
    pub fn passed(&self, address: IpAddr, now: Instant) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= KNOWN && !right.contains_key(&address) {
            right.retain(|_, since| now.duration_since(*since) < TRUSTED);
        }
        if right.len() < KNOWN || right.contains_key(&address) {
            right.insert(address, now);
        }
    }

    fn trusts(&self, address: IpAddr, now: Instant) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(&address).is_some_and(|since| now.duration_since(*since) < TRUSTED)
    }

    fn within_limit(&self, address: IpAddr, now: Instant) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(&address) {
            Some((since, _)) if now.duration_since(*since) >= WINDOW => {
                failures.remove(&address);
                true
            }
            Some((_, count)) => *count < LIMIT,
            None => true,
        }
    }

    /// Counts a wrong secret.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES && !failures.contains_key(&address) {
            failures.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if failures.len() >= ADDRESSES {
                return;
            }
        }
        let entry = failures.entry(address).or_insert((now, 0));
        entry.1 = entry.1.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Instant};

    use super::{ADDRESSES, KNOWN, LIMIT, TRUSTED, Throttle, WINDOW};

    #[test]
    fn an_address_is_refused_after_its_failures_and_others_are_not() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (bad, good) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        for _ in 0..LIMIT {
            assert!(throttle.allows(bad, now));
            throttle.failed(bad, now);
        }
        assert!(!throttle.allows(bad, now));
        assert!(throttle.allows(good, now));
        assert!(throttle.allows(bad, now + WINDOW), "the window is over");
    }

    #[test]
    fn wrong_secrets_do_not_lock_out_an_address_that_has_shown_a_right_one() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let shared = IpAddr::from([1, 1, 1, 1]);
        for _ in 0..LIMIT {
            throttle.failed(shared, now);
        }
        assert!(!throttle.allows(shared, now));
        throttle.passed(shared, now);
        assert!(throttle.allows(shared, now));
        throttle.failed(shared, now + TRUSTED);
        assert!(throttle.allows(shared, now + TRUSTED), "one is not yet too many");
        for _ in 0..LIMIT {
            throttle.failed(shared, now + TRUSTED);
        }
        assert!(!throttle.allows(shared, now + TRUSTED), "that was long ago");
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..2 * ADDRESSES as u32 {
            throttle.failed(IpAddr::from(n.to_be_bytes()), now);
            throttle.passed(IpAddr::from(n.to_be_bytes()), now);
        }
        assert_eq!(throttle.failures.lock().expect("lock").len(), ADDRESSES);
        assert_eq!(throttle.right.lock().expect("lock").len(), KNOWN);
    }
}
