//! A folder that several calls may use at the same time, each in a jail of its own.

use std::{fs::File, io, path::Path};

/// A symbolic link at the end of a path is an error, for `OpenOptions::custom_flags` (open(2)).
pub const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Waits until no other call writes in this folder; others wait until what this gives is dropped, or the jail ends.
pub fn alone(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::OpenOptionsExt, thread};

    #[test]
    fn one_writes_at_a_time_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let number = dir.path().join("number");
        std::fs::write(&number, "0").expect("write");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _alone = super::alone(dir.path()).expect("the lock");
                        let before: u32 =
                            std::fs::read_to_string(&number).expect("read").parse().expect("a number");
                        std::fs::write(&number, (before + 1).to_string()).expect("write");
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&number).expect("read"), "400");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&number, &link).expect("link");
        assert!(std::fs::File::open(&link).is_ok());
        assert!(std::fs::OpenOptions::new().read(true).custom_flags(super::NOFOLLOW).open(&link).is_err());
    }
}
