//! Keeps the three processes running: starts a dead one again, passes a stop on in order. Single-threaded, because
//! the kernel ends a child when the thread that started it ends.

use std::{
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::Context;
use openclaw_confine::spawn::Child;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};

use super::{
    backoff::{Backoff, Death, Next},
    drill::Drill,
    page::Pages,
    signals::Signals,
};

/// How long the gateway may take to finish its turns, and to store what it could not finish.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the others may take. Egress gives the requests that are under way ten seconds.
const END: Duration = Duration::from_secs(12);

/// A process that is to run.
pub struct Slot {
    /// For messages.
    pub name: &'static str,
    /// Starts it.
    pub start: Box<dyn FnMut() -> io::Result<Child>>,
    running: Option<Running>,
    again: Option<Instant>,
    backoff: Backoff,
}

impl Slot {
    /// One that is not started yet.
    pub fn new(name: &'static str, start: Box<dyn FnMut() -> io::Result<Child>>) -> Self {
        Self { name, start, running: None, again: None, backoff: Backoff::default() }
    }

    /// Starts it now.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        let child = (self.start)().with_context(|| format!("start the process {}", self.name))?;
        self.again = None;
        self.running = Some(Running::new(child));
        tracing::info!(process = self.name, pid = self.running.as_ref().map(|r| r.child.id()), "started");
        Ok(())
    }

    fn tell(&self, signal: Signal) {
        if let Some(running) = &self.running {
            // It may be gone already.
            let _ = running.child.signal(signal);
        }
    }

    /// Ends it: politely, then not.
    fn end(&mut self, patience: Duration, hurry: &mut Signals) {
        self.again = None;
        self.tell(Signal::TERM);
        let until = Instant::now() + patience;
        while let Some(running) = &self.running {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || hurry.asked() {
                tracing::warn!(process = self.name, "does not end by itself and is killed");
                self.tell(Signal::KILL);
            }
            let mut wait = vec![PollFd::from_borrowed_fd(running.child.as_fd(), PollFlags::IN)];
            if !left.is_zero() {
                wait.extend(hurry.poll_fds());
            }
            let _ = poll(&mut wait, (!left.is_zero()).then(|| timespec(left)).as_ref());
            if self.running.as_mut().is_some_and(|running| running.ended().is_some()) {
                self.running = None;
            }
        }
    }
}

/// A process that runs.
struct Running {
    child: Child,
    since: Instant,
}

