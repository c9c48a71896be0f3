//! `POST /telegram/<bot>` over loopback TCP or a unix socket: each check of the module's order, then the inbox.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER, STRICT_TRANSPORT_SECURITY},
};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{body::Incoming as Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use openclaw_wire::{facts::FACTS, id::BotName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Inbox, Incoming, Secrets, Source, Verified, front,
    half_open::{HalfOpen, Place},
    scrub::{Scrubbed, Shown},
    source::Peer,
    throttle::{Throttle, WINDOW},
};
use crate::telegram::update::Update;

/// The header that carries the secret.
const SECRET: &str = "x-telegram-bot-api-secret-token";
/// Largest head of a request: Telegram's and cloudflared's are under 2 KiB.
const HEAD: usize = 16 << 10;
/// Seconds after which the sender of an update that could not be stored should try again.
const AGAIN: u64 = 2;

/// Everything that stands between a connection and the inbox.
#[derive(Debug)]
pub struct Gate {
    source: Source,
    secrets: Arc<Secrets>,
    throttle: Throttle,
    max_body: usize,
    read_timeout: Duration,
}

/// A listening socket that the supervisor or systemd opened.
#[derive(Debug)]
pub enum Listener {
    /// Loopback.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixListener),
}

/// Why a request became no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Source,
    Throttled,
    Secret,
    Method,
    TooLarge,
    TooSlow,
    Malformed,
    NotReady,
    NotStored,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Source => StatusCode::FORBIDDEN,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::Secret => StatusCode::UNAUTHORIZED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NotReady | Self::NotStored => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds until the next try makes sense; Telegram obeys it (0 to 3600).
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::NotReady | Self::NotStored => Some(AGAIN),
            Self::Throttled => Some(WINDOW.as_secs()),
            _ => None,
        }
    }
}

impl Gate {
    /// A gate that nobody has passed yet.
    pub fn new(source: Source, secrets: Arc<Secrets>, max_body: usize, read_timeout: Duration) -> Self {
        Self { source, secrets, throttle: Throttle::default(), max_body, read_timeout }
    }

    /// Everything that is decided before a byte of the body is read.
    fn admit(
        &self,
        peer: Peer,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        shown: &Shown,
    ) -> Result<BotName, Refusal> {
        let address = self.source.check(peer, headers).ok_or(Refusal::Source)?;
        if !self.throttle.allows(address, Instant::now()) {
            return Err(Refusal::Throttled);
        }
        if self.secrets.is_empty() {
            return Err(Refusal::NotReady);
        }
        // An unknown bot costs the same as a wrong secret, and says the same.
        let bot =
            path.strip_prefix(FACTS.webhook.path.as_str()).and_then(|name| name.parse::<BotName>().ok());
        let mut values = headers.get_all(SECRET).iter();
        let given = match (values.next(), values.next()) {
            (Some(one), None) => shown.digest(one.as_bytes()),
            _ => None,
        };
        let right = self.secrets.admits(bot.as_ref(), given);
        let Some(bot) = bot.filter(|_| right) else {
            self.throttle.failed(address, Instant::now());
            return Err(Refusal::Secret);
        };
        self.throttle.passed(address, Instant::now());
        if method != Method::POST {
            return Err(Refusal::Method);
        }
        let length =
            headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.max_body) {
            return Err(Refusal::TooLarge);
        }
        Ok(bot)
    }

    async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        let limited = Limited::new(body, self.max_body).collect();
        match tokio::time::timeout(self.read_timeout, limited).await {
            Err(_) => Err(Refusal::TooSlow),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
            Ok(Err(_)) => Err(Refusal::Malformed),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
        }
    }

    async fn handle(
        &self,
        peer: Peer,
        place: &Place,
        shown: &Shown,
        inbox: &impl Inbox,
        request: Request<Body>,
    ) -> Result<(), Refusal> {
        let bot = self.admit(peer, request.method(), request.uri().path(), request.headers(), shown)?;
        place.prove();
        let body = self.read(request.into_body()).await?;
        let update = Update::parse(&body).map_err(|error| {
            warn!(%bot, %error, bytes = body.len(), "refused a malformed update");
            Refusal::Malformed
        })?;
        inbox.accept(vec![Verified(Incoming { bot, update, body })]).await.map_err(|error| {
            warn!(%error, "the sender was asked to try again");
            Refusal::NotStored
        })
    }
}

/// Serves until `stop` is cancelled, then lets requests in flight finish.
pub async fn serve(
    listener: Listener,
    gate: Arc<Gate>,
    inbox: Arc<impl Inbox>,
    stop: CancellationToken,
) -> io::Result<()> {
    let half_open = Arc::new(HalfOpen::default());
    let accepted = Accepted::new(listener)?;
    loop {
        let next = tokio::select! {
            next = accepted.next() => next,
            () = stop.cancelled() => return Ok(()),
        };
        match next {
            Ok((stream, peer)) => half_open.enter(|place| {
                let connection =
                    connection(stream, peer, place, Arc::clone(&gate), Arc::clone(&inbox), stop.clone());
                tokio::spawn(connection).abort_handle()
            }),
            Err(error) => {
                // Out of descriptors, most likely: closing connections will mend it, spinning would not.
                warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    mut stream: Stream,
    mut peer: Peer,
    place: Place,
    gate: Arc<Gate>,
    inbox: Arc<impl Inbox>,
    stop: CancellationToken,
) {
    if let Peer::Unix(uid) = peer
        && !gate.source.knows(uid)
    {
        warn!(
            uid,
            "refused a connection to the webhook's socket; if this is the tunnel's user, name it as `peer` in [webhook]"
        );
    }
    if gate.source.has_front(peer) {
        peer = match tokio::time::timeout(gate.read_timeout, front::sender(&mut stream)).await {
            Ok(Ok(address)) => Peer::Front(address),
            Ok(Err(error)) => {
                return warn!(%error, "openclaw-front did not say where a connection comes from");
            }
            Err(_) => return,
        };
    }
    let shown = Arc::new(Shown::default());
    let stream = Scrubbed::new(stream, Arc::clone(&shown));
    let service = service_fn(|request| {
        let (gate, inbox, place, shown) = (&gate, &inbox, &place, &shown);
        async move {
            let outcome = gate.handle(peer, place, shown, inbox.as_ref(), request).await;
            Ok::<_, Infallible>(answer(outcome, peer))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(gate.read_timeout)
            .max_buf_size(HEAD)
            .max_headers(64)
            // It looks for the end of the stream while an update is stored otherwise, at the price of a system call.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a webhook connection ended early");
    }
}

fn answer(outcome: Result<(), Refusal>, peer: Peer) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    if matches!(peer, Peer::Front(_)) {
        // Inside TLS, of which the tunnel's edge says so by itself.
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, front::HSTS);
    }
    if let Err(refusal) = outcome {
        debug!(?refusal, "refused");
        *response.status_mut() = refusal.status();
        // What follows on this connection is a body that nobody wants to read.
        response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
        if let Some(seconds) = refusal.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
    }
    response
}

/// Either kind of stream, as one type.
type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

enum Accepted {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepted {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Self::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Self::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        })
    }

    async fn next(&self) -> io::Result<(Stream, Peer)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                (Box::new(stream), Peer::Tcp(address.ip()))
            }
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0;
                let user = stream.peer_cred()?.uid();
                (Box::new(stream), Peer::Unix(user))
            }
        })
    }
}

#[cfg(test)]
mod tests;
