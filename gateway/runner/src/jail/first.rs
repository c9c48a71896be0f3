//! The jail's first process (pid 1 inside): builds, locks down, starts the skill, reaps, and ends with it. When it ends the
//! kernel kills whatever is left in its pid namespace.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use openclaw_confine::{Barrier, Evidence, Report, namespaces, process};
use openclaw_runner::{
    spec::{NAMESPACES, Said, Spec},
    zygote::Kind,
};
use openclaw_wire::{frame, pass};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal},
    time::{ClockId, clock_gettime},
};

use crate::{Given, Zygote, begin, forward, lock, made, root};

/// Why the skill was not started.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The folder's copy has another digest than the approved one.
    #[error("the skill's folder has changed")]
    Changed,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What is made before anything of the call is known.
struct Prepared {
    evidence: Evidence,
    /// The mount namespace: who holds it decides when the kernel takes the mounts down.
    mounts: OwnedFd,
}

/// Runs the whole life of the jail.
pub fn run(given: Given, kind: Kind, zygote: Zygote) -> ExitCode {
    let Given { control, standard } = given;
    if !dies_with(&zygote) {
        return ExitCode::FAILURE;
    }
    // What is the same for every call needs no word of it. A failure is told when the runner listens.
    let prepared = prepare(standard, kind, &zygote);
    drop(zygote);
    // An end without a word means that the runner is gone.
    let Ok(Some(spec)) = frame::read::<Spec>(&control) else { return ExitCode::FAILURE };
    let lived = prepared.map_err(Trouble::Other).and_then(|prepared| live(&control, &spec, prepared));
    let last = match lived {
        Ok(status) => Said::Ended { status },
        Err(Trouble::Changed) => Said::Changed,
        Err(Trouble::Other(error)) => Said::NoJail { message: format!("{error:#}") },
    };
    let _runner_gone = frame::write(&control, &last);
    ExitCode::SUCCESS
}

/// Ends with the zygote from here on; `false` when that one has ended already.
fn dies_with(zygote: &Zygote) -> bool {
    let ended = || {
        let mut fds = [PollFd::new(&zygote.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    };
    set_parent_process_death_signal(Some(Signal::KILL)).is_ok() && !ended()
}

fn prepare(standard: [OwnedFd; 3], kind: Kind, zygote: &Zygote) -> anyhow::Result<Prepared> {
    let [input, output, errors] = standard;
    rustix::stdio::dup2_stdin(&input)?;
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&errors)?;
    if kind.namespaces {
        namespaces::settle(zygote.uid, zygote.gid)
            .with_context(|| format!("make the jail's namespaces; {NAMESPACES}"))?;
    }
    // When the machine runs out of memory the kernel takes this call first, not somebody's conversation. If it cannot
    // be said, the limits still hold.
    let _unsaid = std::fs::write("/proc/self/oom_score_adj", "1000");
    let evidence = Evidence::open().context("open /proc/self/status")?;
    let mounts = File::open("/proc/self/ns/mnt").context("open the mount namespace")?.into();
    rustix::process::setsid().context("begin a session")?;
    if kind.mounts {
        root::prepare()?;
    }
    Ok(Prepared { evidence, mounts })
}

/// Returns the wait status of the skill.
fn live(control: &UnixStream, spec: &Spec, prepared: Prepared) -> Result<i32, Trouble> {
    let Prepared { mut evidence, mounts } = prepared;
    let way = spec.authority.is_some().then(|| pass::receive(control)).transpose();
    let way = way.context("receive the way out")?;
    let attached: io::Result<_> = spec.attached.iter().map(|_| pass::receive(control)).collect();
    let attached = attached.context("receive the attachments")?;
    let made = spec.makes.map(|_| pass::receive(control)).transpose();
    let made = made.context("receive the socket for what the skill makes")?;
    if spec.with(Barrier::Namespaces) {
        // Now that it is in the call's own cgroup.
        namespaces::own_cgroup().context("make the jail's cgroup namespace")?;
    }
    let root = match Kind::of(spec).mounts {
        true => root::build(spec, attached)?,
        false => root::none(spec)?,
    };
    let way = way.map(forward::listen).transpose()?;
    let report = lock::down(spec, &root, &mut evidence)?;
    let Some(program) = root.program else {
        // A trial of the barriers alone.
        runs(control, &mounts, Some(report)).context("tell the runner")?;
        return Ok(0);
    };
    let skill = start(spec, program).context("start the skill's program")?;
    way.map(forward::start).transpose()?;
    runs(control, &mounts, None).context("tell the runner")?;
    let status = reap_until(skill)?;
    if let (Some(made), 0) = (made, status.as_raw()) {
        // Whoever reads sees by the missing end that it is not all.
        let _unheard = made::hand_out(made);
    }
    Ok(status.as_raw())
}

fn runs(control: &UnixStream, mounts: &OwnedFd, report: Option<Report>) -> std::io::Result<()> {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    let built = Duration::new(tv_sec as u64, tv_nsec as u32);
    frame::write(control, &Said::Runs { built, report })?;
    pass::send(control, mounts.as_fd())
}

fn start(spec: &Spec, program: OwnedFd) -> anyhow::Result<Pid> {
    let (args, environment) = begin::with(spec).context("make the skill's arguments")?;
    let mut before = || {
        if !spec.with(Barrier::Namespaces) {
            // Without a pid namespace nothing else would take it along.
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        lock::hold(spec)
    };
    Ok(process::start(program.as_fd(), &args, &environment, &mut before)?)
}

/// Reaps every process that ends, orphans included, until this one has.
fn reap_until(skill: Pid) -> anyhow::Result<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == skill => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for the skill"),
        }
    }
}
