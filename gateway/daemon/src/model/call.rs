//! One try at one model: the request through egress, the answer as it streams. Every wait here has its bound.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use jiff::Timestamp;
use openclaw_wire::{config::Api, egress::ModelRoute, spend::CHAT};
use tokio::time::timeout;

use super::{
    Event, Models, anthropic,
    draft::Draft,
    fault::{Fault, Kind, plain},
    message::{Part, Prompt, Stop, ToolChoice, Usage},
    openai::{self, Dialect},
    reading::{self, Reading},
    retry::Advice,
    wire::{Reader, Show},
    written::{self, Held},
};
use crate::egress::collect;

/// Largest body of an error.
const ERROR_BODY: usize = 64 << 10;
/// For the end of the body behind the last event, so that the connection can be used again.
const TAIL: Duration = Duration::from_millis(100);
/// For the last event, after all that matters has come.
const GRACE: Duration = Duration::from_secs(2);

/// How long each phase of a try may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until the first byte of the answer. A small machine reads a long prompt slowly.
    pub first_byte: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// For which a model that could not answer is asked after the others.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            rest: Duration::from_secs(30),
        }
    }
}

/// A complete answer.
pub(super) struct Reply {
    pub parts: Vec<Part>,
    pub stop: Stop,
}

/// Asks once. `spent` is what it cost, whether or not it succeeded.
pub(super) async fn once(
    models: &Models,
    route: &ModelRoute,
    dialect: Dialect,
    prompt: &Prompt,
    show: &mut Show<'_>,
    spent: &mut Usage,
) -> Result<Reply, Fault> {
    let body = match route.api {
        Api::Anthropic => anthropic::request(prompt, route),
        Api::Openai | Api::Rehearsal => openai::request(prompt, route, dialect),
    };
    let mut reader = reading::reader(route.api);
    let body = Bytes::from(body.ok_or(Kind::Prompt)?.to_string());
    let sent = body.len();
    let (patience, chat) = (models.patience, models.chat.as_deref());
    let answer = timeout(patience.first_byte, models.egress.send(request(route, chat, body)?));
    let response = answer.await.map_err(|_| Kind::Timeout)??;
    let request_id = request_id(response.headers());
    let status = response.status().as_u16();
    if !response.status().is_success() {
        return Err(Fault { request: request_id, ..not_a_success(response, patience).await });
    }
    let mut held = (route.api == Api::Openai && may_call(prompt)).then(Held::default);
    let mut pass = |event: Event<'_>| match &mut held {
        Some(held) => held.pass(event, show),
        None => show(event),
    };
    let result = read(response.into_body(), &mut *reader, patience, &mut pass).await;
    // A try that brought nothing is not estimated: the server may not have begun.
    if result.is_ok() || !reader.draft().is_empty() {
        *spent += reader.draft().settle(sent);
    }
    let answer = result.and_then(|()| std::mem::take::<Draft>(reader.draft()).finish());
    let (parts, stop) =
        answer.map_err(|fault| Fault { status: Some(status), request: request_id, ..fault })?;
    if let Some(mut held) = held {
        if let Some(parts) = written::recover(&parts, stop, prompt) {
            return Ok(Reply { parts, stop: Stop::ToolCalls });
        }
        held.release(show);
    }
    Ok(if may_call(prompt) { Reply { parts, stop } } else { words_alone(parts, stop) })
}

fn may_call(prompt: &Prompt) -> bool {
    prompt.tool_choice != ToolChoice::None && !prompt.tools.is_empty()
}

/// Some servers let a model call although it was told not to. Where it said something as well, that is the answer.
fn words_alone(mut parts: Vec<Part>, stop: Stop) -> Reply {
    let words = |part: &Part| matches!(part, Part::Text { text } if !text.trim().is_empty());
    if stop != Stop::ToolCalls || !parts.iter().any(words) {
        return Reply { parts, stop };
    }
    parts.retain(|part| !matches!(part, Part::ToolCall(_)));
    Reply { parts, stop: Stop::End }
}

fn request(route: &ModelRoute, chat: Option<&str>, body: Bytes) -> Result<Request<Full<Bytes>>, Fault> {
    let path = match route.api {
        Api::Anthropic => anthropic::PATH,
        Api::Openai | Api::Rehearsal => openai::PATH,
    };
    let mut request = Request::post(format!("/r/model/{}/{path}", route.name))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "text/event-stream");
    if route.api == Api::Anthropic {
        request = request.header(anthropic::VERSION.0, anthropic::VERSION.1);
    }
    if let Some(chat) = chat {
        request = request.header(CHAT, chat);
    }
    request.body(Full::new(body)).map_err(|_| Kind::Blocked.into())
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let header = headers.get("request-id").or_else(|| headers.get("x-request-id"))?;
    plain(header.to_str().ok()?)
}

async fn not_a_success(response: Response<Incoming>, patience: Patience) -> Fault {
    let status = response.status();
    let advice = Advice::read(response.headers(), Timestamp::now());
    // Without a readable body the status still says enough.
    let body = timeout(patience.idle, collect(response.into_body(), ERROR_BODY)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    Fault { advice, ..Fault::of_status(status, &body) }
}

/// Reads an answer to its end: a stream, or one JSON value from a server that does not stream.
async fn read(
    mut body: Incoming,
    reader: &mut dyn Reader,
    patience: Patience,
    show: &mut Show<'_>,
) -> Result<(), Fault> {
    let mut reading = Reading::new(reader);
    let mut wait = patience.first_byte;
    loop {
        let chunk = match timeout(wait, next(&mut body)).await {
            Ok(chunk) => chunk?,
            Err(_) if reading.may_end() => return Ok(()),
            Err(_) => return Err(Kind::Timeout.into()),
        };
        let Some(chunk) = chunk else { return reading.end(show) };
        if reading.chunk(&chunk, show)? {
            // The terminator of the body is already on its way.
            let _ = timeout(TAIL, next(&mut body)).await;
            return Ok(());
        }
        wait = if reading.may_end() { GRACE.min(patience.idle) } else { patience.idle };
    }
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Kind::Truncated.into()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
