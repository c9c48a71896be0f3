//! Listening sockets are handed to us, because we can make none: at the start, and whenever an interface comes up. One that
//! listens anywhere but on the VPN's interface or on loopback is refused, whoever hands it over.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, PoisonError},
    time::Duration,
};

use openclaw_confine::peer;
use openclaw_wire::{config, door::Entry, facts::FACTS, pass};
use rustix::net::{AddressFamily, sockopt};
use socket2::SockRef;
use tokio::{io::unix::AsyncFd, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Page;
use crate::admin::Admin;

/// Connections at one time on one socket: a few browsers and a collector of figures.
const CONNECTIONS: usize = 32;
/// For the hand-over; the other side is a program of ours.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Pause after the system could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a socket listens, as far as it matters who can reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Spot {
    /// Bound to an interface of the VPN.
    Interface(String),
    /// This machine alone.
    Loopback(SocketAddr),
}

impl Spot {
    /// A socket on an interface may be bound to no address; packets to other addresses of this machine are not meant for
    /// the page.
    fn admits(&self, near: IpAddr) -> bool {
        match self {
            Self::Loopback(address) => near == address.ip(),
            Self::Interface(name) if *name == FACTS.vpn.interface => near == FACTS.vpn.address,
            Self::Interface(_) => FACTS.vpn.tailscale_network.contains(&near),
        }
    }
}

/// Takes what is handed over, and serves it, until `stop`.
#[expect(
    deprecated,
    reason = "the replacement is `unsafe`; all it asks is that an entry keeps its descriptor"
)]
pub async fn listen(
    entry: Entry,
    page: Arc<Page>,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> io::Result<()> {
    entry.set_nonblocking(true)?;
    let entry = AsyncFd::new(entry)?;
    let mut serving: HashMap<Spot, CancellationToken> = HashMap::new();
    loop {
        let handed = tokio::select! {
            handed = next(&entry) => handed,
            () = stop.cancelled() => return Ok(()),
        };
        let (spot, listener) = match handed {
            Ok(handed) => handed,
            // The supervisor is gone, and takes us along.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => {
                warn!(%error, "no listening socket was taken for the status page");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // The interface may be another one of the same name: the new socket takes the old one's place.
        let ends = stop.child_token();
        if let Some(before) = serving.insert(spot.clone(), ends.clone()) {
            before.cancel();
        }
        tokio::spawn(serve(spot, listener, Arc::clone(&page), Arc::clone(&admin), ends));
    }
}

async fn next(entry: &AsyncFd<Entry>) -> io::Result<(Spot, TcpListener)> {
    let stream = loop {
        let mut ready = entry.readable().await?;
        if let Ok(accepted) = ready.try_io(|entry| entry.get_ref().accept()) {
            break accepted?;
        }
    };
    let by_path = matches!(entry.get_ref(), Entry::Listener(_));
    tokio::task::spawn_blocking(move || take(&stream, by_path)).await.map_err(io::Error::other)?
}

/// From a connection to a socket that may be served; the other side is told that it was taken.
fn take(stream: &UnixStream, by_path: bool) -> io::Result<(Spot, TcpListener)> {
    if by_path {
        let peer = peer::credentials(stream)?;
        if peer.uid != 0 && peer.uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other(format!("user {} may hand nothing over", peer.uid)));
        }
    }
    stream.set_read_timeout(Some(HAND_OVER))?;
    let socket = pass::receive(stream)?;
    let spot = spot(&socket)?;
    // Who does not listen any more has handed it over all the same.
    let _gone = (&mut &*stream).write_all(b"y");
    Ok((spot, socket.into()))
}

fn spot(socket: &OwnedFd) -> io::Result<Spot> {
    let wrong = |what: &str| Err(io::Error::other(format!("what was handed over {what}")));
    let family = sockopt::socket_domain(socket)?;
    if family != AddressFamily::INET && family != AddressFamily::INET6 {
        return wrong("is no TCP socket");
    }
    if !sockopt::socket_acceptconn(socket)? {
        return wrong("does not listen");
    }
    let socket = SockRef::from(socket);
    let address = socket.local_addr()?.as_socket();
    match (socket.device()?, address) {
        (Some(name), _) => {
            let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
            match name == FACTS.vpn.interface || name == FACTS.vpn.tailscale {
                true => Ok(Spot::Interface(name)),
                false => wrong(&format!("listens on the interface {name}")),
            }
        }
        (None, Some(address)) if address.ip().is_loopback() => Ok(Spot::Loopback(address)),
        (None, _) => wrong("listens for everybody"),
    }
}

