//! Files that only egress may read: how they are opened, what is refused, how one is written whole.
//! Nothing here changes a mode or an owner: the operator is told the command that does.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use openclaw_wire::whole;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    process::geteuid,
};
use zeroize::Zeroizing;

/// Why a file or folder is not private.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}\n  mend: {mend}")]
pub struct Refused {
    path: PathBuf,
    problem: String,
    mend: String,
}

impl Refused {
    /// What is wrong with it, and the command that mends it.
    pub fn new(path: &Path, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into(), mend: mend.into() }
    }

    fn io(path: &Path, act: &str, error: impl Into<io::Error>) -> Self {
        Self::new(path, format!("{act}: {}", error.into()), "check the path, its owner and the free space")
    }
}

/// Makes the folder below `state` if it is not there, then checks both: whoever can write a folder can put a file of
/// his own in the place of ours.
pub fn check_folders(state: &Path, folder: &Path) -> Result<(), Refused> {
    let folder = state.join(folder);
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Refused::io(&folder, "make the folder", error));
        }
        _ => {}
    }
    check_folder(state)?;
    check_folder(&folder)
}

/// A folder of a secret: ours or root's, no link, and nobody else may write it.
pub fn check_folder(path: &Path) -> Result<(), Refused> {
    let fd = openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let meta = fd.map(File::from).map_err(io::Error::from).and_then(|fd| fd.metadata());
    let meta = meta.map_err(|error| Refused::io(path, "open as a folder that is no link", error))?;
    let me = geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        let problem = format!("the folder belongs to user {}, not to user {me} or root", meta.uid());
        return Err(Refused::new(path, problem, format!("chown {me} {}", quoted(path))));
    }
    if meta.mode() & 0o022 != 0 {
        let problem = format!("others may write the folder (mode {:04o})", meta.mode() & 0o7777);
        return Err(Refused::new(path, problem, format!("chmod go-w {}", quoted(path))));
    }
    Ok(())
}

/// The folders above a secret's folder: whoever can write one can put another in the place of the next. A sticky one
/// (`/tmp`) lets nobody touch what is not his own. A group may write: many systems give each user a group of his own.
pub fn check_above(folder: &Path) -> Result<(), Refused> {
    let me = geteuid().as_raw();
    for above in folder.ancestors().skip(1) {
        let meta =
            std::fs::metadata(above).map_err(|error| Refused::io(above, "look at the folder", error))?;
        let open = meta.mode() & 0o1002 == 0o002;
        if open || (meta.uid() != me && meta.uid() != 0) {
            let problem = format!(
                "whoever can change this folder can put another key file in its place (owner {}, mode {:04o})",
                meta.uid(),
                meta.mode() & 0o7777
            );
            let mend = match open {
                true => format!("chmod o-w {}", quoted(above)),
                false => format!("chown root {}", quoted(above)),
            };
            return Err(Refused::new(above, problem, mend));
        }
    }
    Ok(())
}

/// Opens a file that must be ours, regular, no link, and mode 0600 or less. `None` when it does not exist.
pub fn open(path: &Path) -> Result<Option<File>, Refused> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            let mend = format!("put the file itself there instead of a link: rm {}", quoted(path));
            return Err(Refused::new(path, "is a symbolic link", mend));
        }
        Err(error) => return Err(Refused::io(path, "open", error)),
    };
    let meta = file.metadata().map_err(|error| Refused::io(path, "look at", error))?;
    let me = geteuid().as_raw();
    if !meta.is_file() {
        return Err(Refused::new(path, "is not a regular file", format!("remove {}", quoted(path))));
    }
    if meta.uid() != me {
        let problem = format!("belongs to user {}, not to user {me}", meta.uid());
        return Err(Refused::new(path, problem, format!("chown {me} {}", quoted(path))));
    }
    if meta.mode() & 0o7177 != 0 {
        let problem = format!("mode {:04o} is wider than 0600", meta.mode() & 0o7777);
        return Err(Refused::new(path, problem, format!("chmod 600 {}", quoted(path))));
    }
    Ok(Some(file))
}

