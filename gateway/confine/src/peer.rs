//! Who is at the other end of a unix socket, as the kernel recorded it when the connection was made.
//! A second check beside the socket's owner and mode; never the only one where all uids are the same.

use std::{io, os::fd::AsFd};

/// Credentials of a peer (`SO_PEERCRED`, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process id then; it may be gone since.
    pub pid: u32,
    /// Its user, as this process's user namespace sees it (65534 when it has no name here).
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Asks the kernel who connected.
pub fn credentials(socket: impl AsFd) -> io::Result<Peer> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer { pid: peer.pid.as_raw_nonzero().get() as u32, uid: peer.uid.as_raw(), gid: peer.gid.as_raw() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pair_made_here_names_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("pair");
        let peer = super::credentials(&one).expect("credentials");
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}
