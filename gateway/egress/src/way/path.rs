//! The path of a request as it will be sent: dot segments are resolved, and what some server could still read as another
//! path is refused where a manifest names paths.

use url::Url;

/// Characters that Unicode normalisation turns into dots and slashes: some servers normalise.
const LOOKALIKES: &[char] = &[
    '\u{2024}', '\u{2025}', '\u{2026}', '\u{fe52}', '\u{ff0e}', '\u{3002}', '\u{ff61}', '\u{2044}',
    '\u{2215}', '\u{ff0f}', '\u{ff3c}', '\u{fe68}', '\u{29f5}', '\u{29f8}',
];

/// The request's address: the place from where the request was sent to, path and query as the skill wrote them, in the
/// one spelling that will be sent.
pub fn address(origin: &str, path_and_query: &str) -> Option<Url> {
    // Anything else would be joined as a host (`//host/path`) or as a path of its own.
    if !path_and_query.starts_with('/') {
        return None;
    }
    let mut url = Url::parse(origin).ok()?;
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    url.set_path(path);
    url.set_query(query);
    Some(url)
}

/// Whether every server reads this path the same way, however often it decodes it.
pub fn plain(path: &str) -> bool {
    let mut text = path.to_owned();
    // Three layers of encoding are two more than anybody uses.
    for _ in 0..3 {
        let climbs = text.split(['/', '\\']).any(|part| {
            let name = part.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
            name == "." || name == ".."
        });
        if climbs || text.contains('\\') || text.chars().any(|c| c.is_control() || LOOKALIKES.contains(&c)) {
            return false;
        }
        match decoded(&text) {
            Some(next) if next == text => return true,
            // An encoded slash is a slash to some and a letter to others.
            Some(next) if next.matches('/').count() != text.matches('/').count() => return false,
            Some(next) => text = next,
            None => return false,
        }
    }
    false
}

/// Whether a server could take a path for another one, or for something below it: in another case, with slashes doubled, with
/// letters encoded.
pub fn is_below(path: &str, other: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower.split(['/', '\\']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let mut text = path.to_owned();
    // As deep as in `plain`; what is still encoded then could be anything.
    for _ in 0..3 {
        match decoded(&text) {
            Some(next) if next == text => return parts(&text).starts_with(&parts(other)),
            Some(next) => text = next,
            None => return true,
        }
    }
    true
}

/// One layer of percent-encoding less; `None` when it is malformed or not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = more;
            continue;
        }
        let (digits, more) = more.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{address, plain};

    #[test]
    fn dots_are_resolved_before_anybody_judges() {
        for (given, path) in [
            ("/data/2.5/weather", "/data/2.5/weather"),
            ("/data/../admin", "/admin"),
            ("/data/%2e%2e/admin", "/admin"),
            ("/data/.%2E/admin", "/admin"),
            ("/data/./x", "/data/x"),
            ("/data\\..\\admin", "/admin"),
            ("//evil.example/x", "//evil.example/x"),
            ("/..//../x", "/x"),
        ] {
            let url = address("https://api.example.com", given).expect(given);
            assert_eq!((url.host_str(), url.path()), (Some("api.example.com"), path), "{given}");
        }
        for given in ["", "x", "https://evil.example/", "*", "@evil.example/"] {
            assert_eq!(address("https://api.example.com", given), None, "{given}");
        }
        let url = address("https://api.example.com:8443", "/a?b=/../c#d").expect("an address");
        assert_eq!(url.as_str(), "https://api.example.com:8443/a?b=/../c%23d");
    }

    #[test]
    fn what_servers_read_differently_is_not_plain() {
        for good in ["/", "/data/2.5/weather", "/a%20b", "/%C3%A4", "/a...b/..c", "/a;b=1/c", "/~x/(y)"] {
            assert!(plain(good), "{good}");
        }
        for bad in [
            "/a/..;/b",
            "/a/..%3b/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a/%252e%252e/b",
            "/a/%25252e./b",
            "/a/%c0%ae%c0%ae/b",
            "/a/%u002e/b",
            "/a/%",
            "/a/%2",
            "/a/%%32%65/b",
            "/a/%00",
            "/a/..%00/b",
            "/a/\u{ff0e}\u{ff0e}/b",
            "/a/%ef%bc%8e%ef%bc%8e/b",
            "/a\\b",
            "/a/%e2%88%95/b",
            "/a/.%20/b",
            "/a/..%09/b",
            "/a/%0d%0ab",
        ] {
            assert!(!plain(bad), "{bad}");
        }
    }
}
