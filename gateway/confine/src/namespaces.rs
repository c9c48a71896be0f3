//! Namespaces: a user of its own, and for a jail everything else of its own too (namespaces(7)).
//! Never joins one that exists, and maps exactly one user and one group.

use std::{fs, io};

use rustix::thread::UnshareFlags;

/// The uid and gid that a process of ours has inside its own user namespace.
pub const INSIDE: u32 = 1000;

/// For a process that was started as root: enters a user namespace in which it is an ordinary user.
///
/// Outside it stays the same user without any capability, so it owns the same files. The reason: the kernel lets a uid 0
/// that has lost `CAP_SETFCAP` make no mapping at all (user_namespaces(7)), and then it could build no jail.
/// Nothing happens when the process is not root.
pub fn leave_root() -> io::Result<()> {
    match rustix::process::geteuid().is_root() {
        true => enter(UnshareFlags::NEWUSER),
        false => Ok(()),
    }
}

/// For a jail: new user, mount, pid (for its children), net, ipc, uts and cgroup namespaces. The process has every
/// capability inside and none outside. Single-threaded only (`EINVAL` otherwise).
pub fn jail() -> io::Result<()> {
    enter(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP,
    )
}

fn enter(flags: UnshareFlags) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: CLONE_FILES is not among the flags, so no thread loses a descriptor.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| io::Error::new(error.kind(), format!("write /proc/self/{file}: {error}")))
    };
    // Without `deny` an ordinary user may not map a group (user_namespaces(7)).
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{INSIDE} {uid} 1"))?;
    write("gid_map", format!("{INSIDE} {gid} 1"))
}
