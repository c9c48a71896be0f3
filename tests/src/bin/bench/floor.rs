//! What this machine could do at most, measured in the same run: a webhook that stores nothing, a bot that only keeps
//! what it was asked, one row committed at a time, one write forced to the disk at a time. The programs run as
//! processes of their own, like the real ones.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    path::Path,
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
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::far;

/// As many as the gateway has.
const WORKERS: usize = 2;

/// A floor program that runs.
pub struct Floor {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Floor {
    /// Starts this program again as a floor: `http`, or `bot` with the port of the far ends and a folder.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
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

/// The floor programs' own `main`.
pub fn main(kind: &str, far: u16, folder: Option<&Path>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let log = match (kind, folder) {
        ("bot", Some(folder)) => Some(Mutex::new(fs::File::create(folder.join("floor-bot"))?)),
        _ => None,
    };
    let bot = Arc::new(Bot { log, far, idle: Mutex::default() });
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
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
    /// None: the update is answered and forgotten.
    log: Option<Mutex<fs::File>>,
    far: u16,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Bot {
    async fn webhook(self: Arc<Self>, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let update: Value = serde_json::from_slice(&body).unwrap_or_default();
        if self.log.is_some() {
            let bot = self.clone();
            let kept = tokio::task::spawn_blocking(move || bot.keep(&body)).await;
            kept.expect("the write ends").expect("the disk takes it");
            tokio::spawn(self.answer(update));
        }
        Response::new(Empty::new())
    }

    fn keep(&self, body: &[u8]) -> std::io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let mut file = log.lock().unwrap_or_else(PoisonError::into_inner);
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
