//! Disks that fail on command: a small one that can be filled, files that can't be written. Both need root.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::gateway::NOBODY;

/// A file system in memory with a size of its own.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one of this many KiB.
    pub fn new(kib: usize) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a file system: run it as root");
        let folder = tempfile::Builder::new().prefix("openclaw-disk-").tempdir().expect("a temporary folder");
        let options = std::ffi::CString::new(format!("size={kib}k,mode=0700")).expect("no NUL");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, options.as_c_str())
            .expect("root can mount a tmpfs");
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("mode");
        Self { folder }
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills what is free.
    pub fn fill(&self) {
        let mut filler =
            OpenOptions::new().append(true).create(true).open(self.filler()).expect("create the filler");
        for size in [65_536, 4096, 1] {
            let block = vec![0; size];
            while filler.write_all(&block).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached: a process that is on its way out may still hold a file.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// Files that can't be written for a while, not even by those who have them open (chattr(1), ext4).
pub struct Unwritable(Vec<PathBuf>);

impl Unwritable {
    /// Makes them so. Missing ones are left out.
    pub fn new(files: &[PathBuf]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes files immutable: run it as root");
        let files: Vec<PathBuf> = files.iter().filter(|file| file.exists()).cloned().collect();
        change("+i", &files);
        let refused = File::options().append(true).open(&files[0]).is_err();
        assert!(refused, "the file system of {} knows no immutable files", files[0].display());
        Self(files)
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        change("-i", &self.0);
    }
}

fn change(how: &str, files: &[PathBuf]) {
    let done = Command::new("chattr").arg(how).args(files).output();
    let done = done.expect("chattr is installed (Debian/Ubuntu: apt-get install e2fsprogs)");
    assert!(done.status.success() || std::thread::panicking(), "{}", String::from_utf8_lossy(&done.stderr));
}
