//! A file that is replaced as a whole or not at all, and is on the disk when that is done.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::Path,
};

/// Puts a file with this content and mode under the name, in the place of what is there; `owner`: for this user and group. It is
/// written beside it first, with the extension `new`; what a crash left there goes.
pub fn replace(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let half = path.with_extension("new");
    match fs::remove_file(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Where there is something, be it a link, it is not opened.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&half)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    File::open(path.parent().unwrap_or("/".as_ref()))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::replace;

    #[test]
    fn what_was_there_and_what_a_crash_left_is_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        let (path, other) = (dir.path().join("a.toml"), dir.path().join("other"));
        fs::write(&other, "another's").expect("write");
        symlink(&other, dir.path().join("a.new")).expect("link");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o600, None).expect("replaced");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&other).expect("read"), "another's", "a link is not followed");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 2, "nothing half done is left");
        assert!(replace(&dir.path().join("absent/file"), b"", 0o600, None).is_err());
    }
}
