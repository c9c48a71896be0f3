//! A change that the operator orders: a new key, another value for one, one less. In the key file first, so that the next
//! start has it, then in use.

use openclaw_confine::locked::Locked;
use openclaw_wire::egress::{Changed, Refusal, RefusalKind, Tried};

use super::Exchange;
use crate::{
    attempt::attempt,
    keys::{KeyFile, Keys, Source, lines, slurp},
    live::Live,
    refuse::refusal,
};

/// What to do with a key.
pub enum Change {
    /// One more, with this value; also if it could not be tried.
    Add(Locked, bool),
    /// Another value; also if it could not be tried.
    Rotate(Locked, bool),
    /// Not any more.
    Retire,
}

impl Exchange {
    /// Carries it out, or refuses and leaves everything as it was.
    pub async fn change(&self, name: &str, change: Change) -> Result<Changed, Refusal> {
        let _turn = self.turn.lock().await;
        let bad = |message: String, mend: String| refusal(RefusalKind::BadRequest, message, mend);
        let odd = |error: anyhow::Error| bad(format!("{error:#}"), "openclaw keys list".into());
        if !lines::is_name(name) {
            return Err(bad(
                "the name of a key is of A-Z 0-9 _".into(),
                "use a name like OPENAI_API_KEY".into(),
            ));
        }
        let old = self.current.get();
        let known = old.keys.find(name);
        match (&change, known.map(|key| key.source)) {
            (Change::Add(..), Some(_)) => {
                return Err(bad(
                    format!("there is a key {name} already"),
                    format!("openclaw keys rotate {name}"),
                ));
            }
            (Change::Rotate(..) | Change::Retire, None) => {
                return Err(bad(format!("there is no key {name}"), format!("openclaw keys add {name}")));
            }
            (_, Some(Source::Credential)) => {
                return Err(bad(
                    format!(
                        "the key {name} is a credential of systemd, a copy from when the unit was started"
                    ),
                    "change what LoadCredential= reads, then: systemctl restart openclaw-egress".into(),
                ));
            }
            (_, Some(Source::Environment)) => {
                return Err(bad(
                    format!("the key {name} came from the environment of `openclaw run`"),
                    "start it again with another value, or without it and with the key in the key file"
                        .into(),
                ));
            }
            (Change::Add(..), None) | (_, Some(Source::File)) => {}
        }
        let mut keys = old.keys.clone();
        let (value, force) = match &change {
            Change::Add(value, force) | Change::Rotate(value, force) => (Some(text(value)?), *force),
            Change::Retire => (None, false),
        };
        match value {
            Some(value) => keys.put(name, value, Source::File).map_err(|error| odd(error.into()))?,
            None => keys.remove(name),
        }
        let replaced: Vec<_> = known.cloned().into_iter().collect();
        if value.is_some() && replaced.iter().any(|key| keys.get(name) == Some(&key.secret)) {
            return Err(bad(format!("that is the key {name} as it is"), "give the new one".into()));
        }
        // A reference to the old state would count as a request that goes on with it.
        drop(old);
        if let Some(key) = keys.find(name) {
            self.check_profile(key).map_err(odd)?;
        }
        let taken = keys.find(name).map(|key| key.secret.clone());
        let next = self.prepare(keys).map_err(odd)?;
        if let Some(problem) = next.problem_with(name) {
            return Err(problem);
        }
        let tried = match value {
            Some(_) => tried(&next, name, force).await?,
            None => Vec::new(),
        };
        write(&self.file, name, value).await?;
        self.remember(&next.keys).map_err(odd)?;
        // Ordered by name, also a retired one is good again.
        match (&taken, &replaced[..]) {
            (Some(secret), _) => self.revoked.forget(secret).map_err(odd)?,
            (None, gone) => gone.iter().try_for_each(|key| self.revoked.add(&key.secret)).map_err(odd)?,
        }
        let retired = self.retirements.add(self.current.replace(next), replaced);
        tracing::info!(key = name, what = change.name(), "keys were changed");
        Ok(Changed { tried, retired })
    }
}

impl Change {
    fn name(&self) -> &'static str {
        match self {
            Self::Add(..) => "added",
            Self::Rotate(..) => "rotated",
            Self::Retire => "retired",
        }
    }
}

/// The value that was typed.
fn text(value: &Locked) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(value.as_ref()).map(|text| text.trim_end_matches(['\r', '\n']));
    text.ok().filter(|text| lines::is_value(text)).ok_or_else(|| {
        refusal(RefusalKind::BadRequest, "a key is one word of text", "give the key alone, without quotes")
    })
}

/// Tries the new key. One that is refused never takes over; one that could not be tried does if that was ordered.
async fn tried(next: &Live, name: &str, force: bool) -> Result<Vec<Tried>, Refusal> {
    let attempts = attempt(next, name).await;
    if let Some(bad) = attempts.iter().find(|attempt| attempt.refused || (!attempt.tried.good && !force)) {
        let message = format!("the new {name} was tried for {}: {}", bad.tried.route, bad.tried.said);
        let mend = match bad.refused {
            true => {
                "copy it again at the provider; the key of before, if there is one, is still in use".into()
            }
            false => format!("try again later, or take it untried: openclaw keys rotate {name} --force"),
        };
        return Err(refusal(RefusalKind::BadRequest, message, mend));
    }
    Ok(attempts.into_iter().map(|attempt| attempt.tried).collect())
}

async fn write(file: &KeyFile, name: &str, value: Option<&str>) -> Result<(), Refusal> {
    let wrong = |error: anyhow::Error| {
        refusal(
            RefusalKind::BadRequest,
            format!("write the key file: {error:#}"),
            "let egress write to the folder of the key file; nothing was changed",
        )
    };
    let changed = || -> anyhow::Result<Locked> {
        let before = match file.open()? {
            Some(open) => slurp(open, crate::keys::Place::File(file.path().into()))?,
            None => Locked::zeroed(0)?,
        };
        let before = std::str::from_utf8(before.as_ref())?;
        Ok(lines::with(before, name, value)?)
    };
    let (changed, file) = (changed().map_err(wrong)?, file.clone());
    let written = tokio::task::spawn_blocking(move || file.write(&changed)).await;
    written.map_err(anyhow::Error::from).and_then(|done| Ok(done?)).map_err(wrong)
}

impl Exchange {
    /// Refuses a key of the other profile.
    pub(super) fn check_profile(&self, key: &crate::keys::Key) -> anyhow::Result<()> {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(seen.check(key)?)
    }

    /// Remembers keys as this profile's.
    pub(super) fn remember(&self, keys: &Keys) -> anyhow::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.remember(keys)
    }
}
