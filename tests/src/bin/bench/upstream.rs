//! A model server to measure egress with: Anthropic's protocol over HTTP/1.1 in clear, or over HTTP/2 and TLS, as the vendors
//! speak it. It answers at once; or with a stream, each event by itself, at a pace or as fast as it can. And a client for
//! it, which speaks the same protocol to egress.

use std::{convert::Infallible, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn,
    rt::{Read, Write},
    server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openclaw_tests::broker::pem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::far;

/// Events of a streamed answer.
pub const EVENTS: usize = 2_000;
/// How far they are apart at a pace. No model writes faster; most take ten times as long.
const APART: Duration = Duration::from_millis(1);
/// The header that says what answer is wanted: one of those that egress passes on.
const WANTED: &str = "anthropic-beta";

/// What answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// In one piece.
    Whole,
    /// A stream, an event in each millisecond.
    Paced,
    /// A stream, as fast as the server can write it event by event.
    Fast,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Paced => "paced",
            Self::Fast => "fast",
        }
    }
}

/// A running server.
pub struct Upstream {
    /// Where it listens.
    pub port: u16,
    /// Of a server with TLS: its certificate.
    certificate: Option<CertificateDer<'static>>,
}

impl Upstream {
    /// HTTP/1.1 in clear.
    pub fn clear() -> anyhow::Result<Self> {
        Ok(Self { port: start(None)?, certificate: None })
    }

    /// HTTP/2 over TLS, for `localhost`; the authority's certificate is written to `file`.
    pub fn tls(file: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &authority)?;
        std::fs::write(file, pem(authority.der()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let port = start(Some(TlsAcceptor::from(Arc::new(config))))?;
        Ok(Self { port, certificate: Some(authority.der().clone()) })
    }

    /// A connection to it that stands.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(far::at(self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(certificate) = &self.certificate else { return Client::one(TokioIo::new(stream), "").await };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client { sender: Sender::Two(sender), base: format!("https://localhost:{}", self.port) })
    }
}

/// A connection that stands.
pub struct Client {
    sender: Sender,
    /// Before the path.
    base: String,
}

enum Sender {
    One(conn::http1::SendRequest<Full<Bytes>>),
    Two(conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// HTTP/1.1 over a stream, with this before each path.
    pub async fn one(stream: impl Read + Write + Send + Unpin + 'static, base: &str) -> anyhow::Result<Self> {
        let (sender, connection) = conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::One(sender), base: base.to_owned() })
    }

    /// One request and its whole answer; gives the answer's length.
    pub async fn ask(&mut self, wanted: Wanted, body: &Bytes) -> anyhow::Result<usize> {
        let request = Request::post(format!("{}/v1/messages", self.base))
            .header("host", "localhost")
            .header(CONTENT_TYPE, "application/json")
            .header("anthropic-version", "2023-06-01")
            .header(WANTED, wanted.name())
            .body(Full::new(body.clone()))?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Two(sender) => sender.send_request(request).await?,
        };
        let status = response.status();
        let (mut length, mut body) = (0, response.into_body());
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        anyhow::ensure!(status == 200, "a request was answered with {status}");
        Ok(length)
    }
}

fn start(tls: Option<TlsAcceptor>) -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(serve(listener, tls));
    std::thread::Builder::new().name("upstream".into()).spawn(serve).context("start an upstream")?;
    Ok(port)
}

async fn serve(listener: std::net::TcpListener, tls: Option<TlsAcceptor>) {
    let listener = TcpListener::from_std(listener).expect("registers");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let tls = tls.clone();
        tokio::spawn(async move {
            let service =
                service_fn(|request: Request<Incoming>| async { Ok::<_, Infallible>(answer(request).await) });
            match tls {
                None => {
                    let _ended = server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let _ended = server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let wanted = request.headers().get(WANTED).cloned();
    let _ = request.into_body().collect().await;
    let (kind, body) = match wanted.as_ref().map(|value| value.as_bytes()) {
        Some(b"paced") => ("text/event-stream", events(Some(tokio::time::interval(APART)))),
        Some(b"fast") => ("text/event-stream", events(None)),
        _ => ("application/json", Full::from(WHOLE).boxed_unsync()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

const WHOLE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"An answer of a few words."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":12}}"#;
const FIRST: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
const PIECE: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" words\"}}\n\n";
const LAST: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2000}}\n\n";

/// Each event leaves by itself: the connection is polled between any two.
fn events(pace: Option<tokio::time::Interval>) -> UnsyncBoxBody<Bytes, Infallible> {
    let event = |(number, mut pace): (usize, Option<tokio::time::Interval>)| async move {
        match &mut pace {
            Some(pace) => {
                pace.tick().await;
            }
            None => tokio::task::yield_now().await,
        }
        let text = match number {
            0 => FIRST,
            number if number < EVENTS - 1 => PIECE,
            number if number < EVENTS => LAST,
            _ => return None,
        };
        Some((Ok(Frame::data(Bytes::from_static(text.as_bytes()))), (number + 1, pace)))
    };
    StreamBody::new(stream::unfold((0, pace), event)).boxed_unsync()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
