//! `getUpdates`: long polling with confirmation by offset, and the conflicts of two pollers or of a webhook.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    Core,
    methods::Refusal,
    world::{self, Bot},
};

/// Answers one `getUpdates`.
pub async fn get_updates(core: &Arc<Core>, token: &str, p: &Map<String, Value>) -> Result<Value, Refusal> {
    let number = |name: &str| p.get(name).and_then(Value::as_i64);
    let limit = number("limit").unwrap_or(100).clamp(1, 100) as usize;
    let wait = Duration::from_secs(number("timeout").unwrap_or(0).clamp(0, 50) as u64);
    let mut changes = core.changes.subscribe();
    let turn = core.with(token, |bot| begin(bot, p)).ok_or(Refusal::new(401, "Unauthorized"))??;
    let deadline = Instant::now() + wait;
    loop {
        let ready =
            core.look(token, |bot| collect(bot, turn, limit)).ok_or(Refusal::new(401, "Unauthorized"))??;
        if !ready.is_empty() || Instant::now() >= deadline {
            return Ok(Value::Array(ready));
        }
        let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
    }
}

fn begin(bot: &mut Bot, p: &Map<String, Value>) -> Result<u64, Refusal> {
    if bot.hook.is_some() {
        return Err(Refusal::new(
            409,
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
        ));
    }
    if let Some(kinds) = p.get("allowed_updates").and_then(Value::as_array) {
        bot.allowed = Some(kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect());
    }
    bot.expire();
    match p.get("offset").and_then(Value::as_i64).unwrap_or(0) {
        0 => {}
        offset if offset > 0 => bot.pending.retain(|id, _| *id >= offset),
        last => {
            let keep = bot.pending.keys().rev().nth((-last - 1) as usize).copied();
            if let Some(first) = keep {
                bot.pending.retain(|id, _| *id >= first);
            }
        }
    }
    bot.poll += 1;
    Ok(bot.poll)
}

fn collect(bot: &Bot, turn: u64, limit: usize) -> Result<Vec<Value>, Refusal> {
    if bot.poll != turn {
        let by = match bot.hook {
            Some(_) => "Conflict: terminated by setWebhook request",
            None => {
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
            }
        };
        return Err(Refusal::new(409, by));
    }
    Ok(bot.pending.iter().take(limit).map(|(id, pending)| world::update(*id, pending)).collect())
}
