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
    alarm::Alarms,
    attempt::attempt,
    decoy,
    dial::Outside,
    keys::{KeyFile, Keys, Source},
    live::{Current, Live, now},
    revoked::Revoked,
    secret::Secret,
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
    revoked: Arc<Revoked>,
    /// What the owner must hear of.
    pub alarms: Arc<Alarms>,
    folder: PathBuf,
    decoy: Mutex<Option<Secret>>,
    retirements: Retirements,
    /// Why the key file, as it is now, is not what egress works with.
    problem: Mutex<Option<String>>,
    /// Whoever holds it may exchange.
    pub turn: tokio::sync::Mutex<()>,
}

impl Exchange {
    /// Begins with these keys. Refuses keys of the other profile, and those that were retired.
    pub fn new(
        config: Config,
        file: KeyFile,
        folder: PathBuf,
        keys: Keys,
        outside: Outside,
        revoked: Arc<Revoked>,
    ) -> anyhow::Result<Self> {
        let mut seen = Seen::open(&folder, config.profile)?;
        for key in keys.iter() {
            seen.check(key)?;
            revoked.check(key)?;
        }
        seen.remember(&keys)?;
        let (webhooks, outside) = (Webhooks::new(folder.clone(), revoked.clone()), Arc::new(outside));
        let (alarms, decoy) = (Arc::<Alarms>::default(), decoy::read(&folder)?);
        let secret = |bot: &openclaw_wire::config::Bot| webhooks.newest(&bot.name);
        let live = Live::new(1, &config, keys, alarms.clone(), &outside, decoy.as_ref(), secret)?;
        Ok(Self {
            current: Current::new(live),
            webhooks,
            config,
            file,
            outside,
            seen: Mutex::new(seen),
            revoked,
            alarms,
            folder,
            decoy: Mutex::new(decoy),
            retirements: Retirements::default(),
            problem: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// The state that would be with these keys.
    fn prepare(&self, keys: Keys) -> anyhow::Result<Live> {
        let number = self.current.get().number + 1;
        let decoy = self.decoy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = |bot: &openclaw_wire::config::Bot| self.webhooks.newest(&bot.name);
        let (alarms, outside) = (self.alarms.clone(), &self.outside);
        Live::new(number, &self.config, keys, alarms, outside, decoy.as_ref(), secret)
    }

    /// The decoy; the first one is made, and looked for from then on.
    pub async fn decoy(&self) -> anyhow::Result<Secret> {
        let _turn = self.turn.lock().await;
        let known = self.decoy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let made = decoy::make(&self.folder)?;
        *self.decoy.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        self.renew()?;
        Ok(made)
    }

    /// Lets whoever asks for news know of each alarm, as long as the process lives.
    pub async fn tell_alarms(&self) {
        loop {
            self.alarms.next().await;
            self.current.changed();
        }
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
