//! Other processes: the host's, seen and touched; and namespaces of one's own.

use std::{fs, io};

use openclaw_confine::{Barrier::Namespaces, attempt};
use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit,
        setpriority_process, test_kill_process,
    },
};

use super::{probes::Line, scene::Places};

const GROUP: &str = "processes";

/// What is tried.
pub const PROBES: &[Line] = &[
    (GROUP, "signal a process of the host", &[], |at| done(test_kill_process(victim(at)?))),
    (GROUP, "signal it through a pidfd", &[], |at| {
        let fd = pidfd_open(victim(at)?, PidfdFlags::empty())?;
        // What it ignores: the victim is asked for nothing.
        done(pidfd_send_signal(&fd, Signal::CONT))
    }),
    (GROUP, "read its environment", &[], |at| {
        fs::read(format!("/proc/{}/environ", at.victim)).map(|bytes| format!("{} bytes", bytes.len()))
    }),
    (GROUP, "read its memory", &[], |at| {
        fs::File::open(format!("/proc/{}/mem", at.victim)).map(|_| "opened".into())
    }),
    (GROUP, "change its limits", &[], |at| {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        done(prlimit(Some(victim(at)?), Resource::Core, none).map(drop))
    }),
    // The kernel asks for the same user alone; there is no other barrier, and no harm.
    (GROUP, "change its priority", &[Namespaces], |at| done(setpriority_process(Some(victim(at)?), 10))),
    (GROUP, "make a user namespace", &[], |_| made(libc_flag::NEWUSER)),
    (GROUP, "make a mount namespace", &[], |_| made(libc_flag::NEWNS)),
    (GROUP, "make a pid namespace", &[], |_| made(libc_flag::NEWPID)),
    (GROUP, "make a network namespace", &[], |_| made(libc_flag::NEWNET)),
    (GROUP, "make an ipc namespace", &[], |_| made(libc_flag::NEWIPC)),
    (GROUP, "make a cgroup namespace", &[], |_| made(libc_flag::NEWCGROUP)),
];

/// Flags of clone(2), from linux/sched.h.
mod libc_flag {
    pub const NEWNS: i32 = 0x0002_0000;
    pub const NEWCGROUP: i32 = 0x0200_0000;
    pub const NEWIPC: i32 = 0x0800_0000;
    pub const NEWUSER: i32 = 0x1000_0000;
    pub const NEWPID: i32 = 0x2000_0000;
    pub const NEWNET: i32 = 0x4000_0000;
}

fn victim(at: &Places) -> Result<Pid, Errno> {
    Pid::from_raw(at.victim).ok_or(Errno::SRCH)
}

fn done(result: Result<(), Errno>) -> io::Result<String> {
    result?;
    Ok("done".into())
}

fn made(flags: i32) -> io::Result<String> {
    attempt::clone_into(flags).map(|()| "made".into())
}
