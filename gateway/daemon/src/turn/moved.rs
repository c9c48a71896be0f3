//! A group that became a supergroup has another id. Who may speak there, its conversation and what waits follow to it:
//! first the turns under the old id end, then all is moved in one commit, then the new id's turns begin.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openclaw_wire::id::{BotName, ChatId};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{Engine, now, owner};
use crate::{
    inbox::{self, Lane},
    session::{Access, history, moved, pairing},
    store::StoreError,
};

/// How often it is looked whether the turns under the old id have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Supergroups whose turns wait for those of the group that they were.
#[derive(Debug, Default)]
pub struct Moving {
    from: Mutex<HashMap<ChatId, ChatId>>,
    ended: Notify,
}

impl Moving {
    fn begin(&self, from: ChatId, to: ChatId) {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).insert(to, from);
    }

    fn end(&self, to: ChatId) {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
        self.ended.notify_waiters();
    }

    /// What a chat was, while its turns wait.
    pub fn was(&self, to: ChatId) -> Option<ChatId> {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).get(&to).copied()
    }
}

impl Engine {
    /// Who may speak, as the configuration and the database say now.
    pub(super) fn refresh_access(&self) -> Result<(), StoreError> {
        let (owners, moved) = self.store.read(|db| Ok((pairing::owners(db)?, moved::all(db)?)))?;
        let access = Access::new(&self.config.access, owners).moved(&moved);
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
        Ok(())
    }

    /// Telegram says that a group is a supergroup now: in a message of the group, of the supergroup, or when something is
    /// sent to the old id.
    pub(super) async fn group_moved(
        self: &Arc<Self>,
        bot: &BotName,
        from: ChatId,
        to: ChatId,
    ) -> Result<(), StoreError> {
        if from.0 >= 0 || to.0 >= 0 || from == to || !self.access().lists(from) {
            return Ok(());
        }
        if !self.store.write(move |tx| moved::note(tx, from, to, now())).await? {
            return Ok(());
        }
        info!(%bot, %from, %to, "a listed group became a supergroup");
        self.moving.begin(from, to);
        self.refresh_access()?;
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            engine.follow(from, to).await;
            engine.moving.end(to);
        });
        let listed = |id| self.config.access.group.iter().any(|group| group.chat == id);
        if listed(from) && !listed(to) {
            let text = format!(
                "The group {from} became a supergroup and has another id now. I go on there. Please write `chat = {to}` in \
                 its [[access.group]] of openclaw.toml, in place of {from}."
            );
            owner::tell(self, &Lane { bot: bot.clone(), chat: to, topic: 0 }, text).await?;
        }
        Ok(())
    }

    async fn follow(&self, from: ChatId, to: ChatId) {
        while self.lanes.is_at_work(from) {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stopping.cancelled() => return, // The next start does it.
            }
        }
        if let Err(error) = self.store.write(move |tx| follow(tx, from, to)).await {
            warn!(%error, %from, %to, "the conversation of a group could not follow; the next start tries again");
        }
    }

    /// What a stop has left undone. Before anything runs.
    pub(super) async fn follow_all(&self) -> Result<(), StoreError> {
        let moved = self.store.read(moved::all)?;
        if moved.is_empty() {
            return Ok(());
        }
        self.store.write(move |tx| moved.iter().try_for_each(|(from, to)| follow(tx, *from, *to))).await
    }

    /// Waits until a chat is no longer about to move; `false` when the process ends before.
    pub(super) async fn until_moved(&self, chat: ChatId) -> bool {
        loop {
            let ended = self.moving.ended.notified();
            if self.moving.was(chat).is_none() {
                return true;
            }
            tokio::select! {
                () = ended => {}
                () = self.stopping.cancelled() => return false,
            }
        }
    }
}

fn follow(tx: &rusqlite::Transaction<'_>, from: ChatId, to: ChatId) -> rusqlite::Result<()> {
    history::follow(tx, from.0, to.0)?;
    inbox::follow(tx, from.0, to.0)
}
