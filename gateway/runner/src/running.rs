//! A running jail, from outside: its processes, its pipes, its end.
//! Reads no more than it was told to keep, and never blocks on a skill.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use openclaw_confine::spawn::{Child, Start};
use openclaw_wire::{frame, pass};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};

use crate::{
    cgroup::Leaf,
    spec::{CONTROL, Said, Spec, WAY},
};

/// Building a jail takes some milliseconds; a machine that needs this long has another problem.
pub const BUILD: Duration = Duration::from_secs(10);
/// What has been killed is gone at once, unless it waits for a disk.
const GONE: Duration = Duration::from_secs(10);
/// What is kept of standard error: its end says why.
const LAST_WORDS: usize = 4 << 10;
/// One read.
const CHUNK: usize = 64 << 10;

/// A jail that is being built or runs.
pub struct Running {
    outer: Child,
    control: UnixStream,
    task: Option<(File, Vec<u8>)>,
    output: Option<File>,
    errors: Option<File>,
    first: i32,
    pidfd: OwnedFd,
    leaf: Option<Leaf>,
}

/// What the skill said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Standard output, at most one read more than the limit.
    pub output: Vec<u8>,
    /// The end of standard error.
    pub errors: Vec<u8>,
}

/// What [`Running::wait`] saw.
#[derive(Debug, Default)]
pub struct Event {
    /// The jail says something, or is gone.
    pub control: bool,
    /// The gateway has closed.
    pub gateway: bool,
    output: bool,
    errors: bool,
    task: bool,
}

impl Running {
    /// Starts `skill-jail` and tells it what to build; `task` is what the skill reads, `way` its way out. Returns when its namespaces exist.
    pub fn start(
        program: &OwnedFd,
        spec: &Spec,
        task: Vec<u8>,
        leaf: Option<Leaf>,
        way: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let (task_read, task_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output_read, output_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (errors_read, errors_write) = pipe_with(PipeFlags::CLOEXEC)?;
        for ours in [&task_write, &output_read, &errors_read] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let mut start = Start::opened(program.try_clone()?, "skill-jail").fd(CONTROL, theirs.into());
        if let Some(way) = way {
            start = start.fd(WAY, way);
        }
        let mut outer =
            start.standard(0, task_read).standard(1, output_write).standard(2, errors_write).spawn()?;
        // It waits for what it is told, so that nothing of it is ever outside.
        let entered = leaf.as_ref().map_or(Ok(()), |leaf| leaf.enter(outer.id()));
        match entered.and_then(|()| introduce(&control, spec)) {
            Ok((first, pidfd)) => Ok(Self {
                outer,
                control,
                task: Some((task_write.into(), task)),
                output: Some(output_read.into()),
                errors: Some(errors_read.into()),
                first,
                pidfd,
                leaf,
            }),
            Err(error) => {
                outer.signal(Signal::KILL)?;
                outer.wait()?;
                leaf.map_or(Ok(()), Leaf::remove)?;
                Err(error)
            }
        }
    }

    /// The first process, for measuring.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// Waits for something to happen.
    pub fn wait(&self, most: Duration, gateway: Option<&UnixStream>) -> io::Result<Event> {
        let sources: [Option<(BorrowedFd<'_>, PollFlags)>; 5] = [
            Some((self.control.as_fd(), PollFlags::IN)),
            gateway.map(|fd| (fd.as_fd(), PollFlags::IN | PollFlags::RDHUP)),
            self.output.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)),
            self.errors.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)),
            self.task.as_ref().map(|(fd, _)| (fd.as_fd(), PollFlags::OUT)),
        ];
        let [control, gateway, output, errors, task] = ready(sources, most)?;
        Ok(Event { control, gateway, output, errors, task })
    }

    /// What the jail says next; `None` when it is gone.
    pub fn said(&self) -> io::Result<Option<Said>> {
        frame::read(&self.control)
    }

    /// Moves bytes as far as they go: the task in, output and errors out.
    pub fn carry(&mut self, event: &Event, heard: &mut Heard) {
        if event.task {
            self.feed();
        }
        if event.output {
            read_some(&mut self.output, &mut heard.output);
        }
        if event.errors {
            read_some(&mut self.errors, &mut heard.errors);
            let surplus = heard.errors.len().saturating_sub(LAST_WORDS);
            heard.errors.drain(..surplus);
        }
    }

    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.task else { return };
        match pipe.write(rest) {
            Ok(written) => {
                rest.drain(..written);
            }
            Err(error) if passing(&error) => {}
            // It does not want to know.
            Err(_) => rest.clear(),
        }
        if rest.is_empty() {
            self.task = None;
        }
    }

    /// Kills every process of the jail at once: the first takes all others with it (pid_namespaces(7)).
    pub fn kill(&self) {
        // It may be gone already.
        let _gone = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if let Some(leaf) = &self.leaf {
            leaf.kill();
        }
    }

    /// The kernel killed a process of it for its memory.
    pub fn starved(&self) -> bool {
        self.leaf.as_ref().is_some_and(Leaf::starved)
    }

    /// Reads what is left in the pipes of a jail that has ended, until more than `most` bytes of output are there.
    pub fn drain(&mut self, heard: &mut Heard, most: u64) -> io::Result<()> {
        self.task = None;
        let deadline = Instant::now() + GONE;
        while (self.output.is_some() || self.errors.is_some()) && heard.output.len() as u64 <= most {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let sources =
                [&self.output, &self.errors].map(|pipe| Some((pipe.as_ref()?.as_fd(), PollFlags::IN)));
            let [output, errors] = ready(sources, left)?;
            self.carry(&Event { output, errors, ..Event::default() }, heard);
        }
        Ok(())
    }

    /// Waits until the first process, hence every process of the jail, and the outer process are gone.
    pub fn gone(mut self) -> io::Result<()> {
        let [ended] = ready([Some((self.pidfd.as_fd(), PollFlags::IN))], GONE)?;
        if !ended {
            // It hangs in the kernel: waiting for it here is no use, and the outer process waits for nothing else.
            self.kill();
            self.outer.signal(Signal::KILL)?;
        }
        self.outer.wait()?;
        match ended {
            true => self.leaf.map_or(Ok(()), Leaf::remove),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "a process of it hangs in the kernel")),
        }
    }
}

/// Tells the jail what to build, and learns its first process.
fn introduce(control: &UnixStream, spec: &Spec) -> io::Result<(i32, OwnedFd)> {
    control.set_read_timeout(Some(BUILD))?;
    control.set_write_timeout(Some(BUILD))?;
    frame::write(control, spec)?;
    match frame::read(control)? {
        Some(Said::Made { pid }) => Ok((pid, pass::receive(control)?)),
        Some(Said::NoJail { message }) => Err(io::Error::other(message)),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "skill-jail ended without a word")),
    }
}

/// Which of the descriptors have something for us. What is not there has not.
fn ready<const N: usize>(
    sources: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    most: Duration,
) -> io::Result<[bool; N]> {
    let mut fds: Vec<PollFd<'_>> =
        sources.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
    match poll(&mut fds, Some(&most)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut seen = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(sources.map(|source| source.is_some() && seen.next().unwrap_or(false)))
}

fn read_some(pipe: &mut Option<File>, into: &mut Vec<u8>) {
    let Some(file) = pipe else { return };
    let at = into.len();
    into.resize(at + CHUNK, 0);
    let read = file.read(&mut into[at..]);
    into.truncate(at + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => *pipe = None,
        Err(error) if !passing(&error) => *pipe = None,
        _ => {}
    }
}

/// Another try may succeed: nothing is there yet, or a signal came.
pub fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
