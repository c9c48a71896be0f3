//! One call: starts the jail, feeds it the task, reads what it says, holds it to its limits, and does not return before
//! everything that it started is gone.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::ExitStatus,
    time::{Duration, Instant},
};

use openclaw_confine::{
    Report,
    spawn::{Child, Start},
};
use openclaw_wire::{
    frame,
    runner::{Failure, Outcome, Task},
    skill::Limits,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};

use crate::{
    pass,
    skills::Ready,
    spec::{CONTROL, Said},
    watch::{self, Usage},
};

/// Building a jail takes some milliseconds; a machine that needs this long has another problem.
const BUILD: Duration = Duration::from_secs(10);
/// What has been killed is gone at once, unless it waits for a disk.
const GONE: Duration = Duration::from_secs(10);
/// What is kept of standard error: its end says why.
const LAST_WORDS: usize = 4 << 10;
/// One read.
const CHUNK: usize = 64 << 10;

/// `skill-jail`, opened before the lock down.
#[derive(Debug)]
pub struct Jailer(OwnedFd);

/// A jail that is being built or runs.
struct Jail {
    outer: Child,
    control: UnixStream,
    task: Option<(File, Vec<u8>)>,
    output: Option<File>,
    errors: Option<File>,
    first: i32,
    pidfd: OwnedFd,
}

/// Why waiting ended.
enum End {
    /// The skill ended by itself, with this wait status.
    Ended(i32),
    /// It has to be killed, or never ran.
    Failed(Failure, String),
}

impl Jailer {
    /// The program beside our own.
    pub fn new(program: OwnedFd) -> Self {
        Self(program)
    }

    /// Builds a jail around nothing, to see what the kernel enforces here.
    pub fn trial(&self, ready: &Ready) -> Result<Report, String> {
        let task = Task { tool: String::new(), arguments: serde_json::Value::Null };
        let mut report = None;
        match self.run(ready, &task, None, |told| report = Some(told)) {
            Outcome::Output(_) => report.ok_or_else(|| "the trial jail said nothing".to_owned()),
            Outcome::Failed { detail, .. } => Err(detail),
        }
    }

    /// Runs a call. `gateway` is watched for its end; `started` is called when the skill runs.
    pub fn run(
        &self,
        ready: &Ready,
        task: &Task,
        gateway: Option<&UnixStream>,
        started: impl FnOnce(Report),
    ) -> Outcome {
        let mut heard = Heard { output: Vec::new(), errors: Vec::new() };
        let mut jail = match self.build(ready, task) {
            Ok(jail) => jail,
            Err(error) => return failed(Failure::NoJail, format!("start the jail: {error}")),
        };
        let end = jail.attend(&ready.limits, gateway, &mut heard, started);
        if matches!(end, End::Failed(..)) {
            jail.kill();
        }
        let end = jail.drain(&ready.limits, &mut heard).unwrap_or(end);
        if let Err(error) = jail.gone() {
            return failed(Failure::NoJail, format!("the jail was killed and is still there: {error}"));
        }
        match end {
            End::Failed(reason, detail) => failed(reason, detail),
            End::Ended(status) => verdict(ExitStatus::from_raw(status), heard, &ready.limits),
        }
    }

    fn build(&self, ready: &Ready, task: &Task) -> io::Result<Jail> {
        let (control, theirs) = UnixStream::pair()?;
        let (task_read, task_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output_read, output_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (errors_read, errors_write) = pipe_with(PipeFlags::CLOEXEC)?;
        for ours in [&task_write, &output_read, &errors_read] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let mut outer = Start::opened(self.0.try_clone()?, "skill-jail")
            .fd(CONTROL, theirs.into())
            .standard(0, task_read)
            .standard(1, output_write)
            .standard(2, errors_write)
            .spawn()?;
        match introduce(&control, ready) {
            Ok((first, pidfd)) => Ok(Jail {
                outer,
                control,
                task: Some((task_write.into(), serde_json::to_vec(task)?)),
                output: Some(output_read.into()),
                errors: Some(errors_read.into()),
                first,
                pidfd,
            }),
            Err(error) => {
                outer.signal(Signal::KILL)?;
                outer.wait()?;
                Err(error)
            }
        }
    }
}

/// Tells the jail what to build, and learns its first process.
fn introduce(control: &UnixStream, ready: &Ready) -> io::Result<(i32, OwnedFd)> {
    control.set_read_timeout(Some(BUILD))?;
    control.set_write_timeout(Some(BUILD))?;
    frame::write(control, &ready.spec)?;
    match frame::read(control)? {
        Some(Said::Made { pid }) => Ok((pid, pass::receive(control)?)),
        Some(Said::NoJail { message }) => Err(io::Error::other(message)),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "skill-jail ended without a word")),
    }
}

