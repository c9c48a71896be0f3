//! The answers to challenges, while there is one: a text on port 80 (HTTP-01), or a certificate on port 443 (TLS-ALPN-01). At
//! all other times, and to all other questions, there is none.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use instant_acme::ChallengeHandle;
use openclaw_wire::config::Challenge;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::tls;

/// Where the text is (RFC 8555, section 8.3).
const FOLDER: &str = "/.well-known/acme-challenge/";
/// The protocol of TLS-ALPN-01 (RFC 8737, section 4).
pub const PROTOCOL: &[u8] = b"acme-tls/1";
/// An authority asks from a few places at once.
const CONNECTIONS: usize = 32;
/// A question is small, and whoever asks it is a machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest head of a question, in bytes; hyper's least.
const HEAD: usize = 8 << 10;

/// What is answered now.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<Option<Answer>>);

#[derive(Debug)]
enum Answer {
    Text { path: String, text: String },
    Certificate { domain: String, tls: Arc<ServerConfig> },
}

/// As long as it lives there is an answer.
#[derive(Debug)]
pub struct Answered<'a>(&'a Challenges);

impl Challenges {
    /// From now on this challenge is answered.
    pub fn answer(
        &self,
        kind: Challenge,
        domain: &str,
        challenge: &ChallengeHandle<'_>,
    ) -> anyhow::Result<Answered<'_>> {
        let authorization = challenge.key_authorization();
        let answer = match kind {
            Challenge::Http => Answer::Text {
                path: format!("{FOLDER}{}", challenge.token),
                text: authorization.as_str().to_owned(),
            },
            Challenge::Tls => Answer::Certificate {
                domain: domain.to_ascii_lowercase(),
                tls: Arc::new(
                    certificate(domain, authorization.digest().as_ref()).context("make the answer")?,
                ),
            },
        };
        *self.lock() = Some(answer);
        Ok(Answered(self))
    }

    /// The answer by TLS, for this name.
    pub fn by_tls(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        match &*self.lock() {
            Some(Answer::Certificate { domain, tls })
                if name.is_some_and(|name| name.eq_ignore_ascii_case(domain)) =>
            {
                Some(tls.clone())
            }
            _ => None,
        }
    }

    /// Strangers may come to the port of TLS.
    pub fn are_by_tls(&self) -> bool {
        matches!(*self.lock(), Some(Answer::Certificate { .. }))
    }

    fn by_http(&self, asked: &str) -> Option<String> {
        match &*self.lock() {
            Some(Answer::Text { path, text }) if asked == path => Some(text.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// A certificate of its own that carries the digest (RFC 8737, section 3). rustls' usual way refuses it for its critical
/// extension, so it is given whole.
fn certificate(domain: &str, digest: &[u8]) -> anyhow::Result<ServerConfig> {
    let mut params = rcgen::CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let key = rcgen::KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key)?;
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    tls::config(Arc::new(SingleCertAndKey::from(shown)), PROTOCOL)
}

/// Answers on port 80 until `stop`. Nobody comes here but while the firewall lets them.
pub async fn serve(challenges: Arc<Challenges>, listener: TcpListener, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(tls::PAUSE).await;
            continue;
        };
        // Too many at once are nobody's who signs.
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let challenges = challenges.clone();
        tokio::spawn(async move {
            let service =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(challenges.respond(&request))));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // How it ends is the other side's affair.
            let _ended = tokio::time::timeout(2 * PATIENCE, connection).await;
            drop(place);
        });
    }
}

impl Challenges {
    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let text = match *request.method() {
            Method::GET | Method::HEAD => self.by_http(request.uri().path()),
            _ => None,
        };
        let mut response = Response::new(Full::default());
        match text {
            Some(text) => {
                *response.body_mut() = Full::new(text.into());
                let kind = header::HeaderValue::from_static("application/octet-stream");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Answered, Challenges, certificate};

    #[test]
    fn an_answer_lasts_as_long_as_its_challenge_and_is_for_its_question_alone() {
        let challenges = Challenges::default();
        assert!(challenges.by_http("/.well-known/acme-challenge/a").is_none());
        let text = Answer::Text { path: "/.well-known/acme-challenge/a".into(), text: "a.b".into() };
        *challenges.lock() = Some(text);
        let answered = Answered(&challenges);
        assert_eq!(challenges.by_http("/.well-known/acme-challenge/a").as_deref(), Some("a.b"));
        for other in [
            "/.well-known/acme-challenge/b",
            "/.well-known/acme-challenge/",
            "/",
            "/.well-known/acme-challenge/a/",
        ] {
            assert!(challenges.by_http(other).is_none(), "{other}");
        }
        assert!(!challenges.are_by_tls());
        drop(answered);
        assert!(challenges.by_http("/.well-known/acme-challenge/a").is_none());

        let tls = certificate("bot.example.com", &[7; 32]).expect("made");
        *challenges.lock() = Some(Answer::Certificate { domain: "bot.example.com".into(), tls: tls.into() });
        assert!(challenges.are_by_tls());
        assert!(challenges.by_tls(Some("bot.example.com")).is_some());
        assert!(challenges.by_tls(Some("other.example.com")).is_none() && challenges.by_tls(None).is_none());
    }
}
