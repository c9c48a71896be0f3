//! Dead letters, for the operator: messages whose turn was given up, and answers that could not be sent.

use std::sync::Arc;

use openclaw_wire::{
    admin::{DeadLetter, Letter},
    id::ChatId,
};

use super::{Engine, Item};
use crate::{inbox, outbox::rows, store::StoreError, telegram::update::Update};

/// Most letters of each kind that are listed.
const LISTED: u32 = 200;

impl Engine {
    /// All dead letters, messages before answers, newest first.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let (messages, answers) = self
            .store
            .read(|connection| Ok((inbox::letters(connection, LISTED)?, rows::dead(connection, LISTED)?)))?;
        let messages = messages.into_iter().map(|(id, bot, chat, at, problem)| DeadLetter {
            id: format!("in-{id}"),
            bot,
            chat,
            at,
            problem,
        });
        let answers = answers.into_iter().map(|dead| DeadLetter {
            id: format!("out-{}", dead.id),
            bot: dead.bot,
            chat: dead.chat.0,
            at: dead.created / 1000,
            problem: dead.problem,
        });
        Ok(messages.chain(answers).collect())
    }

    /// Tries one again, or deletes it. `false` when there is none of this id.
    pub async fn dead_letter(self: &Arc<Self>, letter: &Letter) -> Result<bool, StoreError> {
        let number = |prefix: &str| letter.id.strip_prefix(prefix).and_then(|id| id.parse::<i64>().ok());
        match (number("in-"), number("out-"), letter.retry) {
            (Some(id), _, true) => {
                let engine = Arc::clone(self);
                // A task of its own, so that what waits again is also routed when the operator hangs up meanwhile.
                let revival = self.tasks.spawn(async move {
                    let Some(row) = engine.store.write(move |tx| inbox::revive(tx, id)).await? else {
                        return Ok(false);
                    };
                    match Update::parse(&row.body) {
                        Ok(update) => engine.route(row.lane, Item { row: id, update, bytes: row.body.len() }),
                        Err(error) => {
                            super::recover::give_up(&engine, &row.lane, id, &error.to_string()).await;
                        }
                    }
                    Ok(true)
                });
                revival.await.unwrap_or(Err(StoreError::Stopped))
            }
            (Some(id), _, false) => self.store.write(move |tx| inbox::bury(tx, id)).await,
            (_, Some(id), true) => {
                let dead = self.store.read(|connection| rows::dead(connection, u32::MAX))?;
                let revived = self.store.write(move |tx| rows::revive(tx, id)).await?;
                if let Some(dead) = dead.into_iter().find(|dead| dead.id == id)
                    && let Ok(bot) = dead.bot.parse()
                {
                    self.sender.wake(&bot, ChatId(dead.chat.0));
                }
                Ok(revived)
            }
            (_, Some(id), false) => self.store.write(move |tx| rows::discard(tx, id)).await,
            _ => Ok(false),
        }
    }
}
