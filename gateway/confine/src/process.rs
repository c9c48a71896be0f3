//! A jail's own two processes: fork, and become a program that is already open.
//! Never in a process with threads: the proof is asked for.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::process::Pid;

use crate::Evidence;

/// Forks. `None` in the child. `evidence` must be this process's own: it shows that there is one thread.
pub fn fork(evidence: &mut Evidence) -> io::Result<Option<Pid>> {
    let threads = evidence.read()?.threads;
    if threads != 1 {
        return Err(io::Error::other(format!("fork with {threads} threads")));
    }
    // SAFETY: with a single thread nobody else can hold a lock that the child would wait for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Replaces this process by the program that `program` was opened on (execveat(2)), with `SIGPIPE` as programs expect
/// it (Rust ignores it). Returns only when that failed.
pub fn execute(program: BorrowedFd<'_>, args: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, environment) = (pointers(args), pointers(environment));
    // SAFETY: back to the default action, so no handler of ours is concerned.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: an empty path and two NULL-terminated arrays of C strings, all of which outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
