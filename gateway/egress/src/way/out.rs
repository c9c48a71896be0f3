//! Where the requests of skills go: public hosts over TLS, and the private endpoints that the operator declared, one by
//! one. What is dialled is the address that was judged; nothing here follows a redirect or tries twice.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use http::Response;
use openclaw_wire::{
    config::Config,
    egress::{Refusal, RefusalKind},
};
use reqwest::{Body, Client, Request};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::net::TcpStream;
use url::Url;

use super::{body::Stopped, denial::Why, place::Place};
use crate::{
    address::{AddressError, Reach},
    dial, table,
};

/// Name and TCP of a tunnel together.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest file of certificates.
const LARGEST: u64 = 1 << 20;

/// All ways to the outside.
pub struct Out {
    public: Client,
    private: BTreeMap<String, Private>,
}

/// A private endpoint.
struct Private {
    url: Url,
    reach: Reach,
    client: Client,
}

/// Where one place really is, and what speaks to it.
pub struct Target<'a> {
    /// `https://api.example.com:443`, or the operator's.
    pub origin: String,
    client: &'a Client,
    reach: Reach,
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
    /// From the configuration; reads the certificates that it names.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let mut private = BTreeMap::new();
        for (name, endpoint) in &config.skills.private {
            let what = || format!("use [skills.private.{name}]");
            let reach = table::reach(&endpoint.url, true)
                .map_err(|refusal| anyhow::anyhow!("{}\n  mend: {}", refusal.message, refusal.mend))
                .with_context(what)?;
            let roots = endpoint.ca.as_deref().map(certificates).transpose().with_context(what)?;
            let client = dial::client(reach, &dial::tls(roots.as_deref().unwrap_or_default())?)?;
            private.insert(name.clone(), Private { url: endpoint.url.clone(), reach, client });
        }
        Ok(Self { public: dial::client(Reach::Public, &dial::tls(&[])?)?, private })
    }

    /// Where a place is.
    pub fn target(&self, place: &Place) -> Result<Target<'_>, Why> {
        let Some(name) = place.private() else {
            let origin = format!("https://{place}");
            return Ok(Target { origin, client: &self.public, reach: Reach::Public });
        };
        let endpoint = self.private.get(name).ok_or_else(|| Why::Undeclared(name.to_owned()))?;
        let origin = endpoint.url.origin().ascii_serialization();
        Ok(Target { origin, client: &endpoint.client, reach: endpoint.reach })
    }
}

impl Target<'_> {
    /// Sends a request there.
    pub async fn send(&self, request: Request) -> Result<Response<Body>, Failed> {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        self.client.execute(request).await.map(Response::from).map_err(|error| {
            let error = error.without_url();
            let mut innermost: &dyn std::error::Error = &error;
            while let Some(source) = innermost.source() {
                if let Some(Stopped(denial)) = source.downcast_ref() {
                    return Failed::Stopped(denial.clone());
                }
                innermost = source;
            }
            far(dial::failed(&host, error))
        })
    }

    /// Opens a TCP connection there, for a tunnel.
    pub async fn dial(&self) -> Result<TcpStream, Failed> {
        let url = Url::parse(&self.origin).ok();
        let unreachable = |why: String| {
            let message = format!("connect to {}: {why}", self.origin);
            Failed::Far(crate::refuse::refusal(
                RefusalKind::Unreachable,
                message,
                "check that the server runs",
            ))
        };
        let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let (host, port) = place.ok_or_else(|| unreachable("no host".into()))?;
        let connect = async {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let found = tokio::net::lookup_host((bare, port))
                .await
                .map_err(|error| unreachable(error.to_string()))?;
            let good =
                self.reach.pick(host, found.map(|socket| socket.ip())).map_err(|error| match error {
                    AddressError::Refused { .. } => Failed::Denied(Why::Address(error.to_string())),
                    AddressError::Lookup { .. } => unreachable(error.to_string()),
                })?;
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in good {
                match TcpStream::connect(SocketAddr::new(address, port)).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(unreachable(last.to_string()))
        };
        tokio::time::timeout(CONNECT, connect)
            .await
            .unwrap_or_else(|_| Err(unreachable("it took too long".into())))
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
