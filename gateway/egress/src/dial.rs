//! The HTTP clients, one for each reach. They follow no redirect, try nothing twice, know no proxy and trust
//! the compiled-in roots only; what they may dial is `address`'s decision.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response};
use openclaw_wire::egress::{Refusal, RefusalKind};
use reqwest::{Body, Client, Request};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use crate::{
    address::{AddressError, Reach, Resolver},
    refuse::refusal,
    table::private_address,
};

/// Name, TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence: a local model reads a long prompt for minutes before its first word, `getUpdates` waits 50 s.
const SILENCE: Duration = Duration::from_secs(300);
/// Longest exchange, so that no server can hold a connection for good by a byte now and then (incident 129).
const WHOLE: Duration = Duration::from_secs(1800);
/// Idle connections are closed before far ends do it: a request into a closing connection fails.
const IDLE: Duration = Duration::from_secs(50);
/// Asks a silent HTTP/2 connection whether it is still there, so that a changed network shows at once and not after
/// [`SILENCE`]; for HTTP/1.1 the client's TCP keep-alive (15 s) does it.
const PING: Duration = Duration::from_secs(20);
/// Idle connections of one host. A TLS connection holds some 40 KiB, and HTTP/2 needs one; a plain one holds little, and
/// the gateway runs 64 turns.
const MOST_IDLE: usize = 8;
const MOST_IDLE_PLAIN: usize = 64;
/// Headers of an answer; more is an error. Vendors send 20 to 40.
const MOST_HEADERS: usize = 100;

/// The clients.
pub struct Clients {
    public: Client,
    vouched: Client,
    plain: Client,
}

impl Clients {
    /// Sets TLS up, once for all. Opens nothing.
    pub fn new() -> anyhow::Result<Self> {
        let tls = tls(&[])?;
        Ok(Self {
            public: client(Reach::Public, &tls)?,
            vouched: client(Reach::Vouched, &tls)?,
            plain: client(Reach::VouchedPlain, &tls)?,
        })
    }

    /// Sends a request. The error says whether the far end can have acted on it.
    pub async fn send(&self, reach: Reach, request: Request) -> Result<Response<Body>, Refusal> {
        let client = match reach {
            Reach::Public => &self.public,
            Reach::Vouched => &self.vouched,
            Reach::VouchedPlain => &self.plain,
        };
        let host = request.url().host_str().unwrap_or_default().to_owned();
        client.execute(request).await.map(Response::from).map_err(|error| failed(&host, error.without_url()))
    }
}

/// TLS with the compiled-in roots, and with `more` besides.
pub fn tls(more: &[CertificateDer<'_>]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in more {
        roots.add(certificate.clone().into_owned())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// The client of one reach.
pub fn client(reach: Reach, tls: &ClientConfig) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .https_only(reach != Reach::VouchedPlain)
        .dns_resolver(Resolver(reach))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(HeaderValue::from_static("openclaw"))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(if reach == Reach::VouchedPlain { MOST_IDLE_PLAIN } else { MOST_IDLE })
        .http1_max_headers(MOST_HEADERS)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(CONNECT)
        .build()
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
