//! The gateway's only way out: HTTP/1.1 to egress, over connections opened through its door. Egress adds the keys and
//! speaks TLS; nothing here names a host. Never a key, and never a path, query or body in an error or a log line.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use openclaw_wire::{
    door::Door,
    egress::{CloseCall, Closed, OpenCall, REFUSED, Refusal, RefusalKind, Status},
    id::BotName,
};
use serde::Serialize;
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};

/// Connections kept for the next request: as many as turns run at once by default. More are closed after their answer.
const IDLE: usize = 64;
/// Connections that were not used for this long are closed, so that a burst leaves nothing behind.
const IDLE_AGE: Duration = Duration::from_secs(10);
/// Opening blocks only while egress accepts nothing; then it is stuck, and waiting longer would not help.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Threads that may be stuck in opening at the same time.
const OPENING: usize = 4;
/// Largest answer of egress about itself, and the time for it.
const STATUS_BODY: usize = 1 << 20;
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Egress answers a question for news after 25 s at the latest.
const NEWS_TIMEOUT: Duration = Duration::from_secs(40);
/// Largest refusal.
const REFUSAL_BODY: usize = 16 << 10;

/// Why a request has no answer from the far end.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No connection to egress. The request was not sent.
    #[error("open a connection to egress: {0}; `openclaw status` shows whether it runs")]
    Door(io::ErrorKind),
    /// The connection broke after the request went out: whether it was carried out is unknown.
    #[error("egress closed the connection before it answered; `openclaw status` shows whether it runs")]
    Lost,
    /// Egress itself refused, or could not reach the far end.
    #[error("egress: {}; {}", .0.message, .0.mend)]
    Refused(Refusal),
    /// The answer broke off while its body was read.
    #[error("the answer broke off while it was read")]
    Cut,
    /// The answer is larger than the caller takes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Egress took longer than this for an answer about itself.
    #[error("egress did not answer within {} s; `openclaw status` shows whether it runs", .0.as_secs())]
    Slow(Duration),
    /// Egress's own answer is not what this release expects.
    #[error("egress answered {0} to a question about itself; are gateway and egress of the same release?")]
    Strange(u16),
}

/// A handle on egress. Cheap to clone; all clones share the idle connections.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    idle: Mutex<Vec<Idle>>,
    /// Somebody closes those that get old.
    swept: AtomicBool,
    opening: Arc<Semaphore>,
}

struct Idle {
    since: Instant,
    sender: SendRequest<Full<Bytes>>,
}

impl Idle {
    /// Open, and not unused for too long. One whose answer is still being read is in use.
    fn is_good(&self) -> bool {
        !self.sender.is_closed() && (self.since.elapsed() < IDLE_AGE || !self.sender.is_ready())
    }
}

impl Egress {
    /// Uses the door to open connections as they are needed; opens none yet.
    pub fn new(door: Door) -> Self {
        let opening = Arc::new(Semaphore::new(OPENING));
        Self {
            shared: Arc::new(Shared { door, idle: Mutex::default(), swept: AtomicBool::new(false), opening }),
        }
    }