/// What the skill said, within its limits.
struct Heard {
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Jail {
    /// Waits until the skill ends or has to be ended.
    fn attend(
        &mut self,
        limits: &Limits,
        gateway: Option<&UnixStream>,
        heard: &mut Heard,
        started: impl FnOnce(Report),
    ) -> End {
        let mut started = Some(started);
        let mut deadline = Instant::now() + BUILD;
        let mut next_look = Instant::now();
        let mut before = Usage::default();
        loop {
            let running = started.is_none();
            let now = Instant::now();
            if now >= deadline {
                return match running {
                    true => {
                        End::Failed(Failure::Time, format!("longer than {} ms", limits.wall.0.as_millis()))
                    }
                    false => End::Failed(Failure::NoJail, "the jail was not built in time".into()),
                };
            }
            if running && now >= next_look {
                if let Some(end) = over(watch::usage(self.first), before, limits) {
                    return end;
                }
                next_look = now + watch::EVERY;
            }
            let wait = if running { next_look.min(deadline) } else { deadline } - now;
            let event = match self.wait(wait, gateway) {
                Ok(event) => event,
                Err(error) => return End::Failed(Failure::NoJail, format!("wait for the jail: {error}")),
            };
            if event.gateway {
                return End::Failed(Failure::Cancelled, "the gateway closed the connection".into());
            }
            if event.task {
                self.feed();
            }
            if let Some(end) = self.hear(limits, heard, event.output, event.errors) {
                return end;
            }
            if event.control {
                match frame::read(&self.control) {
                    Ok(Some(Said::Runs { report })) => {
                        if let Some(started) = started.take() {
                            started(report);
                        }
                        deadline = Instant::now() + limits.wall.0;
                        // Building costs time too, and it is not the skill's.
                        before = watch::usage(self.first);
                    }
                    Ok(Some(Said::Ended { status })) => return End::Ended(status),
                    Ok(Some(Said::Changed)) => {
                        let text = "the skill is not the approved one: its files have changed";
                        return End::Failed(Failure::Refused, text.into());
                    }
                    Ok(Some(Said::NoJail { message })) => return End::Failed(Failure::NoJail, message),
                    Ok(Some(Said::Made { .. }) | None) | Err(_) => {
                        // Only the kernel kills the first process: when the machine has no memory left.
                        let reason = if running { Failure::Memory } else { Failure::NoJail };
                        return End::Failed(reason, "the jail was killed from outside".into());
                    }
                }
            }
        }
    }

    fn wait(&self, most: Duration, gateway: Option<&UnixStream>) -> io::Result<Event> {
        let reads = PollFlags::IN;
        let sources: [Option<(BorrowedFd<'_>, PollFlags)>; 5] = [
            Some((self.control.as_fd(), reads)),
            gateway.map(|fd| (fd.as_fd(), reads | PollFlags::RDHUP)),
            self.output.as_ref().map(|fd| (fd.as_fd(), reads)),
            self.errors.as_ref().map(|fd| (fd.as_fd(), reads)),
            self.task.as_ref().map(|(fd, _)| (fd.as_fd(), PollFlags::OUT)),
        ];
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        match poll(&mut fds, Some(&most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = fds.iter().map(|fd| !fd.revents().is_empty());
        let [control, gateway, output, errors, task] =
            sources.map(|source| source.is_some() && seen.next().unwrap_or(false));
        Ok(Event { control, gateway, output, errors, task })
    }

    /// Writes the task, as far as the skill reads it.
    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.task else { return };
        match pipe.write(rest) {
            Ok(written) => {
                rest.drain(..written);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // It does not want to know.
            Err(_) => rest.clear(),
        }
        if rest.is_empty() {
            self.task = None;
        }
    }

    /// Reads what is there; an end when it is more than may be.
    fn hear(&mut self, limits: &Limits, heard: &mut Heard, output: bool, errors: bool) -> Option<End> {
        if output {
            read_some(&mut self.output, &mut heard.output);
            if heard.output.len() as u64 > limits.output.0 {
                let detail = format!("more than {} bytes of output", limits.output.0);
                return Some(End::Failed(Failure::Output, detail));
            }
        }
        if errors {
            read_some(&mut self.errors, &mut heard.errors);
            let surplus = heard.errors.len().saturating_sub(LAST_WORDS);
            heard.errors.drain(..surplus);
        }
        None
    }

    /// Kills every process of the jail at once.
    fn kill(&self) {
        // The first process takes all others with it (pid_namespaces(7)). It may be gone already.
        let _gone = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Reads what is left in the pipes until all writers are gone. An end when that is too much.
    fn drain(&mut self, limits: &Limits, heard: &mut Heard) -> Option<End> {
        self.task = None;
        let deadline = Instant::now() + GONE;
        while (self.output.is_some() || self.errors.is_some()) && Instant::now() < deadline {
            let event = self.wait_pipes().ok()?;
            if let Some(end) = self.hear(limits, heard, event.0, event.1) {
                self.kill();
                return Some(end);
            }
        }
        None
    }

    fn wait_pipes(&self) -> io::Result<(bool, bool)> {
        let mut fds: Vec<PollFd<'_>> = [&self.output, &self.errors]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        poll(&mut fds, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
        Ok((self.output.is_some(), self.errors.is_some()))
    }

    /// Waits until the first process, hence every process of the jail, and the outer process are gone.
    fn gone(mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let most = Timespec { tv_sec: GONE.as_secs() as i64, tv_nsec: 0 };
        let ended = poll(&mut fds, Some(&most))? == 1;
        if !ended {
            self.kill();
        }
        // It reaps the first process and ends; if that one hangs in the kernel, it is no use waiting here.
        if !ended {
            self.outer.signal(Signal::KILL)?;
        }
        self.outer.wait()?;
        match ended {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "a process of it hangs in the kernel")),
        }
    }
}

/// What [`Jail::wait`] saw.
struct Event {
    control: bool,
    gateway: bool,
    output: bool,
    errors: bool,
    task: bool,
}

fn read_some(pipe: &mut Option<File>, into: &mut Vec<u8>) {
    let Some(file) = pipe else { return };
    let at = into.len();
    into.resize(at + CHUNK, 0);
    let read = file.read(&mut into[at..]);
    into.truncate(at + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => *pipe = None,
        Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            *pipe = None
        }
        _ => {}
    }
}

/// Which limit of the whole call is passed.
fn over(now: Usage, before: Usage, limits: &Limits) -> Option<End> {
    let failed = |reason, detail: String| Some(End::Failed(reason, detail));
    if now.memory > limits.memory.0 {
        return failed(Failure::Memory, format!("more than {} MiB of memory", limits.memory.0 >> 20));
    }
    if now.cpu.saturating_sub(before.cpu) > limits.cpu.0 {
        return failed(Failure::Cpu, format!("more than {} ms of CPU time", limits.cpu.0.as_millis()));
    }
    if now.processes > limits.processes {
        return failed(Failure::Forbidden, format!("more than {} processes and threads", limits.processes));
    }
    None
}

fn failed(reason: Failure, detail: String) -> Outcome {
    Outcome::Failed { reason, detail }
}

/// What a status means.
fn verdict(status: ExitStatus, heard: Heard, limits: &Limits) -> Outcome {
    if status.success() {
        return Outcome::Output(String::from_utf8_lossy(&heard.output).into_owned());
    }
    let said = String::from_utf8_lossy(&heard.errors).trim().to_owned();
    let signal = status.signal().and_then(Signal::from_named_raw);
    let reason = match signal {
        Some(Signal::SYS) => Failure::Forbidden,
        Some(Signal::XCPU) => Failure::Cpu,
        // Nobody else in the jail can kill it: the kernel did, for CPU time (hard limit) or for memory.
        Some(Signal::KILL) => Failure::Memory,
        _ if no_memory(&said) => Failure::Memory,
        _ => Failure::Crashed,
    };
    let detail = match reason {
        Failure::Forbidden => "a system call that no skill may make".to_owned(),
        Failure::Cpu => format!("more than {} ms of CPU time", limits.cpu.0.as_millis()),
        Failure::Memory => format!("more memory than {} MiB", limits.memory.0 >> 20),
        _ if said.is_empty() => status.to_string(),
        _ => format!("{status}: {said}"),
    };
    failed(reason, detail)
}

/// A program that is refused memory ends by itself. What it says of it decides only which word the user reads.
fn no_memory(said: &str) -> bool {
    ["memory allocation of", "out of memory", "Cannot allocate memory", "bad_alloc", "MemoryError"]
        .iter()
        .any(|part| said.contains(part))
}
