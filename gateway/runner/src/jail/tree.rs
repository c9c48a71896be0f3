//! Mounting by descriptor: a folder is opened without following a link, copied as a mount, restricted while it is
//! still detached, and then attached. No path is looked up twice.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::Context as _;
use openclaw_confine::mounts::{Without, restrict};
use openclaw_runner::spec::Grant;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags},
};

/// A folder or file by descriptor only.
pub struct Handle(OwnedFd);

impl Handle {
    /// For the calls that take a descriptor.
    pub fn as_ref(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens a path of ours.
pub fn open(path: &Path) -> anyhow::Result<Handle> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map(Handle)
        .with_context(|| format!("open {}", path.display()))
}

/// Mounts a granted folder. Neither it nor a folder above it may be a symbolic link.
pub fn grant(grant: &Grant, target: &Path) -> anyhow::Result<()> {
    let name = &grant.name;
    let opened = beneath_root(&grant.host, OFlags::DIRECTORY).map_err(|error| match error {
        Errno::NOENT => anyhow::anyhow!("the granted folder {name} does not exist; mend: mkdir -p {name}"),
        Errno::LOOP | Errno::XDEV => anyhow::anyhow!(
            "the granted folder {name} is a symbolic link or lies behind one, and grants follow none; mend: name \
             the real folder in the manifest, or make {name} a folder"
        ),
        Errno::NOTDIR => anyhow::anyhow!("the granted path {name} is not a folder; mend: grant its folder"),
        other => anyhow::anyhow!("open the granted folder {name}: {other}"),
    })?;
    let without = Without { write: !grant.write, execute: true, devices: true };
    attach(opened.as_fd(), c"", OpenTreeFlags::AT_EMPTY_PATH, target, without)
        .with_context(|| format!("mount the granted folder {name}"))
}

fn beneath_root(path: &Path, kind: OFlags) -> Result<OwnedFd, Errno> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let relative = path.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&root, relative, OFlags::PATH | OFlags::CLOEXEC | kind, Mode::empty(), resolve)
}

/// Mounts a file or folder of the operator's choice, read-only. The path has no symbolic link, or this fails.
pub fn system(path: &Path, target: &Path) -> anyhow::Result<()> {
    let opened = beneath_root(path, OFlags::empty()).with_context(|| format!("open {}", path.display()))?;
    let without = Without { write: true, execute: false, devices: true };
    attach(opened.as_fd(), c"", OpenTreeFlags::AT_EMPTY_PATH, target, without)
        .with_context(|| format!("mount {}", path.display()))
}

/// Mounts a path of the system (libraries, devices).
pub fn mount(source: &Path, target: &Path, without: Without) -> anyhow::Result<()> {
    let path =
        std::ffi::CString::new(source.as_os_str().as_encoded_bytes()).context("a path with a NUL byte")?;
    attach(CWD, &path, OpenTreeFlags::empty(), target, without)
}

fn attach(
    from: BorrowedFd<'_>,
    path: &std::ffi::CStr,
    how: OpenTreeFlags,
    target: &Path,
    without: Without,
) -> anyhow::Result<()> {
    // With what is mounted below it: a copy without would show what those mounts cover.
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE | how;
    let tree = rustix::mount::open_tree(from, path, flags).context("copy the mount")?;
    restrict(tree.as_fd(), without).context("restrict the mount")?;
    rustix::mount::move_mount(&tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context("attach the mount")
}
