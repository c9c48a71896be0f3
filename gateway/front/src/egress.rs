//! The way to whoever signs: HTTP/1.1 to egress, which speaks TLS with the one host that the configuration names.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use openclaw_wire::{
    door::Door,
    egress::{ACME, REFUSED, Refusal},
};
use tokio::net::UnixStream;
use url::Url;

/// A certificate with its issuers is a few KiB.
const LARGEST: usize = 256 << 10;
/// One question and its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Egress, for one authority.
#[derive(Debug)]
pub struct Egress {
    door: Door,
    origin: url::Origin,
    /// What egress itself said last, when it refused: the ACME client takes it for the authority's words.
    refused: Mutex<Option<Refusal>>,
}

impl Egress {
    /// For the authority with this directory.
    pub fn new(door: Door, directory: &Url) -> Self {
        Self { door, origin: directory.origin(), refused: Mutex::default() }
    }

    /// Why egress carried the last question out not.
    pub fn refused(&self) -> Option<Refusal> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn ask(&self, mut request: Request<BodyWrapper<Bytes>>) -> anyhow::Result<Response<Full<Bytes>>> {
        let to = Url::parse(&request.uri().to_string()).context("read where to")?;
        anyhow::ensure!(
            to.origin() == self.origin,
            "the authority leads to another host, {}",
            to.origin().ascii_serialization()
        );
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(format!("{ACME}{path}"))?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("egress"));

        let stream = self.door.open().context("open a connection to egress; does it run?")?;
        stream.set_nonblocking(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(UnixStream::from_std(stream)?)).await?;
        let asking = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body =
            Limited::new(body, LARGEST).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        asking.abort();
        if head.headers.contains_key(REFUSED)
            && let Ok(refusal) = serde_json::from_slice::<Refusal>(&body)
        {
            let said = format!("{}; {}", refusal.message, refusal.mend);
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            anyhow::bail!(said);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

/// As the ACME client wants it.
pub struct Client(pub Arc<Egress>);

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let egress = self.0.clone();
        Box::pin(async move {
            let other = |error: anyhow::Error| instant_acme::Error::Other(error.into());
            let answer = tokio::time::timeout(PATIENCE, egress.ask(request)).await;
            let answer = answer.map_err(|_| other(anyhow::anyhow!("egress took too long")))?;
            answer.map(BytesResponse::from).map_err(other)
        })
    }
}
