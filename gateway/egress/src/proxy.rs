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
    dial::{self, Body, Timed},
    exchange::Exchange,
    failover,
    lease::Leased,
    live::Live,
    mask::{Masked, Masks},
    refuse::{json, refusal, response},
    route::{Target, target},
    spend::{Charge, Ledger, Metered},
    way::Ways,
    webhook::Place,
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
pub type Answer = Either<Full<Bytes>, Masked<Leased<Metered<Timed>>>>;

/// What the doors share.
pub struct Egress {
    /// Keys, table and clients of now, and how they change.
    pub exchange: Arc<Exchange>,
    /// Where Telegram delivers to.
    pub place: Place,
    /// What was spent, and what may be.
    pub ledger: Ledger,
    /// The ways out of skills.
    pub ways: Arc<Ways>,
    /// What the kernel enforces, for [`Status`].
    pub confinement: serde_json::Value,
}

impl Egress {
    /// A request of the gateway.
    pub async fn gateway(&self, request: Request<Incoming>) -> Response<Answer> {
        if let Some(answer) = self.about_egress(request.method(), request.uri().path()).await {
            return answer;
        }
        if request.uri().path().starts_with("/spend") {
            return self.ledger.answer(request).await.unwrap_or_else(|refused| response(&refused));
        }
        if request.uri().path().starts_with("/call/") {
            return self.ways.gateway(request).await;
        }
        let started = std::time::Instant::now();
        let live = self.exchange.current.get();
        let found = target(&live.table, request.method(), request.uri().path(), request.uri().query());
        let answer = match found {
            Ok(target) => self.forward(live, target, request).await,
            Err(refused) => Err(refused),
        };
        answer.unwrap_or_else(|refused| {
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::info!(kind = ?refused.kind, elapsed_ms, "refused: {}", refused.message);
            response(&refused)
        })
    }

    /// Questions about egress itself, and news for it.
    async fn about_egress(&self, method: &Method, path: &str) -> Option<Response<Answer>> {
        if *method == Method::GET && path == "/status" {
            return Some(json(StatusCode::OK, &self.status()));
        }
        if let (&Method::GET, Some(version)) = (method, path.strip_prefix("/status/after/")) {
            self.exchange.current.news(version.parse().ok()?).await;
            return Some(json(StatusCode::OK, &self.status()));
        }
        let bot = path.strip_prefix("/webhook/").and_then(|rest| rest.strip_suffix("/renewed"))?;
        if *method != Method::POST {
            return None;
        }
        match self.exchange.webhooks.renewed(&bot.parse().ok()?) {
            Ok(true) => self.exchange.current.changed(),
            Ok(false) => {}
            Err(error) => tracing::warn!(bot, "forget the webhook secret before: {error:#}"),
        }
        Some(json(StatusCode::OK, &()))
    }

    /// What egress tells of itself.
    pub fn status(&self) -> Status {
        // The version first: what changes meanwhile is told again.
        let version = self.exchange.current.version();
        let live = self.exchange.current.get();
        let bots = live.table.bots.iter().map(|row| {
            let mut shown = row.shown.clone();
            shown.webhook_previous = self.exchange.webhooks.previous(&shown.name);
            shown
        });
        Status {
            version,
            confinement: self.confinement.clone(),
            models: live.table.models.iter().map(|row| row.shown.clone()).collect(),
            bots: bots.collect(),
            caps: self.ledger.to_watch(),
            alarms: self.exchange.alarms.list(),
        }
    }

    async fn forward(
        &self,
        live: Arc<Live>,
        target: Target,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Refusal> {
        let (head, body) = request.into_parts();
        let mut out = dial::Request::new(target.method.clone(), target.url.clone());
        for name in SENT.map(HeaderName::from_static) {
            if let Some(value) = head.headers.get(&name) {
                out.headers.insert(name, value.clone());
            }
        }
        let (body, mut charge) = match &target.bill {
            Some(bill) => bill.charge(&self.ledger, &head.headers, body, &live.masks).await?,
            None => (outgoing(body, &live.masks).await?, None),
        };
        out.body = body;
        match failover::send(&live, &target, out, charge.as_mut()).await {
            Ok(far) => self.answer(far, live, charge),
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
        far: Response<Timed>,
        live: Arc<Live>,
        charge: Option<Charge>,
    ) -> Result<Response<Answer>, Refusal> {
        let (head, body) = far.into_parts();
        let of_model = charge.is_some();
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
        let (masks, headers) = (Arc::clone(&live.masks), returned(head.headers, &live.masks));
        let body = Leased::new(body, live);
        let body = if of_model { Masked::read(body, masks) } else { Masked::new(body, masks) };
        let mut answer = Response::new(Either::Right(body));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

fn returned(far: HeaderMap, masks: &Masks) -> HeaderMap {
    let passes = |name: &HeaderName| {
        let name = name.as_str();
        RETURNED.contains(&name) || RETURNED_BEGIN.iter().any(|begin| name.starts_with(begin))
    };
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in &far {
        if passes(name) && !masks.found(value.as_bytes()) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// The body as it leaves: small ones whole, others as they come, and without our keys, should one have found its way into
/// a conversation (incident 112).
pub async fn outgoing(body: Incoming, masks: &Arc<Masks>) -> Result<Body, Refusal> {
    match body.size_hint().exact() {
        Some(0) => Ok(Body::default()),
        Some(length) if length <= SMALL => Ok(whole(body, masks).await?.into()),
        Some(length) if length > MAX_BODY => Err(too_large()),
        _ => {
            let limited = Limited::new(body, MAX_BODY as usize);
            Ok(Body::pieces(Masked::leaving(limited, Arc::clone(masks))))
        }
    }
}

/// The same, read whole.
pub async fn whole(body: Incoming, masks: &Masks) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > MAX_BODY {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY as usize).collect().await {
        Ok(whole) => Ok(masks.clean(whole.to_bytes())),
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
