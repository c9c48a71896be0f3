//! Namespaces: a user of its own, and for a jail everything else of its own too (namespaces(7)).
//! Never joins one that exists, and maps exactly one user and one group.

use std::{fs, io, os::fd::AsRawFd, path::PathBuf};

use rustix::{
    mount::MountFlags,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::UnshareFlags,
};

/// The uid and gid that a process of ours has inside its own user namespace.
pub const INSIDE: u32 = 1000;

/// For a process that runs under the same uid as others and shall not see their files: a user and a mount namespace
/// in which these folders are closed. What is mounted elsewhere later still appears. And a network namespace with nothing
/// in it: a jail's socket to its own loopback is all that the filter's TCP sockets are for.
///
/// Outside, the process stays the same user, without any capability: it owns the same files. Inside it is an ordinary
/// user even when it was started as root; a uid 0 without `CAP_SETFCAP` may map nothing (user_namespaces(7)) and so could
/// build no jail. A folder that does not exist is left out. Single-threaded only.
pub fn hide(folders: &[PathBuf]) -> io::Result<()> {
    enter(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        rustix::mount::mount(c"tmpfs", folder, c"tmpfs", flags, c"size=4k,nr_inodes=1,mode=000").map_err(
            |error| io::Error::new(error.kind(), format!("mount a cover over {}: {error}", folder.display())),
        )?;
    }
    Ok(())
}

/// What a jail's first process is forked into: new user, mount, pid, net, ipc and uts namespaces. Inside it has every
/// capability, and outside none. The cgroup namespace follows with [`own_cgroup`].
pub const JAIL: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// For a jail's first process: says who it is in its own user namespace.
pub fn settle(uid: u32, gid: u32) -> io::Result<()> {
    map(uid, gid)?;
    // No further one below it, beside what the filter says; where this cannot be written the filter is what holds.
    let _read_only = fs::write("/proc/sys/user/max_user_namespaces", "0");
    Ok(())
}

/// The cgroup that this process is in becomes the root of what it can see of the tree.
pub fn own_cgroup() -> io::Result<()> {
    // SAFETY: CLONE_FILES is not among the flags, so no thread loses a descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP)? };
    Ok(())
}

/// Switches the loopback interface of this process's network namespace on. Needs `CAP_NET_ADMIN` there, which a jail has
/// until it locks down.
pub fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zero is a valid `ifreq`: numbers and bytes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` with its name and flags set (netdevice(7)), which outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn enter(flags: UnshareFlags) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: CLONE_FILES is not among the flags, so no thread loses a descriptor.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    map(uid, gid)
}

/// Maps one user and one group of the namespace outside.
fn map(uid: u32, gid: u32) -> io::Result<()> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| io::Error::new(error.kind(), format!("write /proc/self/{file}: {error}")))
    };
    // Without `deny` an ordinary user may not map a group (user_namespaces(7)).
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{INSIDE} {uid} 1"))?;
    write("gid_map", format!("{INSIDE} {gid} 1"))
}
