//! Reaching somebody: over IP, over unix sockets, by name.

#![expect(clippy::disallowed_methods, reason = "the drill tries what must be refused")]

use std::{
    io,
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use openclaw_confine::Barrier::Seccomp;

use super::probes::Line;

const GROUP: &str = "network";
/// On loopback an answer is there at once, or never.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is tried.
pub const PROBES: &[Line] = &[
    (GROUP, "connect to the host's loopback over TCP", &[], |at| {
        connected(TcpStream::connect_timeout(&at.tcp, PATIENCE).map(drop))
    }),
    (GROUP, "send to the host's loopback over UDP", &[], |at| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        connected(socket.send_to(b"x", at.udp).map(drop))
    }),
    (GROUP, "listen on TCP", &[], |_| connected(TcpListener::bind("127.0.0.1:0").map(drop))),
    (GROUP, "listen on all addresses", &[], |_| connected(TcpListener::bind("0.0.0.0:0").map(drop))),
    // Landlock (version 7) has no right for it, and the folder with the socket is granted.
    (GROUP, "connect to a unix socket in a granted folder", &[Seccomp], |at| {
        connected(UnixStream::connect(at.out.join("socket")).map(drop))
    }),
    (GROUP, "connect to an abstract unix socket of the host", &[], |at| {
        let address = SocketAddr::from_abstract_name(&at.abstract_name)?;
        connected(UnixStream::connect_addr(&address).map(drop))
    }),
    (GROUP, "resolve a name", &[], |_| {
        let found = ("localhost", 80).to_socket_addrs()?.count();
        Ok(format!("{found} addresses"))
    }),
    (GROUP, "send to everybody on the network", &[], |_| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_broadcast(true)?;
        // Port 9 is discard; on the host's loopback network nobody else hears it.
        connected(socket.send_to(b"x", "127.255.255.255:9").map(drop))
    }),
];

fn connected(result: io::Result<()>) -> io::Result<String> {
    result.map(|()| "done".into())
}
