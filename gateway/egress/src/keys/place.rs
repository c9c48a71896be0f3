//! Where the key file is, and whether a secret may lie there: in a folder that others can't change, that nobody serves,
//! and that no version control would take along. Each refusal names the command that mends it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use openclaw_confine::locked::Locked;
use openclaw_wire::facts::FACTS;

use crate::{
    ignored,
    private_file::{self, Refused, quoted},
};

/// Folders that web and file servers hand out, and names of such folders below a home.
const SERVED: [&str; 5] = ["/var/www", "/srv/www", "/srv/http", "/srv/ftp", "/usr/share/nginx"];
const SERVED_NAMES: [&str; 2] = ["public_html", "Public"];

/// The key file's path, and what may not be around it.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    state: PathBuf,
    served: Vec<PathBuf>,
}

impl KeyFile {
    /// The configured file, or the one in the state folder; never one in the working directory. `served` are folders
    /// that others get to read, besides the usual ones.
    pub fn new(state: &Path, configured: Option<&Path>, served: &[PathBuf]) -> Self {
        let path = configured.map_or_else(|| state.join(&FACTS.state.keys), Path::to_owned);
        Self { path, state: state.to_owned(), served: served.to_vec() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Makes the folder of egress if it is not there, and refuses folders that others can change.
    pub fn check_folders(&self) -> Result<(), Refused> {
        private_file::check_folders(&self.state, &FACTS.state.egress)?;
        private_file::check_folder(self.folder())?;
        private_file::check_above(self.folder())
    }

    /// Opens it; `None` when it is not there.
    pub fn open(&self) -> Result<Option<File>, Refused> {
        self.check_folders()?;
        let file = private_file::open(&self.path)?;
        if file.is_some() {
            self.check_served()?;
            ignored::check(&self.path)?;
        }
        Ok(file)
    }

    /// Replaces its content: whole and durable, or not at all.
    pub fn write(&self, content: &Locked) -> Result<(), Refused> {
        private_file::create(&self.path, content.as_ref())
    }

    fn check_served(&self) -> Result<(), Refused> {
        let real = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let usual = SERVED.iter().map(Path::new);
        let inside =
            self.served.iter().map(PathBuf::as_path).chain(usual).find(|folder| real.starts_with(folder));
        let named = real.ancestors().find(|folder| {
            folder.file_name().is_some_and(|name| SERVED_NAMES.iter().any(|served| name == *served))
        });
        match inside.or(named) {
            None => Ok(()),
            Some(folder) => {
                let fallback = self.state.join(&FACTS.state.keys);
                Err(Refused::new(
                    &self.path,
                    format!("lies in {}, a folder that others get to read", folder.display()),
                    format!(
                        "mv {} {}, and take `file` out of section [keys]",
                        quoted(&self.path),
                        quoted(&fallback)
                    ),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::KeyFile;
    use crate::private_file::tests::chmod;

    fn file_in(folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).expect("folder");
        let path = folder.join("keys.env");
        std::fs::write(&path, "A=1\n").expect("write");
        chmod(&path, 0o600);
        path
    }

    #[test]
    fn the_configured_place_is_used_and_the_default_is_in_the_state_folder() {
        let state = Path::new("/s");
        assert_eq!(KeyFile::new(state, None, &[]).path(), Path::new("/s/egress/.env"));
        assert_eq!(KeyFile::new(state, Some(Path::new("/k/e")), &[]).path(), Path::new("/k/e"));
    }

    #[test]
    fn a_served_folder_is_refused_with_the_mend() {
        let dir = tempfile::tempdir().expect("dir");
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("folder");
        chmod(&state, 0o700);
        let good = file_in(&dir.path().join("home/keys"));
        assert!(KeyFile::new(&state, Some(&good), &[]).open().expect("fine").is_some());
        let shared = dir.path().join("home");
        for (path, served) in [
            (good.clone(), vec![std::fs::canonicalize(&shared).expect("path")]),
            (file_in(&dir.path().join("home/public_html/a")), vec![]),
        ] {
            let error = KeyFile::new(&state, Some(&path), &served).open().expect_err("served").to_string();
            assert!(error.contains("others get to read") && error.contains("mend: mv "), "{error}");
        }
        let absent = dir.path().join("home/public_html/none");
        assert!(KeyFile::new(&state, Some(&absent), &[]).open().expect("absent is fine").is_none());
    }
}
