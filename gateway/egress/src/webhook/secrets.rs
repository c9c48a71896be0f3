//! The secrets of all bots, and what is being exchanged: the newest one, the digest of the one before while that is still
//! right, and whether Telegram is known to use the newest. On disk before anything depends on it, so that a crash in the
//! middle is finished at the next start. The secret before is not kept, only its digest.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openclaw_wire::{egress::Previous, id::BotName};

use super::WebhookSecret;
use crate::{live::now, private_file, revoked::Revoked};

/// The longest time for which the secret before is right, in seconds.
pub const BOTH: u64 = 600;

/// Of all bots.
pub struct Webhooks {
    folder: PathBuf,
    revoked: Arc<Revoked>,
    bots: Mutex<HashMap<BotName, State>>,
}

struct State {
    newest: WebhookSecret,
    /// Digest of the one before.
    previous: Option<String>,
    /// The one before, until it is known that Telegram does not use it any more.
    before: Option<WebhookSecret>,
    /// Until when that one is right, in seconds since 1970-01-01 UTC; none before Telegram uses the newest.
    until: Option<u64>,
    /// It is not known whether Telegram uses the newest.
    pending: bool,
}

impl Webhooks {
    /// The files in `folder`.
    pub fn new(folder: PathBuf, revoked: Arc<Revoked>) -> Self {
        Self { folder, revoked, bots: Mutex::default() }
    }

    /// What a file holds, unless that was exchanged before: then somebody put an old file there.
    fn read(&self, path: &Path) -> anyhow::Result<Option<WebhookSecret>> {
        let secret = WebhookSecret::read(path)?;
        if secret.as_ref().is_some_and(|secret| self.revoked.has(secret.secret())) {
            tracing::warn!(
                "{}: this webhook secret was exchanged and is not used again; `openclaw webhook set` registers another",
                path.display()
            );
            return Ok(None);
        }
        Ok(secret)
    }

    /// A bot's newest secret; the first one is made.
    pub fn newest(&self, bot: &BotName) -> anyhow::Result<WebhookSecret> {
        let mut bots = self.lock();
        if let Some(state) = bots.get(bot) {
            return Ok(state.newest.clone());
        }
        let (settled, next) = (self.path(bot, ""), self.path(bot, ".next"));
        let old = self.read(&settled)?;
        let state = match (self.read(&next)?, old) {
            (Some(newest), before) => {
                let previous = before.as_ref().map(WebhookSecret::digest);
                State { newest, previous, before, until: None, pending: true }
            }
            (None, Some(newest)) => {
                let (previous, until) = self.read_previous(bot)?.unzip();
                State { newest, previous, before: None, until, pending: false }
            }
            (None, None) => {
                let newest = WebhookSecret::make(&settled)?;
                State { newest, previous: None, before: None, until: None, pending: false }
            }
        };
        let newest = state.newest.clone();
        bots.insert(bot.clone(), state);
        Ok(newest)
    }

    /// The secret before, while it is right.
    pub fn previous(&self, bot: &BotName) -> Option<Previous> {
        let bots = self.lock();
        let state = bots.get(bot)?;
        let seconds = state.until.map_or(BOTH, |until| until.saturating_sub(now()).min(BOTH));
        let sha256 = state.previous.clone().filter(|_| seconds > 0)?;
        Some(Previous { sha256, seconds })
    }

    /// Bots of which it is not known whether Telegram uses the newest secret.
    pub fn pending(&self) -> Vec<BotName> {
        self.lock().iter().filter(|(_, state)| state.pending).map(|(bot, _)| bot.clone()).collect()
    }

    /// Makes another secret. The one before stays right, unless `at_once`.
    pub fn begin(&self, bot: &BotName, at_once: bool) -> anyhow::Result<()> {
        let before = self.newest(bot)?;
        let next = self.path(bot, ".next");
        let newest = WebhookSecret::make(&next)?;
        let previous = (!at_once).then(|| before.digest());
        let before = Some(before);
        self.lock().insert(bot.clone(), State { newest, previous, before, until: None, pending: true });
        Ok(())
    }

    /// Telegram refused: everything is as it was.
    pub fn give_up(&self, bot: &BotName) -> anyhow::Result<()> {
        remove(&self.path(bot, ".next"))?;
        self.lock().remove(bot);
        self.newest(bot).map(drop)
    }

    /// Telegram uses the newest secret. The one before is right for a while, because updates are under way.
    pub fn registered(&self, bot: &BotName) -> anyhow::Result<()> {
        let mut bots = self.lock();
        let Some(state) = bots.get_mut(bot).filter(|state| state.pending) else { return Ok(()) };
        let until = now() + BOTH;
        match &state.previous {
            Some(digest) => {
                private_file::create(&self.path(bot, ".previous"), format!("{digest} {until}\n").as_bytes())?;
            }
            None => remove(&self.path(bot, ".previous"))?,
        }
        fs::rename(self.path(bot, ".next"), self.path(bot, ""))?;
        if let Some(before) = state.before.take() {
            self.revoked.add(before.secret())?;
        }
        state.pending = false;
        state.until = Some(until);
        Ok(())
    }

    /// An update came with the newest secret: the one before is never right again. Says whether that is news.
    pub fn renewed(&self, bot: &BotName) -> anyhow::Result<bool> {
        let mut bots = self.lock();
        let Some(state) = bots.get_mut(bot) else { return Ok(false) };
        if state.previous.take().is_none() {
            return Ok(false);
        }
        remove(&self.path(bot, ".previous"))?;
        Ok(true)
    }

