//! Whom a browser believes to talk to. A page of the internet can have a browser ask any address and resolve its own name to ours
//! (DNS rebinding, incident 37), so only names that are ours are answered; and it can have it send what changes something
//! (incident 36), so that needs a header that only our own page can set, and its origin.

use std::net::SocketAddr;

use http::{
    HeaderMap, StatusCode,
    header::{HOST, ORIGIN},
};

/// The header that a form can't set. Its value is of no matter.
const HEADER: &str = "x-page";

/// The names that are ours besides the address.
pub struct Gate {
    names: Vec<String>,
}

impl Gate {
    /// With the names of the configuration.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec() }
    }

    /// The origin by which this connection is rightly asked; 421 when the request names another host, 403 when another
    /// page sends it.
    pub fn check(&self, headers: &HeaderMap, near: SocketAddr) -> Result<String, StatusCode> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_| StatusCode::MISDIRECTED_REQUEST)?,
            _ => return Err(StatusCode::MISDIRECTED_REQUEST),
        };
        let port = near.port();
        let local = near.ip().is_loopback() && host == format!("localhost:{port}");
        let named = self.names.iter().any(|name| host == format!("{name}:{port}"));
        if host != near.to_string() && !local && !named {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        let own = format!("http://{host}");
        match headers.get_all(ORIGIN).iter().all(|origin| origin.as_bytes() == own.as_bytes()) {
            true => Ok(own),
            false => Err(StatusCode::FORBIDDEN),
        }
    }
}

/// Sent by our own page, as far as a browser can be believed: it says the origin, and the header had to be allowed.
pub fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    headers.contains_key(HEADER)
        && headers.get(ORIGIN).is_some_and(|given| given.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::{Gate, is_own};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::try_from(text).expect("a value");
        let mut headers = HeaderMap::new();
        for (name, text) in lines {
            headers.append(*name, value(text));
        }
        headers
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let gate = Gate::new(&["box.tail1234.ts.net".into()]);
        let (vpn, own) = (([10, 77, 0, 1], 8788).into(), ([127, 0, 0, 1], 8788).into());
        for (host, near, good) in [
            ("10.77.0.1:8788", vpn, true),
            ("box.tail1234.ts.net:8788", vpn, true),
            ("localhost:8788", own, true),
            ("127.0.0.1:8788", own, true),
            ("localhost:8788", vpn, false),
            ("10.77.0.1", vpn, false),
            ("127.0.0.1:8788", vpn, false),
            ("evil.example:8788", vpn, false),
            ("10.77.0.1:8788.evil.example", vpn, false),
            ("", vpn, false),
        ] {
            let found = gate.check(&headers(&[("host", host)]), near);
            assert_eq!(found.is_ok(), good, "{host}");
            assert!(good || found == Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        let two = headers(&[("host", "10.77.0.1:8788"), ("host", "10.77.0.1:8788")]);
        assert!(gate.check(&two, vpn).is_err() && gate.check(&headers(&[]), vpn).is_err());
    }

    #[test]
    fn another_pages_request_is_refused() {
        let gate = Gate::new(&[]);
        let near = ([10, 77, 0, 1], 8788).into();
        let own = "http://10.77.0.1:8788";
        let with =
            |origin: &str| headers(&[("host", "10.77.0.1:8788"), ("origin", origin), ("x-page", "own")]);
        assert_eq!(gate.check(&with(own), near).as_deref(), Ok(own));
        assert!(is_own(&with(own), own));
        for origin in ["null", "https://10.77.0.1:8788", "http://evil.example", "http://10.77.0.1", ""] {
            assert_eq!(gate.check(&with(origin), near), Err(StatusCode::FORBIDDEN), "{origin}");
        }
        assert!(!is_own(&headers(&[("origin", own)]), own), "a form");
        assert!(!is_own(&headers(&[("x-page", "own")]), own), "no browser");
    }
}