impl Running {
    fn new(child: Child) -> Self {
        Self { child, since: Instant::now() }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

/// What the status page needs of the supervisor, when there is one.
pub struct Side {
    /// Its listening sockets.
    pub pages: Pages,
    /// Drills on demand.
    pub drill: Drill,
}

impl Side {
    fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = self.pages.fd().into_iter().chain([self.drill.fd()]);
        fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }

    fn look(&mut self) {
        self.pages.changed();
        self.drill.look();
    }
}

/// The process that is given the page's sockets.
const GATEWAY: &str = "gateway";

/// Why the supervisor came to its end.
pub enum End {
    /// It was asked to, or the chat was left.
    Asked,
    /// This process can't be kept running.
    GaveUp {
        /// Its name.
        process: &'static str,
        /// What happened.
        reason: String,
    },
}

/// Starts every slot in order and keeps it running until something ends the run; then stops the last slot first, so
/// that the gateway drains while what it needs still runs. With a `front` process the run lasts as long as it does.
pub fn supervise(
    slots: &mut [Slot],
    signals: &mut Signals,
    side: Option<&mut Side>,
    front: impl FnOnce() -> anyhow::Result<Option<Child>>,
) -> anyhow::Result<End> {
    for slot in slots.iter_mut() {
        begin(slot, side.as_deref())?;
    }
    let mut front = front()?.map(Running::new);
    let end = watch(slots, signals, side, front.as_mut());
    if let Some(mut front) = front {
        let _ = front.child.signal(Signal::TERM);
        let _ = front.child.wait();
    }
    for (place, slot) in slots.iter_mut().enumerate().rev() {
        slot.end(if place == 2 { DRAIN } else { END }, signals);
    }
    end
}

/// Starts a process; a gateway is given the page's sockets each time.
fn begin(slot: &mut Slot, side: Option<&Side>) -> anyhow::Result<()> {
    slot.begin()?;
    if let Some(side) = side.filter(|_| slot.name == GATEWAY) {
        side.pages.hand_all();
    }
    Ok(())
}

fn watch(
    slots: &mut [Slot],
    signals: &mut Signals,
    mut side: Option<&mut Side>,
    mut front: Option<&mut Running>,
) -> anyhow::Result<End> {
    loop {
        wait(slots, signals, side.as_deref(), front.as_deref())?;
        if let Some(side) = &mut side {
            side.look();
        }
        if signals.asked() || front.as_mut().is_some_and(|front| front.ended().is_some()) {
            tracing::info!("stopping");
            return Ok(End::Asked);
        }
        for slot in slots.iter_mut() {
            let ended = slot.running.as_mut().and_then(Running::ended);
            let death = match (ended, slot.again) {
                (Some(status), _) => Some(death(status)),
                (None, Some(at)) if at <= Instant::now() => begin(slot, side.as_deref()).err().map(|error| {
                    tracing::warn!(
                        process = slot.name,
                        error = format!("{error:#}"),
                        "could not be started again"
                    );
                    Death::NotStarted
                }),
                _ => None,
            };
            let Some(death) = death else { continue };
            let lived = slot.running.take().map(|r| r.since.elapsed()).unwrap_or_default();
            match slot.backoff.died(death, lived) {
                Next::Start(pause) => {
                    tracing::warn!(process = slot.name, %death, pause_ms = pause.as_millis(), "ended");
                    slot.again = Some(Instant::now() + pause);
                }
                Next::GiveUp(reason) => return Ok(End::GaveUp { process: slot.name, reason }),
            }
        }
    }
}

/// Sleeps until a process ends, a signal comes, one is to be started again, or the side has something to do.
fn wait(
    slots: &[Slot],
    signals: &Signals,
    side: Option<&Side>,
    front: Option<&Running>,
) -> anyhow::Result<()> {
    let pidfds = slots.iter().filter_map(|slot| slot.running.as_ref()).chain(front);
    let mut fds: Vec<PollFd<'_>> =
        pidfds.map(|running| PollFd::from_borrowed_fd(running.child.as_fd(), PollFlags::IN)).collect();
    fds.extend(signals.poll_fds());
    fds.extend(side.into_iter().flat_map(Side::poll_fds));
    let next = slots.iter().filter_map(|slot| slot.again).min();
    let timeout = next.map(|at| timespec(at.saturating_duration_since(Instant::now())));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("wait for the processes"),
    }
}

fn timespec(time: Duration) -> Timespec {
    // One millisecond more, so that the time has come when poll returns.
    Timespec::try_from(time + Duration::from_millis(1)).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

fn death(status: ExitStatus) -> Death {
    match status.signal() {
        Some(number) => Death::Signal(number),
        None => Death::Exited(status.code().unwrap_or(-1)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use openclaw_confine::spawn::{Child, Start};

    use super::{End, Signals, Slot, supervise};

    fn shell(script: &str) -> std::io::Result<Child> {
        Start::new("/bin/sh").arg("-c").arg(script).spawn()
    }

    fn slot(name: &'static str, script: &'static str, starts: &Arc<AtomicU32>) -> Slot {
        let starts = starts.clone();
        let start = move || {
            starts.fetch_add(1, Ordering::Relaxed);
            shell(script)
        };
        Slot::new(name, Box::new(start))
    }

    #[test]
    fn a_killed_process_is_started_again_and_the_run_ends_with_its_front() {
        let (steady, killed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut slots = [slot("steady", "exec sleep 600", &steady), slot("killed", "kill -9 $$", &killed)];
        let mut signals = Signals::take(true).expect("signals");
        // Long enough for several pauses, each of which is at most 160 ms.
        let front = || Ok(Some(shell("exec sleep 1")?));
        assert!(matches!(supervise(&mut slots, &mut signals, None, front).expect("runs"), End::Asked));
        assert_eq!(steady.load(Ordering::Relaxed), 1);
        assert!(killed.load(Ordering::Relaxed) >= 2);
        assert!(slots.iter().all(|slot| slot.running.is_none()), "nothing is left behind");
    }

    #[test]
    fn a_process_that_refuses_to_start_ends_the_run() {
        let starts = Arc::new(AtomicU32::new(0));
        let mut slots = [slot("steady", "exec sleep 600", &starts), slot("refuses", "exit 7", &starts)];
        let mut signals = Signals::take(true).expect("signals");
        let end = supervise(&mut slots, &mut signals, None, || Ok(None)).expect("runs");
        let End::GaveUp { process, reason } = end else { panic!("did not give up") };
        assert_eq!((process, reason.as_str()), ("refuses", "it did not start (exit code 7)"));
        assert_eq!(starts.load(Ordering::Relaxed), 2);
    }
}
