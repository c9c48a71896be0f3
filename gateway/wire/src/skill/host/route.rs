//! What may be asked of a host: methods, and beginnings of paths by whole segments.

use serde::{Deserialize, Deserializer, Serialize};

/// A method of HTTP (RFC 9110, section 9). `CONNECT` and `TRACE` are nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // the names are the documentation
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// As it stands in a request line; case counts there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// The method of a request line.
    pub fn named(text: &str) -> Option<Self> {
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options]
            .into_iter()
            .find(|method| method.as_str() == text)
    }
}

/// The beginning of a path: `/data` is `/data` and all below it; `/data/` is only what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = r"^/[A-Za-z0-9/._~!&'()+,;=:@-]*$")))]
pub struct PathPrefix(String);

impl<'de> Deserialize<'de> for PathPrefix {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        crate::skill::inside::text(from)
    }
}

/// Characters of a path that are the same in every spelling (RFC 3986 without `%`), and `$` and `*`, which would look
/// like patterns.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._~!&'()+,;=:@-".contains(c)
}

/// Whether a segment means another place than its name says.
fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| segment == "." || segment == "..") || path.contains("//")
}

impl TryFrom<String> for PathPrefix {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = text.starts_with('/') && text.len() <= 1024 && text.chars().all(plain) && !climbs(&text);
        match good {
            true => Ok(Self(text)),
            false => Err(format!(
                "path {text:?} must begin with `/`, without `..`, `//`, `%`, a query or a pattern: it is the beginning of the path"
            )),
        }
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> String {
        prefix.0
    }
}

impl PathPrefix {
    /// Every path.
    pub(super) fn all() -> Self {
        Self("/".into())
    }

    /// As in the manifest.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request's path begins so. A path that a server could read as another one is covered by `/` alone:
    /// dots, doubled or encoded slashes, backslashes.
    pub fn covers(&self, path: &str) -> bool {
        if self.0 == "/" {
            return path.starts_with('/');
        }
        let lower = path.to_ascii_lowercase();
        let odd = climbs(path)
            || path.contains(['\\', ';'])
            || ["%2e", "%2f", "%5c", "%00", "%25"].iter().any(|part| lower.contains(part));
        let rest = path.strip_prefix(self.0.as_str());
        !odd && rest.is_some_and(|rest| self.0.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, PathPrefix};

    #[test]
    fn prefixes_are_whole_segments_and_no_path_climbs_out() {
        let prefix = |text: &str| PathPrefix::try_from(text.to_owned());
        for bad in
            ["", "data", "/a/../b", "/a//b", "/a%2f", "/a?b", "/a#b", "/*", "/a\\b", "/a b", "/é", "/./a"]
        {
            assert!(prefix(bad).is_err(), "{bad}");
        }
        let (data, below, all) =
            (prefix("/data").expect("good"), prefix("/data/").expect("good"), prefix("/").expect("good"));
        for (path, first, second) in [
            ("/data", true, false),
            ("/data/", true, true),
            ("/data/2.5/weather", true, true),
            ("/database", false, false),
            ("/", false, false),
            ("/data/../admin", false, false),
            ("/data/%2e%2e/admin", false, false),
            ("/data/..%2fadmin", false, false),
            ("/data/%252e%252e/admin", false, false),
            ("/data/..\\admin", false, false),
            ("/data//x", false, false),
            ("/data/..;/admin", false, false),
            ("/DATA/x", false, false),
        ] {
            assert_eq!((data.covers(path), below.covers(path)), (first, second), "{path}");
            assert!(all.covers(path), "{path}");
        }
        assert!(!all.covers("*") && !all.covers("http://x/"));
    }

    #[test]
    fn methods_are_spelled_exactly() {
        assert_eq!(Method::named("POST"), Some(Method::Post));
        for bad in ["post", "CONNECT", "TRACE", "", "GET "] {
            assert_eq!(Method::named(bad), None, "{bad}");
        }
    }
}
