//! The name of a host. One spelling for each host: lower case, ASCII, no dot at the end. What a resolver, a browser and
//! this parser could read differently is refused (incidents 52 to 54, 56).

use serde::{Deserialize, Serialize};

/// `api.example.com`, or `*.example.com` for every name below `example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    test,
    schemars(with = "String", extend("pattern" = r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"))
)]
pub struct HostName(String);

/// Names that mean this machine or this network, whatever a resolver says of them.
const LOCAL: [&str; 6] = ["localhost", "local", "localdomain", "lan", "arpa", "onion"];

/// The ending of private endpoints, which the operator declares one by one. ICANN will never delegate it.
const PRIVATE: &str = ".internal";

impl TryFrom<String> for HostName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("host {text:?} {why}"));
        let name = text.strip_prefix("*.").unwrap_or(&text);
        if text.parse::<std::net::IpAddr>().is_ok() || name.contains([':', '[', ']']) {
            return refuse("is an address or has a port; a manifest names hosts (and `port = …` beside)");
        }
        if name.contains('*') {
            return refuse("has a `*` elsewhere than as its first label");
        }
        if name.bytes().any(|b| !b.is_ascii()) {
            return refuse("is not ASCII; write an international name in its xn-- form");
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return refuse("must be in lower case");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return refuse("is no host name (labels of a-z 0-9 - between dots, none at the end)");
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        // "1.2.3.4", "0x7f.1", "2130706433": resolvers read what ends in a number as an address (WHATWG URL, "ends in a
        // number checker").
        if !last.starts_with(|c: char| c.is_ascii_lowercase()) {
            return refuse("ends in a number, so that some would read it as an address");
        }
        let wildcard = text.starts_with("*.");
        if wildcard && (name.ends_with(PRIVATE) || name == "internal") {
            return refuse("would be every private endpoint; name each");
        }
        if wildcard && psl::domain_str(name).is_none() {
            return refuse("would be everybody's names: what follows `*.` is a public suffix");
        }
        if LOCAL.contains(&last) || !name.contains('.') {
            return refuse(
                "is a name of this machine or this network; a private endpoint is declared by the operator and named NAME.internal",
            );
        }
        Ok(Self(text))
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.0
    }
}

impl HostName {
    /// As in the manifest.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every name below it.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The operator's name of a private endpoint: `searxng` for `searxng.internal`.
    pub fn private(&self) -> Option<&str> {
        self.0.strip_suffix(PRIVATE)
    }

    /// Whether `host` is meant: whole labels, any case, and no dot at the end.
    pub fn covers(&self, host: &str) -> bool {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        match self.0.strip_prefix('*') {
            None => same(&self.0, host),
            // `.example.com`: what stands before it must be a name, too.
            Some(below) => host.len().checked_sub(below.len()).is_some_and(|at| {
                at > 0 && host.is_char_boundary(at) && same(&host[at..], below) && !host.starts_with('.')
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostName;

    fn name(text: &str) -> Result<HostName, String> {
        HostName::try_from(text.to_owned())
    }

    #[test]
    fn incidents_52_to_54_odd_hosts_are_refused() {
        for good in [
            "api.example.com",
            "*.example.com",
            "*.example.co.uk",
            "xn--bcher-kva.example",
            "searxng.internal",
        ] {
            assert_eq!(name(good).expect(good).as_str(), good);
        }
        for (bad, part) in [
            ("127.0.0.1", "is an address"),
            ("::1", "is an address"),
            ("[::1]", "is an address"),
            ("example.com:443", "has a port"),
            ("0x7f.1", "ends in a number"),
            ("2130706433", "ends in a number"),
            ("0177.0.0.1", "ends in a number"),
            ("a.0x7f", "ends in a number"),
            ("localhost", "this machine"),
            ("x.localhost", "this machine"),
            ("printer.local", "this machine"),
            ("intranet", "this machine"),
            ("example.com.", "no host name"),
            ("Example.com", "lower case"),
            ("bücher.example", "xn--"),
            ("evil\0.example.com", "no host name"),
            ("a b.example.com", "no host name"),
            ("user@example.com", "no host name"),
            ("example.com/path", "no host name"),
            ("example.com#x", "no host name"),
            ("ex%61mple.com", "no host name"),
            ("-a.example.com", "no host name"),
            ("a..example.com", "no host name"),
            ("", "no host name"),
            ("*", "elsewhere than"),
            ("a.*.com", "elsewhere than"),
            ("*.*.com", "elsewhere than"),
            ("*.com", "public suffix"),
            ("*.co.uk", "public suffix"),
            ("*.github.io", "public suffix"),
            ("*.internal", "every private endpoint"),
            ("*.a.internal", "every private endpoint"),
        ] {
            let error = name(bad).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn incident_56_whole_labels_match_and_nothing_else() {
        let (exact, below) = (name("api.example.com").expect("good"), name("*.example.com").expect("good"));
        for (host, one, all) in [
            ("api.example.com", true, true),
            ("API.Example.COM", true, true),
            ("a.b.example.com", false, true),
            ("example.com", false, false),
            ("api.example.com.evil.io", false, false),
            ("evilexample.com", false, false),
            (".example.com", false, false),
            ("api.example.com.", false, false),
            ("é.example.com", false, true),
        ] {
            assert_eq!((exact.covers(host), below.covers(host)), (one, all), "{host}");
        }
        assert_eq!(name("whisper.internal").expect("good").private(), Some("whisper"));
        assert_eq!(exact.private(), None);
    }
}
