//! The HTTP clients, one for each way. They follow no redirect, try nothing twice, know no proxy but the one that the
//! operator configured, and trust `roots` only; what they may dial is `address`'s decision.

mod answer;
mod connect;
mod request;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use openclaw_wire::egress::{Refusal, RefusalKind};
use rustls::{
    ClientConfig, client::WebPkiServerVerifier, crypto::aws_lc_rs::default_provider,
    pki_types::CertificateDer,
};
use tokio::{net::TcpStream, time::error::Elapsed};
use url::Url;

use self::connect::{Dial, Line, Within};
pub use self::{
    answer::Timed,
    request::{Body, Fault, Request},
};
use crate::{
    address::{AddressError, Reach},
    breaker::Breakers,
    names::Names,
    refuse::refusal,
    roots::Trust,
    table::private_address,
};

/// Name, TCP and TLS together; `names` gives up on a name earlier.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence: a local model reads a long prompt for minutes before its first word, `getUpdates` waits 50 s.
const SILENCE: Duration = Duration::from_secs(300);
/// Longest exchange.
const WHOLE: Duration = Duration::from_secs(1800);
/// Idle connections are closed before far ends do it: a request into a closing connection fails. The pool looks every so
/// often, so that it takes up to twice as long.
const IDLE: Duration = Duration::from_secs(30);
/// Asks a silent HTTP/2 connection whether it is still there, so that a changed network shows at once and not after
/// [`SILENCE`]; for HTTP/1.1 TCP's own questions do it.
const PING: Duration = Duration::from_secs(20);
/// Idle connections of one host. A TLS connection holds some 40 KiB, and HTTP/2 needs one; a plain one holds little, and
/// the gateway runs 64 turns.
const MOST_IDLE: usize = 8;
const MOST_IDLE_PLAIN: usize = 64;
/// Headers of an answer; more is an error. Vendors send 20 to 40.
const MOST_HEADERS: usize = 100;

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// How far.
    pub reach: Reach,
    /// The proxy on the way. It looks the server's name up, so addresses behind it are not judged: the operator vouches
    /// for it.
    pub via: Option<Arc<Url>>,
}

impl From<Reach> for Way {
    fn from(reach: Reach) -> Self {
        Self { reach, via: None }
    }
}

/// What all clients share: whom they trust, what is known of names and hosts.
pub struct Outside {
    trust: Trust,
    tls: ClientConfig,
    names: Arc<Names>,
    breakers: Breakers,
}

impl Outside {
    /// Sets TLS up, once for all.
    pub fn new(trust: Trust) -> anyhow::Result<Self> {
        let tls = tls(trust.verifier(None)?)?;
        Ok(Self { trust, tls, names: Arc::default(), breakers: Breakers::default() })
    }

    /// TLS that trusts the system's roots, or these alone.
    pub fn tls(&self, only: Option<&[CertificateDer<'static>]>) -> anyhow::Result<ClientConfig> {
        match only {
            None => Ok(self.tls.clone()),
            Some(_) => tls(self.trust.verifier(only)?),
        }
    }

    /// Clients for the ways without a proxy, and for these. Opens nothing.
    pub fn clients<'a>(self: &Arc<Self>, ways: impl Iterator<Item = &'a Way>) -> anyhow::Result<Clients> {
        let mut clients: Vec<(Way, Client)> = Vec::new();
        let direct = [Reach::Public, Reach::Vouched, Reach::VouchedPlain].map(Way::from);
        for way in direct.into_iter().chain(ways.cloned()) {
            if !clients.iter().any(|(known, _)| *known == way) {
                let client = self.client(&way, &self.tls)?;
                clients.push((way, client));
            }
        }
        Ok(Clients { clients, outside: Arc::clone(self) })
    }

    /// A client for one way.
    pub fn client(&self, way: &Way, tls: &ClientConfig) -> anyhow::Result<Client> {
        let plain = way.reach == Reach::VouchedPlain;
        let line = match &way.via {
            None => Line::Straight(self.dial(way.reach)),
            // Behind a proxy the only name that is looked up here is the proxy's own, which the operator vouches for.
            Some(via) => Line::through(Uri::try_from(via.as_str())?, self.dial(Reach::Vouched)),
        };
        let mut secured = HttpsConnector::from((line, tls.clone()));
        if !plain {
            secured.enforce_https();
        }
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if plain { MOST_IDLE_PLAIN } else { MOST_IDLE })
            .http1_max_headers(MOST_HEADERS)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(CONNECT)
            .build(Within(secured, CONNECT));
        Ok(Client(client))
    }

    fn dial(&self, reach: Reach) -> Dial {
        Dial { reach, names: Arc::clone(&self.names) }
    }

    /// A connection that is no request.
    pub async fn open(&self, reach: Reach, host: &str, port: u16) -> Result<TcpStream, Fault> {
        tokio::time::timeout(CONNECT, self.dial(reach).open(host, port)).await?
    }

    /// Sends a request over one of the clients. The error says whether the far end can have acted on it.
    pub async fn send(
        &self,
        client: &Client,
        breakers: &Breakers,
        request: Request,
    ) -> Result<Response<Timed>, Failure> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let server = format!("{host}:{}", request.url.port_or_known_default().unwrap_or_default());
        if let Err(pause) = breakers.allows(&server, Instant::now()) {
            return Err(Failure::Resting { host, pause });
        }
        match client.execute(request).await {
            Ok(answer) => {
                breakers.reached(&server);
                Ok(answer)
            }
            Err(fault) => {
                if fault.is_connect() {
                    breakers.failed(&server, Instant::now());
                    self.names.forget(&host);
                }
                Err(Failure::Fault { host, fault })
            }
        }
    }
}

