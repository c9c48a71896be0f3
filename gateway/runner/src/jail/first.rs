//! The jail's first process (pid 1 inside): builds, locks down, starts the skill, reaps, and ends with it. When it ends the
//! kernel kills whatever is left in its pid namespace.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
};

use anyhow::Context as _;
use openclaw_confine::{Barrier, Evidence, process};
use openclaw_runner::spec::{Said, Spec};
use openclaw_wire::frame;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::{begin, forward, lock, root};

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

/// Runs the whole life of the jail.
pub fn run(control: &UnixStream, spec: &Spec, way: Option<OwnedFd>) -> ExitCode {
    let last = match live(control, spec, way) {
        Ok(status) => Said::Ended { status },
        Err(Trouble::Changed) => Said::Changed,
        Err(Trouble::Other(error)) => Said::NoJail { message: format!("{error:#}") },
    };
    let _runner_gone = frame::write(control, &last);
    ExitCode::SUCCESS
}

/// Returns the wait status of the skill.
fn live(control: &UnixStream, spec: &Spec, way: Option<OwnedFd>) -> Result<i32, Trouble> {
    let mut evidence = Evidence::open().context("open /proc/self/status")?;
    rustix::process::setsid().context("begin a session")?;
    let root = match spec.with(Barrier::Namespaces) && spec.with(Barrier::Mounts) {
        true => root::build(spec)?,
        false => root::none(spec)?,
    };
    let way = way.map(forward::listen).transpose()?;
    let report = lock::down(spec, &root, &mut evidence)?;
    let Some(program) = root.program else {
        // A trial of the barriers alone.
        frame::write(control, &Said::Runs { report }).context("tell the runner")?;
        return Ok(0);
    };
    let skill = start(spec, program, &mut evidence)?;
    // After the fork: until then this process has one thread.
    way.map(forward::start).transpose()?;
    frame::write(control, &Said::Runs { report }).context("tell the runner")?;
    let status = reap_until(skill)?;
    Ok(status.as_raw())
}

/// Forks and becomes the skill. Returns when the program has been entered.
fn start(spec: &Spec, program: OwnedFd, evidence: &mut Evidence) -> anyhow::Result<Pid> {
    let (args, environment) = begin::with(spec).context("make the skill's arguments")?;
    let (mut failed, mut report) = UnixStream::pair().context("make a socket pair")?;
    let Some(skill) = process::fork(evidence).context("fork the skill")? else {
        drop(failed);
        if !spec.with(Barrier::Namespaces) {
            // Without a pid namespace nothing else would take it along.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .context("die with the first process")?;
        }
        let error = match lock::hold(spec) {
            Err(error) => error.to_string(),
            Ok(()) => process::execute(program.as_fd(), &args, &environment).to_string(),
        };
        // The other end learns it, and this process has nothing left to do but to end.
        let _told = report.write_all(error.as_bytes());
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        anyhow::bail!("start the skill's program: {error}");
    };
    drop(report);
    let mut error = String::new();
    failed.read_to_string(&mut error).context("wait for the skill's start")?;
    match error.is_empty() {
        true => Ok(skill),
        false => Err(anyhow::anyhow!("start the skill's program: {error}")),
    }
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
