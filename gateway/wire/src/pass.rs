//! Descriptors beside one byte (`SCM_RIGHTS`, unix(7)): how the runner gets the pidfd of a jail and a call its way out.
//! Never more than [`MOST`]; what comes along unasked is closed.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// What a jail is given: its control socket and three pipes.
pub const MOST: usize = 4;

/// Sends one byte with a descriptor.
pub fn send(socket: impl AsFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    send_all(socket, b'p', &[fd])
}

/// Receives it; a byte without one is an error, and so is the other side's end.
pub fn receive(socket: impl AsFd) -> io::Result<OwnedFd> {
    let fd = receive_all(socket)?.and_then(|(_, fds)| fds.into_iter().next());
    fd.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the other side gave no descriptor"))
}

/// Sends one byte with several descriptors, [`MOST`] at most.
pub fn send_all(socket: impl AsFd, byte: u8, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {MOST} descriptors")));
    }
    sendmsg(socket.as_fd(), &[IoSlice::new(&[byte])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the byte and what came with it; `None` when the other side has closed.
pub fn receive_all(socket: impl AsFd) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((got.bytes == 1).then_some((byte[0], fds)))
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
