//! A request by the way out: to the proxy on the jail's own loopback, with the whole address, `https` too. TLS, names, keys
//! and redirects are egress's business, so there is none of it here.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openclaw_wire::{egress::REFUSED, facts::FACTS};
use tokio::net::TcpStream;
use url::Url;

/// What of a failed answer is repeated, in characters.
const REPEATED: usize = 300;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Of the far end.
    pub status: StatusCode,
    /// `Content-Type`; empty without one.
    pub kind: String,
    /// `Location`, where the far end sends us elsewhere.
    pub location: Option<String>,
    /// All of it.
    pub body: Vec<u8>,
}

/// Gets a page of at most `most` bytes, whatever its status.
pub fn get(url: &Url, headers: &[(&str, &str)], most: usize) -> Result<Reply, String> {
    send(Method::GET, url, headers, Vec::new(), most)
}

/// Gets JSON of at most `most` bytes; another status than 2xx is an error.
pub fn json(url: &Url, headers: &[(&str, &str)], most: usize) -> Result<serde_json::Value, String> {
    let reply = get(url, headers, most)?;
    reply.good(url)?.json(url)
}

/// Posts a body and takes an answer of at most `most` bytes, whatever its status.
pub fn post(url: &Url, headers: &[(&str, &str)], body: Vec<u8>, most: usize) -> Result<Reply, String> {
    send(Method::POST, url, headers, body, most)
}

impl Reply {
    /// This answer, if its status says that all went well.
    pub fn good(self, url: &Url) -> Result<Self, String> {
        match self.status.is_success() {
            true => Ok(self),
            false => {
                let said = crate::cut(String::from_utf8_lossy(&self.body).trim(), REPEATED);
                Err(format!("{} answered {}: {said}", host(url), self.status))
            }
        }
    }

    /// Its body as JSON.
    pub fn json(&self, url: &Url) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{} answered with no JSON: {error}", host(url)))
    }
}

fn send(
    method: Method,
    url: &Url,
    headers: &[(&str, &str)],
    body: Vec<u8>,
    most: usize,
) -> Result<Reply, String> {
    let mut request = Request::builder().method(method).uri(url.as_str()).header(header::HOST, host(url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("make a request to {}: {error}", host(url)))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("start a runtime: {error}"))?;
    runtime.block_on(exchange(request, url, most))
}

async fn exchange(request: Request<Full<Bytes>>, url: &Url, most: usize) -> Result<Reply, String> {
    let proxy = FACTS.jail.proxy;
    #[expect(clippy::disallowed_methods, reason = "the only address in the jail, and egress answers there")]
    let stream = TcpStream::connect(proxy)
        .await
        .map_err(|error| format!("there is no way out at {proxy}: {error}"))?;
    let failed = |error: hyper::Error| format!("ask {}: {error}", host(url));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Its errors are the request's too.
    let carried = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = Limited::new(body, most).collect().await;
    carried.abort();
    let body =
        body.map_err(|error| format!("read the answer of {} (at most {most} bytes): {error}", host(url)))?;
    let body = body.to_bytes().to_vec();
    if head.headers.contains_key(REFUSED) {
        return Err(String::from_utf8_lossy(&body).trim().to_owned());
    }
    let text = |name| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    Ok(Reply { status: head.status, kind, location: text(header::LOCATION), body })
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}
