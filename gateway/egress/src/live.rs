//! What egress works with at one moment: keys, table, clients, masks. It is replaced as a whole; a request that began
//! with one ends with it. Never changed in place.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use openclaw_wire::{
    config::{Bot, Config},
    egress::Refusal,
};
use tokio::sync::watch;

use crate::{
    alarm::Alarms,
    dial::{Clients, Outside},
    keys::Keys,
    mask::Masks,
    secret::Secret,
    table::Table,
    webhook::WebhookSecret,
};

/// One state of keys and table. When the last request that began with it has ended, its connections are closed and its
/// keys are wiped.
pub struct Live {
    /// Counts the exchanges.
    pub number: u64,
    /// The keys.
    pub keys: Keys,
    /// Who may use what.
    pub table: Table,
    /// The way out. Connections hold what was sent over them in their buffers, so they are not shared.
    pub clients: Clients,
    /// What never comes back.
    pub masks: Arc<Masks>,
}

impl Live {
    /// Builds one. `secret` gives the webhook secret of a bot.
    pub fn new(
        number: u64,
        config: &Config,
        keys: Keys,
        alarms: Arc<Alarms>,
        outside: &Arc<Outside>,
        decoy: Option<&Secret>,
        secret: impl FnMut(&Bot) -> anyhow::Result<WebhookSecret>,
    ) -> anyhow::Result<Self> {
        let table = Table::new(config, &keys, secret)?;
        let secrets = keys.values().chain(table.bots.iter().map(|bot| bot.webhook.secret())).chain(decoy);
        let masks = Arc::new(Masks::new(secrets)?.with_alarms(alarms));
        let clients = outside.clients(table.ways()).context("set the HTTP clients up")?;
        Ok(Self { number, keys, table, clients, masks })
    }

    /// Why a key that is there is of no use to a route that names it.
    pub fn problem_with(&self, name: &str) -> Option<Refusal> {
        let models = self.table.models.iter().filter_map(|row| row.call.as_ref().err());
        let bots = self.table.bots.iter().filter_map(|row| row.call.as_ref().err());
        let odd = format!("the key {name} ");
        self.keys.get(name)?;
        models.chain(bots).find(|refusal| refusal.message.starts_with(&odd)).cloned()
    }
}

/// The state that new requests begin with, and what the gateway was told.
pub struct Current {
    live: RwLock<Arc<Live>>,
    version: watch::Sender<u64>,
    known: watch::Sender<u64>,
}

/// The longest time in which a question for news is answered.
const NEWS: Duration = Duration::from_secs(25);
/// For how long the gateway may take to hear of a change; it asks again within milliseconds.
const HEARS: Duration = Duration::from_secs(10);

impl Current {
    /// Begins with this state.
    pub fn new(live: Live) -> Self {
        // Another start begins elsewhere, so that a gateway that knows the last one's state sees that it is not ours.
        let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_micros() as u64);
        Self {
            live: RwLock::new(Arc::new(live)),
            version: watch::Sender::new(first),
            known: watch::Sender::new(0),
        }
    }

    /// The state of now.
    pub fn get(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another state in its place, at once for all requests that begin from now on; gives the one before.
    pub fn replace(&self, live: Live) -> Arc<Live> {
        let old = std::mem::replace(
            &mut *self.live.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(live),
        );
        self.changed();
        old
    }

    /// What is told of the state has changed.
    pub fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// The version of what is told.
    pub fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Waits until there is news for somebody who works by `version`.
    pub async fn news(&self, version: u64) {
        self.known.send_replace(version);
        let mut versions = self.version.subscribe();
        let _ = tokio::time::timeout(NEWS, versions.wait_for(|now| *now != version)).await;
    }

    /// Waits until the gateway works by the version of now; not for long, because it may not run at all.
    pub async fn heard(&self) -> bool {
        let (version, mut known) = (self.version(), self.known.subscribe());
        tokio::time::timeout(HEARS, known.wait_for(|known| *known >= version)).await.is_ok()
    }
}

/// Seconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
