//! Names and their addresses: looked up by the system's resolver and kept for a minute, so that a name means the same
//! addresses for requests that follow each other, and a resolver that is down for a moment is not noticed. What is kept
//! is judged anew at each use (`address` decides what may be dialled), and `dial` dials nothing else (incident 55).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::address::AddressError;

/// For how long an answer is used. The system's resolver is what knows `/etc/hosts`, split DNS and a VPN's names, and it does
/// not tell how long an answer is good for. So it is as long as in browsers, which ask the same resolver: short enough
/// to follow a service that moves (which is noticed at once, when its old address does not answer), and long enough
/// that not each connection asks.
const FRESH: Duration = Duration::from_secs(60);
/// For how long it is used when the name can't be looked up again.
const STALE: Duration = Duration::from_secs(3600);
/// Longest wait for the system's resolver.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are kept; more than any table has.
const MOST: usize = 256;

/// What is known of names.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone)]
struct Known {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl Names {
    /// The addresses of a name.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, AddressError> {
        let old = self.lock().get(host).cloned();
        if let Some(known) = old.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.addresses.clone());
        }
        match look_up(host).await {
            Ok(addresses) => {
                self.keep(host, addresses.clone(), Instant::now());
                Ok(addresses)
            }
            Err(source) => match old.filter(|known| known.at.elapsed() < STALE) {
                Some(known) => {
                    tracing::warn!(host, "the name can't be looked up; its addresses of before are used");
                    Ok(known.addresses)
                }
                None => Err(AddressError::Lookup { host: host.to_owned(), source }),
            },
        }
    }

    /// Forgets a name whose addresses did not answer.
    pub fn forget(&self, host: &str) {
        self.lock().remove(host);
    }

    fn keep(&self, host: &str, addresses: Vec<IpAddr>, now: Instant) {
        let mut names = self.lock();
        if names.len() >= MOST && !names.contains_key(host) {
            // The oldest makes room: a skill that asks for many names takes no fresh one away.
            let oldest = names.iter().min_by_key(|(_, known)| known.at).map(|(host, _)| host.clone());
            if let Some(host) = oldest {
                names.remove(&host);
            }
        }
        names.insert(host.to_owned(), Known { addresses, at: now });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(host: &str) -> std::io::Result<Vec<IpAddr>> {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await {
        Ok(found) => Ok(found?.map(|socket| socket.ip()).collect()),
        Err(_) => Err(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {} s", PATIENCE.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{FRESH, MOST, Names, STALE};

    fn before(time: Duration) -> Instant {
        Instant::now().checked_sub(time).expect("this machine runs for longer")
    }

    /// Incident 55: within a minute a name leads nowhere else.
    #[tokio::test]
    async fn a_name_is_pinned_for_a_while_and_an_old_answer_is_better_than_none() {
        let names = Names::default();
        let pinned = vec![[192, 0, 2, 1].into()];
        names.keep("localhost", pinned.clone(), Instant::now());
        assert_eq!(names.addresses("localhost").await.expect("known"), pinned, "the resolver is not asked");
        names.keep("localhost", pinned.clone(), before(FRESH));
        assert_ne!(names.addresses("localhost").await.expect("looked up"), pinned);

        // Longer than a label may be, so that the resolver knows without asking anybody.
        let gone = format!("{}.invalid", "a".repeat(64));
        names.keep(&gone, pinned.clone(), before(FRESH));
        assert_eq!(names.addresses(&gone).await.expect("stale"), pinned);
        names.keep(&gone, pinned.clone(), before(STALE));
        names.addresses(&gone).await.expect_err("too old");
        names.keep(&gone, pinned, Instant::now());
        names.forget(&gone);
        names.addresses(&gone).await.expect_err("forgotten");
    }

    #[test]
    fn it_does_not_grow() {
        let names = Names::default();
        for number in 0..3 * MOST {
            names.keep(&number.to_string(), vec![], Instant::now());
        }
        assert_eq!(names.lock().len(), MOST);
        assert!(names.lock().contains_key(&(3 * MOST - 1).to_string()), "the newest are kept");
    }
}
