//! Where a request comes from. Only the tunnel's own connection may speak for somebody else, by one header, or
//! openclaw-front's, by what stands before its first byte; every other forwarding header is ignored, whoever sends it
//! (incidents 19, 39). On a unix socket each is known by its user, which the kernel tells.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;
use openclaw_wire::config::From;

/// The header in which Cloudflare's edge names the sender; it overwrites what the sender wrote there.
const CONNECTING_IP: &str = "cf-connecting-ip";

/// Whom to believe, and who may come in.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who connects to us.
    pub from: From,
    /// Telegram's published ranges.
    pub ranges: Vec<IpNet>,
    /// Users whose processes may connect to a unix socket: our own, and the tunnel's; or openclaw-front's alone.
    pub users: Vec<u32>,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(IpAddr),
    /// A process of this user that may open our socket file (`SO_PEERCRED`, taken when it connected).
    Unix(u32),
    /// The address that openclaw-front says, which is of a known user.
    Front(IpAddr),
}

impl Source {
    /// The sender's address if it is one of Telegram's; `None` is a refusal.
    pub fn check(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let address = match (self.from, peer) {
            (_, Peer::Unix(user)) if !self.knows(user) => return None,
            (From::Direct, Peer::Tcp(address) | Peer::Front(address)) => address,
            // Whoever said no address before the first byte has none.
            (From::Direct, Peer::Unix(_)) | (From::Tunnel, Peer::Front(_)) => return None,
            (From::Tunnel, Peer::Tcp(address)) if !address.is_loopback() => return None,
            (From::Tunnel, _) => {
                let mut values = headers.get_all(CONNECTING_IP).iter();
                let (only, None) = (values.next()?, values.next()) else { return None };
                only.to_str().ok()?.parse().ok()?
            }
        };
        let address = address.to_canonical();
        self.ranges.iter().any(|range| range.contains(&address)).then_some(address)
    }

    /// Whether this is openclaw-front, which says first where a connection comes from.
    pub fn has_front(&self, peer: Peer) -> bool {
        self.from == From::Direct && matches!(peer, Peer::Unix(user) if self.knows(user))
    }

    /// Whether processes of this user may connect to our socket file.
    pub fn knows(&self, user: u32) -> bool {
        self.users.contains(&user)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use openclaw_wire::{config::From, facts::FACTS};

    use super::{Peer, Source};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("value"));
        }
        map
    }

    #[test]
    fn only_telegrams_ranges_and_only_the_tunnel_speaks_for_others() {
        let source = |from| Source { from, ranges: FACTS.telegram.ranges.clone(), users: vec![1000, 1001] };
        let local = Peer::Tcp([127, 0, 0, 1].into());
        let check = |from, peer, lines: &[_]| source(from).check(peer, &headers(lines)).is_some();

        assert!(check(From::Tunnel, local, &[("cf-connecting-ip", "149.154.160.1")]));
        for (user, known) in [(1000, true), (1001, true), (0, false), (65_534, false)] {
            let peer = Peer::Unix(user);
            assert_eq!(check(From::Tunnel, peer, &[("cf-connecting-ip", "91.108.7.255")]), known, "{user}");
            assert!(!check(From::Direct, peer, &[("cf-connecting-ip", "91.108.7.255")]), "{user}");
        }
        assert!(check(From::Direct, Peer::Tcp([91, 108, 4, 1].into()), &[]));
        assert!(check(From::Direct, Peer::Front([91, 108, 4, 1].into()), &[]));
        let header = [("cf-connecting-ip", "149.154.160.1")];
        assert!(
            !check(From::Direct, Peer::Front([192, 0, 2, 1].into()), &header),
            "headers say nothing here"
        );
        assert!(!check(From::Tunnel, Peer::Front([91, 108, 4, 1].into()), &header), "there is no front");
        for (name, value) in [
            ("cf-connecting-ip", "91.108.8.0"),
            ("cf-connecting-ip", "149.154.176.0"),
            ("cf-connecting-ip", "149.154.160.1, 1.1.1.1"),
            ("cf-connecting-ip", ""),
            ("x-forwarded-for", "149.154.160.1"),
            ("x-real-ip", "149.154.160.1"),
            ("forwarded", "for=149.154.160.1"),
        ] {
            assert!(!check(From::Tunnel, local, &[(name, value)]), "{name}: {value}");
        }
        let twice = [("cf-connecting-ip", "149.154.160.1"), ("cf-connecting-ip", "149.154.160.1")];
        assert!(!check(From::Tunnel, local, &twice), "two values");
        assert!(
            !check(From::Tunnel, Peer::Tcp([10, 0, 0, 1].into()), &twice[..1]),
            "the tunnel is on this machine"
        );
        assert!(!check(From::Direct, local, &twice[..1]), "a direct peer speaks for itself only");
    }
}
