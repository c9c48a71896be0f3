//! What may be done through a mount, set while nobody can use it yet (mount_setattr(2)).
//! Only takes away; the flags that a mount brings along stay.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// What is taken from a mount, besides `suid` and devices, which are always taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Without {
    /// No writing.
    pub write: bool,
    /// No executing.
    pub execute: bool,
    /// No device nodes. False only for the mount of a device itself.
    pub devices: bool,
}

/// Restricts the mount that `tree` is the root of, and all mounts below it.
pub fn restrict(tree: BorrowedFd<'_>, without: Without) -> io::Result<()> {
    let mut flags = libc::MOUNT_ATTR_NOSUID;
    for (on, flag) in [
        (without.write, libc::MOUNT_ATTR_RDONLY),
        (without.execute, libc::MOUNT_ATTR_NOEXEC),
        (without.devices, libc::MOUNT_ATTR_NODEV),
    ] {
        if on {
            flags |= flag;
        }
    }
    let attributes = libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is an empty C string, the struct is of the size that is passed, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
