//! One connection of a jail: speaks HTTP proxy with whatever software runs there. A request that its manifest allows goes
//! out; a CONNECT is answered with a certificate of the call's own authority, so that what is inside is judged as well.

use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use openclaw_wire::egress::{Denial, REFUSED, Refusal};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::UnixStream,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Ways, authority::Authority, body::Returning, call::Call, denial::Why, judge, out::Failed, place::Place,
    tunnel,
};
use crate::{dial::Timed, lease::Leased, spend::Metered};

/// Largest head of a request, in bytes.
const BUFFER: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 100;
/// The first byte of TLS (RFC 8446, section 5.1: a handshake record).
const TLS: u8 = 22;
/// TLS with the jail, or the first bytes of a tunnel.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The body of an answer to a jail.
pub type Answer = Either<Full<Bytes>, Returning<Leased<Metered<Timed>>>>;

/// What all requests of a connection share.
#[derive(Clone)]
pub struct Jail {
    /// The stores and the way to the outside.
    pub ways: Arc<Ways>,
    /// The call.
    pub call: Arc<Call>,
    /// The call's authority.
    pub authority: Arc<Authority>,
    /// Egress stops: what is under way may end, nothing new begins.
    pub stop: CancellationToken,
}

/// What follows an accepted CONNECT.
enum Inside {
    /// TLS by us; the requests inside are judged.
    Seen(Place, Arc<ServerConfig>),
    /// Bytes.
    Tunnel(Place),
}

/// Serves until the connection ends or the call does.
pub async fn serve(jail: Jail, stream: UnixStream) {
    let call = jail.call.clone();
    tokio::select! {
        () = call.stop.cancelled() => {}
        () = outer(jail, stream) => {}
    }
}

async fn outer(jail: Jail, stream: UnixStream) {
    let next: Arc<Mutex<Option<(OnUpgrade, Inside)>>> = Arc::default();
    let (shared, upgrade) = (jail.clone(), next.clone());
    let service = service_fn(move |request| {
        let (jail, upgrade) = (shared.clone(), upgrade.clone());
        async move { Ok::<_, Infallible>(jail.proxy(request, &upgrade).await) }
    });
    let connection = server().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    // Errors are the skill's own: it went away, or it does not speak HTTP.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = jail.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let next = next.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (Ok(()), Some((upgrade, inside))) = (ended, next)
        && let Ok(upgraded) = upgrade.await
    {
        match inside {
            Inside::Seen(place, config) => jail.seen(upgraded, place, config).await,
            Inside::Tunnel(place) => jail.tunnel(upgraded, place).await,
        }
    }
}

fn server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server.max_buf_size(BUFFER).max_headers(HEADERS).auto_date_header(false).half_close(true);
    server
}

