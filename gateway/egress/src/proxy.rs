//! The gateway's door: each request is looked up in the table, gets its key, and is streamed both ways. Headers pass
//! by name only; a credential that the gateway sends is dropped, one that comes back is masked.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use openclaw_wire::egress::{Refusal, RefusalKind, Status};

use crate::{
    dial::Clients,
    mask::{Masked, Masks},
    refuse::{json, refusal, response},
    route::{Target, target},
    spend::{Charge, Ledger, Metered},
    table::Table,
};

/// Largest request, in bytes: what Anthropic takes in one.
pub const MAX_BODY: u64 = 32 << 20;
/// Requests up to this length are read whole, so that they leave in one piece: one write and one TLS record.
pub const SMALL: u64 = 64 << 10;

/// Request headers that go on; every other one stays here.
const SENT: [&str; 4] = ["accept", "anthropic-beta", "anthropic-version", "content-type"];
/// Answer headers that go on, and those that begin with one of [`RETURNED_BEGIN`].
const RETURNED: [&str; 6] =
    ["content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"];
const RETURNED_BEGIN: [&str; 2] = ["anthropic-ratelimit-", "x-ratelimit-"];

/// The body of an answer: egress's own, or a far end's.
pub type Answer = Either<Full<Bytes>, Masked<Metered<reqwest::Body>>>;

/// What the doors share.
pub struct Egress {
    /// Who may use what.
    pub table: Table,
    /// The way out.
    pub clients: Clients,
    /// What never comes back.
    pub masks: Arc<Masks>,
    /// What was spent, and what may be.
    pub ledger: Ledger,
    /// What the kernel enforces, for [`Status`].
    pub confinement: serde_json::Value,
}

impl Egress {
    /// A request of the gateway.
    pub async fn gateway(&self, request: Request<Incoming>) -> Response<Answer> {
        if request.method() == Method::GET && request.uri().path() == "/status" {
            return json(StatusCode::OK, &self.status());
        }
        if request.uri().path().starts_with("/spend") {
            return self.ledger.answer(request).await.unwrap_or_else(|refused| response(&refused));
        }
        let started = std::time::Instant::now();
        let found = target(&self.table, request.method(), request.uri().path(), request.uri().query());
        let answer = match found {
            Ok(target) => self.forward(target, request).await,
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(|refused| {
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::info!(kind = ?refused.kind, elapsed_ms, "refused: {}", refused.message);
            response(&refused)
        })
    }

    /// A request of the runner. No call of a skill is registered here, so nothing is allowed.
    pub async fn runner(&self, _: Request<Incoming>) -> Response<Answer> {
        response(&refusal(
            RefusalKind::NotAllowed,
            "no skill has a way out",
            "hosts of skills are not served",
        ))
    }

    /// What egress tells of itself.
    pub fn status(&self) -> Status {
        Status {
            confinement: self.confinement.clone(),
            models: self.table.models.iter().map(|row| row.shown.clone()).collect(),
            bots: self.table.bots.iter().map(|row| row.shown.clone()).collect(),
            caps: self.ledger.over_all(),
        }
    }

    async fn forward(&self, target: Target, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        let (head, body) = request.into_parts();
        let mut out = reqwest::Request::new(target.method, target.url);
        for name in SENT.map(HeaderName::from_static) {
            if let Some(value) = head.headers.get(&name) {
                out.headers_mut().insert(name, value.clone());
            }
        }
        if let Some((name, value)) = target.credential {
            out.headers_mut().insert(name, value);
        }
        let charge = match &target.bill {
            Some(bill) => {
                let (body, charge) = bill.admit(&self.ledger, &head.headers, body).await?;
                *out.body_mut() = body;
                Some(charge)
            }
            None => {
                *out.body_mut() = outgoing(body).await?;
                None
            }
        };
        match self.clients.send(target.reach, out).await {
            Ok(far) => self.answer(far, charge),
            Err(refused) => {
                // Nothing was sent. After any other end the call may have cost its most.
                if let (true, Some(charge)) = (refused.kind != RefusalKind::NoAnswer, charge) {
                    charge.failed();
                }
                Err(refused)
            }
        }
    }

    /// The far end's answer as the gateway gets it.
    pub fn answer(
        &self,
        far: Response<reqwest::Body>,
        charge: Option<Charge>,
    ) -> Result<Response<Answer>, Refusal> {
        let (head, body) = far.into_parts();
        let body = match charge {
            Some(charge) => Metered::new(body, charge, head.status, &head.headers),
            None => Metered::free(body),
        };
        // We never ask for a compressed answer: in one, a secret could not be seen.
        if head.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
            return Err(refusal(
                RefusalKind::NoAnswer,
                "the answer is compressed, which was not asked for",
                "use a server that honours a missing Accept-Encoding",
            ));
        }
        let mut answer = Response::new(Either::Right(Masked::new(body, self.masks.clone())));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = self.returned(head.headers);
        Ok(answer)
    }

    fn returned(&self, far: HeaderMap) -> HeaderMap {
        let passes = |name: &HeaderName| {
            let name = name.as_str();
            RETURNED.contains(&name) || RETURNED_BEGIN.iter().any(|begin| name.starts_with(begin))
        };
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in &far {
            if passes(name) && !self.masks.found(value.as_bytes()) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers
    }
}

/// A body as it goes on: small ones whole, others as they come.
pub async fn outgoing(body: Incoming) -> Result<Option<reqwest::Body>, Refusal> {
    match body.size_hint().exact() {
        Some(0) => Ok(None),
        Some(length) if length <= SMALL => Ok(Some(whole(body).await?.into())),
        Some(length) if length > MAX_BODY => Err(too_large()),
        _ => Ok(Some(reqwest::Body::wrap(Limited::new(body, MAX_BODY as usize)))),
    }
}

/// A body, read whole.
pub async fn whole(body: Incoming) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > MAX_BODY {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY as usize).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(refusal(
            RefusalKind::BadRequest,
            format!("read the request's body: {error}"),
            "send it whole",
        )),
    }
}

fn too_large() -> Refusal {
    refusal(RefusalKind::BadRequest, "the request's body is too large", "send at most 32 MiB")
}
