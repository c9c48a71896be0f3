//! The attachments that a call names, as files that nobody in the jail can change. The runner was handed descriptors, and a
//! mount of another mount namespace can't be mounted here (open_tree(2)), so their bytes are copied into memory: no path of
//! the gateway's is ever looked up, and neither runner nor jail has a right to its folder.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
};

use anyhow::{Context as _, ensure};
use openclaw_confine::mounts::{Without, restrict};
use openclaw_wire::file::{ATTACHED, FileName};
use rustix::mount::MountFlags;

use crate::{
    root::{folder, tmpfs},
    tree,
};

/// What a file takes in memory is whole pages.
const PAGE: u64 = 4096;
/// One read.
const PIECE: usize = 64 << 10;

/// Shows them under their names.
pub fn mount(names: &[FileName], handed: Vec<OwnedFd>, base: &Path) -> anyhow::Result<()> {
    ensure!(names.len() == handed.len(), "the call names other attachments than were handed over");
    let mut files = Vec::new();
    let mut size = 4 * PAGE;
    for fd in handed {
        let file = File::from(fd);
        let data = file.metadata().context("look at an attachment")?;
        ensure!(data.is_file(), "an attachment that was handed over is no file");
        size += data.len().next_multiple_of(PAGE);
        files.push((file, data.len()));
    }
    let target = folder(base, ATTACHED)?;
    let inodes = files.len() + 2;
    tmpfs(&target, MountFlags::NOEXEC, &format!("size={size},nr_inodes={inodes},mode=755"))?;
    for (name, (file, length)) in names.iter().zip(files) {
        copy(file, length, &target.join(name.as_str())).with_context(|| format!("copy {}", name.path()))?;
    }
    restrict(tree::open(&target)?.as_ref(), Without { write: true, execute: true, devices: true })
        .context("make the attachments read-only")
}

fn copy(mut from: File, length: u64, target: &Path) -> anyhow::Result<()> {
    // Who handed it over may have read it before.
    from.rewind()?;
    let mut from = from.take(length);
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o444).open(target)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read])?;
    }
}
