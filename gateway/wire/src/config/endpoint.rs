//! Private endpoints: servers of the operator's own that skills may reach, declared one by one. No other private address
//! opens to a skill.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

/// One `[skills.private.NAME]`: a manifest reaches it as `NAME.internal`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Where it is: scheme, host and port, nothing more. This one address opens, and what is spoken there.
    pub url: Url,
    /// The only certificates to trust there, as PEM; the public ones when it is left out.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// What is wrong, and what to write instead.
pub(super) fn coherent(private: &BTreeMap<String, Endpoint>) -> Result<(), (String, String)> {
    for (name, endpoint) in private {
        let what = format!("[skills.private.{name}]");
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 200 || !name.split('.').all(label) {
            return Err((
                format!("{what}: the name is no part of a host name"),
                "use a-z, 0-9 and `-`; skills reach it as NAME.internal".into(),
            ));
        }
        let url = &endpoint.url;
        let origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let bare = url.username().is_empty() && url.password().is_none() && url.has_host();
        if !matches!(url.scheme(), "http" | "https") || !origin || !bare {
            return Err((
                format!("{what}: url is more or less than scheme, host and port"),
                "write it like \"http://192.168.1.20:8888\"".into(),
            ));
        }
        if endpoint.ca.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err((format!("{what}: ca is not an absolute path"), "write the whole path".into()));
        }
        if endpoint.ca.is_some() && url.scheme() != "https" {
            return Err((
                format!("{what}: ca has no meaning for http"),
                "write https:// or leave ca out".into(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn an_endpoint_is_a_name_and_an_origin() {
        let parse = |name: &str, lines: &str| {
            Config::parse(&format!("[skills.private.\"{name}\"]\n{lines}"), Path::new("t"))
                .map_err(|e| e.to_string())
        };
        let good = parse("searxng", "url = \"http://192.168.1.20:8888\"").expect("good");
        assert_eq!(good.skills.private["searxng"].url.port(), Some(8888));
        assert!(parse("a.b", "url = \"https://nas.lan:8443\"\nca = \"/etc/own.pem\"").is_ok());
        for (name, lines, part) in [
            ("A", "url = \"http://h\"", "no part of a host name"),
            ("", "url = \"http://h\"", "no part of a host name"),
            ("a", "url = \"ftp://h\"", "more or less than"),
            ("a", "url = \"http://h/path\"", "more or less than"),
            ("a", "url = \"http://u:p@h\"", "more or less than"),
            ("a", "url = \"http://h\"\nca = \"/x\"", "no meaning"),
            ("a", "url = \"https://h\"\nca = \"x\"", "absolute"),
            ("a", "url = \"https://h\"\nprivate = true", "unknown field"),
        ] {
            let error = parse(name, lines).expect_err(lines);
            assert!(error.contains(part), "{lines}: {error}");
        }
    }
}
