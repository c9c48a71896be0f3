//! A jail's processes: the zygote forks its first process, into namespaces of its own, and that one starts the skill's
//! program by descriptor. Never forks with threads: the proof is asked for.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags},
};

use crate::Evidence;

/// Stack of a child that shares this process's memory until it executes: it makes some system calls there.
const STACK: usize = 64 << 10;

/// From now on the kernel reaps the children of this process, and nobody waits for them.
pub fn leave_children() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// This process as others see it, for whoever wants to know whether it still lives.
pub fn itself() -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)
}

/// Forks, the child into new namespaces ([`crate::namespaces::JAIL`], or none). `None` in the child; in the parent its id and
/// its pidfd. `evidence` must be this process's own: it shows that there is one thread.
pub fn fork_into(namespaces: i32, evidence: &mut Evidence) -> io::Result<Option<(Pid, OwnedFd)>> {
    let threads = evidence.read()?.threads;
    if threads != 1 {
        return Err(io::Error::other(format!("fork with {threads} threads")));
    }
    let mut pidfd: libc::c_int = -1;
    let flags = (namespaces | libc::CLONE_PIDFD | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without a stack of its own the child is a copy, as after fork(2); with a single thread nobody else can hold
    // a lock that it would wait for. The kernel writes the pidfd before this returns.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: the default action is no handler.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
            Ok(None)
        }
        child => {
            // SAFETY: the kernel made it for this process, close-on-exec (clone(2)).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some((Pid::from_raw(child as libc::pid_t).expect("clone gives a positive number"), pidfd)))
        }
    }
}

/// What a child shares with the process that starts it, until it executes.
struct Shared<'a> {
    before: &'a mut dyn FnMut() -> io::Result<()>,
    program: i32,
    args: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    errno: i32,
}

/// Starts the program that `program` was opened on (execveat(2)) as a child, with `SIGPIPE` as programs expect it (Rust
/// ignores it). Returns when it has been entered. `before` runs in the child, in this process's memory while this process
/// waits (as in posix_spawn(3)): it makes system calls and nothing else.
pub fn start(
    program: BorrowedFd<'_>,
    args: &[CString],
    environment: &[CString],
    before: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Pid> {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let mut shared = Shared {
        before,
        program: program.as_raw_fd(),
        args: pointers(args),
        environment: pointers(environment),
        errno: 0,
    };
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end, which is aligned as every ABI wants it; `shared` and everything that it
    // points to outlive the child's use, because with CLONE_VFORK this thread goes on only when the child has executed or
    // ended. `enter` touches nothing else of this process.
    let child =
        unsafe { libc::clone(enter, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut shared).cast()) };
    if child == -1 {
        return Err(io::Error::last_os_error());
    }
    let child = Pid::from_raw(child).expect("clone gives a positive number");
    match shared.errno {
        0 => Ok(child),
        errno => {
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())?;
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

extern "C" fn enter(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes its own `Shared`, and waits.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    let error = match (shared.before)() {
        Err(error) => error,
        Ok(()) => {
            // SAFETY: back to the default action, in the child's own table; an empty path and two NULL-terminated arrays
            // of C strings, all of which outlive the call.
            unsafe {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::syscall(
                    libc::SYS_execveat,
                    shared.program,
                    c"".as_ptr(),
                    shared.args.as_ptr(),
                    shared.environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                );
            }
            io::Error::last_os_error()
        }
    };
    shared.errno = error.raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: ends the child alone; nothing that the parent registered runs.
    unsafe { libc::_exit(127) }
}

/// Whether the process is gone from every table; `false` while it lives or nobody has reaped it.
pub fn gone(pidfd: BorrowedFd<'_>) -> bool {
    // SAFETY: signal 0 is none (kill(2)); there is no siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(Errno::SRCH.raw_os_error())
}
