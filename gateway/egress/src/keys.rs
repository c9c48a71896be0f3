//! The keys: from `<state>/egress/.env`, which nobody else may read, and from the pipe by which `openclaw run`
//! hands over the keys of its environment. Only names and line numbers are ever shown, never a value.

use std::{
    fmt,
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use openclaw_wire::{facts::FACTS, secret::Secret};
use zeroize::Zeroizing;

use crate::private_file;

/// Largest key file or pipe, in bytes: hundreds of keys.
const MAX: u64 = 64 * 1024;

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The key file.
    File,
    /// The environment of `openclaw run`.
    Environment,
}

/// All keys by name.
///
/// A name that is in both places has the value of the environment: what was typed for this run is meant for it,
/// as every `.env` reader does it. One exception, in `defaults`: an address out of the environment never gets a
/// key out of the file.
#[derive(Debug, Default)]
pub struct Keys {
    entries: Vec<(String, Secret, Source)>,
}

/// Why the keys were refused.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file is not private.
    #[error(transparent)]
    Exposed(#[from] private_file::Refused),
    /// Something could not be read.
    #[error("read keys from {place}: {source}")]
    Read {
        /// The file or the environment.
        place: Place,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lines that are not `NAME=value`.
    #[error(
        "keys from {place}: {message}\n  mend: one NAME=value in each line, NAME of A-Z 0-9 _, quotes only around the whole value"
    )]
    Lines {
        /// The file or the environment.
        place: Place,
        /// Numbers and reasons, without content.
        message: String,
    },
}

/// Names a source in a message.
#[derive(Debug, Clone)]
pub enum Place {
    /// The key file.
    File(PathBuf),
    /// The pipe.
    Environment,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Environment => f.write_str("the environment"),
        }
    }
}

impl Keys {
    /// Reads the key file below `state` (never one in the working directory) and the pipe, if there is one. Blocks
    /// until the pipe's other end is closed.
    pub fn read(state: &Path, pipe: Option<OwnedFd>) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        let path = state.join(&FACTS.state.keys);
        private_file::check_folders(state, &FACTS.state.egress)?;
        if let Some(file) = private_file::open(&path)? {
            keys.add(read(file, Place::File(path))?, Source::File);
        }
        if let Some(pipe) = pipe {
            keys.add(read(File::from(pipe), Place::Environment)?, Source::Environment);
        }
        Ok(keys)
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.find(name).map(|(secret, _)| secret)
    }

    /// The value of a key and where it came from.
    pub fn find(&self, name: &str) -> Option<(&Secret, Source)> {
        self.entries.iter().find(|(known, ..)| known == name).map(|(_, secret, source)| (secret, *source))
    }

    /// Every value, for the mask.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.entries.iter().map(|(_, secret, _)| secret)
    }

    /// Names and sources, for the log.
    pub fn names(&self) -> impl Iterator<Item = (&str, Source)> {
        self.entries.iter().map(|(name, _, source)| (name.as_str(), *source))
    }

    fn add(&mut self, entries: Vec<(String, Secret)>, source: Source) {
        for (name, secret) in entries {
            self.entries.retain(|(known, ..)| *known != name);
            self.entries.push((name, secret, source));
        }
    }
}

fn read(file: File, place: Place) -> Result<Vec<(String, Secret)>, KeysError> {
    // Room for all of it at once, so that no half-grown copy of the keys stays behind in the heap.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX as usize + 1));
    if let Err(source) = file.take(MAX + 1).read_to_end(&mut bytes) {
        return Err(KeysError::Read { place, source });
    }
    if bytes.len() as u64 > MAX {
        return Err(KeysError::Lines { place, message: format!("more than {MAX} bytes") });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text).map_err(|message| KeysError::Lines { place, message }),
        Err(_) => Err(KeysError::Lines { place, message: "not UTF-8 text".into() }),
    }
}

