//! Where the requests of skills go: public hosts over TLS, and the private endpoints that the operator declared, one by
//! one. What is dialled is the address that was judged; nothing here follows a redirect or tries twice.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use http::Response;
use openclaw_wire::{
    config::Config,
    egress::{Refusal, RefusalKind},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use url::Url;

use super::{body::Stopped, denial::Why, place::Place};
use crate::{
    address::{AddressError, Reach},
    breaker::Breakers,
    dial::{Client, Outside, Request, Timed, Way},
    live::Live,
    table,
};

/// Largest file of certificates.
const LARGEST: u64 = 1 << 20;

/// The private endpoints, read before the lock down.
pub struct Endpoints(BTreeMap<String, Endpoint>);

struct Endpoint {
    url: Url,
    way: Way,
    tls: ClientConfig,
}

impl Endpoints {
    /// From the configuration; reads the certificates that it names.
    pub fn read(config: &Config, outside: &Outside) -> anyhow::Result<Self> {
        let read = |(name, endpoint): (&String, &openclaw_wire::config::Endpoint)| {
            let what = || format!("use [skills.private.{name}]");
            let reach = table::reach(&endpoint.url, true)
                .map_err(|refusal| anyhow::anyhow!("{}\n  mend: {}", refusal.message, refusal.mend))
                .with_context(what)?;
            let only = endpoint.ca.as_deref().map(certificates).transpose().with_context(what)?;
            let tls = outside.tls(only.as_deref()).with_context(what)?;
            Ok((name.clone(), Endpoint { url: endpoint.url.clone(), way: reach.into(), tls }))
        };
        config.skills.private.iter().map(read).collect::<anyhow::Result<_>>().map(Self)
    }
}

/// All ways to the outside.
pub struct Out {
    endpoints: Endpoints,
    outside: Arc<Outside>,
    /// Of the hosts of skills, apart from those of the routes: no skill's hosts can crowd those out.
    breakers: Breakers,
    clients: Mutex<(u64, Arc<Clients>)>,
}

/// The clients of one state of the keys, by private endpoint; `None` is the public. Their connections hold what was sent
/// over them, so they end with the keys.
type Clients = HashMap<Option<String>, Client>;

/// Where one place really is, and what speaks to it.
pub struct Target {
    /// `https://api.example.com:443`, or the operator's.
    pub origin: String,
    client: Client,
    /// Kept for as long as a request needs it.
    _clients: Arc<Clients>,
}

/// Why a request has no answer.
pub enum Failed {
    /// It may not be: the skill's doing.
    Denied(Why),
    /// It was stopped on its way, and why has been kept.
    Stopped(openclaw_wire::egress::Denial),
    /// The far end or the network.
    Far(Refusal),
}

impl Out {
    /// To the public, and to these.
    pub fn new(endpoints: Endpoints, outside: Arc<Outside>) -> Self {
        Self { endpoints, outside, breakers: Breakers::default(), clients: Mutex::default() }
    }

    /// Whether there is such a place at all; who may go there is another question.
    pub fn known(&self, place: &Place) -> Result<(), Why> {
        self.endpoint(place).map(drop)
    }

    fn endpoint(&self, place: &Place) -> Result<Option<&Endpoint>, Why> {
        let Some(name) = place.private() else { return Ok(None) };
        self.endpoints.0.get(name).map(Some).ok_or_else(|| Why::Undeclared(name.to_owned()))
    }

    fn origin(&self, place: &Place) -> Result<String, Why> {
        let endpoint = self.endpoint(place)?;
        Ok(endpoint.map_or_else(
            || format!("https://{place}"),
            |endpoint| endpoint.url.origin().ascii_serialization(),
        ))
    }

    /// Where a place is, for requests that begin with this state of the keys.
    pub fn target(&self, place: &Place, live: &Live) -> Result<Target, Why> {
        let origin = self.origin(place)?;
        let clients = self.clients(live.number).map_err(|error| {
            tracing::error!("set the HTTP clients of skills up: {error:#}");
            Why::Address("this machine's TLS cannot be set up".into())
        })?;
        let client = clients.get(&place.private().map(str::to_owned));
        let client = client.ok_or_else(|| Why::Undeclared(place.host.clone()))?.clone();
        Ok(Target { origin, client, _clients: clients })
    }

    fn clients(&self, number: u64) -> anyhow::Result<Arc<Clients>> {
        let mut current = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != number {
            let public = self.outside.client(&Reach::Public.into(), &self.outside.tls(None)?)?;
            let mut clients = Clients::from([(None, public)]);
            for (name, endpoint) in &self.endpoints.0 {
                clients.insert(Some(name.clone()), self.outside.client(&endpoint.way, &endpoint.tls)?);
            }
            *current = (number, Arc::new(clients));
        }
        Ok(current.1.clone())
    }

    /// Opens a TCP connection to a place, for a tunnel.
    pub async fn dial(&self, place: &Place) -> Result<TcpStream, Failed> {
        let origin = self.origin(place).map_err(Failed::Denied)?;
        let reach = self
            .endpoint(place)
            .map_err(Failed::Denied)?
            .map_or(Reach::Public, |endpoint| endpoint.way.reach);
        let unreachable = |why: String| {
            let message = format!("connect to {origin}: {why}");
            Failed::Far(crate::refuse::refusal(
                RefusalKind::Unreachable,
                message,
                "check that the server runs",
            ))
        };
        let url = Url::parse(&origin).ok();
        let port =
            url.as_ref().and_then(Url::port_or_known_default).ok_or_else(|| unreachable("no port".into()))?;
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        self.outside.open(reach, host, port).await.map_err(|fault| match fault.downcast_ref() {
            Some(error @ AddressError::Refused { .. }) => Failed::Denied(Why::Address(error.to_string())),
            _ => unreachable(fault.to_string()),
        })
    }

    /// Sends a request to a place.
    pub async fn send(&self, target: &Target, request: Request) -> Result<Response<Timed>, Failed> {
        let sent = self.outside.send(&target.client, &self.breakers, request).await;
        sent.map_err(|failure| match failure.cause() {
            Some(Stopped(denial)) => Failed::Stopped(denial.clone()),
            None => far(failure.told()),
        })
    }
}

/// An address that may not be dialled is the skill's affair, all else the far end's.
fn far(refusal: Refusal) -> Failed {
    match refusal.kind {
        RefusalKind::PrivateAddress => Failed::Denied(Why::Address(refusal.message)),
        _ => Failed::Far(refusal),
    }
}

fn certificates(path: &std::path::Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || -> anyhow::Result<Vec<_>> {
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, LARGEST), &mut bytes)?;
        let all: Vec<_> = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>()?;
        anyhow::ensure!(!all.is_empty(), "there is no certificate in it");
        Ok(all)
    };
    read().with_context(|| format!("read the certificates in {}", path.display()))
}

/// The provider of all TLS.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
