//! `skill-jail`: the zygote of all jails. For each call it forks the jail's first process ([`first`]) into namespaces of its
//! own, which builds the root ([`root`]), locks down ([`lock`]) and starts the skill.
//!
//! The zygote itself only forks and passes descriptors on: it hears nothing of a call. It ends with the runner, and every
//! jail ends with it.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
};

use anyhow::Context as _;
use openclaw_confine::{Evidence, Inherited, namespaces, process};
use openclaw_runner::{
    spec::{NAMESPACES, Said},
    zygote::{DOOR, Kind},
};
use openclaw_wire::{frame, pass};
use rustix::process::Pid;

mod first;
mod root;
mod copy;
mod tree;
mod libraries;
mod runtime;
mod attached;
mod made;
mod lock;
mod forward;
mod begin;

/// What came with one request.
pub struct Given {
    /// Where the runner says what to build.
    control: UnixStream,
    /// Standard input, output and error of the skill.
    standard: [OwnedFd; 3],
}

/// What every jail knows of its zygote.
pub struct Zygote {
    /// Readable once it has ended.
    pidfd: OwnedFd,
    uid: u32,
    gid: u32,
}

fn main() -> ExitCode {
    let door = Inherited::take().ok().and_then(|mut inherited| inherited.take_fd(DOOR));
    let Some(door) = door else {
        eprintln!("skill-jail is started by openclaw-runner, which tells it what to run");
        return ExitCode::from(2);
    };
    match serve(door) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("skill-jail: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Forks until the runner is gone; in a jail's first process, lives its life.
fn serve(door: OwnedFd) -> anyhow::Result<ExitCode> {
    let mut evidence = Evidence::open().context("open /proc/self/status")?;
    let zygote = Zygote {
        pidfd: process::itself().context("open a pidfd of the zygote")?,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    process::leave_children();
    lock::prepare();
    while let Some((byte, fds)) = pass::receive_all(&door).context("hear from the runner")? {
        let Some(given) = Given::of(fds) else { continue };
        let kind = Kind::from_byte(byte);
        let namespaces = if kind.namespaces { namespaces::JAIL } else { 0 };
        let told = match process::fork_into(namespaces, &mut evidence) {
            Ok(None) => {
                drop((door, evidence));
                return Ok(first::run(given, kind, zygote));
            }
            Ok(Some((first, pidfd))) => introduce(&given.control, first, &pidfd),
            Err(error) => {
                let message = format!("fork the jail's first process into namespaces: {error}; {NAMESPACES}");
                frame::write(&given.control, &Said::NoJail { message })
            }
        };
        if let Err(error) = told {
            // It has closed its end, and the jail will see that too.
            eprintln!("skill-jail: could not tell the runner: {error}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The jail waits for its call until the runner holds its pidfd.
fn introduce(control: &UnixStream, first: Pid, pidfd: &OwnedFd) -> std::io::Result<()> {
    frame::write(control, &Said::Made { pid: first.as_raw_nonzero().get() })?;
    pass::send(control, pidfd.as_fd())
}

impl Given {
    fn of(fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        Some(Self { control: fds.next()?.into(), standard: [fds.next()?, fds.next()?, fds.next()?] })
    }
}
