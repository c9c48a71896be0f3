//! The HTTP side of the scripted model.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{
    Core, Request, anthropic,
    ask::{Ask, Wire},
    lock, openai,
    play::{Act, Part, error_body},
};

type Body = UnsyncBoxBody<Bytes, io::Error>;
/// Lines of a stream with the pause before each; an error cuts the connection.
type Lines = Vec<(Duration, io::Result<String>)>;

/// Accepts until its task is ended.
pub async fn serve(listener: TcpListener, core: Arc<Core>) {
    while let Ok((stream, _)) = listener.accept().await {
        let core = core.clone();
        let service = hyper::service::service_fn(move |request| answer(core.clone(), request));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // The error is the client's going away, or a cut that the test ordered.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(core: Arc<Core>, request: http::Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().to_string();
    let headers = request.headers().iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let headers: std::collections::HashMap<String, String> = headers.collect();
    let bearer = || headers.get("authorization")?.strip_prefix("Bearer ");
    let key = headers.get("x-api-key").map(String::as_str).or_else(bearer).unwrap_or_default().to_owned();
    let known = lock(&core.keys).as_ref().is_none_or(|keys| keys.contains(&key));
    let wire = match request.uri().path() {
        path if path.ends_with("/messages") => Wire::Anthropic,
        path if path.ends_with("/chat/completions") => Wire::Openai,
        path if path.ends_with("/models") && known => {
            return Ok(json_answer(200, None, &serde_json::json!({"data": []})));
        }
        path if path.ends_with("/models") => {
            return Ok(json_answer(401, None, &error_body(true, "authentication_error", "no such key")));
        }
        _ => return Ok(json_answer(404, None, &error_body(true, "not_found_error", "no such path"))),
    };
    let bytes = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(json_answer(400, None, &error_body(true, "invalid_request_error", "no body"))),
    };
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let ask = Ask::read(wire, &body);
    lock(&core.violations).extend(ask.violations.iter().cloned());
    let act = match known {
        true => choose(&core, &ask),
        false => Act::Status(401, "authentication_error", None),
    };
    let status = match &act {
        Act::Status(status, ..) => *status,
        Act::Hang => 0,
        _ => 200,
    };
    lock(&core.journal).push(Request { wire, path, headers, key, bytes: bytes.len(), body, status });
    core.changes.send_modify(|count| *count += 1);
    let latency = *lock(&core.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    Ok(play(&ask, act, bytes.len() as u64 / 4).await)
}

fn choose(core: &Core, ask: &Ask) -> Act {
    {
        let mut faults = lock(&core.faults);
        if !faults.is_empty() {
            return faults.remove(0);
        }
    }
    let scripts = lock(&core.scripts);
    let Some((mark, steps)) = scripts.iter().find(|(mark, _)| ask.words.contains(mark.as_str())) else {
        return Act::echo(ask.words.trim());
    };
    let Some(step) = steps.get(ask.step) else { return Act::say("done") };
    let mut tries = lock(&core.tries);
    let tried = tries.entry((mark.clone(), ask.step)).or_default();
    let act = step.0.get(*tried).or(step.0.last()).cloned().unwrap_or(Act::say("done"));
    *tried += 1;
    act
}

async fn play(ask: &Ask, act: Act, input: u64) -> Response<Body> {
    let anthropic = ask.wire == Wire::Anthropic;
    match act {
        Act::Status(status, kind, retry_after) => {
            json_answer(status, retry_after, &error_body(anthropic, kind, "scripted trouble"))
        }
        Act::ErrorIn200 => json_answer(200, None, &error_body(anthropic, "api_error", "scripted trouble")),
        Act::Hang => std::future::pending().await,
        Act::Answer(parts) if !ask.stream => whole(ask, &parts, false, input),
        Act::OutputFull(parts) if !ask.stream => whole(ask, &parts, true, input),
        Act::Answer(parts) => stream_answer(lines(ask, &parts, 3, Duration::ZERO, false, input)),
        Act::OutputFull(parts) => stream_answer(lines(ask, &parts, 3, Duration::ZERO, true, input)),
        Act::Slow(parts, pieces, pause) => stream_answer(lines(ask, &parts, pieces, pause, false, input)),
        Act::Truncated(parts) => stream_answer(head(ask, &parts, input)),
        Act::Cut(parts) => {
            let mut lines = head(ask, &parts, input);
            // Long enough for what came before to reach the reader: a cut must not overtake it.
            lines.push((Duration::from_millis(50), Err(io::Error::other("cut"))));
            stream_answer(lines)
        }
        Act::ErrorInStream(parts) => {
            let mut lines = head(ask, &parts, input);
            let (name, data) = anthropic::error();
            lines.push((
                Duration::ZERO,
                Ok(match anthropic {
                    true => format!("event: {name}\ndata: {data}\n\n"),
                    false => format!("data: {}\n\n", error_body(false, "server_error", "scripted trouble")),
                }),
            ));
            stream_answer(lines)
        }
        Act::Garbage => {
            let mut lines = head(ask, &[Part::Text("half a".into())], input);
            lines.push((Duration::ZERO, Ok("event: content_block_delta\ndata: {\"type\": oops\n\n".into())));
            stream_answer(lines)
        }
    }
}

fn whole(ask: &Ask, parts: &[Part], full: bool, input: u64) -> Response<Body> {
    json_answer(
        200,
        None,
        &match ask.wire {
            Wire::Anthropic => anthropic::whole(parts, full, input),
            Wire::Openai => openai::whole(parts, full, input),
        },
    )
}

fn head(ask: &Ask, parts: &[Part], input: u64) -> Lines {
    let all = lines(ask, parts, 3, Duration::ZERO, false, input);
    // Without the closing events, and without the last piece before them.
    let keep = all.len().saturating_sub(4).max(1);
    all.into_iter().take(keep).collect()
}

fn lines(ask: &Ask, parts: &[Part], pieces: usize, pause: Duration, full: bool, input: u64) -> Lines {
    let text = |line: String| (Duration::ZERO, Ok(line));
    match ask.wire {
        Wire::Anthropic => {
            let events =
                anthropic::opening(parts, pieces, input).into_iter().chain(anthropic::closing(parts, full));
            let line = |(name, data): (String, Value)| {
                let wait = if name == "content_block_delta" { pause } else { Duration::ZERO };
                (wait, Ok(format!("event: {name}\ndata: {data}\n\n")))
            };
            events.map(line).collect()
        }
        Wire::Openai => {
            let opening = openai::opening(parts, pieces).into_iter();
            let closing = openai::closing(parts, full, input, true).into_iter();
            let mut lines: Lines = opening.map(|chunk| (pause, Ok(format!("data: {chunk}\n\n")))).collect();
            lines.extend(closing.map(|chunk| text(format!("data: {chunk}\n\n"))));
            lines.push(text("data: [DONE]\n\n".into()));
            lines
        }
    }
}

fn stream_answer(lines: Lines) -> Response<Body> {
    let frames = stream::iter(lines).then(|(pause, line)| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        line.map(|line| Frame::data(Bytes::from(line)))
    });
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .body(StreamBody::new(frames).boxed_unsync())
        .expect("the parts are valid")
}

fn json_answer(status: u16, retry_after: Option<u64>, body: &Value) -> Response<Body> {
    let full = Full::from(body.to_string()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(full);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
