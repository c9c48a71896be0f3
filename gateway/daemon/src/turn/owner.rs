//! What is said to the owner and not to the chat: questions, and what went wrong. A private chat has its user's id, so
//! the owner is reached in the chat of that number.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use openclaw_wire::{egress::Denial, id::ChatId};

use super::{Engine, TERMINAL, now_ms};
use crate::{
    inbox::Lane,
    model::Failure,
    outbox::{
        rich::Rich,
        rows::{self, Outgoing},
    },
    session::Admission,
    store::StoreError,
    telegram::method::{Button, ButtonStyle, InlineKeyboard},
};

/// Prefix of a question's callback data.
pub const QUESTION: &str = "q:";

/// The chat in which the owner can be asked about a call in this lane; `None` when there is no owner.
pub fn place(engine: &Engine, lane: &Lane, who: Admission) -> Option<i64> {
    if lane.bot.as_str() == TERMINAL {
        return Some(lane.chat.0);
    }
    let access = engine.access();
    // The owner who wrote; for anybody else, the owner with the lowest number.
    match who {
        Admission::Owner(user) => Some(user.0),
        Admission::Person(_) => access.owners().map(|user| user.0).min(),
    }
}

/// The message that asks, with its two buttons.
pub fn question(lane: &Lane, chat: i64, text: &str, id: &str) -> Outgoing {
    let button = |label: &str, answer: char, style| Button {
        text: label.into(),
        callback_data: format!("{QUESTION}{id}:{answer}"),
        style: Some(style),
    };
    let row = vec![button("Allow once", 'y', ButtonStyle::Success), button("Deny", 'n', ButtonStyle::Danger)];
    let buttons = InlineKeyboard { inline_keyboard: vec![row] };
    Outgoing { buttons: Some(buttons), ..notice(lane, chat, text) }
}

/// A message of the gateway's own, without markup.
pub fn notice(lane: &Lane, chat: i64, text: &str) -> Outgoing {
    Outgoing {
        bot: lane.bot.clone(),
        chat: ChatId(chat),
        topic: None,
        answers: None,
        text: Rich::plain(text),
        reply_to: None,
        buttons: None,
        edit: None,
        repeat: false,
    }
}

/// A model's trouble is told once in this time, however many messages meet it.
const TOLD_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Different denials that the owner is told of in that time: a skill that makes them up must not flood a chat.
const DENIED: usize = 64;

impl Engine {
    /// Tells the owner what a skill tried and may not, each thing once in a while.
    pub(super) async fn denied(&self, lane: &Lane, denials: &[Denial]) {
        let fresh: Vec<String> = {
            let mut told = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|_, at| at.elapsed() < TOLD_AGAIN);
            let room = DENIED.saturating_sub(told.len());
            let new = denials.iter().filter(|denial| !told.contains_key(&denial.message)).take(room);
            let new: Vec<_> = new.map(|denial| (denial.message.clone(), denial.mend.clone())).collect();
            told.extend(new.iter().map(|(message, _)| (message.clone(), Instant::now())));
            new.into_iter().map(|(message, mend)| format!("{message}\n{mend}")).collect()
        };
        if fresh.is_empty() {
            return;
        }
        if let Err(error) = tell(self, lane, format!("Denied:\n{}", fresh.join("\n\n"))).await {
            tracing::warn!(%error, "could not tell the owner");
        }
    }

    /// Tells the owner of models that only the operator can mend: a refused key, no credit. Also when another model
    /// answered in their place.
    pub(super) async fn operators_matter(&self, lane: &Lane, failures: &[Failure]) {
        for failure in failures.iter().filter(|failure| failure.kind.for_operator()) {
            let key = (failure.model.clone(), failure.kind);
            {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                match told.get(&key) {
                    Some(at) if at.elapsed() < TOLD_AGAIN => continue,
                    _ => told.insert(key, Instant::now()),
                };
            }
            let text = format!(
                "The model {} does not answer: {} `openclaw doctor` says more.",
                failure.model,
                failure.kind.sentence()
            );
            if let Err(error) = tell(self, lane, text).await {
                tracing::warn!(%error, "could not tell the owner");
            }
        }
    }
}

/// Tells every owner, through the bot of the lane. Without an owner there is the log only.
pub async fn tell(engine: &Engine, lane: &Lane, text: String) -> Result<(), StoreError> {
    if lane.bot.as_str() == TERMINAL {
        return Ok(());
    }
    let messages: Vec<_> = engine.access().owners().map(|user| notice(lane, user.0, &text)).collect();
    let chats: Vec<_> = messages.iter().map(|message| message.chat).collect();
    engine
        .store
        .write(move |tx| {
            messages.iter().try_for_each(|message| rows::enqueue(tx, message, now_ms()).map(drop))
        })
        .await?;
    chats.into_iter().for_each(|chat| engine.sender.wake(&lane.bot, chat));
    Ok(())
}
