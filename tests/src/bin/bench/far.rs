//! The far ends of a measurement: a Bot API server and a model server that answer at once and check nothing, so that
//! what is measured is everything between them. Each question carries a number, and its answer the same number.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// Stands before the number in a question, and in its answer.
const ASK: &str = "ask-";
const TOLD: &str = "told-";

/// Both servers, on one loopback port and one thread of their own.
pub struct Far {
    /// Where they listen.
    pub port: u16,
    board: Arc<Board>,
}

/// What was answered.
#[derive(Default)]
struct Board {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Instant>>>,
    answers: AtomicU64,
    model_calls: AtomicU64,
    numbers: AtomicU64,
    message_ids: AtomicI64,
}

impl Far {
    /// Starts them; they run until the program ends.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let board = Arc::new(Board::default());
        let shared = board.clone();
        std::thread::Builder::new().name("far".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for the far ends").block_on(serve(listener, shared));
        })?;
        Ok(Self { port, board })
    }

    /// A new question's number and words.
    pub fn question(&self) -> (u64, String) {
        let number = self.board.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        (number, format!("Please say in one short sentence what you know of {ASK}{number} and nothing else."))
    }

    /// When the answer to this question arrives. Before the question is sent.
    pub fn expect(&self, number: u64) -> oneshot::Receiver<Instant> {
        let (tell, told) = oneshot::channel();
        self.board.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, tell);
        told
    }

    /// Answers that have arrived.
    pub fn answers(&self) -> u64 {
        self.board.answers.load(Ordering::Relaxed)
    }

    /// Calls of the model.
    pub fn model_calls(&self) -> u64 {
        self.board.model_calls.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, board: Arc<Board>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("registers");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let board = board.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let board = board.clone();
                async move { Ok::<_, Infallible>(answer(&board, request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(board: &Board, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = std::str::from_utf8(&body).unwrap_or_default();
    match path.rsplit('/').next().unwrap_or_default() {
        "messages" => typed("text/event-stream", anthropic(&board.think(text))),
        "completions" if text.contains("\"stream\":true") => {
            typed("text/event-stream", openai(&board.think(text)))
        }
        "completions" => typed("application/json", openai_whole(&board.think(text))),
        "getMe" => result(r#"{"id":4242,"is_bot":true,"first_name":"bench","username":"bench_bot"}"#),
        "getWebhookInfo" => result(r#"{"url":"","has_custom_certificate":false,"pending_update_count":0}"#),
        "sendMessage" => {
            board.told(text);
            let id = board.message_ids.fetch_add(1, Ordering::Relaxed) + 1;
            result(&format!(
                r#"{{"message_id":{id},"date":1790000000,"chat":{{"id":1,"type":"private"}},"text":"..."}}"#
            ))
        }
        _ => result("true"),
    }
}

impl Board {
    /// The model's answer to the newest question of a request.
    fn think(&self, request: &str) -> String {
        self.model_calls.fetch_add(1, Ordering::Relaxed);
        match number(request, ASK) {
            Some(number) => format!("What I know of {TOLD}{number} fits into one sentence."),
            None => "There is no question.".into(),
        }
    }

    fn told(&self, message: &str) {
        let now = Instant::now();
        let Some(number) = number(message, TOLD) else { return };
        self.answers.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(tell) = waiting {
            let _ = tell.send(now);
        }
    }
}

/// The number behind the last mark: history stands before the newest question.
fn number(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.rfind(mark)? + mark.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn anthropic(text: &str) -> String {
    let (start, end) = text.split_at(text.len() / 2);
    let events = [
        ("message_start", r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#.to_owned()),
        ("content_block_start", r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned()),
        ("content_block_delta", format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{start}"}}}}"#)),
        ("content_block_delta", format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{end}"}}}}"#)),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.to_owned()),
        ("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":12}}"#.to_owned()),
        ("message_stop", r#"{"type":"message_stop"}"#.to_owned()),
    ];
    events.map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).concat()
}

fn openai(text: &str) -> String {
    let (start, end) = text.split_at(text.len() / 2);
    let chunk = |choices: String, usage: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{choices}]{usage}}}\n\n"
        )
    };
    let delta =
        |delta: String, reason: &str| format!(r#"{{"index":0,"delta":{delta},"finish_reason":{reason}}}"#);
    let piece = |text: &str| format!(r#"{{"content":"{text}"}}"#);
    [
        chunk(delta(r#"{"role":"assistant","content":""}"#.into(), "null"), ""),
        chunk(delta(piece(start), "null"), ""),
        chunk(delta(piece(end), "null"), ""),
        chunk(delta("{}".into(), "\"stop\""), ""),
        chunk(String::new(), r#","usage":{"prompt_tokens":25,"completion_tokens":12,"total_tokens":37}"#),
        "data: [DONE]\n\n".into(),
    ]
    .concat()
}

fn openai_whole(text: &str) -> String {
    format!(
        r#"{{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"{text}"}}}}],"usage":{{"prompt_tokens":25,"completion_tokens":12,"total_tokens":37}}}}"#
    )
}

fn result(json: &str) -> Response<Full<Bytes>> {
    typed("application/json", format!(r#"{{"ok":true,"result":{json}}}"#))
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// The far ends' address.
pub fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
