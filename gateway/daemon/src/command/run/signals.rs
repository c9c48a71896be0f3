//! SIGTERM, SIGHUP and SIGINT as bytes in sockets, so that one `poll` waits for them and for the processes alike.

use std::{io::Read, os::unix::net::UnixStream};

use rustix::event::{PollFd, PollFlags};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe::register,
};

/// The signals that the supervisor acts on, each as a byte in a socket.
pub struct Signals {
    stop: UnixStream,
    interrupt: UnixStream,
    /// A terminal's Ctrl-C goes to the chat too, which acts on it instead.
    ignore_interrupt: bool,
}

impl Signals {
    /// From now on these signals no longer end the process.
    pub fn take(ignore_interrupt: bool) -> anyhow::Result<Self> {
        let (stop, tell_stop) = UnixStream::pair()?;
        let (interrupt, tell_interrupt) = UnixStream::pair()?;
        register(SIGTERM, tell_stop.try_clone()?)?;
        register(SIGHUP, tell_stop)?;
        register(SIGINT, tell_interrupt)?;
        for socket in [&stop, &interrupt] {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { stop, interrupt, ignore_interrupt })
    }

    /// To wait for one of them.
    pub fn poll_fds(&self) -> [PollFd<'_>; 2] {
        [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.interrupt, PollFlags::IN)]
    }

    /// Whether a stop was asked for since the last time.
    pub fn asked(&mut self) -> bool {
        let mut bytes = [0; 64];
        let stop = self.stop.read(&mut bytes).is_ok_and(|n| n > 0);
        let interrupt = self.interrupt.read(&mut bytes).is_ok_and(|n| n > 0);
        stop || (interrupt && !self.ignore_interrupt)
    }
}
