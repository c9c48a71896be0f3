//! Which entry of an approved manifest allows a request. Pure; what no entry allows is denied.

use openclaw_wire::skill::{HostGrant, Method, Reach};
use url::Url;

use super::{call::Call, denial::Why, path, place::Place};

/// The entries that let a call reach a place; none is a denial.
pub fn host<'a>(call: &'a Call, place: &Place) -> Result<Vec<&'a HostGrant>, Why> {
    let covers = |grant: &&HostGrant| {
        let named = match &grant.reach {
            Reach::Host(_) => None,
            // A private endpoint is reached by its own entry alone: whoever wrote the argument must not choose it.
            Reach::Argument(_) if place.private().is_some() => return false,
            Reach::Argument(argument) => call.named.get(argument).map(String::as_str),
        };
        grant.covers(&place.host, place.port, named)
    };
    let found: Vec<_> = call.hosts.iter().filter(covers).collect();
    if found.is_empty() { Err(Why::Host(place.clone())) } else { Ok(found) }
}

/// The entry that allows this method on this path.
pub fn request<'a>(
    grants: &[&'a HostGrant],
    place: &Place,
    method: &str,
    url: &Url,
) -> Result<&'a HostGrant, Why> {
    let named = Method::named(method);
    let allows = |grant: &&&HostGrant| {
        let everything = grant.paths.iter().any(|prefix| prefix.as_str() == "/");
        named.is_some_and(|method| grant.allows(method, url.path()))
            && (everything || path::plain(url.path()))
    };
    let found = grants.iter().find(allows).copied();
    found.ok_or_else(|| Why::Request(place.clone(), method.to_owned(), url.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Call, Place, Why, host, request};
    use crate::way::path::address;

    fn call(hosts: Value, named: &[(&str, &str)]) -> Call {
        let hosts = serde_json::from_value(hosts).expect("hosts");
        let named: BTreeMap<_, _> = named.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Call::new("weather".parse().expect("id"), String::new(), hosts, named)
    }

    fn place(text: &str) -> Place {
        Place::read(text, Some(443)).expect(text)
    }

    /// Incident 56.
    #[test]
    fn whole_labels_and_the_very_port() {
        let call =
            call(json!([{ "host": "api.example.com" }, { "host": "*.example.org", "port": 8443 }]), &[]);
        for good in ["api.example.com", "API.example.com.", "a.example.org:8443", "a.b.example.org:8443"] {
            assert!(host(&call, &place(good)).is_ok(), "{good}");
        }
        for bad in [
            "api.example.com:80",
            "api.example.com.evil.io",
            "evilapi.example.com",
            "example.com",
            "x.api.example.com",
            "example.org:8443",
            "a.example.org",
            "evilexample.org:8443",
        ] {
            assert!(matches!(host(&call, &place(bad)), Err(Why::Host(_))), "{bad}");
        }
    }

    #[test]
    fn an_argument_opens_its_own_host_and_never_a_private_one() {
        let call = call(
            json!([{ "argument": "url" }, { "host": "known.internal" }]),
            &[("url", "page.example.com"), ("other", "other.example.com")],
        );
        assert!(host(&call, &place("page.example.com")).is_ok());
        assert!(
            host(&call, &place("other.example.com")).is_err(),
            "an argument that the manifest does not name"
        );
        assert!(host(&call, &place("known.internal")).is_ok());
        let inner =
            super::super::judge::tests::call(json!([{ "argument": "url" }]), &[("url", "known.internal")]);
        assert!(host(&inner, &place("known.internal")).is_err(), "chosen by an argument");
    }

    #[test]
    fn methods_and_paths_are_those_of_one_entry() {
        let call = call(
            json!([
                { "host": "api.example.com", "methods": ["GET"], "paths": ["/data"] },
                { "host": "api.example.com", "methods": ["POST"], "paths": ["/upload/"] },
            ]),
            &[],
        );
        let place = place("api.example.com");
        let grants = host(&call, &place).expect("allowed");
        let ask = |method: &str, path: &str| {
            let url = address("https://api.example.com", path).expect("an address");
            request(&grants, &place, method, &url).map(|grant| grant.methods[0].as_str())
        };
        assert_eq!(ask("GET", "/data/2.5?x=/../y"), Ok("GET"));
        assert_eq!(ask("POST", "/upload/a"), Ok("POST"));
        assert_eq!(ask("GET", "/upload/../data"), Ok("GET"), "as it will be sent");
        for (method, path) in [
            ("POST", "/data"),
            ("GET", "/upload/a"),
            ("get", "/data"),
            ("TRACE", "/data"),
            ("GET", "/database"),
            ("GET", "/data/../admin"),
            ("GET", "/data/%2e%2e/admin"),
            ("GET", "/data/..%2fadmin"),
            ("GET", "/data/%252e%252e/admin"),
            ("GET", "/data/%c0%ae%c0%ae/admin"),
            ("GET", "/data/..;/admin"),
            ("GET", "/data/%u002e%u002e/admin"),
            ("GET", "//data"),
            ("GET", "/"),
        ] {
            assert!(matches!(ask(method, path), Err(Why::Request(..))), "{method} {path}");
        }
    }
}
