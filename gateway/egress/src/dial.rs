//! The HTTP clients, one for each way. They follow no redirect, try nothing twice, know no proxy but the one that the
//! operator configured, and trust `roots` only; what they may dial is `address`'s decision.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Response};
use openclaw_wire::egress::{Refusal, RefusalKind};
use reqwest::{Body, Client, Proxy, Request};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use url::Url;

use crate::{
    address::{AddressError, Reach},
    breaker::Breakers,
    names::{Names, Resolver},
    refuse::refusal,
    table::private_address,
};

/// Name, TCP and TLS together; `names` gives up on a name earlier.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence: a local model reads a long prompt for minutes before its first word, `getUpdates` waits 50 s.
const SILENCE: Duration = Duration::from_secs(300);
/// Longest exchange, so that no server can hold a connection for good by a byte now and then (incident 129).
const WHOLE: Duration = Duration::from_secs(1800);
/// Idle connections are closed before far ends do it: a request into a closing connection fails. The pool looks every so
/// often, so that it takes up to twice as long.
const IDLE: Duration = Duration::from_secs(30);
/// Asks a silent HTTP/2 connection whether it is still there, so that a changed network shows at once and not after
/// [`SILENCE`]; for HTTP/1.1 the client's TCP keep-alive (15 s) does it.
const PING: Duration = Duration::from_secs(20);
/// Idle connections of one host. A TLS connection holds some 40 KiB, and HTTP/2 needs one; a plain one holds little, and
/// the gateway runs 64 turns.
const MOST_IDLE: usize = 8;
const MOST_IDLE_PLAIN: usize = 64;
/// Headers of an answer; more is an error. Vendors send 20 to 40.
const MOST_HEADERS: usize = 100;

/// What every client says that it is: the same for every installation.
const AGENT: HeaderValue = HeaderValue::from_static("openclaw");

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
    tls: ClientConfig,
    names: Arc<Names>,
    breakers: Breakers,
}

impl Outside {
    /// Sets TLS up, once for all.
    pub fn new(roots: RootCertStore) -> anyhow::Result<Self> {
        Ok(Self { tls: tls(roots)?, names: Arc::default(), breakers: Breakers::default() })
    }

    /// TLS that trusts the system's roots, or these alone.
    pub fn tls(&self, only: Option<&[CertificateDer<'static>]>) -> anyhow::Result<ClientConfig> {
        let Some(only) = only else { return Ok(self.tls.clone()) };
        let mut roots = RootCertStore::empty();
        for certificate in only {
            roots.add(certificate.clone())?;
        }
        tls(roots)
    }

    /// The addresses of a name, for a connection that is no request.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, AddressError> {
        self.names.addresses(host).await
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
        // Behind a proxy the only name that is looked up here is the proxy's own, which the operator vouches for.
        let reach = if way.via.is_some() { Reach::Vouched } else { way.reach };
        let builder = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(!plain)
            .dns_resolver(Resolver { reach, names: Arc::clone(&self.names) })
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(AGENT)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(if plain { MOST_IDLE_PLAIN } else { MOST_IDLE })
            .http1_max_headers(MOST_HEADERS)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(CONNECT);
        let builder = match &way.via {
            None => builder,
            Some(via) => {
                let mut exit = Url::clone(via);
                // With `h` the proxy looks the server's name up.
                if exit.scheme() == "socks5" {
                    exit = Url::parse(&exit.as_str().replacen("socks5:", "socks5h:", 1))?;
                }
                builder.proxy(Proxy::all(exit)?)
            }
        };
        Ok(builder.build()?)
    }
}

/// TLS 1.2 and 1.3, with the cipher suites and key exchanges that rustls calls safe.
fn tls(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// The clients of one state of keys: their connections end with it.
pub struct Clients {
    clients: Vec<(Way, Client)>,
    outside: Arc<Outside>,
}

impl Clients {
    /// Sends a request. The error says whether the far end can have acted on it.
    pub async fn send(&self, way: &Way, request: Request) -> Result<Response<Body>, Refusal> {
        let Some((_, client)) = self.clients.iter().find(|(known, _)| known == way) else {
            return Err(refusal(
                RefusalKind::NotAllowed,
                "no route goes this way",
                "this is a mistake in egress; please report it",
            ));
        };
        let url = request.url();
        let host = url.host_str().unwrap_or_default().to_owned();
        let server = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let breakers = &self.outside.breakers;
        if let Err(pause) = breakers.allows(&server, Instant::now()) {
            return Err(refusal(
                RefusalKind::Unreachable,
                format!("connect to {host}: it could not be reached several times in a row"),
                format!("it is tried again in {} s", pause.as_secs().max(1)),
            ));
        }
        match client.execute(request).await {
            Ok(answer) => {
                breakers.reached(&server);
                Ok(Response::from(answer))
            }
            Err(error) => {
                if error.is_connect() {
                    breakers.failed(&server, Instant::now());
                    self.outside.names.forget(&host);
                }
                Err(failed(&host, error.without_url()))
            }
        }
    }
}

/// What went wrong, told without the URL: it may contain a token.
pub fn failed(host: &str, error: reqwest::Error) -> Refusal {
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        if let Some(address) = source.downcast_ref::<AddressError>() {
            return match address {
                AddressError::Refused { .. } => private_address(address),
                AddressError::Lookup { .. } => refusal(
                    RefusalKind::Unreachable,
                    address.to_string(),
                    "check the name, and this machine's network and DNS",
                ),
            };
        }
        if source.is::<http_body_util::LengthLimitError>() {
            return refusal(RefusalKind::BadRequest, "the request's body is too large", "send less");
        }
        innermost = source;
    }
    let why = if error.is_timeout() { "it took too long".to_owned() } else { innermost.to_string() };
    match error.is_connect() {
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
