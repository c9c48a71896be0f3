//! Wrong tokens of each address. After a few it is locked out for a while, whatever it shows then, also on this machine's own
//! loopback (incident 41). Who is logged in stays so.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Wrong tokens in one window.
const MOST: u32 = 10;
/// How long they are remembered.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Addresses that are remembered: four times as many as the VPN has. Past it whoever is new is locked out.
const ADDRESSES: usize = 1024;

/// The counters.
#[derive(Default)]
pub struct Lockout(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Lockout {
    /// Whether a token from there is looked at.
    pub fn admits(&self, address: IpAddr, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
        match all.get(&address) {
            Some((_, count)) => *count < MOST,
            None => all.len() < ADDRESSES,
        }
    }

    /// Counts a wrong one; `true` when it was the last that is looked at.
    pub fn wrong(&self, address: IpAddr, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, count) = all.entry(address).or_insert((now, 0));
        *count += 1;
        *count == MOST
    }

    /// A right one forgives those before it.
    pub fn right(&self, address: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Instant};

    use super::{ADDRESSES, Lockout, MOST, WINDOW};

    #[test]
    fn an_address_is_locked_out_for_a_while_and_others_are_not() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let (bad, good) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 77, 0, 2]));
        for count in 1..=MOST {
            assert!(lockout.admits(bad, now));
            assert_eq!(lockout.wrong(bad, now), count == MOST);
        }
        assert!(!lockout.admits(bad, now) && lockout.admits(good, now));
        assert!(lockout.admits(bad, now + WINDOW));
        lockout.wrong(good, now);
        lockout.right(good);
        assert!(!lockout.0.lock().expect("lock").contains_key(&good));
    }

    #[test]
    fn memory_is_bounded() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        for number in 0..2 * ADDRESSES as u32 {
            let address = IpAddr::from(number.to_be_bytes());
            if lockout.admits(address, now) {
                lockout.wrong(address, now);
            }
        }
        assert_eq!(lockout.0.lock().expect("lock").len(), ADDRESSES);
    }
}
