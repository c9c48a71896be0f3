//! Keys as systemd credentials (`LoadCredential=`, `LoadCredentialEncrypted=`, systemd.exec(5)): files in the folder that
//! `CREDENTIALS_DIRECTORY` names. A file named like a key holds that key; one that ends in `.env` holds lines. They are
//! a copy from when the unit was started, so a change needs a restart.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{KeysError, Place, Source, lines, slurp};
use crate::{keys::Keys, private_file::Refused};

impl Keys {
    /// Adds the credentials of a folder.
    pub(super) fn add_credentials(&mut self, folder: &Path) -> Result<(), KeysError> {
        let wrong = |source| KeysError::Read { place: Place::Credential(folder.into()), source };
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(wrong)?;
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let (whole, many) = (lines::is_name(&name), name.ends_with(".env"));
            if !whole && !many {
                continue;
            }
            let place = || Place::Credential(path.clone());
            let file = open(&path)?;
            let content = slurp(file, place())?;
            let text = std::str::from_utf8(content.as_ref())
                .map_err(|_| KeysError::Lines { place: place(), message: "not UTF-8 text".into() })?;
            match many {
                true => self.add_lines(text, place(), Source::Credential)?,
                // `systemd-creds encrypt` of a file that an editor wrote keeps the line's end.
                false => match text.trim_end_matches(['\r', '\n']) {
                    "" => {}
                    value if value.chars().any(char::is_control) => {
                        return Err(KeysError::Lines { place: place(), message: "a key is one line".into() });
                    }
                    value => self.put(&name, value, Source::Credential)?,
                },
            }
        }
        Ok(())
    }
}

/// systemd gives the file to the service's user, or keeps it root's and lets the user read it by an access list, which
/// shows as a group's right to read.
fn open(path: &Path) -> Result<fs::File, KeysError> {
    let wrong = |source| KeysError::Read { place: Place::Credential(path.into()), source };
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map(fs::File::from)
        .map_err(|error| wrong(io::Error::from(error)))?;
    let meta = file.metadata().map_err(wrong)?;
    let me = rustix::process::geteuid().as_raw();
    let closed = match meta.uid() {
        owner if owner == me => meta.mode() & 0o077 == 0,
        0 => meta.mode() & 0o037 == 0,
        _ => false,
    };
    match closed && meta.is_file() {
        true => Ok(file),
        false => Err(KeysError::Exposed(Refused::new(
            path,
            format!(
                "is not a credential as systemd makes them (owner {}, mode {:04o})",
                meta.uid(),
                meta.mode() & 0o7777
            ),
            "let systemd make it: LoadCredential= or LoadCredentialEncrypted= in the unit",
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Keys, Source};
    use crate::private_file::tests::chmod;

    fn write(folder: &Path, name: &str, content: &str, mode: u32) {
        std::fs::write(folder.join(name), content).expect("write");
        chmod(&folder.join(name), mode);
    }

    #[test]
    fn files_named_like_keys_and_files_of_lines_are_read() {
        let dir = tempfile::tempdir().expect("dir");
        write(dir.path(), "OPENAI_API_KEY", "test-key-not-real\n", 0o400);
        write(dir.path(), "more.env", "A=1\nB=2\n", 0o400);
        write(dir.path(), "tls-certificate", "not a key\n", 0o400);
        write(dir.path(), "EMPTY", "\n", 0o400);
        let mut keys = Keys::default();
        keys.add_credentials(dir.path()).expect("reads");
        let names: Vec<_> = keys.iter().map(|key| (key.name.as_str(), key.source)).collect();
        let from = Source::Credential;
        assert_eq!(names, [("OPENAI_API_KEY", from), ("A", from), ("B", from)]);
        assert_eq!(keys.get("OPENAI_API_KEY").expect("there").expose(), "test-key-not-real");
    }

    #[test]
    fn a_file_for_others_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().expect("dir");
        for (content, mode, part) in
            [("hidden", 0o444, "LoadCredential="), ("hid\nden", 0o400, "a key is one line")]
        {
            write(dir.path(), "A", content, mode);
            let error = Keys::default().add_credentials(dir.path()).expect_err(part).to_string();
            assert!(error.contains(part) && !error.contains("hid"), "{error}");
        }
    }
}
