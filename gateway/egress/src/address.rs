//! Which addresses egress may dial. Names are resolved by the system's resolver, every address that comes back is
//! judged here, and exactly those that passed are dialled. A name is never trusted, only its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// How far a route reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Public addresses, over TLS.
    Public,
    /// Private addresses too: the operator vouches with `private = true`. Over TLS.
    Vouched,
    /// Private addresses and nothing else, because the connection is plain http and a key must not cross the
    /// internet in clear.
    VouchedPlain,
}

/// What an address is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Globally reachable unicast.
    Public,
    /// Loopback, or a network of the operator's own.
    Private,
    /// No server of anybody's choice: metadata services, multicast, reserved, and forms that hide another address.
    Never,
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// All its addresses were refused.
    #[error("{host} is at {address}, which is {}", match .kind {
        Kind::Public => "public, and plain http would send a key in clear",
        Kind::Private => "a private address",
        Kind::Never => "not the address of a server",
    })]
    Refused {
        /// The name, or the address as it was written.
        host: String,
        /// The first refused one.
        address: IpAddr,
        /// What it is.
        kind: Kind,
    },
    /// The resolver found nothing.
    #[error("look up {host}: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
}

impl Reach {
    /// Whether such a route may dial this address.
    pub fn allows(self, address: IpAddr) -> bool {
        match (self, kind(address)) {
            (_, Kind::Never) => false,
            (Reach::Public, Kind::Public) => true,
            (Reach::Public, Kind::Private) => false,
            (Reach::Vouched, _) => true,
            (Reach::VouchedPlain, kind) => kind == Kind::Private,
        }
    }

    /// The addresses of `found` that may be dialled; an error when none is left.
    pub fn pick(
        self,
        host: &str,
        found: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Vec<IpAddr>, AddressError> {
        let mut refused = None;
        let mut good = Vec::new();
        for address in found {
            match self.allows(address) {
                true => good.push(address),
                false => refused = refused.or(Some(address)),
            }
        }
        match (good.is_empty(), refused) {
            (false, _) => Ok(good),
            (true, Some(address)) => {
                Err(AddressError::Refused { host: host.to_owned(), address, kind: kind(address) })
            }
            (true, None) => {
                let source = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
                Err(AddressError::Lookup { host: host.to_owned(), source })
            }
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 3], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(head[0], head[1], head[2], 0, 0, 0, 0, 0), prefix)
}

/// IANA IPv4 Special-Purpose Address Registry, and two addresses of cloud hosts. The first match counts.
const NOT_PUBLIC_V4: &[(Ipv4Net, Kind)] = &[
    (v4(0, 0, 0, 0, 8), Kind::Never), // "this network"; Linux connects 0.0.0.0 to itself
    (v4(10, 0, 0, 0, 8), Kind::Private),
    (v4(100, 64, 0, 0, 10), Kind::Private), // carrier-grade NAT, also Tailscale
    (v4(127, 0, 0, 0, 8), Kind::Private),
    (v4(168, 63, 129, 16, 32), Kind::Never), // Azure's wire server answers on this public-looking address
    (v4(169, 254, 0, 0, 16), Kind::Never),   // link-local; the clouds' metadata services
    (v4(172, 16, 0, 0, 12), Kind::Private),
    (v4(192, 0, 0, 0, 24), Kind::Never),    // IETF protocol assignments
    (v4(192, 0, 2, 0, 24), Kind::Never),    // documentation
    (v4(192, 31, 196, 0, 24), Kind::Never), // AS112
    (v4(192, 52, 193, 0, 24), Kind::Never), // AMT
    (v4(192, 88, 99, 0, 24), Kind::Never),  // 6to4 relays
    (v4(192, 168, 0, 0, 16), Kind::Private),
    (v4(192, 175, 48, 0, 24), Kind::Never), // AS112
    (v4(198, 18, 0, 0, 15), Kind::Never),   // benchmarks
    (v4(198, 51, 100, 0, 24), Kind::Never), // documentation
    (v4(203, 0, 113, 0, 24), Kind::Never),  // documentation
    (v4(224, 0, 0, 0, 4), Kind::Never),     // multicast
    (v4(240, 0, 0, 0, 4), Kind::Never),     // reserved, broadcast
];

/// What is special inside and outside of 2000::/3, IANA IPv6 Special-Purpose Address Registry. The first match counts.
const SPECIAL_V6: &[(Ipv6Net, Kind)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), Kind::Private),
    (v6([0xfd00, 0x0ec2, 0], 32), Kind::Never), // a cloud's metadata service at fd00:ec2::254
    (v6([0xfc00, 0, 0], 7), Kind::Private),
    (v6([0x2001, 0, 0], 23), Kind::Never), // protocol assignments: Teredo, benchmarks, ORCHID
    (v6([0x2001, 0x0db8, 0], 32), Kind::Never), // documentation
    (v6([0x2002, 0, 0], 16), Kind::Never), // 6to4 hides an IPv4 address
    (v6([0x2620, 0x004f, 0x8000], 48), Kind::Never), // AS112
    (v6([0x3fff, 0, 0], 20), Kind::Never), // documentation
];

