//! A stand-in for Telegram's Bot API server on loopback: the same methods, refusals, rates and webhook delivery rules as
//! the real one (derived from tdlib/telegram-bot-api), with every exchange checked against a third party's schema.
//! Dropping it fails the test when any exchange broke the schema or when a webhook's answer carried a method call.

mod account;
mod delivery;
mod fault;
mod flood;
mod journal;
mod markup;
mod methods;
mod people;
mod poll;
mod schema;
mod server;
mod uploads;
mod world;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use account::Account;
pub use fault::{Fault, Trouble};
pub use journal::{Attempt, Call};
pub use methods::Refusal;
pub use people::{Group, Person, Sent};
pub use schema::Schema;
pub use world::Queue;

/// Where webhook deliveries really go: the Bot API wants an https URL, the tests have no public address.
#[derive(Debug, Clone)]
pub struct Route {
    /// The gateway's listener, or cloudflared's origin.
    pub to: Address,
    /// With `Some`, the request carries the headers that Cloudflare's tunnel adds, with this source address.
    pub tunnel: Option<String>,
}

/// An address on this machine.
#[derive(Debug, Clone)]
pub enum Address {
    /// Loopback.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// An address out of Telegram's published ranges, for [`Route::tunnel`].
pub const TELEGRAM_SOURCE: &str = "149.154.167.220";

pub(crate) struct Core {
    bots: Mutex<HashMap<String, world::Bot>>,
    changes: watch::Sender<u64>,
    journal: Mutex<journal::Journal>,
    violations: Mutex<Vec<String>>,
    faults: Mutex<Vec<Fault>>,
    route: Mutex<Option<Route>>,
    scale: Mutex<f64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Acts on one bot and wakes whoever waits for a change.
    fn with<T>(&self, token: &str, act: impl FnOnce(&mut world::Bot) -> T) -> Option<T> {
        let result = lock(&self.bots).get_mut(token).map(act);
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Looks at one bot.
    fn look<T>(&self, token: &str, look: impl FnOnce(&world::Bot) -> T) -> Option<T> {
        lock(&self.bots).get(token).map(look)
    }

    fn violation(&self, what: String) {
        lock(&self.violations).push(what);
    }

    /// A nominal time of Telegram's as this stand-in waits for it.
    fn scaled(&self, nominal: Duration) -> Duration {
        nominal.mul_f64(*lock(&self.scale))
    }
}

/// The running stand-in.
pub struct Telegram {
    core: Arc<Core>,
    address: SocketAddr,
    server: JoinHandle<()>,
    deliveries: Mutex<Vec<JoinHandle<()>>>,
}

impl Telegram {
    /// Starts it on a free loopback port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let core = Arc::new(Core {
            bots: Mutex::default(),
            changes: watch::Sender::new(0),
            journal: Mutex::default(),
            violations: Mutex::default(),
            faults: Mutex::default(),
            route: Mutex::default(),
            scale: Mutex::new(1.0),
        });
        let server = tokio::spawn(server::serve(listener, core.clone()));
        Self { core, address, server, deliveries: Mutex::default() }
    }

    /// What goes into `[telegram] api`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bot account. The token must look like one: digits, a colon, then letters.
    pub fn bot(&self, token: &str, username: &str) -> Account {
        let id =
            token.split(':').next().and_then(|id| id.parse().ok()).expect("a token starts with the bot's id");
        lock(&self.core.bots).insert(token.into(), world::Bot::new(id, username));
        let worker = delivery::run(self.core.clone(), token.to_owned());
        lock(&self.deliveries).push(tokio::spawn(worker));
        Account { core: self.core.clone(), token: token.into() }
    }

    /// Sends webhook deliveries there from now on.
    pub fn route(&self, to: Address, tunnel: Option<&str>) {
        *lock(&self.core.route) = Some(Route { to, tunnel: tunnel.map(str::to_owned) });
        self.core.changes.send_modify(|count| *count += 1);
    }

    /// Multiplies every retry time of the webhook delivery. 1 is Telegram's own pace.
    pub fn time_scale(&self, factor: f64) {
        *lock(&self.core.scale) = factor;
    }

    /// Breaks coming calls.
    pub fn fault(&self, fault: Fault) {
        lock(&self.core.faults).push(fault);
    }

    /// Nothing breaks any more.
    pub fn no_fault(&self) {
        lock(&self.core.faults).clear();
    }

    /// Every call that the gateway made so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.core.journal).calls.clone()
    }

    /// The calls of one method.
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.method == method).collect()
    }

    /// The paths of all files that were fetched so far, in order.
    pub fn fetched(&self) -> Vec<String> {
        lock(&self.core.journal).files.clone()
    }

    /// Every webhook delivery attempt so far, in order.
    pub fn attempts(&self) -> Vec<Attempt> {
        lock(&self.core.journal).attempts.clone()
    }

    /// Takes what broke the schema so far, for a test that expects it.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.core.violations))
    }
}

impl Drop for Telegram {
    fn drop(&mut self) {
        self.server.abort();
        for worker in lock(&self.deliveries).iter() {
            worker.abort();
        }
        let violations = lock(&self.core.violations);
        if !violations.is_empty() && !std::thread::panicking() {
            panic!("exchanges with the Bot API broke its rules:\n  {}", violations.join("\n  "));
        }
    }
}
