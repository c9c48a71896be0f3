//! One call: starts the jail, holds it to its limits, and does not return before everything that it started is gone.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::ExitStatus,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use openclaw_confine::{Barrier, Report};
use openclaw_wire::{
    runner::{Failure, Outcome},
    skill::Limits,
};

use crate::{
    cgroup::{Cgroups, Leaf},
    disk::Written,
    running::{BUILD, Handed, Heard, Made, MountTable, Mounts, Running},
    skills::Ready,
    spec::Said,
    verdict,
    watch::{self, Usage},
    zygote::{Kind, Zygote},
};

/// What makes jails.
#[derive(Debug)]
pub struct Jailer {
    zygote: Zygote,
    groups: Option<Cgroups>,
    /// Made ahead, for whichever call comes next and for no other.
    waiting: Mutex<Option<Made>>,
    mounted: MountTable,
}

/// A call that is over.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Of its jail; `None` when there was none.
    pub mounts: Option<Mounts>,
}

/// Why waiting ended.
enum End {
    /// The skill ended by itself, with this wait status.
    Ended(i32),
    /// It has to be killed, or never ran.
    Failed(Failure, String),
}

impl Jailer {
    /// Starts the zygote, from a thread that lives as long as this process, out of `skill-jail`; each call gets a cgroup where
    /// there are any.
    pub fn start(program: OwnedFd, groups: Option<Cgroups>) -> io::Result<Self> {
        let mounted = MountTable::open()?;
        Ok(Self { zygote: Zygote::start(program)?, groups, waiting: Mutex::default(), mounted })
    }

    /// Has a jail made ahead, if none waits that fits. One that cannot be made is made, or fails, when a call wants it.
    pub fn make_ahead(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.as_ref().is_some_and(|made| made.fits(Kind::WHOLE)) {
            *waiting = Made::fork(&self.zygote, Kind::WHOLE).ok();
        }
    }

    /// The one that waits, or a new one.
    fn made(&self, kind: Kind) -> io::Result<Made> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        match waiting {
            Some(made) if made.fits(kind) => Ok(made),
            _ => Made::fork(&self.zygote, kind),
        }
    }

    /// When something is mounted or unmounted the jail that waits is to be made anew: it has the mounts of before, and keeps
    /// a disk busy that was taken out.
    pub fn mounted(&self) -> &MountTable {
        &self.mounted
    }

    /// Without it there is no jail, and its end is the end of all of them.
    pub fn zygote(&self) -> &Zygote {
        &self.zygote
    }

    /// Builds a jail around nothing, to see what the kernel enforces here.
    pub fn trial(&self, ready: &Ready) -> Result<Report, String> {
        let mut report = None;
        match self.run(ready, Vec::new(), Handed::default(), None, |told| report = told).outcome {
            Outcome::Output(_) => report.ok_or_else(|| "the trial jail said nothing".to_owned()),
            Outcome::Failed { detail, .. } => Err(detail),
        }
    }

    /// Runs a call. `task` is what it reads on its standard input, `handed` what its jail gets besides; `gateway` is watched for its end; `started` is called when the skill runs.
    pub fn run(
        &self,
        ready: &Ready,
        task: Vec<u8>,
        handed: Handed,
        gateway: Option<&UnixStream>,
        started: impl FnOnce(Option<Report>),
    ) -> Ended {
        let mut mounts = None;
        let outcome = self.live(ready, task, handed, gateway, started, &mut mounts);
        Ended { outcome, mounts }
    }

    fn live(
        &self,
        ready: &Ready,
        task: Vec<u8>,
        handed: Handed,
        gateway: Option<&UnixStream>,
        started: impl FnOnce(Option<Report>),
        mounts: &mut Option<Mounts>,
    ) -> Outcome {
        let limits = &ready.limits;
        let mut heard = Heard::default();
        let groups = self.groups.as_ref().filter(|_| ready.spec.with(Barrier::Watchdog));
        let mut spec = ready.spec.clone();
        // Of the kernel's two counts only the cgroup's tells that there were too many: the other one stands above it.
        spec.limits.processes += u32::from(groups.is_some_and(Cgroups::count));
        let leaf = match groups.map(|groups| groups.leaf(limits, ready.weight, spec.ours())).transpose() {
            Ok(leaf) => leaf,
            Err(error) => return failed(Failure::NoJail, format!("make the call's cgroup: {error}")),
        };
        let made = match self.made(Kind::of(&spec)) {
            Ok(made) => made,
            Err(error) => {
                let left = leaf.map_or(Ok(()), Leaf::remove).err();
                let left = left.map(|error| format!("; remove its cgroup: {error}")).unwrap_or_default();
                return failed(Failure::NoJail, format!("make the jail: {error}{left}"));
            }
        };
        let mut jail = match Running::start(made, &spec, task, leaf, handed) {
            Ok(jail) => jail,
            Err(error) => return failed(Failure::NoJail, format!("start the jail: {error}")),
        };
        let end = attend(&mut jail, ready, gateway, &mut heard, started);
        // Also when the skill ended by itself: then this is nothing, the first process ends with it.
        if matches!(end, End::Failed(..)) {
            jail.kill();
        }
        let drained = jail.drain(&mut heard, limits.output.0);
        let (starved, crowded) = (jail.starved(), jail.crowded());
        match jail.gone() {
            Ok(left) => *mounts = Some(left),
            Err(error) => {
                return failed(Failure::NoJail, format!("the jail was killed and is still there: {error}"));
            }
        }
        match (end, drained) {
            // The kernel's word on memory goes before what the skill made of it.
            (End::Ended(1..) | End::Failed(Failure::Memory, _), _) if starved => {
                failed(Failure::Memory, verdict::memory(limits))
            }
            // Whoever is refused a process and goes on trying is ended by its time; what it passed first was this.
            (End::Ended(1..) | End::Failed(Failure::Cpu | Failure::Time, _), _) if crowded => {
                failed(Failure::Processes, verdict::processes(limits))
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
    started: impl FnOnce(Option<Report>),
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
            Ok(Some(Said::Runs { built, report })) => {
                if let Some(started) = started.take() {
                    started(report);
                }
                deadline = Instant::now() + limits.wall.0;
                next_look = Instant::now() + watch::EVERY;
                before = built;
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
        return Some(End::Failed(Failure::Processes, verdict::processes(limits)));
    }
    None
}

fn failed(reason: Failure, detail: String) -> Outcome {
    Outcome::Failed { reason, detail }
}
