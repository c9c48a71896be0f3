//! Takes connections from the gateway, a thread for each, and answers its one request.
//! Never more calls at once than [`CALLS`], never a call without its place.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use openclaw_confine::Report;
use openclaw_wire::{
    door::Entry,
    file::MOST_ATTACHED,
    frame,
    id::SkillId,
    mcp::Ask,
    pass,
    runner::{Call, Failure, Look, Outcome, Reply, Request, Task},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{error, info, warn};

use crate::{
    call::{Ended, Jailer},
    running::Handed,
    skills::{Ready, Skills},
    way::Egress,
};

/// Jails at the same time: with the default limits 16 × 128 MiB.
pub const CALLS: usize = 16;
/// Connections at the same time, those that wait for a jail included.
const CONNECTIONS: usize = 256;
/// The gateway sends its request at once.
const REQUEST: Duration = Duration::from_secs(10);
/// A call waits this long for a place before it fails.
const PLACE: Duration = Duration::from_secs(60);
/// How often a waiting call looks whether the gateway still wants it.
const LOOK: Duration = Duration::from_millis(100);
/// A connection's thread holds a few frames on its stack, no more.
const STACK: usize = 256 << 10;

/// What every connection shares.
#[derive(Debug)]
pub struct Runner {
    skills: Skills,
    /// Or why no skill can run here, with the mend.
    jailer: Result<Jailer, String>,
    egress: Option<Egress>,
    report: Report,
    limits: String,
    places: Places,
}

/// Counts what is in use.
#[derive(Debug)]
struct Places {
    calls: Mutex<usize>,
    freed: Condvar,
    connections: Mutex<usize>,
}

impl Runner {
    /// `jailer`: or why no skill can run here, with the mend.
    pub fn new(
        skills: Skills,
        jailer: Result<Jailer, String>,
        egress: Option<Egress>,
        report: Report,
        limits: String,
    ) -> Arc<Self> {
        let places = Places { calls: Mutex::new(0), freed: Condvar::new(), connections: Mutex::new(0) };
        Arc::new(Self { skills, jailer, egress, report, limits, places })
    }

    /// Serves until the other end of a pair is gone. That the zygote is gone is an error: whoever started this process starts
    /// it again.
    pub fn serve(self: &Arc<Self>, entry: &Entry) -> io::Result<()> {
        loop {
            self.wait(entry)?;
            let connection = match entry.accept() {
                Ok(connection) => connection,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) if passing(&error) => {
                    warn!(%error, "could not accept a connection of the gateway");
                    thread::sleep(LOOK);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(counted) = Counted::new(self) else {
                warn!(most = CONNECTIONS, "too many connections at once: one was closed");
                continue;
            };
            let started = thread::Builder::new().name("call".into()).stack_size(STACK).spawn(move || {
                if let Err(error) = counted.0.answer(&connection) {
                    warn!(%error, "could not answer the gateway");
                }
            });
            if let Err(error) = started {
                error!(%error, "could not start a thread for a call");
            }
        }
    }

    /// Waits for a connection.
    fn wait(&self, entry: &Entry) -> io::Result<()> {
        let Ok(jailer) = &self.jailer else { return Ok(()) };
        loop {
            let mut fds = [
                PollFd::new(entry, PollFlags::IN),
                PollFd::new(jailer.zygote(), PollFlags::IN),
                PollFd::new(jailer.mounted(), PollFlags::PRI),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [connection, zygote, mounts] = fds.map(|fd| !fd.revents().is_empty());
            if zygote {
                return Err(io::Error::other("skill-jail has ended, and without it no jail can be made"));
            }
            if mounts {
                jailer.make_ahead();
            }
            if connection {
                return Ok(());
            }
        }
    }

    fn answer(&self, connection: &UnixStream) -> io::Result<()> {
        connection.set_read_timeout(Some(REQUEST))?;
        match frame::read(connection)? {
            None => Ok(()),
            Some(Request::Status) => frame::write(
                connection,
                &Reply::Status {
                    confinement: serde_json::to_value(&self.report)?,
                    skills_off: self.jailer.as_ref().err().cloned(),
                    limits: self.limits.clone(),
                },
            ),
            Some(Request::Call(call)) => {
                let handed = handed(&call, connection)?;
                let ended = self.timed(&call.id, &call.skill, || self.call(&call, handed, connection));
                self.finish(connection, ended)
            }
            Some(Request::Tools(look)) => {
                let ended = self.timed(&look.id, &look.skill, || self.look(&look, connection));
                self.finish(connection, ended)
            }
        }
    }

    /// Answers first; what else there is to do for a call nobody waits for.
    fn finish(&self, connection: &UnixStream, ended: Ended) -> io::Result<()> {
        let answered = frame::write(connection, &Reply::Finished(ended.outcome));
        drop(ended.mounts);
        if let Ok(jailer) = &self.jailer {
            jailer.make_ahead();
        }
        match answered {
            // Who cancelled does not listen any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn timed(&self, id: &str, skill: &SkillId, run: impl FnOnce() -> Ended) -> Ended {
        let begun = Instant::now();
        let ended = run();
        let word = match &ended.outcome {
            Outcome::Output(text) => format!("output, {} bytes", text.len()),
            Outcome::Failed { reason, .. } => format!("{reason:?}"),
        };
        // Nothing that the skill said: it may be a document's text.
        let elapsed_ms = begun.elapsed().as_millis() as u64;
        info!(call = id, %skill, ended = word, elapsed_ms, "a call ended");
        ended
    }

    fn call(&self, call: &Call, handed: Handed, connection: &UnixStream) -> Ended {
        let ready = self.skills.ready(call);
        let (tool, arguments) = (call.tool.clone(), call.arguments.clone());
        let task = match &call.definition {
            Some(definition) => {
                serde_json::to_vec(&Ask::Call { tool, definition: definition.clone(), arguments })
            }
            None => serde_json::to_vec(&Task { tool, arguments }),
        };
        self.run(&call.id, ready, task, handed, connection)
    }

    fn look(&self, look: &Look, connection: &UnixStream) -> Ended {
        let task = serde_json::to_vec(&Ask::Tools);
        self.run(&look.id, self.skills.look(look), task, Handed::default(), connection)
    }

    /// `task` is what the skill reads.
    fn run(
        &self,
        id: &str,
        ready: Result<Ready, String>,
        task: serde_json::Result<Vec<u8>>,
        mut handed: Handed,
        connection: &UnixStream,
    ) -> Ended {
        let failed = |reason, detail| Ended { outcome: Outcome::Failed { reason, detail }, mounts: None };
        let jailer = match &self.jailer {
            Ok(jailer) => jailer,
            Err(why) => return failed(Failure::NoJail, format!("skills are off: {why}")),
        };
        let (mut ready, task) = match (ready, task) {
            (Ok(ready), Ok(task)) => (ready, task),
            (Err(why), _) => return failed(Failure::Refused, why),
            (_, Err(error)) => return failed(Failure::Refused, format!("write the task down: {error}")),
        };
        let Some(_place) = Place::wait(&self.places, connection) else {
            return match hung_up(connection, Duration::ZERO) {
                true => failed(Failure::Cancelled, "the gateway closed the connection".into()),
                false => failed(Failure::NoJail, format!("{CALLS} calls run already")),
            };
        };
        // What it is given is not its own use of memory.
        let given =
            handed.attached.iter().filter_map(|fd| Some(rustix::fs::fstat(fd).ok()?.st_size.max(0) as u64));
        ready.weight += given.sum::<u64>() + ready.spec.makes.unwrap_or(0);
        handed.way = match ready.hosts.then(|| crate::way::redeem(self.egress.as_ref(), id)) {
            Some(Ok((way, authority))) => {
                ready.spec.authority = Some(authority);
                Some(way)
            }
            Some(Err(why)) => return failed(Failure::Refused, why),
            None => None,
        };
        jailer.run(&ready, task, handed, Some(connection), |_report| {
            // If this fails the gateway is gone, and the wait notices it at once.
            let _gone = frame::write(connection, &Reply::Started);
        })
    }
}

/// A place among the running calls; given back when dropped.
struct Place<'a>(&'a Places);

impl<'a> Place<'a> {
    fn wait(places: &'a Places, connection: &UnixStream) -> Option<Self> {
        let deadline = Instant::now() + PLACE;
        let mut calls = lock(&places.calls);
        while *calls >= CALLS {
            (calls, _) =
                places.freed.wait_timeout(calls, LOOK).unwrap_or_else(|poisoned| poisoned.into_inner());
            if Instant::now() >= deadline || hung_up(connection, Duration::ZERO) {
                return None;
            }
        }
        *calls += 1;
        Some(Self(places))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.calls) -= 1;
        self.0.freed.notify_one();
    }
}

/// A connection that was counted.
struct Counted(Arc<Runner>);

impl Counted {
    fn new(runner: &Arc<Runner>) -> Option<Self> {
        let mut count = lock(&runner.places.connections);
        if *count >= CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Self(Arc::clone(runner)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *lock(&self.0.places.connections) -= 1;
    }
}

/// A counter is right whatever panicked beside it.
fn lock(mutex: &Mutex<usize>) -> MutexGuard<'_, usize> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The descriptors that follow the request, one for each attachment that it names and one for what the skill makes.
fn handed(call: &Call, connection: &UnixStream) -> io::Result<Handed> {
    if call.attached.len() > MOST_ATTACHED {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a call names too many attachments"));
    }
    let attached = call.attached.iter().map(|_| pass::receive(connection)).collect::<io::Result<_>>()?;
    let made = call.makes.then(|| pass::receive(connection)).transpose()?;
    Ok(Handed { way: None, attached, made })
}

/// The gateway sends nothing after its request and what follows it: anything to read is its end.
fn hung_up(connection: &UnixStream, wait: Duration) -> bool {
    let mut fds = [PollFd::new(connection, PollFlags::IN | PollFlags::RDHUP)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
    poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
}

/// Errors of `accept` that another try may not have (accept(2)).
fn passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let number = error.raw_os_error().unwrap_or(0);
    error.kind() == io::ErrorKind::InvalidData
        || [Errno::INTR, Errno::CONNABORTED, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
            .iter()
            .any(|errno| errno.raw_os_error() == number)
}
