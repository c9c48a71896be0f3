//! From a verified update to a row and its lane. Once begun it is carried through, whether or not its sender still
//! waits: a row without a lane would lie there until the next start.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Transaction;
use tracing::info;

use super::{Engine, Item, now};
use crate::{
    inbox::{self, Lane},
    ingress::{Inbox, Incoming, NotStored, Verified},
    store::StoreError,
    telegram::update::Update,
};

impl Inbox for Arc<Engine> {
    async fn accept(&self, batch: Vec<Verified<Incoming>>) -> Result<(), NotStored> {
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
        self.take_in(known).await.map_err(|error| NotStored(error.to_string()))
    }
}

impl Engine {
    /// The writer carries it through from the moment that it has it, so nothing is started here for that: it is done for
    /// each update, on the one thread that serves the webhook.
    async fn take_in(self: &Arc<Self>, known: Vec<(Lane, Update, Bytes)>) -> Result<(), StoreError> {
        let _storing = self.bursts.enter();
        let (now, known, engine, under_way) = (now(), Arc::new(known), Arc::clone(self), self.tasks.token());
        let stored = Arc::clone(&known);
        let store = move |tx: &Transaction<'_>| {
            let accept =
                |(lane, update, body): &(Lane, Update, Bytes)| inbox::accept(tx, lane, update.id, body, now);
            stored.iter().map(accept).collect::<rusqlite::Result<Vec<_>>>()
        };
        let route = move |rows: Vec<Option<i64>>| {
            for ((lane, update, body), row) in Arc::unwrap_or_clone(known).into_iter().zip(rows) {
                if let Some(row) = row {
                    engine.route(lane, Item { row, update, bytes: body.len() });
                }
            }
            drop(under_way);
        };
        self.store.write_then(store, route).await
    }
}