/// TLS 1.2 and 1.3, with the cipher suites and key exchanges that rustls calls safe.
fn tls(verifier: Arc<WebPkiServerVerifier>) -> anyhow::Result<ClientConfig> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// An HTTP client with connections of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<Within<HttpsConnector<Line>>, Body>);

/// Why a request has no answer.
#[derive(Debug)]
pub enum Failure {
    /// Its host could not be reached several times in a row, and is left alone for so long.
    Resting {
        /// Which.
        host: String,
        /// How long still.
        pause: Duration,
    },
    /// Something on the way.
    Fault {
        /// Where to.
        host: String,
        /// What.
        fault: Broken,
    },
}

/// What broke.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection, or the exchange.
    #[error(transparent)]
    Http(#[from] legacy::Error),
    /// There is no form for its address in HTTP.
    #[error("write its address: {0}")]
    Address(#[from] http::Error),
    /// No answer began in time.
    #[error("it took too long")]
    Silent,
}

impl Broken {
    fn is_connect(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_connect())
    }
}

impl Client {
    async fn execute(&self, request: Request) -> Result<Response<Timed>, Broken> {
        let end = tokio::time::Instant::now() + WHOLE;
        let request = request.finish()?;
        let answer = tokio::time::timeout(SILENCE, self.0.request(request));
        let answer = answer.await.map_err(|_| Broken::Silent)??;
        Ok(answer.map(|body| Timed::new(body, SILENCE, end)))
    }
}

/// The clients of one state of keys: their connections end with it.
pub struct Clients {
    clients: Vec<(Way, Client)>,
    outside: Arc<Outside>,
}

impl Clients {
    /// Sends a request. The error says whether the far end can have acted on it.
    pub async fn send(&self, way: &Way, request: Request) -> Result<Response<Timed>, Refusal> {
        let Some((_, client)) = self.clients.iter().find(|(known, _)| known == way) else {
            return Err(refusal(
                RefusalKind::NotAllowed,
                "no route goes this way",
                "this is a mistake in egress; please report it",
            ));
        };
        self.outside.send(client, &self.outside.breakers, request).await.map_err(|failure| failure.told())
    }
}

impl Failure {
    /// The first error of this type among the causes.
    pub fn cause<E: std::error::Error + 'static>(&self) -> Option<&E> {
        let Self::Fault { fault, .. } = self else { return None };
        let mut source = std::error::Error::source(fault);
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    /// What went wrong, told without the URL: it may contain a token.
    pub fn told(&self) -> Refusal {
        let (host, fault) = match self {
            Self::Resting { host, pause } => {
                return refusal(
                    RefusalKind::Unreachable,
                    format!("connect to {host}: it could not be reached several times in a row"),
                    format!("it is tried again in {} s", pause.as_secs().max(1)),
                );
            }
            Self::Fault { host, fault } => (host, fault),
        };
        match self.cause::<AddressError>() {
            Some(address @ AddressError::Refused { .. }) => return private_address(address),
            Some(address @ AddressError::Lookup { .. }) => {
                return refusal(
                    RefusalKind::Unreachable,
                    address.to_string(),
                    "check the name, and this machine's network and DNS",
                );
            }
            None => {}
        }
        if self.cause::<http_body_util::LengthLimitError>().is_some() {
            return refusal(RefusalKind::BadRequest, "the request's body is too large", "send less");
        }
        if let Broken::Address(_) = fault {
            return refusal(RefusalKind::BadRequest, fault.to_string(), "ask for another address");
        }
        let mut innermost: &dyn std::error::Error = fault;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let why = match innermost.is::<Elapsed>() {
            true => "it took too long".to_owned(),
            false => innermost.to_string(),
        };
        match fault.is_connect() {
            true => refusal(
                RefusalKind::Unreachable,
                format!("connect to {host}: {why}"),
                "check that the server runs and that this machine reaches it",
            ),
            false => refusal(
                RefusalKind::NoAnswer,
                format!("wait for the answer of {host}: {why}"),
                "it may have acted on the request; try again if that does no harm",
            ),
        }
    }
}
