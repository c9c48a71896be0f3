//! A blunt HTTP client: it sends what a test says, byte for byte, however wrong, and reads one answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::telegram::TELEGRAM_SOURCE;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Head with the status line, header names as they came.
    pub head: String,
    /// What followed.
    pub body: String,
}

/// A webhook request. By default it is a good one but for its secret.
#[derive(Debug, Clone)]
pub struct Post {
    /// Port on loopback.
    pub port: u16,
    /// `/telegram/<bot>`.
    pub path: String,
    /// All headers but `Host` and the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Post {
    /// From Telegram's address, with this secret and body.
    pub fn new(port: u16, secret: &str, body: &Value) -> Self {
        let mut post = Self {
            port,
            path: "/telegram/main".into(),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        };
        post.header("CF-Connecting-IP", TELEGRAM_SOURCE);
        post.header("X-Telegram-Bot-Api-Secret-Token", secret);
        post
    }

    /// Sets a header; an empty value takes it away.
    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.into(), value.into()));
        }
        self
    }

    /// The head, with `length` as `Content-Length`.
    pub fn head(&self, length: u64) -> String {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST {} HTTP/1.1\r\nHost: bot.example.com\r\n{lines}Content-Length: {length}\r\n\r\n",
            self.path
        )
    }

    /// Sends it whole.
    pub async fn send(&self) -> Answer {
        let mut bytes = self.head(self.body.len() as u64).into_bytes();
        bytes.extend(&self.body);
        exchange(self.port, &bytes).await
    }

    /// Sends it as Telegram does: again, while the answer is 503. Right after a start the secret's digest may still be on
    /// its way from egress.
    pub async fn deliver(&self) -> Answer {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.send().await;
            if answer.status != 503 || Instant::now() > end {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Connects.
pub async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("the webhook accepts connections")
}

/// Sends bytes on a connection of their own and reads the answer.
pub async fn exchange(port: u16, bytes: &[u8]) -> Answer {
    let mut stream = connect(port).await;
    // The peer may answer and close before everything is sent.
    let _ = stream.write_all(bytes).await;
    read(&mut stream).await
}

/// Reads one answer whose body has a `Content-Length` or ends with the connection. Status 0: closed without an answer.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let patience = Duration::from_secs(60);
    let whole = async {
        let mut chunk = [0; 4096];
        loop {
            if let Some(answer) = parse(&bytes) {
                return answer;
            }
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Answer { status: 0, head: text, body: String::new() };
                }
                Ok(read) => bytes.extend(&chunk[..read]),
            }
        }
    };
    tokio::time::timeout(patience, whole).await.unwrap_or_else(|_| panic!("no answer within {patience:?}"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_lowercase();
    let length =
        lower.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    if body.len() < length.unwrap_or(0) {
        return None;
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.into(), body: body.into() })
}

/// A private message as Telegram would deliver it.
pub fn message(update: i64, from: i64, text: &str) -> Value {
    json!({"update_id": update, "message": {
        "message_id": update, "date": 1_790_000_000, "text": text,
        "chat": {"id": from, "type": "private", "first_name": "A"},
        "from": {"id": from, "is_bot": false, "first_name": "A"}
    }})
}
