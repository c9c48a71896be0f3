//! The operator's own chat, in the terminal: the same walk, with the owner as its only sender and no outbox.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use openclaw_wire::{admin::ChatEvent, id::ChatId};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Engine, Item, TERMINAL, now, urgent};
use crate::{
    inbox::{self, Lane},
    store::StoreError,
    telegram::update::Update,
};

/// Events that may wait for a slow terminal; more are dropped, and the end of the turn says the whole text.
const EVENTS: usize = 4096;

/// The operator's terminals that wait for an answer, by inbox row.
#[derive(Debug, Default)]
pub struct Terminal {
    waiting: Mutex<HashMap<i64, mpsc::Sender<ChatEvent>>>,
}

impl Terminal {
    /// Events of the turn that a row starts.
    pub fn listen(&self, row: i64) -> mpsc::Receiver<ChatEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(row, sender);
        receiver
    }

    /// Nobody will answer this row: whoever waits for it is told so.
    pub fn dropped(&self, row: i64) {
        if let Some(terminal) = self.take(row) {
            let _ = terminal.try_send(ChatEvent::Done(true));
        }
    }

    /// The terminal that waits for a row, once.
    pub fn take(&self, row: i64) -> Option<mpsc::Sender<ChatEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&row)
    }
}

/// The terminal's lane.
fn lane() -> Lane {
    Lane { bot: TERMINAL.parse().expect("a constant that is a valid name"), chat: ChatId(0), topic: 0 }
}

impl Engine {
    /// Takes a message from the terminal; its events follow.
    pub async fn say(self: &Arc<Self>, text: &str) -> Result<mpsc::Receiver<ChatEvent>, StoreError> {
        let lane = lane();
        // Microseconds are unique enough for one person's typing; the table says so if they are not.
        let id = jiff::Timestamp::now().as_microsecond();
        let message = json!({ "message_id": id, "chat": { "id": 0, "type": "private" }, "text": text });
        let body = json!({ "update_id": id, "message": message }).to_string().into_bytes();
        let update = Update::parse(&body).map_err(|error| StoreError::Statement(error.to_string()))?;
        let (engine, stored, bytes) = (Arc::clone(self), lane.clone(), body.len());
        // A task of its own, so that what is committed is also routed when the terminal goes away meanwhile.
        let storing = self.tasks.spawn(async move {
            let row = engine.store.write(move |tx| inbox::accept(tx, &stored, id, &body, now())).await?;
            let row = row.ok_or_else(|| {
                StoreError::Statement("two messages at the same time; send it again".into())
            })?;
            let events = engine.terminal.listen(row);
            engine.route(lane, Item { row, update, bytes });
            Ok(events)
        });
        storing.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Stops what runs in the terminal's chat.
    pub async fn stop_terminal(&self) -> bool {
        urgent::stop_lane(self, &lane()).await
    }

    /// Answers a question that the terminal's chat asked. `false` when it is not open.
    pub async fn approve_in_terminal(&self, id: &str, yes: bool) -> Result<bool, StoreError> {
        urgent::answer_question(self, &lane(), id, yes).await
    }
}