/// All of a file that [`open`] opens, as text of at most `most` bytes. What was read is wiped when it is dropped.
pub fn text(path: &Path, most: u64) -> Result<Option<Zeroizing<String>>, Refused> {
    let Some(file) = open(path)? else { return Ok(None) };
    // With room for all of it, so that no part of it is left where a smaller piece of memory was.
    let room = file.metadata().map_or(0, |meta| meta.len()).min(most) as usize + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(most + 1).read_to_string(&mut text).map_err(|error| Refused::io(path, "read", error))?;
    match text.len() as u64 > most {
        true => {
            Err(Refused::new(path, format!("is larger than {most} bytes"), "put back the file as it was"))
        }
        false => Ok(Some(text)),
    }
}

/// Writes a new file with mode 0600: whole and durable under its name, or not at all.
pub fn create(path: &Path, content: &[u8]) -> Result<(), Refused> {
    whole::replace(path, content, 0o600, None).map_err(|error| Refused::io(path, "write", error))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
pub mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, symlink},
        path::{Path, PathBuf},
    };

    use super::{check_folders, create, open, quoted, text};

    /// Sets a mode whatever the umask.
    pub fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn only_a_private_regular_file_is_opened() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(".env");
        assert!(open(&path).expect("absent is fine").is_none());
        std::fs::write(&path, "A=1").expect("write");
        for good in [0o600, 0o400] {
            chmod(&path, good);
            assert!(open(&path).expect("private").is_some());
        }
        for bad in [0o640, 0o604, 0o620, 0o602, 0o700, 0o4600, 0o666] {
            chmod(&path, bad);
            let text = open(&path).expect_err("wide").to_string();
            assert!(text.contains(&format!("mode {bad:04o} is wider than 0600")), "{text}");
            assert!(text.ends_with(&format!("mend: chmod 600 {}", path.display())), "{text}");
        }
        chmod(&path, 0o600);
        let link = dir.path().join("link");
        symlink(&path, &link).expect("symlink");
        assert!(open(&link).expect_err("link").to_string().contains("is a symbolic link"));
        assert!(open(dir.path()).expect_err("folder").to_string().contains("is not a regular file"));
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let (state, folder) = (dir.path(), Path::new("egress"));
        check_folders(state, folder).expect("made");
        let inner = state.join(folder);
        assert_eq!(std::fs::metadata(&inner).expect("meta").permissions().mode() & 0o777, 0o700);
        chmod(&inner, 0o770);
        let text = check_folders(state, folder).expect_err("group").to_string();
        assert!(text.ends_with(&format!("mend: chmod go-w {}", inner.display())), "{text}");
        chmod(&inner, 0o700);
        chmod(state, 0o777);
        assert!(
            check_folders(state, folder).is_err(),
            "who can write the state folder can swap the inner one"
        );
        chmod(state, 0o700);
        std::fs::remove_dir(&inner).expect("rmdir");
        symlink("/", &inner).expect("symlink");
        assert!(check_folders(state, folder).is_err(), "a link");
    }

    #[test]
    fn a_new_file_is_private_and_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("secret");
        std::fs::write(path.with_extension("new"), "left by a crash").expect("write");
        create(&path, b"content").expect("creates");
        assert_eq!(*text(&path, 7).expect("private").expect("there"), "content");
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_text_has_its_most_and_is_never_cut() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("list");
        assert!(text(&path, 7).expect("absent is fine").is_none());
        create(&path, b"content").expect("creates");
        assert!(text(&path, 6).expect_err("larger").to_string().contains("larger than 6 bytes"));
        create(&path, b"\xff").expect("creates");
        assert!(text(&path, 7).expect_err("no text").to_string().contains("read: "));
        chmod(&path, 0o644);
        assert!(text(&path, 7).expect_err("wide").to_string().contains("wider than 0600"));
    }

    #[test]
    fn a_mend_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(&PathBuf::from("/a/b-c.d_e")), "/a/b-c.d_e");
        assert_eq!(quoted(&PathBuf::from("/a b/it's")), r"'/a b/it'\''s'");
    }
}
