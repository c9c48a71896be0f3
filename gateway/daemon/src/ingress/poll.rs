//! Long polling: `getUpdates` when no webhook is configured. The offset moves on only after the batch is stored, so an
//! update is fetched again rather than lost.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use openclaw_wire::{facts::FACTS, id::BotName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Inbox, Incoming, Verified};
use crate::telegram::{
    method::{ApiError, BotApi, Method, call_within},
    update::Update,
};

/// Seconds that Telegram holds a request open when there is nothing (its own most is 50).
const HOLD: u64 = 50;
/// The whole request: the hold, and time for the way.
const WITHIN: Duration = Duration::from_secs(HOLD + 15);
/// Pause after a failure; doubled up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How the polling of a bot goes, for the status.
#[derive(Debug, Clone, Default)]
pub struct PollState(Arc<Mutex<Option<String>>>);

impl PollState {
    /// Why nothing arrives; `None` while all is well.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// `getUpdates`.
#[derive(Debug, Serialize)]
struct GetUpdates<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    limit: u32,
    timeout: u64,
    allowed_updates: &'a [String],
}

impl Method for GetUpdates<'_> {
    const NAME: &'static str = "getUpdates";
    type Output = Vec<Box<RawValue>>;
}

/// Of a malformed update, the one thing that lets us go past it.
#[derive(Deserialize)]
struct Numbered {
    update_id: i64,
}

/// Polls one bot until `stop`.
pub async fn poll(
    api: Arc<dyn BotApi>,
    bot: BotName,
    inbox: impl Inbox,
    state: PollState,
    stop: CancellationToken,
) {
    let mut offset = None;
    let mut pause = PAUSE;
    info!(%bot, "polling for updates");
    loop {
        let ask = GetUpdates { offset, limit: 100, timeout: HOLD, allowed_updates: &FACTS.telegram.updates };
        let answer = tokio::select! {
            answer = call_within(&*api, &bot, &ask, WITHIN) => answer,
            () = stop.cancelled() => return,
        };
        let wait = match answer {
            Ok(updates) => {
                state.set(None);
                match store(&bot, &inbox, updates).await {
                    Ok(next) => {
                        pause = PAUSE;
                        offset = next.or(offset);
                        continue;
                    }
                    Err(error) => {
                        warn!(%bot, %error, "updates stay at Telegram for now");
                        state.set(Some(error));
                        pause
                    }
                }
            }
            Err(ApiError::TooMany { retry_after }) => retry_after,
            Err(error) => {
                let problem = explain(&error);
                warn!(%bot, problem, "could not poll");
                state.set(Some(problem));
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = stop.cancelled() => return,
        }
    }
}

/// Stores a batch; gives the next offset.
async fn store(
    bot: &BotName,
    inbox: &impl Inbox,
    updates: Vec<Box<RawValue>>,
) -> Result<Option<i64>, String> {
    let mut next = None;
    let any = !updates.is_empty();
    let mut batch = Vec::with_capacity(updates.len());
    for raw in updates {
        let text = raw.get();
        match Update::parse(text.as_bytes()) {
            Ok(update) => {
                next = next.max(Some(update.id + 1));
                let body = Bytes::copy_from_slice(text.as_bytes());
                batch.push(Verified(Incoming { bot: bot.clone(), update, body }));
            }
            Err(error) => {
                warn!(%bot, %error, bytes = text.len(), "went past a malformed update");
                next = next
                    .max(serde_json::from_str::<Numbered>(text).ok().map(|n| n.update_id.saturating_add(1)));
            }
        }
    }
    if !batch.is_empty() {
        inbox.accept(batch).await.map_err(|error| error.to_string())?;
    }
    if any && next.is_none() {
        // Without a number there is no way past them; asking again at once would never end.
        return Err("what Telegram sent are no updates".into());
    }
    Ok(next)
}

fn explain(error: &ApiError) -> String {
    match error {
        ApiError::Refused { status: 409, description } if description.contains("webhook") => {
            "a webhook is registered for this bot, so it can't be polled; `openclaw webhook delete` removes it, or set \
             `updates = \"webhook\"` for the bot"
                .into()
        }
        ApiError::Refused { status: 409, .. } => {
            "another program polls this bot; stop that one, or give this assistant a bot of its own".into()
        }
        error => error.to_string(),
    }
}