/// Reads `NAME=value` lines. The error names lines by number and never shows what stands in them.
fn parse(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut entries: Vec<(String, Secret)> = Vec::new();
    let mut bad = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match entry(line.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => match entries.iter().any(|(known, _)| known == name) {
                true => bad.push(format!("line {number} names a key a second time")),
                false => entries.push((name.to_owned(), Secret::new(value.to_owned()))),
            },
            Err(why) => bad.push(format!("line {number} {why}")),
        }
    }
    match bad.is_empty() {
        true => Ok(entries),
        false => Err(bad.join(", ")),
    }
}

fn entry(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("has no `=`")?;
    let name = name.trim();
    let named = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if !named {
        return Err("has an odd name");
    }
    let value = value.trim();
    let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => {
            let inner = value[1..].strip_suffix(quote).ok_or("has a quote that does not end the line")?;
            if inner.contains([quote, '\\']) {
                return Err("has quotes or backslashes inside quotes");
            }
            inner
        }
        None if value.contains(char::is_whitespace) => return Err("has blanks in a value without quotes"),
        None => value,
    };
    if value.chars().any(char::is_control) {
        return Err("has a control character");
    }
    // `NAME=` is how a template leaves a key open.
    Ok((!value.is_empty()).then_some((name, value)))
}

#[cfg(test)]
impl Keys {
    /// Keys for the tests of other modules.
    pub fn of(entries: &[(&str, &str, Source)]) -> Self {
        let mut keys = Self::default();
        for (name, value, source) in entries {
            keys.add(vec![((*name).to_owned(), Secret::new((*value).to_owned()))], *source);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Keys, Source, parse};

    #[test]
    fn lines_are_names_and_values() {
        let text = "# comment\n\n A=1\r\nexport B_2 = 'two words'\nC=\"x=y#z\"\nD=\nE=a#b\n";
        let entries = parse(text).expect("good");
        let entries: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(entries, [("A", "1"), ("B_2", "two words"), ("C", "x=y#z"), ("E", "a#b")]);
    }

    #[test]
    fn bad_lines_are_named_by_number_and_not_shown() {
        let cases = [
            ("hidden", "line 1 has no `=`"),
            ("A=ok\nlower=hidden", "line 2 has an odd name"),
            ("=hidden", "line 1 has an odd name"),
            ("1A=hidden", "line 1 has an odd name"),
            ("A='hidden", "line 1 has a quote that does not end the line"),
            ("A=\"hidden\" # why", "line 1 has a quote that does not end the line"),
            ("A=hidden # why", "line 1 has blanks in a value without quotes"),
            ("A=\"hid\\\"den\"", "line 1 has quotes or backslashes inside quotes"),
            ("A=hidden\u{7}", "line 1 has a control character"),
            ("A=\"", "line 1 has a quote that does not end the line"),
            ("A=1\nA=hidden\nhidden", "line 2 names a key a second time, line 3 has no `=`"),
        ];
        for (text, want) in cases {
            let message = parse(text).expect_err(want);
            assert_eq!(message, want);
            assert!(!message.contains("hidden"));
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("egress");
        std::fs::create_dir(&folder).expect("folder");
        let file = folder.join(".env");
        std::fs::write(&file, "A=file\nB=file\n").expect("write");
        crate::private_file::tests::chmod(&folder, 0o700);
        crate::private_file::tests::chmod(&file, 0o600);
        let (near, far) = std::io::pipe().expect("pipe");
        (&far).write_all(b"B=environment\nC=environment\n").expect("write");
        drop(far);
        let keys = Keys::read(dir.path(), Some(near.into())).expect("reads");
        let shown: Vec<_> = ["A", "B", "C", "D"]
            .map(|name| keys.find(name).map(|(secret, source)| (secret.expose().to_owned(), source)))
            .into();
        assert_eq!(
            shown,
            [
                Some(("file".into(), Source::File)),
                Some(("environment".into(), Source::Environment)),
                Some(("environment".into(), Source::Environment)),
                None
            ]
        );
        assert!(!format!("{keys:?}").contains("environment\""), "Debug shows no value");
    }
}
