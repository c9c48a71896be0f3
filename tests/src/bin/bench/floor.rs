//! What this machine could do at most, measured in the same run: the gateway's own webhook handler that stores nothing,
//! a bot that only keeps what it was asked, one row committed at a time, one write forced to the disk at a time. The
//! programs run as processes of their own, like the real ones.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use openclaw::ingress::{self, Digest, Gate, Inbox, Listener, NotStored, Secrets, Source, Verified};
use openclaw_wire::{config::Config, facts::FACTS};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{far, hook::BOT};

/// As many as the gateway has.
const WORKERS: usize = 2;

/// A floor program that runs.
pub struct Floor {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Floor {
    /// Starts this program again as the gateway's webhook handler without an inbox. It knows the secret's digest alone.
    pub fn handler(secret: &str) -> anyhow::Result<Self> {
        Self::start(&["handler", &hex(&Sha256::digest(secret))])
    }

    /// Starts this program again as the bare bot, with the port of the far ends and a folder.
    pub fn bot(far: u16, folder: &Path) -> anyhow::Result<Self> {
        Self::start(&["bot", &far.to_string(), &folder.display().to_string()])
    }

    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("floor")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("start a floor program")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse().context("the floor program tells its port")? })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It keeps nothing that an orderly end would save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A floor program.
#[derive(Debug, clap::Subcommand)]
pub enum Kind {
    /// The webhook handler without an inbox
    Handler { digest: String },
    /// The bare bot
    Bot { far: u16, folder: PathBuf },
}

/// The floor programs' own `main`.
pub fn main(kind: &Kind) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    match kind {
        Kind::Handler { digest } => handler(listener, digest),
        Kind::Bot { far, folder } => bot(listener, *far, fs::File::create(folder.join("floor-bot"))?),
    }
}

/// Everything that the gateway does with a request, on as many threads, but for the inbox.
fn handler(listener: std::net::TcpListener, digest: &str) -> anyhow::Result<()> {
    let expected = Digest::from_hex(digest).context("a SHA-256 has 64 digits")?;
    let config = Config::parse("", Path::new("none"))?;
    let secrets = Arc::new(Secrets::default());
    secrets.set([(BOT.parse()?, expected.into())].into());
    let source =
        Source { from: config.webhook.from, ranges: FACTS.telegram.ranges.clone(), users: Vec::new() };
    let limit = Duration::from_secs(config.webhook.read_timeout);
    let gate = Arc::new(Gate::new(source, secrets, config.webhook.max_body, limit));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serving = ingress::serve(Listener::Tcp(listener), gate, Arc::new(Forgets), CancellationToken::new());
    Ok(runtime.block_on(serving)?)
}

/// Takes everything and keeps nothing.
struct Forgets;

impl Inbox for Forgets {
    async fn accept(&self, _: Vec<Verified<ingress::Incoming>>) -> Result<(), NotStored> {
        Ok(())
    }
}

fn bot(listener: std::net::TcpListener, far: u16, log: fs::File) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let bot = Arc::new(Bot { log: Mutex::new(log), far, idle: Mutex::default() });
    runtime.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let bot = bot.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let bot = bot.clone();
                    async move { Ok::<_, Infallible>(bot.webhook(request).await) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

/// No checks, no history, no order, no retries: update in, written down, one model call, one message out.
struct Bot {
    log: Mutex<fs::File>,
    far: u16,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Bot {
    async fn webhook(self: Arc<Self>, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let update: Value = serde_json::from_slice(&body).unwrap_or_default();
        let bot = self.clone();
        let kept = tokio::task::spawn_blocking(move || bot.keep(&body)).await;
        kept.expect("the write ends").expect("the disk takes it");
        tokio::spawn(self.answer(update));
        Response::new(Empty::new())
    }

    fn keep(&self, body: &[u8]) -> std::io::Result<()> {
        let mut file = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(body)?;
        file.sync_data()
    }

    async fn answer(self: Arc<Self>, update: Value) {
        let message = &update["message"];
        let ask = json!({"model": "m", "messages": [
            {"role": "system", "content": "You are a helpful personal assistant. Answer briefly."},
            {"role": "user", "content": message["text"]}]});
        let told = self.call("/v1/chat/completions", &ask).await;
        let text = &told["choices"][0]["message"]["content"];
        self.call("/bot1:x/sendMessage", &json!({"chat_id": message["chat"]["id"], "text": text})).await;
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(far::at(self.far)).await.expect("the far ends listen");
                stream.set_nodelay(true).expect("a TCP socket");
                let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("an HTTP connection");
                tokio::spawn(connection);
                sender
            }
        };
        let request = Request::post(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .expect("a good request");
        let response = sender.send_request(request).await.expect("the far ends answer");
        let body = response.into_body().collect().await.expect("the far ends answer whole").to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// Rows of the inbox committed one by one each second, with the gateway's own table and settings, for `time`.
pub fn commits_per_second(folder: &Path, row: &[u8], time: Duration) -> anyhow::Result<f64> {
    let path = folder.join("floor.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.join(format!("floor.db{suffix}")));
    }
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.execute_batch(
        "CREATE TABLE inbox (id INTEGER PRIMARY KEY, bot TEXT NOT NULL, update_id INTEGER NOT NULL, chat INTEGER NOT NULL,
            topic INTEGER NOT NULL, received INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
            tries INTEGER NOT NULL DEFAULT 0, problem TEXT, body BLOB NOT NULL);
         CREATE UNIQUE INDEX inbox_once ON inbox (bot, update_id);
         CREATE INDEX inbox_waiting ON inbox (id) WHERE state = 'waiting';
         CREATE INDEX inbox_dead ON inbox (id) WHERE state = 'dead';
         CREATE INDEX inbox_old ON inbox (received) WHERE state = 'done';",
    )?;
    let mut insert = connection.prepare(
        "INSERT INTO inbox (bot, update_id, chat, topic, received, body) VALUES ('main', ?1, ?2, 0, 1790000000, ?3)",
    )?;
    let started = Instant::now();
    let mut rows = 0;
    while started.elapsed() < time {
        insert.execute(params![rows, rows % 64, row])?;
        rows += 1;
    }
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Forces small writes to the disk, as a log grows by them.
pub struct Disk(fs::File);

impl Disk {
    /// A new file in this folder.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(fs::File::create(folder.join("floor-fsync"))?))
    }

    /// Appends 4 KiB; how long it took until they were on the disk.
    pub fn force(&mut self) -> anyhow::Result<Duration> {
        self.0.write_all(&[b'x'; 4096])?;
        let started = Instant::now();
        self.0.sync_data()?;
        Ok(started.elapsed())
    }
}
