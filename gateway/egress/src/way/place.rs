//! Where a skill wants to go: a name and a port. One spelling for each name; what a resolver, a browser and this parser
//! could read differently is refused before any rule is asked (incidents 52 to 54).

use std::fmt;

use url::Host;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Lower case, no dot at the end.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// It names an address.
    #[error("an address; a manifest names hosts")]
    Address,
    /// It is not a host and a port, or not to everybody the same.
    #[error("not the name of a host")]
    Name,
    /// There is no port, or it is none.
    #[error("without a port that could be one")]
    Port,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Place {
    /// Reads `host:port`; without a port it is `default`.
    pub fn read(authority: &str, default: Option<u16>) -> Result<Self, Odd> {
        // Brackets are IPv6 addresses and nothing else.
        if authority.starts_with('[') {
            return Err(Odd::Address);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let port = match port {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|port| *port > 0)
            }
            Some(_) => None,
            None => default,
        };
        // `example.com.` is the same host to every resolver.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return Err(Odd::Name);
        }
        match Host::parse(&host) {
            Ok(Host::Domain(domain)) if domain == host => Ok(Self { host, port: port.ok_or(Odd::Port)? }),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(Odd::Address),
            _ => Err(Odd::Name),
        }
    }

    /// The name of a private endpoint: `searxng` for `searxng.internal`.
    pub fn private(&self) -> Option<&str> {
        self.host.strip_suffix(".internal")
    }
}

#[cfg(test)]
mod tests {
    use super::{Odd, Place};

    #[test]
    fn one_spelling_for_each_name() {
        for text in ["api.example.com:443", "API.Example.COM:443", "api.example.com.:443", "api.example.com"]
        {
            let place = Place::read(text, Some(443)).expect(text);
            assert_eq!((place.host.as_str(), place.port), ("api.example.com", 443), "{text}");
        }
    }

    /// Incidents 52 to 54.
    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, odd) in [
            ("127.0.0.1:80", Odd::Address),
            ("127.1:80", Odd::Address),
            ("0x7f.1:80", Odd::Address),
            ("0177.0.0.1:80", Odd::Address),
            ("2130706433:80", Odd::Address),
            ("[::1]:80", Odd::Address),
            ("[::ffff:127.0.0.1]:80", Odd::Address),
            ("127.0.0.1.:80", Odd::Address),
            ("evil\0.example.com:80", Odd::Name),
            ("evil.com\r\n.example.com:80", Odd::Name),
            ("evil.com .example.com:80", Odd::Name),
            ("evil.com\\.example.com:80", Odd::Name),
            ("user@example.com:80", Odd::Name),
            ("evil.com#.example.com:80", Odd::Name),
            ("ex%61mple.com:80", Odd::Name),
            ("①②⑦.0.0.1:80", Odd::Name),
            ("exämple.com:80", Odd::Name),
            ("example.com..:80", Odd::Name),
            (".example.com:80", Odd::Name),
            ("a..b:80", Odd::Name),
            ("a_b.example.com:80", Odd::Name),
            (":80", Odd::Name),
            ("", Odd::Name),
            ("example.com:", Odd::Port),
            ("example.com:0", Odd::Port),
            ("example.com:+80", Odd::Port),
            ("example.com:65536", Odd::Port),
            ("example.com:80:80", Odd::Name),
            ("1.2.3:80", Odd::Address),
            ("a.0x1:80", Odd::Name),
        ] {
            assert_eq!(Place::read(text, Some(443)), Err(odd), "{text:?}");
        }
        assert_eq!(Place::read("example.com", None), Err(Odd::Port));
    }
}
