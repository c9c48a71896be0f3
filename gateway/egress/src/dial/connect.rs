//! Connections: the name is looked up, its addresses are judged, and those that passed are tried one after the other with
//! a short head start each, over both families (RFC 8305, "Happy Eyeballs"); or one to the operator's proxy, which
//! leads on. What was judged is what is dialled (incident 55).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, Uri, header};
use hyper_util::{
    client::legacy::connect::proxy::{SocksV5, Tunnel},
    rt::TokioIo,
};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tower_service::Service;

use super::request::Fault;
use crate::{address::Reach, names::Names};

/// The head start of each address before the next is tried too: RFC 8305, section 5 ("Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a connection is quiet before the kernel asks whether its other end is still there, how often it asks again, and
/// after how many questions without an answer it is broken.
const QUIET: Duration = Duration::from_secs(15);
const QUESTIONS: u32 = 3;

/// Opens connections of one reach.
#[derive(Debug, Clone)]
pub struct Dial {
    /// How far.
    pub reach: Reach,
    /// Shared by all.
    pub names: Arc<Names>,
}

type Opens<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;
type Opening = Opens<TokioIo<TcpStream>>;

impl Dial {
    /// To a host, which is a name or an address as it stands in a URL.
    pub async fn open(&self, host: &str, port: u16) -> Result<TcpStream, Fault> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.names.addresses(host).await?,
        };
        let stream = race(in_turns(self.reach.pick(host, found)?), port).await?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, QUIET)?;
        sockopt::set_tcp_keepintvl(&stream, QUIET)?;
        sockopt::set_tcp_keepcnt(&stream, QUESTIONS)?;
        Ok(stream)
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = Fault;
    type Future = Opening;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Opening {
        let dial = self.clone();
        Box::pin(async move {
            let port = to.port_u16().unwrap_or(if to.scheme_str() == Some("https") { 443 } else { 80 });
            Ok(TokioIo::new(dial.open(to.host().unwrap_or_default(), port).await?))
        })
    }
}

/// Both families in turns, the one first that the system puts first (RFC 8305, section 4).
fn in_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (mut these, mut those): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut turns = Vec::with_capacity(these.len() + those.len());
    let (mut these, mut those) = (these.drain(..), those.drain(..));
    loop {
        match (these.next(), those.next()) {
            (None, None) => return turns,
            (one, other) => turns.extend(one.into_iter().chain(other)),
        }
    }
}

/// The first connection that comes about. An address that fails lets the next one begin at once.
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    loop {
        match left.next() {
            Some(address) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "egress speaks to others; the address was judged"
                )]
                tries.push(TcpStream::connect(SocketAddr::new(address, port)));
            }
            None if tries.is_empty() => return Err(failed),
            None => {}
        }
        let mut head_start = std::pin::pin!(tokio::time::sleep(HEAD_START));
        tokio::select! {
            biased;
            done = tries.next() => match done {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = error,
                None => {}
            },
            () = head_start.as_mut(), if left.len() > 0 => {}
        }
    }
}

/// How a connection leads to its server.
#[derive(Debug, Clone)]
pub enum Line {
    /// Itself.
    Straight(Dial),
    /// Through a SOCKS5 proxy, which looks the name up.
    Socks(SocksV5<Dial>),
    /// Through an HTTP proxy, which looks the name up.
    Tunnel(Tunnel<Dial>),
}

impl Line {
    /// Through the operator's proxy.
    pub fn through(proxy: Uri, dial: Dial) -> Self {
        match proxy.scheme_str() {
            Some("socks5") => Self::Socks(SocksV5::new(proxy, dial)),
            _ => {
                let agent = (header::USER_AGENT, super::request::AGENT);
                Self::Tunnel(Tunnel::new(proxy, dial).with_headers(HeaderMap::from_iter([agent])))
            }
        }
    }
}

impl Service<Uri> for Line {
    type Response = TokioIo<TcpStream>;
    type Error = Fault;
    type Future = Opening;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        // As each of them.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Opening {
        match self {
            Self::Straight(dial) => dial.call(to),
            Self::Socks(socks) => {
                let opening = socks.call(to);
                Box::pin(async move { Ok(opening.await?) })
            }
            Self::Tunnel(tunnel) => {
                let opening = tunnel.call(to);
                Box::pin(async move { Ok(opening.await?) })
            }
        }
    }
}

/// Opens a connection within a time, whatever it waits for: a name, TCP, TLS or a proxy.
#[derive(Debug, Clone)]
pub struct Within<S>(pub S, pub Duration);

impl<S> Service<Uri> for Within<S>
where
    S: Service<Uri, Error = Fault, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = Fault;
    type Future = Opens<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (opening, time) = (self.0.call(to), self.1);
        Box::pin(async move { tokio::time::timeout(time, opening).await? })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, SocketAddr},
        time::Duration,
    };

    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::{in_turns, race};

    #[test]
    fn families_take_turns() {
        let v4 = |last| IpAddr::from([192, 0, 2, last]);
        let v6 = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let turns = in_turns(vec![v6(1), v6(2), v6(3), v4(1), v4(2)]);
        assert_eq!(turns, [v6(1), v4(1), v6(2), v4(2), v6(3)]);
        assert_eq!(in_turns(vec![v4(1), v4(2), v6(1)]), [v4(1), v6(1), v4(2)]);
        assert!(in_turns(vec![]).is_empty());
    }

    /// Listens there and accepts nothing, with no room for another connection: one to it neither comes about nor fails.
    async fn black_hole(at: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(at).expect("bound");
        let (listener, mut waiting) = (socket.listen(0).expect("listens"), Vec::new());
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), connect(at)).await {
            waiting.push(stream.expect("connected"));
        }
        (listener, waiting)
    }

    #[expect(clippy::disallowed_methods, reason = "the far end's own room is taken")]
    async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(to).await
    }

    /// One after the other they would take the kernel's two minutes each.
    #[tokio::test]
    async fn dead_addresses_hold_up_nobody() {
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = good.local_addr().expect("address").port();
        let loopback = |last| IpAddr::from([127, 0, 0, last]);
        let _dead =
            [black_hole((loopback(2), port).into()).await, black_hole((loopback(3), port).into()).await];
        // Nobody listens on the last one: it fails at once, and so the good one is asked at once.
        let addresses = vec![loopback(2), loopback(3), loopback(4), loopback(1)];
        let limit = super::super::CONNECT;
        let won = tokio::time::timeout(limit, race(addresses.clone(), port)).await.expect("in time");
        assert_eq!(won.expect("connected").peer_addr().expect("address").ip(), loopback(1));
        tokio::time::timeout(limit, race(addresses[..2].to_vec(), port)).await.expect_err("they are dead");
        let none = race(vec![loopback(4)], port).await.expect_err("nobody listens");
        assert_eq!(none.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
