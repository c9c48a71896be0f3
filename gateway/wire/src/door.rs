//! How one of our processes reaches another.
//!
//! Under systemd a door is a unix socket path with an owner and a mode. Under `openclaw run` every process has the
//! same uid, so a path would let anybody in: there the supervisor makes a `SOCK_SEQPACKET` pair and gives one end to
//! each side. To open a connection the caller makes a fresh stream pair and sends one end through (`SCM_RIGHTS`).
//! Whoever holds no end has no way in, and the caller needs neither `socket` nor `connect`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The side that opens connections.
#[derive(Debug)]
pub enum Door {
    /// A socket path, under systemd.
    Path(PathBuf),
    /// One end of the supervisor's pair.
    Pair(OwnedFd),
}

/// The side that accepts them.
#[derive(Debug)]
pub enum Entry {
    /// A listening unix socket, under systemd.
    Listener(UnixListener),
    /// The other end of the supervisor's pair.
    Pair(OwnedFd),
}

/// Both ends, made by the supervisor before it starts the processes.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

impl Door {
    /// Opens one connection. Blocks only while the other side's queue of unaccepted connections is full.
    pub fn open(&self) -> io::Result<UnixStream> {
        let through = match self {
            Door::Path(path) => return UnixStream::connect(path),
            Door::Pair(fd) => fd,
        };
        let (ours, theirs) = UnixStream::pair()?;
        let fds = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(
            control.push(SendAncillaryMessage::ScmRights(&fds)),
            "the buffer has room for one descriptor"
        );
        sendmsg(through, &[IoSlice::new(b"o")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(ours)
    }
}

impl Entry {
    /// From a descriptor that systemd or the supervisor passed: a listening socket or the end of a pair.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(match rustix::net::sockopt::socket_acceptconn(&fd)? {
            true => Entry::Listener(UnixListener::from(fd)),
            false => Entry::Pair(fd),
        })
    }

    /// Switches between waiting and `WouldBlock`; what is accepted is always in blocking mode.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(self, on)?)
    }

    /// The next connection. A pair whose other end is gone gives `UnexpectedEof`.
    pub fn accept(&self) -> io::Result<UnixStream> {
        let pair = match self {
            Entry::Listener(listener) => return listener.accept().map(|(stream, _)| stream),
            Entry::Pair(fd) => fd,
        };
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(pair, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        match fd {
            Some(fd) if !got.flags.contains(ReturnFlags::CTRUNC) => Ok(UnixStream::from(fd)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a door message without its one descriptor")),
        }
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Entry::Listener(listener) => listener.as_fd(),
            Entry::Pair(fd) => fd.as_fd(),
        }
    }
}

/// What an async runtime registers a descriptor by.
impl AsRawFd for Entry {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Door, Entry};

    #[test]
    fn a_pair_carries_connections_and_ends_with_its_other_side() {
        let (ours, theirs) = super::pair().expect("pair");
        let (door, entry) = (Door::Pair(ours), Entry::from_fd(theirs).expect("entry"));
        let mut near = door.open().expect("open");
        let mut far = entry.accept().expect("accept");
        near.write_all(b"hello").expect("write");
        drop(near);
        let mut text = String::new();
        far.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
        drop(door);
        assert_eq!(entry.accept().expect_err("closed").kind(), std::io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_path_is_a_door_too() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let entry = Entry::from_fd(listener.into()).expect("entry");
        assert!(matches!(entry, Entry::Listener(_)));
        let _near = Door::Path(path).open().expect("open");
        entry.accept().expect("accept");
    }
}