    fn read_previous(&self, bot: &BotName) -> anyhow::Result<Option<(String, u64)>> {
        let Some(text) = private_file::text(&self.path(bot, ".previous"), 256)? else { return Ok(None) };
        let parsed = text
            .trim()
            .split_once(' ')
            .and_then(|(digest, until)| Some((digest.to_owned(), until.parse().ok()?)));
        // Never longer than a fresh one, whatever the file or the clock says.
        Ok(parsed.filter(|(_, until)| (now()..=now() + BOTH).contains(until)))
    }

    fn path(&self, bot: &BotName, what: &str) -> PathBuf {
        self.folder.join(format!("webhook-{bot}{what}"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BotName, State>> {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(anyhow::Error::new(error).context(format!("remove {}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

    use openclaw_wire::id::BotName;

    use super::{BOTH, Webhooks};
    use crate::{live::now, revoked::Revoked};

    fn bot() -> BotName {
        "main".parse().expect("name")
    }

    fn webhooks(folder: &Path) -> Webhooks {
        Webhooks::new(folder.into(), Arc::new(Revoked::open(folder).expect("opens")))
    }

    /// Incident 44: an old file in the place of a newer one brings its secret not back.
    #[test]
    fn a_restored_file_brings_no_old_secret_back() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("webhook-main");
        let first = webhooks(dir.path()).newest(&bot()).expect("there").digest();
        let backup = std::fs::read(&file).expect("the file");
        let exchanging = webhooks(dir.path());
        exchanging.begin(&bot(), false).expect("begins");
        exchanging.registered(&bot()).expect("written");
        std::fs::write(&file, backup).expect("restored");
        let now = webhooks(dir.path()).newest(&bot()).expect("there").digest();
        assert_ne!(now, first);
        assert_eq!(webhooks(dir.path()).newest(&bot()).expect("there").digest(), now, "it was made once");
    }

    #[test]
    fn a_secret_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("dir");
        let of = |bot: &BotName| webhooks(dir.path()).newest(bot).expect("there");
        let first = of(&bot());
        assert_eq!(first.digest(), of(&bot()).digest());
        assert_eq!(first.secret().expose().len(), 43);
        let other = of(&"other".parse().expect("name"));
        assert_ne!(first.digest(), other.digest(), "incident 3: each bot has its own");
        let mode = std::fs::metadata(dir.path().join("webhook-main")).expect("meta").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    /// Incidents 43 and 44: the secret before is right for ten minutes at most, not after the first update with the
    /// new one, and a restart brings it not back.
    #[test]
    fn the_secret_before_is_right_for_a_while_and_never_again() {
        let dir = tempfile::tempdir().expect("dir");
        let start = || {
            let webhooks = webhooks(dir.path());
            let digest = webhooks.newest(&bot()).expect("there").digest();
            (webhooks, digest)
        };
        let (webhooks, first) = start();
        assert_eq!(webhooks.previous(&bot()), None);
        webhooks.begin(&bot(), false).expect("begins");
        let second = webhooks.newest(&bot()).expect("there").digest();
        assert_ne!(first, second);
        let both = webhooks.previous(&bot()).expect("both are right");
        assert_eq!((both.sha256.as_str(), both.seconds), (first.as_str(), BOTH));
        assert_eq!(webhooks.pending(), [bot()]);

        let (again, newest) = start();
        assert_eq!(
            (newest.as_str(), again.pending()),
            (second.as_str(), vec![bot()]),
            "a crash in the middle"
        );
        assert_eq!(again.previous(&bot()).map(|previous| previous.sha256).as_deref(), Some(first.as_str()));
        again.registered(&bot()).expect("written");
        assert!(again.pending().is_empty());
        let (again, newest) = start();
        assert_eq!(newest, second);
        let left = again.previous(&bot()).expect("still right").seconds;
        assert!((BOTH - 60..=BOTH).contains(&left), "{left}");
        assert!(again.renewed(&bot()).expect("written"));
        assert!(!again.renewed(&bot()).expect("no news"));
        assert_eq!(again.previous(&bot()), None);
        assert_eq!(start().0.previous(&bot()), None, "nor after a restart");
    }

    #[test]
    fn an_old_or_impossible_end_is_no_right() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("webhook-main.previous");
        for (until, right) in [(now() - 1, false), (now() + 100, true), (now() + 10 * BOTH, false)] {
            std::fs::write(&path, format!("{} {until}\n", "a".repeat(64))).expect("write");
            crate::private_file::tests::chmod(&path, 0o600);
            let webhooks = webhooks(dir.path());
            webhooks.newest(&bot()).expect("there");
            assert_eq!(webhooks.previous(&bot()).is_some(), right, "{until}");
        }
    }

    #[test]
    fn giving_up_and_at_once() {
        let dir = tempfile::tempdir().expect("dir");
        let webhooks = webhooks(dir.path());
        let first = webhooks.newest(&bot()).expect("there").digest();
        webhooks.begin(&bot(), false).expect("begins");
        webhooks.give_up(&bot()).expect("as it was");
        assert_eq!(webhooks.newest(&bot()).expect("there").digest(), first);
        assert!(webhooks.previous(&bot()).is_none() && webhooks.pending().is_empty());
        webhooks.begin(&bot(), true).expect("begins");
        assert_eq!(webhooks.previous(&bot()), None, "at once");
        webhooks.registered(&bot()).expect("written");
        assert_eq!(webhooks.previous(&bot()), None);
    }
}
