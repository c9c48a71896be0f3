//! Digests of the webhook secrets, as egress last told them; never a secret. While one is exchanged two are right: the one
//! before until the first update with the new one, and for as long as egress said at the most.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use openclaw_wire::id::BotName;
use tokio::sync::Notify;

use super::Digest;

/// For how long the secret before is right after the first update with the new one: for those that Telegram sent before
/// it. Incident 43 allows a second.
const UNDER_WAY: Duration = Duration::from_millis(800);

/// What egress told of a bot.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// The newest secret's digest.
    pub newest: Digest,
    /// That of the one before, and for how long it is right.
    pub previous: Option<(Digest, Duration)>,
}

impl From<Digest> for Told {
    fn from(newest: Digest) -> Self {
        Self { newest, previous: None }
    }
}

/// Of all bots. Empty until egress has told them.
#[derive(Debug)]
pub struct Secrets {
    bots: RwLock<Arc<HashMap<BotName, Arc<Known>>>>,
    /// What the times of [`Known`] count from.
    start: Instant,
    renewed: Mutex<Vec<BotName>>,
    wake: Notify,
}

#[derive(Debug)]
struct Known {
    newest: Digest,
    previous: Option<Digest>,
    /// Milliseconds from the start, until which the one before is right.
    until: AtomicU64,
    /// An update came with the newest one.
    renewed: AtomicBool,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            bots: RwLock::default(),
            start: Instant::now(),
            renewed: Mutex::default(),
            wake: Notify::default(),
        }
    }
}

impl Secrets {
    /// Replaces all of them at once.
    pub fn set(&self, told: HashMap<BotName, Told>) {
        let old = self.get();
        let known = |(bot, told): (BotName, Told)| {
            let previous = told.previous.map(|(digest, _)| digest);
            let same = old
                .get(&bot)
                .filter(|known| known.newest.matches(&told.newest) && same(known.previous, previous));
            // What was renewed stays so, also when egress has not heard of it yet.
            if let Some(known) = same.filter(|known| known.renewed.load(Ordering::Relaxed)) {
                return (bot, Arc::clone(known));
            }
            let time = told.previous.map_or(Duration::ZERO, |(_, time)| time);
            let until = AtomicU64::new(self.now().saturating_add(time.as_millis() as u64));
            let known = Known { newest: told.newest, previous, until, renewed: AtomicBool::new(false) };
            (bot, Arc::new(known))
        };
        let bots = told.into_iter().map(known).collect();
        *self.bots.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bots);
    }

    /// Whether egress told none.
    pub fn is_empty(&self) -> bool {
        self.get().is_empty()
    }

    /// Whether this is a right secret of the bot. An unknown bot takes as long as a wrong secret, and no secret at all is
    /// never right, whatever egress told (incident 14).
    pub fn admits(&self, bot: Option<&BotName>, given: Option<Digest>) -> bool {
        let bots = self.get();
        let known = bot.and_then(|bot| Some((bot, bots.get(bot)?)));
        let digest = given.unwrap_or(Digest::new([1; 32]));
        let nothing = Digest::new([0; 32]);
        let newest = digest.matches(&known.map_or(nothing, |(_, known)| known.newest));
        let previous = digest.matches(&known.and_then(|(_, known)| known.previous).unwrap_or(nothing));
        let still = known.is_some_and(|(_, known)| self.now() < known.until.load(Ordering::Relaxed));
        // Both were compared, whichever is right.
        let admitted = (newest | (previous & still)) && given.is_some() && known.is_some();
        if let Some((bot, known)) = known.filter(|(_, known)| {
            admitted && newest && known.previous.is_some() && !known.renewed.load(Ordering::Relaxed)
        }) {
            self.renew(bot, known);
        }
        admitted
    }

    /// Waits for a bot of which the first update with a new secret came.
    pub async fn renewed(&self) -> BotName {
        loop {
            let wake = self.wake.notified();
            let first = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
            match first {
                Some(bot) => return bot,
                None => wake.await,
            }
        }
    }

    /// Egress knows it.
    pub fn told(&self, bot: &BotName) {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != bot);
    }

    fn renew(&self, bot: &BotName, known: &Known) {
        if known.renewed.swap(true, Ordering::Relaxed) {
            return;
        }
        known.until.fetch_min(self.now() + UNDER_WAY.as_millis() as u64, Ordering::Relaxed);
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).push(bot.clone());
        self.wake.notify_waiters();
    }

    fn get(&self) -> Arc<HashMap<BotName, Arc<Known>>> {
        Arc::clone(&self.bots.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

fn same(one: Option<Digest>, other: Option<Digest>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.matches(&other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use openclaw_wire::id::BotName;

    use super::{Digest, Secrets, Told, UNDER_WAY};

    const OLD: Digest = Digest::new([7; 32]);
    const NEW: Digest = Digest::new([8; 32]);

    fn bot() -> BotName {
        "main".parse().expect("name")
    }

    fn told(previous: Option<Duration>) -> HashMap<BotName, Told> {
        HashMap::from([(bot(), Told { newest: NEW, previous: previous.map(|time| (OLD, time)) })])
    }

    #[test]
    fn one_secret_is_right_and_nothing_else() {
        let secrets = Secrets::default();
        assert!(!secrets.admits(Some(&bot()), Some(NEW)) && secrets.is_empty());
        secrets.set(told(None));
        let other = "other".parse().expect("name");
        assert!(secrets.admits(Some(&bot()), Some(NEW)));
        for (bot, digest) in [
            (Some(&bot()), Some(OLD)),
            (Some(&bot()), Some(Digest::new([0; 32]))),
            (Some(&bot()), Some(Digest::new([1; 32]))),
            (Some(&bot()), None),
            (Some(&other), Some(NEW)),
            (Some(&other), Some(Digest::new([0; 32]))),
            (None, Some(Digest::new([0; 32]))),
            (None, None),
        ] {
            assert!(!secrets.admits(bot, digest), "{bot:?} {digest:?}");
        }
    }

    /// Incident 43: both are right until the first update with the new one; within a second the old one is refused.
    #[tokio::test]
    async fn the_one_before_is_right_until_the_new_one_is_used() {
        let secrets = Secrets::default();
        secrets.set(told(Some(Duration::from_secs(600))));
        assert!(secrets.admits(Some(&bot()), Some(OLD)));
        assert!(secrets.admits(Some(&bot()), Some(OLD)), "as often as it comes");
        assert!(secrets.admits(Some(&bot()), Some(NEW)));
        assert!(secrets.admits(Some(&bot()), Some(OLD)), "what was under way");
        assert_eq!(secrets.renewed().await, bot());
        // Egress tells its old story again before it heard of it.
        secrets.set(told(Some(Duration::from_secs(600))));
        tokio::time::sleep(UNDER_WAY + Duration::from_millis(50)).await;
        assert!(!secrets.admits(Some(&bot()), Some(OLD)));
        assert!(secrets.admits(Some(&bot()), Some(NEW)));
        secrets.told(&bot());
        assert!(tokio::time::timeout(Duration::from_millis(20), secrets.renewed()).await.is_err());
    }

    #[tokio::test]
    async fn its_time_ends_also_without_an_update() {
        let secrets = Secrets::default();
        secrets.set(told(Some(Duration::from_millis(30))));
        assert!(secrets.admits(Some(&bot()), Some(OLD)));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(!secrets.admits(Some(&bot()), Some(OLD)));
    }
}
