//! A folder in a manifest. Fixed text, no patterns; what holds keys, state or the machine itself is refused here, and what
//! the runner knows to be OpenClaw's own is refused there.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

/// Places that no skill may be given, nor anything below them, nor a folder that holds one (incident 65).
const FORBIDDEN: [&str; 10] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/boot",
    "/etc",
    "/root",
    "/tmp",
    "/var/run",
    "/var/lib/openclaw/egress",
];

/// A folder in a manifest: `~/documents` or `/srv/media`. No `..`, no globs, nothing hidden, nothing forbidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = r"^~?(/[^/.*?\[\]{}\\$][^/*?\[\]{}\\$]*)+/?$")))]
pub struct PathGrant(String);

impl<'de> Deserialize<'de> for PathGrant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        super::inside::text(from)
    }
}

impl TryFrom<String> for PathGrant {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let rest = match text.strip_prefix("~/") {
            Some(rest) => Path::new(rest),
            None => Path::new(
                text.strip_prefix('/').ok_or_else(|| format!("path {text:?} must start with `/` or `~/`"))?,
            ),
        };
        let normal = rest.components().all(|part| matches!(part, Component::Normal(_)));
        if rest.as_os_str().is_empty() || !normal {
            return Err(format!("path {text:?} must name a folder below `/` or `~/`, without `.` or `..`"));
        }
        if text.chars().any(|c| c.is_control() || "*?[]{}\\$".contains(c)) {
            return Err(format!("path {text:?}: patterns and control characters are not allowed"));
        }
        if rest.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".")) {
            return Err(format!(
                "path {text:?} may not be given to a skill: hidden folders hold keys and settings"
            ));
        }
        let path = Path::new(&text);
        if FORBIDDEN.iter().any(|bad| path.starts_with(bad) || Path::new(bad).starts_with(path)) {
            return Err(format!("path {text:?} may not be given to a skill"));
        }
        Ok(Self(text))
    }
}

impl From<PathGrant> for String {
    fn from(grant: PathGrant) -> String {
        grant.0
    }
}

impl PathGrant {
    /// The folder on this machine.
    pub fn resolve(&self, home: &Path) -> PathBuf {
        match self.0.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(&self.0),
        }
    }

    /// Where the skill sees it: never the host's path (incident 85).
    pub fn inside(&self) -> PathBuf {
        Path::new("/files").join(self.0.strip_prefix("~/").unwrap_or(self.0.trim_start_matches('/')))
    }

    /// As written in the manifest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PathGrant;

    #[test]
    fn a_path_is_seen_under_another_name() {
        let grant = PathGrant::try_from("~/documents".to_owned()).expect("good");
        assert_eq!(grant.resolve(Path::new("/home/a")), Path::new("/home/a/documents"));
        assert_eq!(grant.inside(), Path::new("/files/documents"));
        assert_eq!(PathGrant::try_from("/~".to_owned()).expect("good").inside(), Path::new("/files/~"));
    }

    #[test]
    fn incident_65_and_124_no_path_names_the_machine_its_keys_or_a_pattern() {
        PathGrant::try_from("/srv/media/a b".to_owned()).expect("an ordinary folder");
        for (bad, part) in [
            ("/", "must name a folder"),
            ("~/", "must name a folder"),
            ("~/../x", "without `.` or `..`"),
            ("/srv/../etc", "without `.` or `..`"),
            ("/proc/1", "may not be given"),
            ("/run", "may not be given"),
            ("/run/docker.sock", "may not be given"),
            ("/dev/shm", "may not be given"),
            ("/sys", "may not be given"),
            ("/etc/ssl", "may not be given"),
            ("/root/x", "may not be given"),
            ("/var/lib/openclaw", "may not be given"),
            ("/var/lib/openclaw/egress/x", "may not be given"),
            ("/var", "may not be given"),
            ("~/.ssh", "hidden folders"),
            ("~/a/.env", "hidden folders"),
            ("/srv/*", "patterns"),
            ("/srv/{a,b}", "patterns"),
            ("~/$HOME", "patterns"),
            ("~/a\0", "patterns"),
            ("documents", "must start with"),
            ("", "must start with"),
            ("~root/x", "must start with"),
        ] {
            let error = PathGrant::try_from(bad.to_owned()).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
