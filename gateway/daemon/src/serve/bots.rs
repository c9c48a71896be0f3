//! The bots, as egress tells them: digests of their webhook secrets for the gate, polling for those without a webhook,
//! their names and command menu. Egress answers as soon as it has news: keys are exchanged while we serve.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openclaw_wire::{config::Updates, egress::BotRoute, id::BotName};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    egress::Egress,
    ingress::{self, Digest, PollState, Secrets, Told},
    model::Models,
    session::{BotIdentity, Command},
    telegram::method::{ApiError, BotCommand, GetMe, SetMyCommands, call_within},
    turn::Engine,
};

/// Between tries after egress did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// After the first failure while it has not answered yet, as it starts at the same time as we do; doubled each time.
const SOON: Duration = Duration::from_millis(20);
/// The longest pause until it has answered.
const LONGEST: Duration = Duration::from_secs(5);
/// For Telegram to introduce a bot.
const WITHIN: Duration = Duration::from_secs(20);

/// How each polled bot is doing.
pub type Polls = Mutex<HashMap<BotName, PollState>>;

/// What the operator should know, a sentence for each bot with a problem.
pub fn problems(polls: &Polls) -> Vec<String> {
    let polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
    let with = polls.iter().filter_map(|(bot, state)| Some(format!("Bot {bot}: {}.", state.problem()?)));
    with.collect()
}

/// Keeps gate, polling, names and models up to date until `stop`. Asking for news of a version tells egress that we work
/// by it.
pub async fn keep(
    egress: Egress,
    engine: Arc<Engine>,
    models: Models,
    secrets: Arc<Secrets>,
    polls: Arc<Polls>,
    stop: CancellationToken,
) {
    let (mut known, mut soon): (Option<u64>, _) = (None, SOON);
    loop {
        let told = tokio::select! {
            told = egress.news(known) => told,
            bot = secrets.renewed() => {
                match egress.renewed(&bot).await {
                    Ok(()) => secrets.told(&bot),
                    Err(error) => {
                        warn!(%error, %bot, "egress was not told that its new webhook secret is in use");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                continue;
            }
            () = stop.cancelled() => return,
        };
        let pause = match told {
            Ok(status) => {
                known = Some(status.version);
                secrets.set(status.bots.iter().filter_map(digests).collect());
                models.learn(status.models);
                engine.hear_of_alarms(&status.alarms).await;
                for bot in status.bots.into_iter().filter(|bot| bot.problem.is_none()) {
                    take_up(&egress, &engine, &polls, bot, &stop);
                }
                continue;
            }
            Err(error) => {
                let pause = if known.is_some() { AGAIN } else { soon };
                if known.is_some() || soon == LONGEST {
                    warn!(%error, "egress does not tell its bots");
                }
                soon = longer(soon);
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (2 * pause).min(LONGEST)
}

/// Only bots with a webhook have a digest at the gate: a polled bot has no path.
fn digests(bot: &BotRoute) -> Option<(BotName, Told)> {
    if bot.updates != Updates::Webhook {
        return None;
    }
    let newest = Digest::from_hex(&bot.webhook_secret_sha256)?;
    let previous = bot.webhook_previous.as_ref();
    let previous = previous.and_then(|previous| {
        Some((Digest::from_hex(&previous.sha256)?, Duration::from_secs(previous.seconds)))
    });
    Some((bot.name.clone(), Told { newest, previous }))
}

/// Starts what a bot needs, once.
fn take_up(
    egress: &Egress,
    engine: &Arc<Engine>,
    polls: &Arc<Polls>,
    bot: BotRoute,
    stop: &CancellationToken,
) {
    let state = {
        let mut polls = polls.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.contains_key(&bot.name) {
            return;
        }
        polls.entry(bot.name.clone()).or_default().clone()
    };
    let (api, stopping) = (Arc::new(egress.clone()), stop.clone());
    if bot.updates == Updates::Poll {
        let inbox = Arc::clone(engine);
        tokio::spawn(ingress::poll(api.clone(), bot.name.clone(), inbox, state, stopping.clone()));
    }
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        tokio::select! {
            () = introduce(&api, &engine, &bot.name) => {}
            () = stopping.cancelled() => {}
        }
    });
}

/// Learns the bot's own id and name, which groups address, and shows its commands in Telegram's menu.
async fn introduce(api: &Arc<Egress>, engine: &Engine, bot: &BotName) {
    let mut pause = Duration::from_secs(1);
    let me = loop {
        match call_within(&**api, bot, &GetMe {}, WITHIN).await {
            Ok(me) => break me,
            Err(error) => warn!(%bot, %error, "Telegram does not introduce the bot"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(300));
    };
    let username = me.username.unwrap_or_default().to_lowercase();
    info!(%bot, username, "introduced");
    engine.set_identity(bot.clone(), BotIdentity { id: me.id, username });
    let commands = Command::ALL.map(|command| {
        let (command, description) = command.describe();
        BotCommand { command, description }
    });
    match call_within(&**api, bot, &SetMyCommands { commands: &commands }, WITHIN).await {
        Ok(_) | Err(ApiError::NotModified) => {}
        Err(error) => info!(%bot, %error, "the command menu was not set"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONGEST, SOON, longer};

    #[test]
    fn an_egress_that_never_answers_is_asked_ever_more_rarely() {
        let pauses: Vec<Duration> =
            std::iter::successors(Some(SOON), |pause| Some(longer(*pause))).take(20).collect();
        assert!(pauses.windows(2).all(|two| two[1] > two[0] || two[1] == LONGEST), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&LONGEST));
        // A start takes well under two seconds: until then hardly anything is lost.
        assert!(pauses.iter().take(6).sum::<Duration>() < Duration::from_secs(2), "{pauses:?}");
    }
}