/// The only IPv6 block from which IANA gives out global unicast addresses. Everything else is refused unasked:
/// IPv4-mapped and -compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), link- and site-local, multicast.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// What an address is good for.
pub fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => {
            let special = NOT_PUBLIC_V4.iter().find(|(net, _)| net.contains(&v4));
            special.map_or(Kind::Public, |(_, kind)| *kind)
        }
        IpAddr::V6(v6) => {
            let rest = if GLOBAL_V6.contains(&v6) { Kind::Public } else { Kind::Never };
            let special = SPECIAL_V6.iter().find(|(net, _)| net.contains(&v6));
            special.map_or(rest, |(_, kind)| *kind)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{AddressError, Kind, Reach, kind};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    /// Incident 52: every special form, judged on the address and not on its spelling.
    #[test]
    fn no_special_address_is_public() {
        let never = "0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 168.63.129.16 192.0.0.192 192.0.2.1 192.88.99.1 \
             198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 \
             255.255.255.255 :: ::ffff:127.0.0.1 0:0:0:0:0:ffff:7f00:1 ::ffff:8.8.8.8 ::127.0.0.1 \
             ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: \
             2001:10::1 2001:20::1 2001:2::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1 \
             3fff::1 5f00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1";
        for address in never.split_whitespace() {
            assert_eq!(kind(ip(address)), Kind::Never, "{address}");
            for reach in [Reach::Public, Reach::Vouched, Reach::VouchedPlain] {
                assert!(!reach.allows(ip(address)), "{address} for {reach:?}");
            }
        }
        let private = "10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 172.16.0.1 \
             172.31.255.255 192.168.0.1 192.168.255.255 ::1 fc00::1 fd12:3456::1";
        for address in private.split_whitespace() {
            assert_eq!(kind(ip(address)), Kind::Private, "{address}");
            assert!(!Reach::Public.allows(ip(address)), "{address}");
            assert!(Reach::Vouched.allows(ip(address)), "{address}");
            assert!(Reach::VouchedPlain.allows(ip(address)), "{address}");
        }
        let public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 \
             149.154.167.220 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 \
             223.255.255.255 2606:4700::1111 2a00:1450:4001::1";
        for address in public.split_whitespace() {
            assert_eq!(kind(ip(address)), Kind::Public, "{address}");
            assert!(Reach::Public.allows(ip(address)), "{address}");
            assert!(Reach::Vouched.allows(ip(address)), "{address}");
            assert!(!Reach::VouchedPlain.allows(ip(address)), "{address}: plain http must stay at home");
        }
    }

    #[test]
    fn only_what_passed_is_dialled() {
        let mixed = [ip("127.0.0.1"), ip("1.1.1.1"), ip("10.0.0.1")];
        assert_eq!(Reach::Public.pick("a.test", mixed).expect("one is public"), [ip("1.1.1.1")]);
        let error = Reach::Public.pick("a.test", [ip("10.0.0.1"), ip("::1")]).expect_err("all private");
        assert_eq!(error.to_string(), "a.test is at 10.0.0.1, which is a private address");
        assert!(matches!(Reach::Vouched.pick("a.test", []), Err(AddressError::Lookup { .. })));
    }

    /// The spellings of `getaddrinfo` and of browsers all end as the same address in a parsed URL.
    #[test]
    fn odd_spellings_of_loopback_are_loopback() {
        for host in ["2130706433", "0x7f.1", "0177.1", "127.1", "0x7f000001", "127.0.0.1", "①②⑦.0.0.1"]
        {
            let url = url::Url::parse(&format!("https://{host}/")).expect(host);
            assert_eq!(url.host(), Some(url::Host::Ipv4([127, 0, 0, 1].into())), "{host}");
        }
        let url = url::Url::parse("https://[::ffff:127.0.0.1]/").expect("url");
        let Some(url::Host::Ipv6(address)) = url.host() else { panic!("an address") };
        assert_eq!(kind(address.into()), Kind::Never);
    }
}
