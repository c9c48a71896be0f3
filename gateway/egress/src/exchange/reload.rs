//! The key file was changed by hand: what is new is tried and taken over, what does not work is told and left alone, so
//! that a slip of the editor stops nothing.

use std::{sync::PoisonError, time::Duration};

use super::Exchange;
use crate::{
    attempt::{Attempt, attempt},
    keys::{Key, Source},
};

/// After this time a key that could not be tried is tried again.
pub const AGAIN: Duration = Duration::from_secs(60);

impl Exchange {
    /// Reads the key file again. Says whether to do so again later.
    pub async fn reload(&self) -> bool {
        let _turn = self.turn.lock().await;
        let (problem, again) = match self.take_over().await {
            Ok((problems, again)) => ((!problems.is_empty()).then(|| problems.join("; ")), again),
            Err(error) => (Some(format!("{error:#}")), false),
        };
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem {
            if let Some(problem) = &problem {
                tracing::warn!("the key file was changed, and not all of it is used: {problem}");
            }
            *known = problem;
        }
        again
    }

    async fn take_over(&self) -> anyhow::Result<(Vec<String>, bool)> {
        let old = self.current.get().keys.clone();
        if !self.file.path().exists() && old.iter().any(|key| key.source == Source::File) {
            anyhow::bail!(
                "{} is gone; its keys stay in use until egress is started again",
                self.file.path().display()
            );
        }
        let mut keys = old.with_file(&self.file)?;
        let changed = |key: &&Key| old.get(&key.name) != Some(&key.secret);
        let new: Vec<Key> = keys.iter().filter(changed).cloned().collect();
        let (mut problems, mut again) = (Vec::new(), false);
        if !new.is_empty() {
            let next = self.prepare(keys.clone())?;
            for key in &new {
                let welcome = self.check_profile(key).and_then(|()| Ok(self.revoked.check(key)?));
                let (problem, later) = match (welcome, next.problem_with(&key.name)) {
                    (Err(error), _) => (Some(error.to_string()), false),
                    (_, Some(odd)) => (Some(odd.message), false),
                    (Ok(()), None) => judge(&key.name, &attempt(&next, &key.name).await),
                };
                let Some(problem) = problem else { continue };
                problems.push(problem);
                again |= later;
                match old.find(&key.name) {
                    Some(before) => keys.set(before.clone()),
                    None => keys.remove(&key.name),
                }
            }
        }
        let gone: Vec<Key> = old
            .iter()
            .filter(|key| key.source == Source::File && keys.get(&key.name) != Some(&key.secret))
            .cloned()
            .collect();
        let taken: Vec<&str> = keys.iter().filter(changed).map(|key| key.name.as_str()).collect();
        if taken.is_empty() && gone.is_empty() {
            return Ok((problems, again));
        }
        tracing::info!(taken = taken.join(" "), "the key file was changed");
        let next = self.prepare(keys)?;
        self.remember(&next.keys)?;
        drop(old);
        self.retirements.add(self.current.replace(next), gone);
        Ok((problems, again))
    }
}

/// Why a key is not taken over, and whether another try may help.
fn judge(name: &str, attempts: &[Attempt]) -> (Option<String>, bool) {
    match attempts.iter().find(|attempt| !attempt.tried.good) {
        None => (None, false),
        Some(bad) => {
            let text = format!("{name} was tried for {}: {}", bad.tried.route, bad.tried.said);
            (Some(text), !bad.refused)
        }
    }
}
