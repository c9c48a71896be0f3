//! A program executes itself again in its own place: with an environment made from nothing, perhaps as another user.
//! The keys that it was started with are gone from `/proc/<pid>/environ` and from its memory after that.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
};

use crate::{capabilities, inherited::FIRST, spawn::Identity};

/// Executes `program` in the place of this process, with at most one descriptor, which it finds by name
/// (`Inherited::take_fd`). Returns only the error of doing so; the process should end then.
pub fn again(
    program: &Path,
    args: Vec<OsString>,
    fd: Option<(&str, OwnedFd)>,
    identity: Option<Identity>,
) -> io::Error {
    let mut command = Command::new(program);
    command.args(args).env_clear();
    if let Some(Identity { uid, gid }) = identity {
        // As root this takes all supplementary groups away as well (std documents it for `uid`).
        command.uid(uid).gid(gid);
        // Now or never: the account that takes over may not change it.
        capabilities::empty_bounding_set();
    }
    if let Some((name, fd)) = fd {
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
        // SAFETY: dup2 and fcntl are async-signal-safe. Number 3 may belong to somebody in this process; nobody uses it
        // again, because what follows is execve, or the end of the process.
        unsafe {
            command.pre_exec(move || {
                let done = match fd.as_raw_fd() {
                    FIRST => libc::fcntl(FIRST, libc::F_SETFD, 0),
                    other => libc::dup2(other, FIRST),
                };
                if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
            });
        }
    }
    command.exec()
}
