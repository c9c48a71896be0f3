//! The status page's listening sockets. The gateway can make none, so they are made here and handed to it: at each of its starts,
//! and when an interface of the VPN comes up. Each is bound to its interface before it is bound to an address.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use openclaw_wire::{config, door::Door, pass};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{command::fault::Fault, page::may_listen};

/// Links and IPv4 addresses (rtnetlink(7): `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`).
const GROUPS: u32 = 0x1 | 0x10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Where it may listen, and where it does.
pub struct Pages {
    door: Door,
    spots: Vec<Spot>,
    changes: Option<OwnedFd>,
}

struct Spot {
    device: Option<&'static str>,
    address: SocketAddr,
    /// With the number that the interface had: one that is made again has another, and the old socket is deaf.
    made: Option<(u32, OwnedFd)>,
}

impl Pages {
    /// What the configuration wants; `door` leads to the gateway. On loopback it is made at once, or not at all.
    pub fn make(wanted: &config::Page, door: OwnedFd) -> Result<Self, Fault> {
        let spots =
            may_listen(wanted).into_iter().map(|(device, address)| Spot { device, address, made: None });
        let mut pages = Self { door: Door::Pair(door), spots: spots.collect(), changes: None };
        if let config::Page::Loopback(address) = wanted {
            pages.spots[0].make().map_err(|error| {
                Fault::new(
                    format!("listen on {address} for the status page: {error}"),
                    "stop what uses that port, or choose another one as `listen` in section [admin]",
                )
            })?;
        } else if !pages.spots.is_empty() {
            // Before the first look, so that nothing comes up between the two.
            pages.changes = Some(changes().map_err(|error| {
                Fault::new(
                    format!("watch the interfaces of this machine: {error}"),
                    "set listen = \"off\" in section [admin]",
                )
            })?);
            pages.look();
        }
        Ok(pages)
    }

    /// Readable when an interface or an address came or went.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(AsFd::as_fd)
    }

    /// After a change: makes what can be made now, and hands it over.
    pub fn changed(&mut self) {
        let mut buffer = [0; 4096];
        // What changed is of no matter: the kernel is asked anew.
        while let Some(changes) = &self.changes
            && recv(changes, &mut buffer, RecvFlags::DONTWAIT).is_ok()
        {}
        self.look();
    }

    fn look(&mut self) {
        for at in 0..self.spots.len() {
            match self.spots[at].make() {
                Ok(true) => self.hand(at),
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    device = self.spots[at].device,
                    address = %self.spots[at].address,
                    %error,
                    "the status page can't listen"
                ),
            }
        }
    }

    /// Everything, to a gateway that was just started.
    pub fn hand_all(&self) {
        for at in 0..self.spots.len() {
            self.hand(at);
        }
    }

    fn hand(&self, at: usize) {
        let Some((_, socket)) = &self.spots[at].made else { return };
        // The gateway takes it when it has come so far; nobody waits for it here.
        let handed = self.door.open().and_then(|stream| pass::send(&stream, socket.as_fd()));
        if let Err(error) = handed {
            tracing::warn!(%error, "a listening socket was not handed to the gateway");
        }
    }
}

impl Spot {
    /// `true` when there is a new socket. An interface or an address that is not there is no error.
    fn make(&mut self) -> io::Result<bool> {
        let number = match self.device.map(number_of) {
            Some(None) => {
                self.made = None;
                return Ok(false);
            }
            Some(Some(number)) => number,
            None => 0,
        };
        if self.made.as_ref().is_some_and(|(made, _)| *made == number) {
            return Ok(false);
        }
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if let Some(device) = self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        match socket.bind(&self.address.into()) {
            Err(error) if self.device.is_some() && error.kind() == io::ErrorKind::AddrNotAvailable => {
                return Ok(false);
            }
            bound => bound?,
        }
        socket.listen(BACKLOG)?;
        self.made = Some((number, socket.into()));
        Ok(true)
    }
}

/// An interface's number, which no other one gets while the machine runs.
fn number_of(device: &str) -> Option<u32> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, device).ok()
}

fn changes() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Its protocol is 0, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use openclaw_wire::{
        config::Page,
        door::{self, Entry},
        pass,
    };

    use super::Pages;

    #[test]
    fn loopback_is_listened_on_at_once_and_handed_over_at_each_start() {
        let (ours, theirs) = door::pair().expect("a pair");
        let entry = Entry::from_fd(theirs).expect("an entry");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port");
        let pages = Pages::make(&Page::Loopback(free), ours).expect("listens");
        for _ in 0..2 {
            pages.hand_all();
            let socket = pass::receive(entry.accept().expect("opened")).expect("handed over");
            assert_eq!(TcpListener::from(socket).local_addr().expect("listens"), free);
        }
        assert!(pages.fd().is_none(), "nothing to wait for");
        let (ours, _theirs) = door::pair().expect("a pair");
        let error = Pages::make(&Page::Loopback(free), ours).err().expect("in use").to_string();
        assert!(error.contains("[admin]"), "{error}");
    }
}
