//! A model server on loopback whose answers a test writes down: Anthropic Messages and OpenAI chat completions, streamed
//! or whole, with every kind of trouble that real providers make. A turn's script is found by a mark in the user's text;
//! without a mark the server repeats what it was told. It checks each request's rules and fails the test that breaks one.

mod anthropic;
mod ask;
mod openai;
mod play;
mod server;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use ask::{Ask, Wire};
pub use play::{Act, Part, Step};
use serde_json::Value;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which protocol.
    pub wire: Wire,
    /// Path and query.
    pub path: String,
    /// Header names in lower case.
    pub headers: HashMap<String, String>,
    /// Length of the body in bytes.
    pub bytes: usize,
    /// The body.
    pub body: Value,
    /// The key that came with it.
    pub key: String,
    /// HTTP status of the answer; 0 when the connection was cut or left hanging.
    pub status: u16,
}

pub(crate) struct Core {
    scripts: Mutex<HashMap<String, Vec<Step>>>,
    tries: Mutex<HashMap<(String, usize), usize>>,
    faults: Mutex<Vec<Act>>,
    journal: Mutex<Vec<Request>>,
    violations: Mutex<Vec<String>>,
    changes: watch::Sender<u64>,
    latency: Mutex<Duration>,
    keys: Mutex<Option<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running server. Dropping it fails the test when a request broke its protocol's rules.
pub struct Model {
    core: Arc<Core>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Model {
    /// Starts it on a free loopback port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let core = Arc::new(Core {
            scripts: Mutex::default(),
            tries: Mutex::default(),
            faults: Mutex::default(),
            journal: Mutex::default(),
            violations: Mutex::default(),
            changes: watch::Sender::new(0),
            latency: Mutex::default(),
            keys: Mutex::default(),
        });
        let server = tokio::spawn(server::serve(listener, core.clone()));
        Self { core, address, server }
    }

    /// Its address without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says what happens when the user's last words contain `mark`: one step for each model call of the turn. After the
    /// last step the server says "done".
    pub fn on(&self, mark: &str, steps: impl Into<Vec<Step>>) {
        lock(&self.core.scripts).insert(mark.into(), steps.into());
    }

    /// The next calls, whatever they ask, go wrong in this way; one entry for each call.
    pub fn fault(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.core.faults).extend(acts);
    }

    /// Waits this long before each answer.
    pub fn latency(&self, time: Duration) {
        *lock(&self.core.latency) = time;
    }

    /// Only these keys are good from now on; others get 401. Before, every key is.
    pub fn keys(&self, keys: &[&str]) {
        *lock(&self.core.keys) = Some(keys.iter().map(|key| (*key).to_owned()).collect());
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.core.journal).clone()
    }

    /// Every request since the last time this was asked; they are forgotten here.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.core.journal))
    }

    /// Waits until so many requests have arrived.
    pub async fn asked(&self, times: usize) -> Vec<Request> {
        let mut changes = self.core.changes.subscribe();
        let patience = Duration::from_secs(60);
        let enough = async {
            while self.requests().len() < times {
                let _ = changes.changed().await;
            }
        };
        if tokio::time::timeout(patience, enough).await.is_err() {
            panic!("waited {patience:?} in vain for {times} model requests, got {}", self.requests().len());
        }
        self.requests()
    }

    /// Takes what broke the protocol's rules so far, for a test that expects it.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.core.violations))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
        let violations = lock(&self.core.violations);
        if !violations.is_empty() && !std::thread::panicking() {
            panic!("requests to the model broke the protocol's rules:\n  {}", violations.join("\n  "));
        }
    }
}
