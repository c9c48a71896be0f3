//! The runner's end of the zygote: one small process of `skill-jail`, from which each jail's first process is forked instead of
//! being executed anew. It sees no call: what a jail is told goes from the runner to that jail.
//!
//! It dies with the runner, every jail dies with it, and a runner whose zygote has died ends too.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use openclaw_confine::{
    Barrier,
    spawn::{Child, Start},
};
use openclaw_wire::pass;

use crate::spec::Spec;

/// Name under which `skill-jail` finds its end of the socket pair.
pub const DOOR: &str = "door";

/// The zygote.
#[derive(Debug)]
pub struct Zygote {
    process: Child,
    door: UnixStream,
}

/// What a jail's first process does before it hears of its call, as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// In namespaces of its own.
    pub namespaces: bool,
    /// With a root of its own.
    pub mounts: bool,
}

impl Kind {
    /// What every call's jail is.
    pub const WHOLE: Self = Self { namespaces: true, mounts: true };

    /// All of it, but for a drill.
    pub fn of(spec: &Spec) -> Self {
        let namespaces = spec.with(Barrier::Namespaces);
        Self { namespaces, mounts: namespaces && spec.with(Barrier::Mounts) }
    }

    fn byte(self) -> u8 {
        u8::from(self.namespaces) | (u8::from(self.mounts) << 1)
    }

    /// From the byte of a message.
    pub fn from_byte(byte: u8) -> Self {
        Self { namespaces: byte & 1 != 0, mounts: byte & 2 != 0 }
    }
}

impl Zygote {
    /// Starts it, from a thread that lives as long as this process.
    pub fn start(program: OwnedFd) -> io::Result<Self> {
        let (door, theirs) = UnixStream::pair()?;
        let null = || OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let process = Start::opened(program, "skill-jail")
            .fd(DOOR, theirs.into())
            .standard(0, null()?)
            .standard(1, null()?)
            .spawn()?;
        Ok(Self { process, door })
    }

    /// Asks for one more jail: with this control socket, standard input, output and error.
    pub fn fork(&self, kind: Kind, fds: [BorrowedFd<'_>; 4]) -> io::Result<()> {
        pass::send_all(&self.door, kind.byte(), &fds)
    }
}

/// The pidfd: readable once it has ended.
impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
