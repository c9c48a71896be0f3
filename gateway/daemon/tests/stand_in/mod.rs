//! Plays egress at the far end of a door, from a script: what arrives is kept, what is answered is given byte by byte.
#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use openclaw_wire::door::{Door, Entry};
use serde_json::{Value, json};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null if it is no JSON.
    pub body: Value,
    /// Number of the connection that it came on, from 1.
    pub connection: usize,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// What is done for an answer, in order.
pub enum Act {
    /// Bytes.
    Send(Vec<u8>),
    /// Nothing, until the other side closes the connection.
    Hang,
    /// Closes the connection.
    Close,
}

/// The state that the test looks at.
#[derive(Default)]
pub struct Log {
    /// All requests but those for the status.
    pub seen: Vec<Seen>,
    /// Connections that were opened.
    pub opened: usize,
    /// Connections that the script closed.
    pub closed: usize,
    /// Connections that hung until the other side closed them.
    pub hung_up: usize,
}

/// The stand-in.
pub struct StandIn {
    log: Arc<Mutex<Log>>,
}

impl StandIn {
    /// Starts it: `models` for the status, and what to do for request number n (from 1).
    pub fn start(
        models: Value,
        script: impl Fn(usize, &Seen) -> Vec<Act> + Send + Sync + 'static,
    ) -> (Self, Door) {
        let (near, far) = openclaw_wire::door::pair().expect("a pair");
        let entry = Entry::Pair(far);
        let log: Arc<Mutex<Log>> = Arc::default();
        let script = Arc::new(script);
        let status = json!({"confinement": {}, "models": models, "bots": []});
        let shared = log.clone();
        thread::spawn(move || {
            while let Ok(stream) = entry.accept() {
                let mut log = shared.lock().expect("log");
                log.opened += 1;
                let (number, shared, script, status) =
                    (log.opened, shared.clone(), script.clone(), status.clone());
                drop(log);
                thread::spawn(move || serve(stream, number, &shared, &*script, &status));
            }
        });
        (Self { log }, Door::Pair(near))
    }

    /// What was seen so far.
    pub fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().expect("log")
    }

    /// Waits until the log fulfils a condition; fails after 20 s.
    pub async fn wait_for(&self, what: &str, test: impl Fn(&Log) -> bool) {
        for _ in 0..4000 {
            if test(&self.log()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never happened: {what}");
    }
}

fn serve(
    stream: UnixStream,
    connection: usize,
    log: &Mutex<Log>,
    script: &(dyn Fn(usize, &Seen) -> Vec<Act> + Send + Sync),
    status: &Value,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let mut writer = stream;
    while let Some(seen) = request(&mut reader, connection) {
        if seen.line == "GET /status" && status["models"].is_array() {
            let _ = writer.write_all(&json_answer(200, status));
            continue;
        }
        let mut guard = log.lock().expect("log");
        guard.seen.push(seen.clone());
        let number = guard.seen.len();
        drop(guard);
        for act in script(number, &seen) {
            match act {
                Act::Send(bytes) => {
                    if writer.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Act::Close => {
                    drop((reader, writer));
                    log.lock().expect("log").closed += 1;
                    return;
                }
                Act::Hang => {
                    let _ = reader.read(&mut [0]);
                    log.lock().expect("log").hung_up += 1;
                    return;
                }
            }
        }
    }
}

fn request(reader: &mut BufReader<UnixStream>, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    let mut headers = Vec::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let line = format!("{} {}", words.next()?, words.next()?);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut seen = Seen { line, headers, body: Value::Null, connection };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(seen)
}

/// The head of an answer whose body comes in chunks.
pub fn head(status: u16, headers: &str) -> Act {
    Act::Send(format!("HTTP/1.1 {status} x\r\ntransfer-encoding: chunked\r\n{headers}\r\n").into_bytes())
}

/// One chunk of it.
pub fn chunk(bytes: impl AsRef<[u8]>) -> Act {
    let bytes = bytes.as_ref();
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    Act::Send(framed)
}

/// Its end.
pub fn end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// A whole stream of events.
pub fn events(text: &str) -> Vec<Act> {
    vec![head(200, "content-type: text/event-stream\r\n"), chunk(text), end()]
}

fn json_answer(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole JSON answer.
pub fn json(status: u16, body: &Value) -> Vec<Act> {
    vec![Act::Send(json_answer(status, body))]
}

/// A whole answer with further headers, each ending with CR LF.
pub fn answer(status: u16, headers: &str, body: &Value) -> Vec<Act> {
    vec![head(status, headers), chunk(body.to_string()), end()]
}

/// A refusal of egress itself.
pub fn refusal(status: u16, kind: &str, message: &str) -> Vec<Act> {
    let body = json!({"kind": kind, "message": message, "mend": "mend it"});
    answer(status, &format!("x-openclaw-refused: {kind}\r\n"), &body)
}
