//! One descriptor beside one byte (`SCM_RIGHTS`, unix(7)): how the runner gets the pidfd of a jail and a call its way out.
//! Never more than one; what comes along unasked is closed.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Sends one byte with a descriptor.
pub fn send(socket: impl AsFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "the buffer has room for one descriptor");
    sendmsg(socket.as_fd(), &[IoSlice::new(b"p")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives it; a byte without one is an error, and so is the other side's end.
pub fn receive(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    match fd {
        Some(fd) if got.bytes == 1 => Ok(fd),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side gave no descriptor")),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::{fd::AsFd, unix::net::UnixStream},
    };

    #[test]
    fn a_descriptor_goes_through_and_silence_is_an_error() {
        let (near, far) = UnixStream::pair().expect("pair");
        let (one, mut two) = UnixStream::pair().expect("pair");
        super::send(&near, one.as_fd()).expect("sends");
        drop(one);
        let received = UnixStream::from(super::receive(&far).expect("receives"));
        std::io::Write::write_all(&mut (&received), b"x").expect("writes");
        let mut byte = [0];
        two.read_exact(&mut byte).expect("reads");
        drop(near);
        assert!(super::receive(&far).is_err());
    }
}