impl Jail {
    /// A request to the proxy itself.
    async fn proxy(
        &self,
        mut request: Request<Incoming>,
        next: &Mutex<Option<(OnUpgrade, Inside)>>,
    ) -> Response<Answer> {
        if request.method() == Method::CONNECT {
            return match self.connect(request.uri()) {
                Ok(inside) => {
                    let upgrade = hyper::upgrade::on(&mut request);
                    *next.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, inside));
                    Response::new(Either::Left(Full::default()))
                }
                Err(why) => self.denied(&why),
            };
        }
        let place = match request.uri().authority() {
            Some(authority) if request.uri().scheme() == Some(&Scheme::HTTP) => {
                Place::read(authority.as_str(), Some(80)).map_err(|odd| Why::Odd(authority.to_string(), odd))
            }
            // Software that leaves TLS to us: the way here is the jail's own loopback, and it is TLS from here on.
            Some(authority) if request.uri().scheme() == Some(&Scheme::HTTPS) => {
                return match Place::read(authority.as_str(), Some(443)) {
                    Ok(place) => self.ask(&place, request).await,
                    Err(odd) => self.denied(&Why::Odd(authority.to_string(), odd)),
                };
            }
            _ => {
                let text = "this is the proxy of a skill's jail: it takes http://host/path, https://host/path and \
                    CONNECT host:port\n";
                return plain(StatusCode::BAD_REQUEST, text.into());
            }
        };
        match place {
            Ok(place) if place.private().is_none() => match judge::host(&self.call, &place) {
                Ok(_) => self.denied(&Why::Plain(place)),
                // With the port of https in its place, for that is what the manifest would have to name.
                Err(why) => self.denied(&why),
            },
            Ok(place) => self.ask(&place, request).await,
            Err(why) => self.denied(&why),
        }
    }

    fn connect(&self, uri: &Uri) -> Result<Inside, Why> {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let place = Place::read(&authority, None).map_err(|odd| Why::Odd(authority, odd))?;
        let grants = judge::host(&self.call, &place)?;
        // Where it is known before anything is promised.
        self.ways.out.known(&place)?;
        if grants.iter().all(|grant| grant.tunnel) {
            if self.ways.ledger.costs(&place.host) {
                return Err(Why::Uncounted(place));
            }
            self.call.request()?;
            return Ok(Inside::Tunnel(place));
        }
        match self.authority.server(&place.host) {
            Ok(config) => Ok(Inside::Seen(place, config)),
            Err(error) => {
                tracing::warn!("answer as {}: {error:#}", place.host);
                Err(Why::Budget("256 hosts"))
            }
        }
    }

    /// What follows a CONNECT: TLS with the skill and the requests inside; or requests in clear, as some software sends them
    /// through a proxy too.
    async fn seen(self, upgraded: Upgraded, place: Place, config: Arc<ServerConfig>) {
        let (mut read, write) = tokio::io::split(TokioIo::new(upgraded));
        let mut first = [0];
        let Ok(Ok(1)) = tokio::time::timeout(HANDSHAKE, read.read(&mut first)).await else { return };
        let stream = tokio::io::join(io::Cursor::new(first).chain(read), write);
        if first[0] != TLS {
            return self.requests(stream, place, false).await;
        }
        let accept = TlsAcceptor::from(config).accept(stream);
        // A skill that does not trust the authority ends here, and its own error says so.
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, accept).await else { return };
        self.requests(stream, place, true).await;
    }

    async fn requests(self, stream: impl AsyncRead + AsyncWrite + Unpin, place: Place, tls: bool) {
        let jail = self.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (jail, place) = (jail.clone(), place.clone());
            async move {
                Ok::<_, Infallible>(match tls || place.private().is_some() {
                    true => jail.inner(&place, request).await,
                    false => jail.denied(&Why::Plain(place)),
                })
            }
        });
        let mut connection = pin!(server().serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    /// A request inside: only to the host that the CONNECT named.
    async fn inner(&self, place: &Place, request: Request<Incoming>) -> Response<Answer> {
        let said = match request.uri().authority() {
            Some(authority) => Some(authority.to_string()),
            None => request
                .headers()
                .get(header::HOST)
                .map(|host| String::from_utf8_lossy(host.as_bytes()).into()),
        };
        let default = place.port;
        match said.as_deref().map(|said| Place::read(said, Some(default))) {
            Some(Ok(named)) if named == *place => self.ask(place, request).await,
            _ => self.denied(&Why::ServerName(place.clone(), said.unwrap_or_default())),
        }
    }

    async fn ask(&self, place: &Place, request: Request<Incoming>) -> Response<Answer> {
        match self.ways.ask(&self.call, place, request).await {
            Ok(answer) => answer.map(Either::Right),
            Err(Failed::Denied(why)) => self.denied(&why),
            Err(Failed::Stopped(denial)) => denied(&denial),
            Err(Failed::Far(refusal)) => self.failed(&refusal),
        }
    }

    async fn tunnel(self, upgraded: Upgraded, place: Place) {
        let mut near = TokioIo::new(upgraded);
        let hello = tokio::time::timeout(HANDSHAKE, tunnel::hello(&mut near, &place)).await;
        let hello = match hello {
            Ok(Ok(hello)) => hello,
            Ok(Err(why)) => {
                self.call.denied(&why);
                return;
            }
            Err(_) => return,
        };
        let mut far = match self.ways.out.dial(&place).await {
            Ok(far) => far,
            Err(Failed::Denied(why)) => {
                self.call.denied(&why);
                return;
            }
            Err(Failed::Far(refusal)) => {
                tracing::info!(skill = %self.call.skill, "tunnel: {}", refusal.message);
                return;
            }
            Err(Failed::Stopped(_)) => return,
        };
        let _ = far.set_nodelay(true);
        if self.call.sends(hello.len()).is_ok()
            && tokio::io::AsyncWriteExt::write_all(&mut far, &hello).await.is_ok()
        {
            // An error is one side's going away: the other one sees it.
            let _ = tunnel::carry(near, far, &self.call).await;
        }
    }

    fn denied(&self, why: &Why) -> Response<Answer> {
        denied(&self.call.denied(why))
    }

    /// What is nobody's fault in here: the far end, the network, a key that is missing.
    fn failed(&self, refusal: &Refusal) -> Response<Answer> {
        tracing::info!(skill = %self.call.skill, kind = ?refusal.kind, "{}", refusal.message);
        plain(StatusCode::BAD_GATEWAY, format!("{}; {}\n", refusal.message, refusal.mend))
    }
}

fn denied(denial: &Denial) -> Response<Answer> {
    let mut answer = plain(StatusCode::FORBIDDEN, format!("{}; {}\n", denial.message, denial.mend));
    answer.headers_mut().insert(REFUSED, header::HeaderValue::from_static("not_allowed"));
    answer
}

fn plain(status: StatusCode, text: String) -> Response<Answer> {
    let mut answer = Response::new(Either::Left(Full::new(text.into())));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// A body of a skill with the error type that the way out wants.
pub fn boxed(
    body: Incoming,
) -> impl http_body::Body<Data = Bytes, Error = super::body::Broken> + Send + Unpin {
    body.map_err(Into::into)
}