    /// Sends one request and gives the head of its answer; the body follows as it arrives. The URI is a path of
    /// `openclaw_wire::egress`. The caller bounds the wait, because only it knows how long its far end may take, and
    /// drops the future or the body to give the request up.
    ///
    /// A request is repeated on another connection only when no byte of it was sent.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, EgressError> {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("egress"));
        loop {
            let (mut sender, reused) = match self.shared.idle() {
                Some(sender) => (sender, true),
                None => (self.shared.open().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.shared.keep(sender);
                    return not_refused(response).await;
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => request = unsent,
                    Some(_) => return Err(EgressError::Door(io::ErrorKind::ConnectionReset)),
                    None => return Err(EgressError::Lost),
                },
            }
        }
    }

    /// Sends one request whose body comes bit by bit, on a connection of its own. It is never repeated.
    pub async fn send_once<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, EgressError>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + Unpin + 'static,
    {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("egress"));
        let mut sender = self.shared.open().await?;
        match sender.try_send_request(request).await {
            Ok(response) => not_refused(response).await,
            Err(_) => Err(EgressError::Lost),
        }
    }

    /// Registers a call that may have a way out.
    pub async fn open_call(&self, call: &OpenCall) -> Result<(), EgressError> {
        self.about_call("/call/open", call).await.map(drop)
    }

    /// Ends a call's way out; what it did with it.
    pub async fn close_call(&self, call: String) -> Result<Closed, EgressError> {
        let body = self.about_call("/call/close", &CloseCall { call }).await?;
        serde_json::from_slice(&body).map_err(|_| EgressError::Strange(200))
    }

    async fn about_call(&self, path: &'static str, question: &impl Serialize) -> Result<Bytes, EgressError> {
        let answer = self.question(Method::POST, path, Some(question), STATUS_BODY, STATUS_TIMEOUT).await?;
        Ok(answer.1)
    }

    /// What egress tells of itself: its confinement, the models, the bots.
    pub async fn status(&self) -> Result<Status, EgressError> {
        self.news(None).await
    }

    /// The same, as soon as it has changed since `version`.
    pub async fn news(&self, version: Option<u64>) -> Result<Status, EgressError> {
        let (path, patience) = match version {
            None => ("/status".to_owned(), STATUS_TIMEOUT),
            Some(version) => (format!("/status/after/{version}"), NEWS_TIMEOUT),
        };
        let body = self.about_itself(Method::GET, &path, patience).await?;
        serde_json::from_slice(&body).map_err(|_| EgressError::Strange(200))
    }

    /// Tells that an update came with the bot's new webhook secret.
    pub async fn renewed(&self, bot: &BotName) -> Result<(), EgressError> {
        let path = format!("/webhook/{bot}/renewed");
        self.about_itself(Method::POST, &path, STATUS_TIMEOUT).await.map(drop)
    }

    async fn about_itself(
        &self,
        method: Method,
        path: &str,
        patience: Duration,
    ) -> Result<Bytes, EgressError> {
        match self.question(method, path, None::<&()>, STATUS_BODY, patience).await? {
            (StatusCode::OK, body) => Ok(body),
            (code, _) => Err(EgressError::Strange(code.as_u16())),
        }
    }

    /// A question to egress itself, as JSON if it has words, and its whole answer of at most `limit` bytes.
    pub async fn question(
        &self,
        method: Method,
        path: &str,
        words: Option<&impl Serialize>,
        limit: usize,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), EgressError> {
        let body = words.map(|words| serde_json::to_vec(words).expect("plain data")).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).body(Full::from(body));
        let request = request.expect("a path of ours is valid");
        let answer = async {
            let response = self.send(request).await?;
            let status = response.status();
            Ok((status, collect(response.into_body(), limit).await?))
        };
        timeout(patience, answer).await.unwrap_or(Err(EgressError::Slow(patience)))
    }
}

/// Reads a body whole, at most `limit` bytes of it.
pub async fn collect<B>(body: B, limit: usize) -> Result<Bytes, EgressError>
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(EgressError::TooLarge(limit)),
        Err(_) => Err(EgressError::Cut),
    }
}

impl Shared {
    /// A connection whose last answer was read to its end.
    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_good);
        let at = idle.iter().rposition(|one| one.sender.is_ready())?;
        Some(idle.remove(at).sender)
    }

    /// Kept at once, while its answer is still being read: it counts as idle when hyper says that it is ready again.
    fn keep(self: &Arc<Self>, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE {
            idle.retain(|one| !one.sender.is_closed());
        }
        if idle.len() < IDLE {
            idle.push(Idle { since: Instant::now(), sender });
            if !self.swept.swap(true, Ordering::Relaxed) {
                tokio::spawn(self.clone().sweep());
            }
        }
    }

    /// Closes connections that got old, until there are none.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(IDLE_AGE).await;
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(Idle::is_good);
            if idle.is_empty() {
                // Under the lock: the next one that is kept starts another sweep.
                self.swept.store(false, Ordering::Relaxed);
                return;
            }
        }
    }

    async fn open<B>(self: &Arc<Self>) -> Result<SendRequest<B>, EgressError>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = timeout(OPEN_TIMEOUT, self.clone().knock())
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| EgressError::Door(error.kind()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| EgressError::Door(io::ErrorKind::ConnectionReset))?;
        // Ends when its sender and the body it feeds are dropped; how it ended is told to whoever waits on those two.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// On a thread of its own: opening may block. The permit stays with the thread, so that stuck ones are counted.
    async fn knock(self: Arc<Self>) -> io::Result<UnixStream> {
        let permit = self.opening.clone().acquire_owned().await.map_err(io::Error::other)?;
        let opened = tokio::task::spawn_blocking(move || {
            let stream = self.door.open();
            drop(permit);
            stream
        });
        let stream = opened.await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

async fn not_refused(response: Response<Incoming>) -> Result<Response<Incoming>, EgressError> {
    let Some(kind) = response.headers().get(REFUSED).cloned() else { return Ok(response) };
    let body = timeout(STATUS_TIMEOUT, collect(response.into_body(), REFUSAL_BODY))
        .await
        .unwrap_or(Err(EgressError::Slow(STATUS_TIMEOUT)))?;
    Err(EgressError::Refused(serde_json::from_slice(&body).unwrap_or_else(|_| {
        let kind = kind.to_str().ok().and_then(|kind| serde_json::from_value(kind.into()).ok());
        Refusal {
            kind: kind.unwrap_or(RefusalKind::BadRequest),
            message: "refused without a readable reason".into(),
            mend: "check that gateway and egress are of the same release".into(),
        }
    })))
}
