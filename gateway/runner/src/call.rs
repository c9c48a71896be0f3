//! One call: starts the jail, holds it to its limits, and does not return before everything that it started is gone.

use std::{
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::ExitStatus,
    time::{Duration, Instant},
};

use openclaw_confine::{Barrier, Report};
use openclaw_wire::{
    runner::{Failure, Outcome},
    skill::Limits,
};

use crate::{
    cgroup::Cgroups,
    disk::Written,
    running::{BUILD, Heard, Running},
    skills::Ready,
    spec::Said,
    verdict,
    watch::{self, Usage},
};

/// `skill-jail`, opened before the lock down.
#[derive(Debug)]
pub struct Jailer {
    program: OwnedFd,
    groups: Option<Cgroups>,
}

/// Why waiting ended.
enum End {
    /// The skill ended by itself, with this wait status.
    Ended(i32),
    /// It has to be killed, or never ran.
    Failed(Failure, String),
}

impl Jailer {
    /// The program beside our own; each call gets a cgroup where there are any.
    pub fn new(program: OwnedFd, groups: Option<Cgroups>) -> Self {
        Self { program, groups }
    }

    /// Whether each call has one.
    pub fn has_cgroups(&self) -> bool {
        self.groups.is_some()
    }

    /// Builds a jail around nothing, to see what the kernel enforces here.
    pub fn trial(&self, ready: &Ready) -> Result<Report, String> {
        let mut report = None;
        match self.run(ready, Vec::new(), None, None, |told| report = Some(told)) {
            Outcome::Output(_) => report.ok_or_else(|| "the trial jail said nothing".to_owned()),
            Outcome::Failed { detail, .. } => Err(detail),
        }
    }

    /// Runs a call. `task` is what it reads on its standard input, `way` its way out; `gateway` is watched for its end; `started` is called when the skill runs.
    pub fn run(
        &self,
        ready: &Ready,
        task: Vec<u8>,
        way: Option<OwnedFd>,
        gateway: Option<&UnixStream>,
        started: impl FnOnce(Report),
    ) -> Outcome {
        let limits = &ready.limits;
        let mut heard = Heard::default();
        let groups = self.groups.as_ref().filter(|_| ready.spec.with(Barrier::Watchdog));
        let leaf = match groups.map(|groups| groups.leaf(limits, ready.weight)).transpose() {
            Ok(leaf) => leaf,
            Err(error) => return failed(Failure::NoJail, format!("make the call's cgroup: {error}")),
        };
        let mut jail = match Running::start(&self.program, &ready.spec, task, leaf, way) {
            Ok(jail) => jail,
            Err(error) => return failed(Failure::NoJail, format!("start the jail: {error}")),
        };
        let end = attend(&mut jail, ready, gateway, &mut heard, started);
        // Also when the skill ended by itself: then this is nothing, the first process ends with it.
        if matches!(end, End::Failed(..)) {
            jail.kill();
        }
        let drained = jail.drain(&mut heard, limits.output.0);
        let starved = jail.starved();
        if let Err(error) = jail.gone() {
            return failed(Failure::NoJail, format!("the jail was killed and is still there: {error}"));
        }
        match (end, drained) {
            // The kernel's word on memory goes before what the skill made of it.
            (End::Ended(1..) | End::Failed(Failure::Memory, _), _) if starved => {
                failed(Failure::Memory, verdict::memory(limits))
            }
            (End::Failed(reason, detail), _) => failed(reason, detail),
            (_, Err(error)) => failed(Failure::Crashed, format!("read the skill's output: {error}")),
            _ if heard.output.len() as u64 > limits.output.0 => {
                failed(Failure::Output, verdict::output(limits))
            }
            (End::Ended(status), Ok(())) => verdict::of(ExitStatus::from_raw(status), &heard, ready),
        }
    }
}

/// Waits until the skill ends or has to be ended.
fn attend(
    jail: &mut Running,
    ready: &Ready,
    gateway: Option<&UnixStream>,
    heard: &mut Heard,
    started: impl FnOnce(Report),
) -> End {
    let limits = &ready.limits;
    let watched = ready.spec.with(Barrier::Watchdog);
    let mut started = Some(started);
    let mut deadline = Instant::now() + BUILD;
    let mut next_look = Instant::now();
    let mut before = Duration::ZERO;
    let mut written = Written::default();
    loop {
        let running = started.is_none();
        let now = Instant::now();
        if now >= deadline {
            return match running {
                true => End::Failed(Failure::Time, verdict::wall(limits)),
                false => End::Failed(Failure::NoJail, "the jail was not built in time".into()),
            };
        }
        if running && watched && now >= next_look {
            let mut usage = watch::usage(jail.first());
            usage.cpu = usage.cpu.saturating_sub(before);
            if written.add(std::mem::take(&mut usage.written), jail.first()) > limits.disk.0 {
                return End::Failed(Failure::Disk, verdict::disk(limits));
            }
            if let Some(end) = over(&usage, limits) {
                return end;
            }
            next_look = now + watch::EVERY;
        }
        let until = if running && watched { next_look.min(deadline) } else { deadline };
        let event = match jail.wait(until.saturating_duration_since(Instant::now()), gateway) {
            Ok(event) => event,
            Err(error) => return End::Failed(Failure::NoJail, format!("wait for the jail: {error}")),
        };
        if event.gateway {
            return End::Failed(Failure::Cancelled, "the gateway closed the connection".into());
        }
        jail.carry(&event, heard);
        if heard.output.len() as u64 > limits.output.0 {
            return End::Failed(Failure::Output, verdict::output(limits));
        }
        if !event.control {
            continue;
        }
        match jail.said() {
            Ok(Some(Said::Runs { report })) => {
                if let Some(started) = started.take() {
                    started(report);
                }
                deadline = Instant::now() + limits.wall.0;
                // Building costs time too, and it is not the skill's.
                before = watch::usage(jail.first()).cpu;
            }
            Ok(Some(Said::Ended { status })) => return End::Ended(status),
            Ok(Some(Said::Changed)) => {
                let text = "the skill is not the approved one: its files have changed";
                return End::Failed(Failure::Refused, text.into());
            }
            Ok(Some(Said::NoJail { message })) => return End::Failed(Failure::NoJail, message),
            // From inside nobody can kill the first process, and the runner did not: the kernel did, because the
            // machine has no memory left.
            Ok(Some(Said::Made { .. }) | None) | Err(_) => {
                let reason = if running { Failure::Memory } else { Failure::NoJail };
                return End::Failed(reason, "the jail was killed from outside".into());
            }
        }
    }
}

/// Which limit of the whole call is passed.
fn over(now: &Usage, limits: &Limits) -> Option<End> {
    if now.memory > limits.memory.0 {
        return Some(End::Failed(Failure::Memory, verdict::memory(limits)));
    }
    if now.cpu > limits.cpu.0 {
        return Some(End::Failed(Failure::Cpu, verdict::cpu(limits)));
    }
    if now.processes > limits.processes {
        return Some(End::Failed(Failure::Forbidden, verdict::processes(limits)));
    }
    None
}

fn failed(reason: Failure, detail: String) -> Outcome {
    Outcome::Failed { reason, detail }
}