async fn serve(
    spot: Spot,
    listener: TcpListener,
    page: Arc<Page>,
    admin: Arc<Admin>,
    ends: CancellationToken,
) {
    let opened = || -> io::Result<_> {
        listener.set_nonblocking(true)?;
        let socket = OwnedFd::from(listener.try_clone()?);
        Ok((Listening { shown: shown(&spot, listener.local_addr()?), socket }, listener))
    };
    let opened =
        opened().and_then(|(known, listener)| Ok((known, tokio::net::TcpListener::from_std(listener)?)));
    let (known, listener) = match opened {
        Ok(opened) => opened,
        Err(error) => return warn!(%error, ?spot, "the status page can't listen"),
    };
    let shown = known.shown.clone();
    info!(at = shown, "the status page listens");
    page.listens.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    accept(&spot, &listener, &page, &admin, &ends).await;
    let mut listens = page.listens.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = listens.iter().position(|other| other.shown == shown) {
        listens.remove(at);
    }
}

async fn accept(
    spot: &Spot,
    listener: &tokio::net::TcpListener,
    page: &Arc<Page>,
    admin: &Arc<Admin>,
    ends: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.expect("never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = ends.cancelled() => return,
        };
        let (stream, far) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "could not accept a connection of the status page");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(near) = stream.local_addr() else { continue };
        if !spot.admits(near.ip()) {
            warn!(%near, %far, "refused a connection to another address of this machine");
            continue;
        }
        let (page, admin, ends) = (Arc::clone(page), Arc::clone(admin), ends.clone());
        tokio::spawn(async move {
            let connection = page.connection(admin, stream, near, far.ip());
            let _ended = ends.run_until_cancelled(connection).await;
            drop(place);
        });
    }
}

/// A socket that is served.
pub struct Listening {
    shown: String,
    socket: OwnedFd,
}

impl Listening {
    /// Where; `None` when its interface is gone, and it is deaf.
    pub fn shown(&self) -> Option<String> {
        SockRef::from(&self.socket).device().is_ok().then(|| self.shown.clone())
    }
}

/// For people.
fn shown(spot: &Spot, address: SocketAddr) -> String {
    match spot {
        Spot::Interface(name) if address.ip().is_unspecified() => {
            format!("port {} of this machine's address on {name}", address.port())
        }
        Spot::Interface(name) => format!("http://{address}/ on {name}"),
        Spot::Loopback(_) => format!("http://{address}/"),
    }
}

/// Hands a listening socket to the gateway, and waits until it says that it took it.
pub fn over(door: &openclaw_wire::door::Door, socket: &OwnedFd) -> io::Result<()> {
    let mut stream = door.open()?;
    stream.set_read_timeout(Some(2 * HAND_OVER))?;
    pass::send(&stream, std::os::fd::AsFd::as_fd(socket))?;
    stream.read_exact(&mut [0])
}

/// The interfaces and addresses on which the page may listen.
pub fn may_listen(page: &config::Page) -> Vec<(Option<&'static str>, SocketAddr)> {
    let vpn = &FACTS.vpn;
    let port = FACTS.admin.port;
    match page {
        config::Page::Off => Vec::new(),
        config::Page::Loopback(address) => vec![(None, *address)],
        config::Page::Vpn => vec![
            (Some(vpn.interface.as_str()), SocketAddr::new(vpn.address, port)),
            // Which address it gets is Tailscale's affair: the socket is bound to the interface alone.
            (Some(vpn.tailscale.as_str()), SocketAddr::new([0, 0, 0, 0].into(), port)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::OwnedFd};

    use super::{Spot, spot};

    #[test]
    fn only_sockets_that_strangers_do_not_reach_are_taken() {
        let listener = |address: &str| OwnedFd::from(TcpListener::bind(address).expect("listen"));
        assert!(matches!(spot(&listener("127.0.0.1:0")), Ok(Spot::Loopback(_))));
        let error = spot(&listener("0.0.0.0:0")).expect_err("everybody").to_string();
        assert!(error.contains("listens for everybody"), "{error}");
        let bound =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let error = spot(&bound.into()).expect_err("not listening").to_string();
        assert!(error.contains("does not listen"), "{error}");
        let (unix, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(spot(&unix.into()).expect_err("no TCP").to_string().contains("no TCP socket"));
        // "lo" is an interface too, and not one of the VPN's.
        let bound =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        bound.bind_device(Some(b"lo")).expect("bind to lo");
        bound.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], 0)).into()).expect("bind");
        bound.listen(1).expect("listen");
        let error = spot(&bound.into()).expect_err("lo").to_string();
        assert!(error.contains("interface lo"), "{error}");
    }

    #[test]
    fn on_an_interface_only_its_own_addresses_are_meant() {
        for (spot, near, good) in [
            (Spot::Interface("wg-openclaw".into()), [10, 77, 0, 1], true),
            (Spot::Interface("wg-openclaw".into()), [192, 168, 1, 2], false),
            (Spot::Interface("tailscale0".into()), [100, 101, 102, 103], true),
            (Spot::Interface("tailscale0".into()), [10, 77, 0, 1], false),
            (Spot::Loopback(([127, 0, 0, 1], 1).into()), [127, 0, 0, 1], true),
        ] {
            assert_eq!(spot.admits(near.into()), good, "{spot:?} {near:?}");
        }
    }
}
