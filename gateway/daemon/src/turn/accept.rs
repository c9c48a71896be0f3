//! From a verified update to a row and its lane. Once begun it is carried through, whether or not its sender still
//! waits: a row without a lane would lie there until the next start.

use std::sync::Arc;

use bytes::Bytes;
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
        let engine = Arc::clone(self);
        let stored = self.tasks.spawn(async move { engine.take_in(known).await });
        match stored.await {
            Ok(stored) => stored.map_err(|error| NotStored(error.to_string())),
            Err(_) => Err(NotStored("the gateway ends".into())),
        }
    }
}

impl Engine {
    async fn take_in(self: &Arc<Self>, known: Vec<(Lane, Update, Bytes)>) -> Result<(), StoreError> {
        let _storing = self.bursts.enter();
        let (now, known) = (now(), Arc::new(known));
        let stored = Arc::clone(&known);
        let rows = self.store.write(move |tx| {
            let accept =
                |(lane, update, body): &(Lane, Update, Bytes)| inbox::accept(tx, lane, update.id, body, now);
            stored.iter().map(accept).collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = rows.await?;
        for ((lane, update, body), row) in Arc::unwrap_or_clone(known).into_iter().zip(rows) {
            if let Some(row) = row {
                self.route(lane, Item { row, update, bytes: body.len() });
            }
        }
        Ok(())
    }
}
