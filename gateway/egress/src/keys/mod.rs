//! The keys: from the key file, which nobody else may read, from systemd's credentials, and from the pipe by which
//! `openclaw run` hands over the keys of its environment. Only names and line numbers are ever shown, never a value.

mod credentials;
mod key;
pub mod lines;
mod place;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use openclaw_confine::locked::{Full, Locked};

use crate::{private_file, secret::Secret};

pub use key::{Key, Used};
pub use place::KeyFile;

/// Largest key file or pipe, in bytes: hundreds of keys.
const MAX: usize = 64 * 1024;

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The key file.
    File,
    /// A credential of systemd.
    Credential,
    /// The environment of `openclaw run`.
    Environment,
}

/// All keys by name.
///
/// A name that is in several places has the value of the environment, else of the credential: what was typed for this
/// run is meant for it, as every `.env` reader does it. One exception, in `defaults`: an address out of the environment
/// never gets a key out of the file or a credential.
#[derive(Debug, Default, Clone)]
pub struct Keys {
    entries: Vec<Key>,
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
    /// There is no room for them.
    #[error(transparent)]
    Full(#[from] Full),
}

/// Names a source in a message.
#[derive(Debug, Clone)]
pub enum Place {
    /// The key file.
    File(PathBuf),
    /// A credential, or the folder of all.
    Credential(PathBuf),
    /// The pipe.
    Environment,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) | Place::Credential(path) => write!(f, "{}", path.display()),
            Place::Environment => f.write_str("the environment"),
        }
    }
}

impl Keys {
    /// Reads all places. Blocks until the pipe's other end is closed.
    pub fn read(
        file: &KeyFile,
        credentials: Option<&Path>,
        pipe: Option<OwnedFd>,
    ) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        keys.add_file(file)?;
        if let Some(folder) = credentials {
            keys.add_credentials(folder)?;
        }
        if let Some(pipe) = pipe {
            let content = slurp(File::from(pipe), Place::Environment)?;
            keys.add_text(&content, Place::Environment, Source::Environment)?;
        }
        Ok(keys)
    }

    /// The same keys with the key file as it is now.
    pub fn with_file(&self, file: &KeyFile) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        keys.add_file(file)?;
        for key in &mut keys.entries {
            // One and the same key is known by when it was last used.
            if let Some(same) = self.find(&key.name).filter(|old| old.secret == key.secret) {
                *key = Key { source: key.source, ..same.clone() };
            }
        }
        for key in self.entries.iter().filter(|key| key.source != Source::File) {
            keys.set(key.clone());
        }
        Ok(keys)
    }

    /// A key by its name.
    pub fn find(&self, name: &str) -> Option<&Key> {
        self.entries.iter().find(|key| key.name == name)
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.find(name).map(|key| &key.secret)
    }

    /// Every value, for the mask.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.entries.iter().map(|key| &key.secret)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter()
    }

    fn add_file(&mut self, file: &KeyFile) -> Result<(), KeysError> {
        let Some(open) = file.open()? else { return Ok(()) };
        let place = || Place::File(file.path().into());
        let content = slurp(open, place())?;
        self.add_text(&content, place(), Source::File)
    }

    fn add_text(&mut self, content: &Locked, place: Place, source: Source) -> Result<(), KeysError> {
        match std::str::from_utf8(content.as_ref()) {
            Ok(text) => self.add_lines(text, place, source),
            Err(_) => Err(KeysError::Lines { place, message: "not UTF-8 text".into() }),
        }
    }

    fn add_lines(&mut self, text: &str, place: Place, source: Source) -> Result<(), KeysError> {
        let entries = lines::parse(text).map_err(|message| KeysError::Lines { place, message })?;
        for (name, value) in entries {
            self.put(name, value, source)?;
        }
        Ok(())
    }

    /// A new key; it replaces the one of the same name.
    pub fn put(&mut self, name: &str, value: &str, source: Source) -> Result<(), KeysError> {
        let secret = Secret::new(value)?;
        self.set(Key { name: name.to_owned(), secret, source, used: Arc::default() });
        Ok(())
    }

    /// This key in the place of the one of the same name.
    pub fn set(&mut self, key: Key) {
        self.remove(&key.name);
        self.entries.push(key);
    }

    /// Without the key of this name.
    pub fn remove(&mut self, name: &str) {
        self.entries.retain(|known| known.name != name);
    }
}

/// All of a file, in locked memory from the first byte on.
pub fn slurp(mut file: File, place: Place) -> Result<Locked, KeysError> {
    // One byte more than there is, so that a file that grows meanwhile is noticed; a pipe does not tell.
    let size = file.metadata().map_or(0, |meta| if meta.is_file() { meta.len() as usize } else { MAX });
    let room = size.min(MAX) + 1;
    let mut content = Locked::zeroed(room)?;
    let mut length = 0;
    while length < room {
        match file.read(&mut content.as_mut()[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(KeysError::Read { place, source }),
        }
    }
    if length == room {
        return Err(KeysError::Lines {
            place,
            message: format!("more than {MAX} bytes, or it was changed while it was read"),
        });
    }
    content.truncate(length);
    Ok(content)
}

#[cfg(test)]
impl Keys {
    /// Keys for the tests of other modules.
    pub fn of(entries: &[(&str, &str, Source)]) -> Self {
        let mut keys = Self::default();
        for (name, value, source) in entries {
            keys.put(name, value, *source).expect("room");
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{KeyFile, Keys, Source};
    use crate::private_file::tests::chmod;

    #[test]
    fn the_environment_wins_over_credentials_and_those_over_the_file() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("egress");
        let credentials = dir.path().join("credentials");
        std::fs::create_dir(&folder).expect("folder");
        std::fs::create_dir(&credentials).expect("folder");
        let file = folder.join(".env");
        std::fs::write(&file, "A=file\nB=file\nC=file\n").expect("write");
        std::fs::write(credentials.join("C"), "credential").expect("write");
        chmod(&folder, 0o700);
        chmod(&file, 0o600);
        chmod(&credentials.join("C"), 0o400);
        let (near, far) = std::io::pipe().expect("pipe");
        (&far).write_all(b"B=environment\nD=environment\n").expect("write");
        drop(far);
        let file = KeyFile::new(dir.path(), None, &[]);
        let keys = Keys::read(&file, Some(&credentials), Some(near.into())).expect("reads");
        let shown = |keys: &Keys| {
            ["A", "B", "C", "D", "E"]
                .map(|name| keys.find(name).map(|key| (key.secret.expose().to_owned(), key.source)))
        };
        let [environment, credential] =
            [("environment", Source::Environment), ("credential", Source::Credential)]
                .map(|(value, source)| Some((value.to_owned(), source)));
        let from_file = Some(("file".to_owned(), Source::File));
        assert_eq!(
            shown(&keys),
            [from_file, environment.clone(), credential.clone(), environment.clone(), None]
        );
        assert!(!format!("{keys:?}").contains("environment\""), "Debug shows no value");

        std::fs::write(file.path(), "B=new\nE=new\n").expect("write");
        let again = keys.with_file(&file).expect("reads");
        let new = Some(("new".to_owned(), Source::File));
        assert_eq!(shown(&again), [None, environment.clone(), credential, environment, new]);
    }
}
