//! Drills on demand: the gateway, which can start no program, opens a connection, and gets the report of a drill that is held for
//! it. One at a time; the supervisor reads none of it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use openclaw_confine::spawn::{Child, Start};
use openclaw_wire::door::Entry;

/// The end of the door, and the drill that runs.
pub struct Drill {
    entry: Entry,
    runner: PathBuf,
    running: Option<Child>,
}

impl Drill {
    /// `runner` is the program that holds them.
    pub fn new(entry: OwnedFd, runner: PathBuf) -> io::Result<Self> {
        let entry = Entry::from_fd(entry)?;
        entry.set_nonblocking(true)?;
        Ok(Self { entry, runner, running: None })
    }

    /// Readable when there is something to do: a drill that ended, else one that is asked for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.running {
            Some(child) => child.as_fd(),
            None => self.entry.as_fd(),
        }
    }

    /// Does it.
    pub fn look(&mut self) {
        if let Some(child) = &mut self.running {
            if matches!(child.try_wait(), Ok(None)) {
                return;
            }
            self.running = None;
        }
        let asked = match self.entry.accept() {
            Ok(asked) => asked,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return tracing::warn!(%error, "a drill was asked for and can't be held"),
        };
        let start = || -> io::Result<Child> {
            let nothing = || File::open("/dev/null").map(OwnedFd::from);
            Start::new(&self.runner)
                .arg("--drill")
                .own_session()
                .standard(0, nothing()?)
                .standard(1, asked.into())
                .spawn()
        };
        match start() {
            Ok(child) => {
                tracing::info!(pid = child.id(), "a drill is held");
                self.running = Some(child);
            }
            Err(error) => tracing::warn!(%error, "a drill can't be started"),
        }
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ended = child.signal(rustix::process::Signal::KILL);
            let _ended = child.wait();
        }
    }
}
