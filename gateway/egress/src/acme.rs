//! Front's door: openclaw-front's questions to whoever signs its certificate. They go to the host of the one directory that the
//! configuration names, with no key of ours; what they say is signed by openclaw-front itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use openclaw_wire::{
    config::Config,
    egress::{ACME, Refusal, RefusalKind},
};
use url::Url;

use crate::{
    breaker::Breakers,
    dial::{self, Body, Client, Outside},
    proxy::Answer,
    refuse::{refusal, response, shown},
    table,
};

/// Largest question: a signed order with its certificate request.
const QUESTION: usize = 64 << 10;
/// Largest answer: a certificate with its issuers.
const ANSWER: usize = 256 << 10;
/// The whole of it.
const PATIENCE: Duration = Duration::from_secs(50);
/// Headers that go on (RFC 8555, section 6), and those that come back.
const SENT: [HeaderName; 2] = [http::header::CONTENT_TYPE, http::header::ACCEPT];
const RETURNED: [&str; 5] = ["content-type", "location", "link", "replay-nonce", "retry-after"];

/// The way to one authority.
pub struct Authority {
    directory: Url,
    client: Client,
    breakers: Breakers,
}

impl Authority {
    /// That of the configuration; `None` where there is no openclaw-front.
    pub fn new(config: &Config, outside: &Outside) -> anyhow::Result<Option<Self>> {
        if !config.has_front() {
            return Ok(None);
        }
        let directory = config.direct.directory.clone();
        let reach = table::reach(&directory, config.direct.private).map_err(|refusal| {
            anyhow::anyhow!("[direct] directory: {}\n  mend: {}", refusal.message, refusal.mend)
        })?;
        let client = outside.client(&reach.into(), &outside.tls(None)?)?;
        Ok(Some(Self { directory, client, breakers: Breakers::default() }))
    }

    /// Carries a question on, and its answer back.
    pub async fn answer(&self, outside: &Outside, request: Request<Incoming>) -> Response<Answer> {
        let asked = tokio::time::timeout(PATIENCE, self.ask(outside, request)).await;
        let slow =
            || refusal(RefusalKind::NoAnswer, "the authority took too long", "it is tried again later");
        asked.unwrap_or_else(|_| Err(slow())).unwrap_or_else(|refused| {
            tracing::info!(kind = ?refused.kind, "refused openclaw-front: {}", refused.message);
            response(&refused)
        })
    }

    async fn ask(&self, outside: &Outside, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        let (head, body) = request.into_parts();
        let url = self
            .place(&head.uri)
            .filter(|_| matches!(head.method, Method::GET | Method::HEAD | Method::POST));
        let url = url.ok_or_else(|| {
            let message = format!("{} {}: no route leads there", head.method, shown(head.uri.path()));
            refusal(RefusalKind::NotAllowed, message, "this is a mistake in openclaw-front; please report it")
        })?;
        let body = Limited::new(body, QUESTION).collect().await.map_err(|error| {
            refusal(RefusalKind::BadRequest, format!("read the question: {error}"), "it may have 64 KiB")
        })?;
        let mut out = dial::Request::new(head.method, url);
        pass(&SENT, &head.headers, &mut out.headers);
        out.body = Body::Whole(body.to_bytes().into());
        let far = outside.send(&self.client, &self.breakers, out).await.map_err(|failure| failure.told())?;
        let (head, body) = far.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map_err(|error| {
            refusal(
                RefusalKind::NoAnswer,
                format!("read the authority's answer: {error}"),
                "it is tried again later",
            )
        })?;
        let mut answer = Response::new(Either::Left(Full::new(body.to_bytes())));
        *answer.status_mut() = head.status;
        pass(&RETURNED.map(HeaderName::from_static), &head.headers, answer.headers_mut());
        Ok(answer)
    }

    /// The authority's host, whatever the path.
    fn place(&self, asked: &http::Uri) -> Option<Url> {
        let path = asked.path().strip_prefix(ACME).filter(|path| path.starts_with('/'))?;
        let mut url = self.directory.clone();
        url.set_path(path);
        url.set_query(asked.query());
        Some(url)
    }
}

fn pass(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::config::{Config, Network};

    use super::Authority;
    use crate::{dial::Outside, roots::Trust};

    #[test]
    fn every_path_leads_to_the_one_host() {
        let parse = |direct: &str| {
            let text = format!(
                "[webhook]\nlisten = \"unix:/w\"\nfrom = \"direct\"\npeer = \"0\"\n\
                 public_url = \"https://bot.example.com\"\n[direct]\n{direct}"
            );
            Config::parse(&text, Path::new("t")).expect("config")
        };
        let outside = Outside::new(Trust::read(&Network::default()).expect("roots")).expect("TLS");
        let authority = Authority::new(&parse("directory = \"https://ca.example.com:14000/dir\""), &outside)
            .expect("good")
            .expect("one");
        for (asked, there) in [
            ("/r/acme/dir", Some("https://ca.example.com:14000/dir")),
            ("/r/acme/order/1?x=y", Some("https://ca.example.com:14000/order/1?x=y")),
            ("/r/acme//evil.example.com/x", Some("https://ca.example.com:14000//evil.example.com/x")),
            ("/r/acme/../../x", Some("https://ca.example.com:14000/x")),
            ("/r/acme/@evil.example.com", Some("https://ca.example.com:14000/@evil.example.com")),
            ("/r/acmex/dir", None),
            ("/r/acme", None),
            ("/r/telegram/main/getMe", None),
            ("/status", None),
        ] {
            let url = authority.place(&asked.parse().expect("a path"));
            assert_eq!(url.as_ref().map(|url| url.as_str()), there, "{asked}");
        }
        assert!(
            Authority::new(&Config::default(), &outside).expect("good").is_none(),
            "without a front there is no way"
        );
        let private = Authority::new(&parse("directory = \"https://127.0.0.1:14000/dir\""), &outside);
        assert!(private.err().expect("refused").to_string().contains("private = true"));
        let vouched = parse("directory = \"https://127.0.0.1:14000/dir\"\nprivate = true");
        Authority::new(&vouched, &outside).expect("vouched for");
    }
}
