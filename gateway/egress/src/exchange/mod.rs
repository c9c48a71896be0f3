//! Exchanging keys while egress serves: the new one is tried with a real call, then everything that begins from now on
//! uses it; what is under way ends with the old one, and then that is wiped. One exchange at a time.

mod change;
mod reload;
mod retired;
mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use openclaw_wire::{
    config::Config,
    egress::{KeyInfo, KeyList, Tried},
};

use crate::{
    attempt::attempt,
    dial::Outside,
    keys::{KeyFile, Keys, Source},
    live::{Current, Live, now},
    seen::Seen,
    webhook::Webhooks,
};

pub use change::Change;
pub use retired::Retirements;
pub use watch::Watch;

/// Everything that an exchange needs.
pub struct Exchange {
    /// What is exchanged.
    pub current: Current,
    /// The webhook secrets.
    pub webhooks: Webhooks,
    config: Config,
    file: KeyFile,
    /// What all clients share.
    pub outside: Arc<Outside>,
    seen: Mutex<Seen>,
    retirements: Retirements,
    /// Why the key file, as it is now, is not what egress works with.
    problem: Mutex<Option<String>>,
    /// Whoever holds it may exchange.
    pub turn: tokio::sync::Mutex<()>,
}

impl Exchange {
    /// Begins with these keys. Refuses keys of the other profile.
    pub fn new(
        config: Config,
        file: KeyFile,
        folder: PathBuf,
        keys: Keys,
        outside: Outside,
    ) -> anyhow::Result<Self> {
        let mut seen = Seen::open(&folder, config.profile)?;
        for key in keys.iter() {
            seen.check(key)?;
        }
        seen.remember(&keys)?;
        let (webhooks, outside) = (Webhooks::new(folder), Arc::new(outside));
        let live = Live::new(1, &config, keys, &outside, |bot| webhooks.newest(&bot.name))?;
        Ok(Self {
            current: Current::new(live),
            webhooks,
            config,
            file,
            outside,
            seen: Mutex::new(seen),
            retirements: Retirements::default(),
            problem: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// The state that would be with these keys.
    fn prepare(&self, keys: Keys) -> anyhow::Result<Live> {
        let number = self.current.get().number + 1;
        Live::new(number, &self.config, keys, &self.outside, |bot| self.webhooks.newest(&bot.name))
    }

    /// The same keys with the webhook secrets of now.
    pub fn renew(&self) -> anyhow::Result<()> {
        let live = self.prepare(self.current.get().keys.clone())?;
        self.retirements.add(self.current.replace(live), Vec::new());
        Ok(())
    }

    /// All keys, without their values.
    pub fn list(&self) -> KeyList {
        let live = self.current.get();
        let aside = |name: &str| {
            let calls = live.table.models.iter().filter_map(|row| row.call.as_ref().ok());
            let credentials = calls.flat_map(|call| call.credentials.iter());
            let until = credentials
                .filter(|credential| credential.name == name)
                .map(|credential| credential.aside.load(std::sync::atomic::Ordering::Relaxed));
            until.max().filter(|until| *until > now())
        };
        let info = |key: &crate::keys::Key| KeyInfo {
            name: key.name.clone(),
            source: match key.source {
                Source::File => "file",
                Source::Credential => "credential",
                Source::Environment => "environment",
            }
            .into(),
            used_by: live.table.users_of(&key.name).collect(),
            last_used: key.used.at(),
            aside_until: aside(&key.name),
        };
        KeyList {
            file: self.file.path().to_owned(),
            keys: live.keys.iter().map(info).collect(),
            retired: self.retirements.list(),
            problem: self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Tries a key that is in use.
    pub async fn test(&self, name: &str) -> Vec<Tried> {
        let live = self.current.get();
        attempt(&live, name).await.into_iter().map(|attempt| attempt.tried).collect()
    }
}
