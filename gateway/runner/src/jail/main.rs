//! `skill-jail`: one call of one skill. Makes the namespaces and the jail's first process ([`first`]), which builds the
//! root ([`root`]), locks down ([`lock`]) and starts the skill.
//!
//! This outer process only waits: it dies with the runner, the first process dies with it, and with that one everything.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
};

use anyhow::Context as _;
use openclaw_confine::{Barrier, Evidence, Inherited, namespaces, process};
use openclaw_runner::spec::{CONTROL, NAMESPACES, Said, Spec, WAY};
use openclaw_wire::{frame, pass};
use rustix::process::{Pid, PidfdFlags, WaitOptions};

mod first;
mod root;
mod copy;
mod tree;
mod libraries;
mod runtime;
mod lock;
mod forward;
mod begin;

/// Which of the two processes returns.
enum Side {
    First(ExitCode),
    Outer { first: Pid, go: UnixStream },
}

fn main() -> ExitCode {
    let Some((control, spec, way)) = told() else {
        eprintln!("skill-jail is started by openclaw-runner, which tells it what to run");
        return ExitCode::from(2);
    };
    match split(&control, &spec, way) {
        Ok(Side::First(code)) => code,
        Ok(Side::Outer { first, mut go }) => {
            // From here on the socket and the pipes are the jail's alone: when it ends, the runner sees it.
            drop(control);
            let _gone = go.write_all(b"g");
            let _status = rustix::process::waitpid(Some(first), WaitOptions::empty());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _runner_gone = frame::write(&control, &Said::NoJail { message: format!("{error:#}") });
            ExitCode::FAILURE
        }
    }
}

fn told() -> Option<(UnixStream, Spec, Option<OwnedFd>)> {
    let mut inherited = Inherited::take().ok()?;
    let control = UnixStream::from(inherited.take_fd(CONTROL)?);
    let way = inherited.take_fd(WAY);
    let spec = frame::read(&control).ok()??;
    Some((control, spec, way))
}

fn split(control: &UnixStream, spec: &Spec, way: Option<OwnedFd>) -> anyhow::Result<Side> {
    let mut evidence = Evidence::open().context("open /proc/self/status")?;
    if spec.with(Barrier::Namespaces) {
        namespaces::jail().with_context(|| format!("make the jail's namespaces; {NAMESPACES}"))?;
    }
    // When the machine runs out of memory the kernel takes this call first, not somebody's conversation. If it cannot
    // be said, the limits still hold.
    let _unsaid = std::fs::write("/proc/self/oom_score_adj", "1000");
    let (mut wait, go) = UnixStream::pair().context("make a socket pair")?;
    let Some(first) = process::fork(&mut evidence).context("fork the jail's first process")? else {
        drop((go, evidence));
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .context("die with the outer process")?;
        // It starts when the runner holds its pidfd; an end without a word means that the outer process is gone.
        let code = match wait.read(&mut [0]) {
            Ok(1) => first::run(control, spec, way),
            _ => ExitCode::FAILURE,
        };
        return Ok(Side::First(code));
    };
    let pidfd = rustix::process::pidfd_open(first, PidfdFlags::empty()).context("open the jail's pidfd")?;
    frame::write(control, &Said::Made { pid: first.as_raw_nonzero().get() }).context("tell the runner")?;
    pass::send(control, pidfd.as_fd()).context("pass the jail's pidfd to the runner")?;
    leave_pipes().context("let go of the pipes")?;
    Ok(Side::Outer { first, go })
}

/// Points 0, 1 and 2 away from the runner's pipes.
fn leave_pipes() -> anyhow::Result<()> {
    let null: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
