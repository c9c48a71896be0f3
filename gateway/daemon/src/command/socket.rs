//! HTTP/1.1 on the unix sockets of gateway and egress, for the operator's commands. One request, one connection.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use openclaw_wire::{admin::Problem, egress::Refusal};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::fault::{Fault, NOT_RUNNING};

/// Largest answer that is read whole, in bytes: a status with hundreds of skills is far below.
const LARGEST: usize = 4 << 20;

/// A process that can be asked something.
#[derive(Debug, Clone)]
pub struct Socket {
    path: PathBuf,
    who: &'static str,
}

/// A runtime for one command, on this thread alone.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let done = runtime.block_on(work);
    // A read of the terminal that still waits must not keep the command alive.
    runtime.shutdown_background();
    done
}

impl Socket {
    /// The gateway's.
    pub fn gateway(place: &super::place::Place) -> Self {
        Self { path: place.admin_socket(), who: "gateway" }
    }

    /// That of egress.
    pub fn egress(place: &super::place::Place) -> Self {
        Self { path: place.operator_socket(), who: "egress" }
    }

    /// Asks and reads the whole answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let bytes = self.bytes(self.send(method, path, body).await?).await?;
        serde_json::from_slice(&bytes).with_context(|| {
            format!("read the answer of the {} to {path}: are both of one release?", self.who)
        })
    }

    /// Asks; the answer has no content.
    pub async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<()> {
        self.bytes(self.send(method, path, body).await?).await.map(drop)
    }

    /// Asks with bytes that are not JSON, such as a key; they are wiped afterwards.
    pub async fn ask_raw<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
    ) -> anyhow::Result<T> {
        let bytes = self.bytes(self.exchange(method, path, Bytes::from_owner(body)).await?).await?;
        serde_json::from_slice(&bytes).with_context(|| {
            format!("read the answer of the {} to {path}: are both of one release?", self.who)
        })
    }

    /// Asks; the answer comes in pieces. An answer that is not a success is an error already.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<Response<Incoming>> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).context("encode a request")?,
            None => Vec::new(),
        };
        self.exchange(method, path, body.into()).await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.path).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .with_context(|| format!("speak HTTP with the {}", self.who))?;
        // It ends by itself when the answer has been read or dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "openclaw")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .context("build a request")?;
        let answer =
            sender.send_request(request).await.with_context(|| format!("ask the {} for {path}", self.who))?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(self.refused(path, answer).await),
        }
    }

    async fn bytes(&self, answer: Response<Incoming>) -> anyhow::Result<Bytes> {
        match Limited::new(answer.into_body(), LARGEST).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => anyhow::bail!("read the answer of the {}: {error}", self.who),
        }
    }

    async fn refused(&self, path: &str, answer: Response<Incoming>) -> anyhow::Error {
        let status = answer.status();
        let body = self.bytes(answer).await.unwrap_or_default();
        refusal(self.who, path, status, &body).into()
    }

    fn unreachable(&self, error: &io::Error) -> Fault {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Fault::new(
                format!("ask the {} at {path}: nothing runs there", self.who),
                "start it with `openclaw run`, or name its folder with --state",
            )
            .code(NOT_RUNNING),
            _ => Fault::new(
                format!("ask the {} at {path}: {error}", self.who),
                format!(
                    "use the account that owns {}",
                    self.path.parent().unwrap_or(Path::new("/")).display()
                ),
            ),
        }
    }
}

fn refusal(who: &str, path: &str, status: StatusCode, body: &[u8]) -> Fault {
    let (message, mend) = if let Ok(Refusal { message, mend, .. }) = serde_json::from_slice(body) {
        (message, mend)
    } else if let Ok(Problem { message, mend }) = serde_json::from_slice(body) {
        (message, mend)
    } else {
        (format!("the {who} answered {status} to {path}"), String::new())
    };
    let clean = |text: &str| text.chars().filter(|c| super::terminal::printable(*c)).collect::<String>();
    Fault::new(clean(&message), clean(&mend))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    #[test]
    fn refusals_are_read_in_both_forms_and_otherwise_named_by_their_status() {
        for (body, text) in [
            (r#"{"kind":"no_key","message":"m","mend":"n"}"#, "m\n  mend: n"),
            (r#"{"message":"m","mend":"n"}"#, "m\n  mend: n"),
            (r#"{"message":"m\u001b[2J"}"#, "m[2J"),
            ("", "the gateway answered 404 Not Found to /x"),
        ] {
            let fault = super::refusal("gateway", "/x", StatusCode::NOT_FOUND, body.as_bytes());
            assert_eq!(fault.to_string(), text);
        }
    }
}
