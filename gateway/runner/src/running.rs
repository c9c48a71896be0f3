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

use openclaw_confine::process;
use openclaw_wire::{frame, pass};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::Signal,
};

use crate::{
    cgroup::Leaf,
    spec::{Said, Spec},
    zygote::{Kind, Zygote},
};

/// Building a jail takes some milliseconds; a machine that needs this long has another problem.
pub const BUILD: Duration = Duration::from_secs(10);
/// What has been killed is gone at once, unless it waits for a disk.
const GONE: Duration = Duration::from_secs(10);
/// What is kept of standard error: its end says why.
const LAST_WORDS: usize = 4 << 10;
/// One read.
const CHUNK: usize = 64 << 10;

/// A jail that knows nothing of its call yet: its first process, in its namespaces, and our ends of what it was given.
#[derive(Debug)]
pub struct Made {
    kind: Kind,
    first: i32,
    pidfd: OwnedFd,
    control: UnixStream,
    pipes: [File; 3],
    /// What was mounted on this machine when it was made, as far as this process sees it.
    mounted: MountTable,
}

/// Tells once when something has been mounted or unmounted since it was opened (proc_pid_mountinfo(5)).
#[derive(Debug)]
pub struct MountTable(File);

impl MountTable {
    /// From now on.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }
}

/// To be polled for `PRI`.
impl AsFd for MountTable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Made {
    /// Has the zygote fork one.
    pub fn fork(zygote: &Zygote, kind: Kind) -> io::Result<Self> {
        // Before the jail has its copy of the mounts: what changes in between counts as a change.
        let mounted = MountTable::open()?;
        let (control, theirs) = UnixStream::pair()?;
        let (task_read, task_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output_read, output_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (errors_read, errors_write) = pipe_with(PipeFlags::CLOEXEC)?;
        for ours in [&task_write, &output_read, &errors_read] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        zygote.fork(kind, [theirs.as_fd(), task_read.as_fd(), output_write.as_fd(), errors_write.as_fd()])?;
        // Else their end would never be seen.
        drop((theirs, task_read, output_write, errors_write));
        control.set_read_timeout(Some(BUILD))?;
        control.set_write_timeout(Some(BUILD))?;
        match frame::read(&control)? {
            Some(Said::Made { pid }) => {
                let pidfd = pass::receive(&control)?;
                let pipes = [task_write, output_read, errors_read].map(File::from);
                Ok(Self { kind, first: pid, pidfd, control, pipes, mounted })
            }
            Some(Said::NoJail { message }) => Err(io::Error::other(message)),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "skill-jail ended without a word")),
        }
    }

    /// It is of this kind, lives, and sees what is mounted on this machine now. One that does not fit never will.
    pub fn fits(&self, kind: Kind) -> bool {
        let ended = (self.pidfd.as_fd(), PollFlags::IN);
        let changed = (self.mounted.as_fd(), PollFlags::PRI);
        self.kind == kind && matches!(ready([Some(ended), Some(changed)], Duration::ZERO), Ok([false, false]))
    }
}

/// A jail that is being built or runs.
pub struct Running {
    control: UnixStream,
    task: Option<(File, Vec<u8>)>,
    output: Option<File>,
    errors: Option<File>,
    first: i32,
    pidfd: OwnedFd,
    mounts: Option<OwnedFd>,
    leaf: Option<Leaf>,
}

/// A jail's mounts, when all its processes are gone. The kernel takes them down when this is dropped, which takes it a while:
/// whoever waits for the call's answer need not wait for that.
#[derive(Debug)]
pub struct Mounts {
    _namespace: Option<OwnedFd>,
}

/// What a jail inherits besides its task. All of it is closed here when the jail has it.
#[derive(Debug, Default)]
pub struct Handed {
    /// The way out.
    pub way: Option<OwnedFd>,
    /// The attachments that the call names, to read.
    pub attached: Vec<OwnedFd>,
    /// The socket for what the skill makes.
    pub made: Option<OwnedFd>,
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
    /// Tells a jail what to build; `task` is what the skill reads, `handed` what else it gets.
    pub fn start(
        made: Made,
        spec: &Spec,
        task: Vec<u8>,
        leaf: Option<Leaf>,
        handed: Handed,
    ) -> io::Result<Self> {
        let Made { first, pidfd, control, pipes: [input, output, errors], .. } = made;
        let jail = Self {
            control,
            task: Some((input, task)),
            output: Some(output),
            errors: Some(errors),
            first,
            pidfd,
            mounts: None,
            leaf,
        };
        match jail.tell(spec, handed) {
            Ok(()) => Ok(jail),
            Err(error) => {
                jail.kill();
                jail.gone()?;
                Err(error)
            }
        }
    }

    /// It waits for what it is told, so that nothing of a call is ever outside its cgroup.
    fn tell(&self, spec: &Spec, handed: Handed) -> io::Result<()> {
        self.leaf.as_ref().map_or(Ok(()), |leaf| leaf.enter(self.first))?;
        frame::write(&self.control, spec)?;
        // In the order in which the jail takes them.
        let Handed { way, attached, made } = handed;
        way.into_iter().chain(attached).chain(made).try_for_each(|fd| pass::send(&self.control, fd.as_fd()))
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
    pub fn said(&mut self) -> io::Result<Option<Said>> {
        let said = frame::read(&self.control)?;
        if let Some(Said::Runs { .. }) = &said {
            self.mounts = Some(pass::receive(&self.control)?);
        }
        Ok(said)
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

    /// The kernel refused it a process or thread.
    pub fn crowded(&self) -> bool {
        self.leaf.as_ref().is_some_and(Leaf::crowded)
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

    /// Waits until the first process, hence every process of the jail, is gone.
    pub fn gone(self) -> io::Result<Mounts> {
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "a process of it hangs in the kernel");
        let deadline = Instant::now() + GONE;
        let [ended] = ready([Some((self.pidfd.as_fd(), PollFlags::IN))], GONE)?;
        if !ended {
            self.kill();
            return Err(hangs());
        }
        // The kernel reaps it for the zygote, a moment after it has told of its end.
        while !process::gone(self.pidfd.as_fd()) {
            if Instant::now() >= deadline {
                return Err(hangs());
            }
            std::thread::yield_now();
        }
        self.leaf.map_or(Ok(()), Leaf::remove)?;
        Ok(Mounts { _namespace: self.mounts })
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
