//! Tries of what must not work any more, for the report. Only on this machine's loopback and its own sockets.

use std::io;

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

/// An abstract unix socket made before the barrier: for Landlock it belongs to the outside ever after.
pub(crate) struct AbstractSocket(io::Result<(std::os::fd::OwnedFd, SocketAddrUnix)>);

impl AbstractSocket {
    pub(crate) fn bind() -> Self {
        Self((|| {
            let fd = socket()?;
            let address = SocketAddrUnix::new_abstract_name(
                format!("openclaw-confine-{}", std::process::id()).as_bytes(),
            )?;
            bind(&fd, &address)?;
            listen(&fd, 1)?;
            Ok((fd, address))
        })())
    }

    /// Whether a connection is refused for being out of scope.
    pub(crate) fn refuses(&self) -> Result<(), String> {
        // Where no unix socket can be made there is none to reach either.
        let Ok((_open, address)) = &self.0 else { return Ok(()) };
        match socket().and_then(|fd| Ok(connect(&fd, address)?)) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => Ok(()),
            Err(error) => Err(format!("an outside abstract socket failed with {error}, not with EPERM")),
            Ok(()) => Err("an outside abstract socket can still be reached".into()),
        }
    }
}

fn socket() -> io::Result<std::os::fd::OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// A socket of that family cannot even be made.
pub(crate) fn no_socket(family: AddressFamily) -> Result<(), String> {
    match socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None) {
        Err(Errno::PERM) => Ok(()),
        Err(error) => Err(format!("socket({family:?}) failed with {error}, not with EPERM")),
        Ok(_) => Err(format!("socket({family:?}) still works")),
    }
}
