//! From a verified update to a row and its lane. Once begun it is carried through, whether or not its sender still
//! waits: a row without a lane would lie there until the next start.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Transaction;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::{Engine, Item, now};
use crate::{
    inbox::{self, Lane},
    ingress::{Inbox, Incoming, NotStored, Verified},
    store::StoreError,
    telegram::update::Update,
};

/// Whether it is stored.
type Stored = Result<(), NotStored>;

/// The inbox for senders that are many and wait all on one thread. Of a commit's updates only the first wakes that thread; it
/// would cost it and the writer as much as the updates themselves to have each wake its sender.
pub struct Hatch {
    engine: Arc<Engine>,
    told: mpsc::UnboundedSender<(oneshot::Sender<Stored>, Stored)>,
}

impl Hatch {
    /// The inbox, and what tells its senders: to be run on their thread.
    pub fn new(engine: Arc<Engine>) -> (Self, impl Future<Output = ()> + Send) {
        // As many wait for it as the writer has in its queue.
        let (told, mut answers) = mpsc::unbounded_channel::<(oneshot::Sender<Stored>, Stored)>();
        let tell = async move {
            while let Some((sender, stored)) = answers.recv().await {
                // One that went away needs no answer.
                let _ = sender.send(stored);
            }
        };
        (Self { engine, told }, tell)
    }
}

impl Inbox for Hatch {
    async fn accept(&self, batch: Vec<Verified<Incoming>>) -> Stored {
        let told = self.told.clone();
        self.engine.accept_and_tell(batch, move |sender, stored| drop(told.send((sender, stored)))).await
    }
}

impl Inbox for Arc<Engine> {
    async fn accept(&self, batch: Vec<Verified<Incoming>>) -> Stored {
        Engine::accept_and_tell(self, batch, |sender, stored| drop(sender.send(stored))).await
    }
}

impl Engine {
    async fn accept_and_tell(
        self: &Arc<Self>,
        batch: Vec<Verified<Incoming>>,
        tell: impl FnOnce(oneshot::Sender<Stored>, Stored) + Send + 'static,
    ) -> Stored {
        if !self.lanes.room() {
            return Err(NotStored("too many updates wait already".into()));
        }
        let mut known = Vec::with_capacity(batch.len());
        for incoming in batch.into_iter().map(Verified::into_inner) {
            match incoming.update.lane() {
                Some((chat, topic)) => {
                    known.push((Lane { bot: incoming.bot, chat, topic }, incoming.update, incoming.body))
                }
                None => {
                    info!(bot = %incoming.bot, kind = incoming.update.kind.name(), "an update that nobody asked for")
                }
            }
        }
        let _storing = self.bursts.enter();
        let (sender, answer) = oneshot::channel();
        let tell = |stored: Result<(), StoreError>| tell(sender, stored.map_err(Into::into));
        self.take_in(known, tell).await?;
        answer.await.unwrap_or(Err(StoreError::Stopped.into()))
    }

    /// The writer carries it through from the moment that it has it, so nothing is started here for that: it is done for
    /// each update, on the one thread that serves the webhook.
    async fn take_in(
        self: &Arc<Self>,
        known: Vec<(Lane, Update, Bytes)>,
        tell: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let (now, known, engine, under_way) = (now(), Arc::new(known), Arc::clone(self), self.tasks.token());
        let stored = Arc::clone(&known);
        let store = move |tx: &Transaction<'_>| {
            let accept =
                |(lane, update, body): &(Lane, Update, Bytes)| inbox::accept(tx, lane, update.id, body, now);
            stored.iter().map(accept).collect::<rusqlite::Result<Vec<_>>>()
        };
        let route = move |rows: Result<Vec<Option<i64>>, StoreError>| {
            let stored = rows.map(|rows| {
                for ((lane, update, body), row) in Arc::unwrap_or_clone(known).into_iter().zip(rows) {
                    if let Some(row) = row {
                        engine.route(lane, Item { row, update, bytes: body.len() });
                    }
                }
            });
            drop(under_way);
            tell(stored);
        };
        self.store.hand_over(store, route).await
    }
}

impl From<StoreError> for NotStored {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}
