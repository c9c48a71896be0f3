//! Telegram's side of a webhook, as lean as can be: requests are made before the clock starts, and of an answer only
//! the status is read. The leaner it is, the more of the machine is left for what is measured, and for its floor.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use openclaw_wire::facts::FACTS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::far;

/// The bot of every measurement.
pub const BOT: &str = "main";

/// One connection that is kept.
pub struct Hook {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What became of many requests.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Answered with 200.
    pub accepted: u64,
    /// Answered with anything else.
    pub refused: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Flood {
    /// Accepted each second.
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }
}

impl Hook {
    /// Connects.
    pub async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(far::at(port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Sends one request and gives the status of its answer, which must have no body.
    pub async fn post(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.buffer.ends_with(b"\r\n\r\n") {
                let status =
                    self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                return status.ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// An update's number; none comes twice.
pub fn next_update() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// A whole webhook request: a private message as Telegram delivers it.
pub fn request(secret: &str, update: u64, chat: i64, text: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"update_id":{update},"message":{{"message_id":{update},"from":{{"id":{chat},"is_bot":false,"first_name":"Ada","last_name":"Lovelace","username":"ada{chat}","language_code":"en"}},"chat":{{"id":{chat},"first_name":"Ada","last_name":"Lovelace","username":"ada{chat}","type":"private"}},"date":1790000000,"text":"{text}"}}}}"#
    );
    let source = FACTS.telegram.ranges.first().map(|range| range.addr().to_string()).unwrap_or_default();
    let path = &FACTS.webhook.path;
    format!(
        "POST {path}{BOT} HTTP/1.1\r\nHost: bot.example.com\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip, deflate\r\nCF-Connecting-IP: {source}\r\nX-Forwarded-For: {source}\r\n\
         X-Telegram-Bot-Api-Secret-Token: {secret}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends all requests over this many kept connections, each as soon as the one before it on its connection is
/// answered. Runs on a thread of its own.
pub fn flood(port: u16, requests: Vec<Vec<u8>>, connections: usize) -> anyhow::Result<Flood> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut hooks = Vec::new();
        for _ in 0..connections {
            hooks.push(Hook::connect(port).await?);
        }
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let started = Instant::now();
        let tasks: Vec<_> = hooks
            .into_iter()
            .map(|mut hook| {
                let (requests, next, counts) = (requests.clone(), next.clone(), counts.clone());
                tokio::spawn(async move {
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let accepted = hook.post(request).await? == 200;
                        counts[usize::from(!accepted)].fetch_add(1, Ordering::Relaxed);
                        if !accepted {
                            hook = Hook::connect(port).await?;
                        }
                    }
                    Ok::<_, io::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let [accepted, refused] = [0, 1].map(|at| counts[at].load(Ordering::Relaxed));
        Ok(Flood { accepted, refused, took: started.elapsed() })
    })
}
