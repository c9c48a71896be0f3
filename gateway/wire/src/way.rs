//! A skill's way out: one `SOCK_SEQPACKET` pair for each call. Its jail has one end, egress the other. Through it the jail
//! asks for connections, and egress gives them: each is one end of a stream pair that egress made itself, so that nobody
//! outside holds what egress reads from.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::pass;

/// The byte with which a connection is asked for.
const ASK: &[u8] = b"o";
/// The byte that comes instead of a connection.
const NO: &[u8] = b"n";

/// Opens one connection to egress. Blocks until egress has answered; an error says that it gave none.
pub fn open(way: impl AsFd) -> io::Result<UnixStream> {
    send(&way, ASK, SendFlags::NOSIGNAL)?;
    pass::receive(&way).map(UnixStream::from)
}

/// Egress: whether a connection is asked for. `false` when the jail has ended; anything else that it says is an error.
pub fn asked(way: impl AsFd) -> io::Result<bool> {
    let mut byte = [0; 2];
    let (_, length) = recv(&way, &mut byte, RecvFlags::DONTWAIT)?;
    match &byte[..length.min(2)] {
        [] => Ok(false),
        asked if asked == ASK => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a word that is no question")),
    }
}

/// Egress: the answer. `None` refuses. A jail that does not read its answers fills its own queue only.
pub fn give(way: impl AsFd, connection: Option<OwnedFd>) -> io::Result<()> {
    match connection {
        Some(fd) => pass::send(&way, fd.as_fd()),
        None => Ok(send(&way, NO, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
        thread,
    };

    use rustix::net::{SendFlags, send};

    #[test]
    fn a_connection_is_asked_for_and_given_or_not() {
        let (jail, egress) = crate::door::pair().expect("pair");
        let asking = thread::spawn(move || {
            let mut first = super::open(&jail).expect("given");
            first.write_all(b"hello").expect("writes");
            assert!(super::open(&jail).is_err(), "the second is refused");
            jail
        });
        let waits = || {
            rustix::event::poll(
                &mut [rustix::event::PollFd::new(&egress, rustix::event::PollFlags::IN)],
                None,
            )
        };
        waits().expect("polls");
        assert!(super::asked(&egress).expect("asked"));
        let (mut ours, theirs) = UnixStream::pair().expect("pair");
        super::give(&egress, Some(theirs.into())).expect("gives");
        waits().expect("polls");
        assert!(super::asked(&egress).expect("asked again"));
        super::give(&egress, None).expect("refuses");
        let mut text = [0; 5];
        ours.read_exact(&mut text).expect("reads");
        assert_eq!(&text, b"hello");
        let jail = asking.join().expect("asked twice");
        send(jail.as_fd(), b"open sesame", SendFlags::empty()).expect("sends");
        assert!(super::asked(&egress).is_err(), "a longer word");
        drop(jail);
        assert!(!super::asked(&egress).expect("the end"));
    }
}
