//! From a verified update to a row and its lane. Once begun it is carried through, whether or not its sender still
//! waits: a row without a lane would lie there until the next start. A burst is taken in before its turns begin.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::info;

use super::{Engine, Item, now};
use crate::{
    inbox::{self, Lane},
    ingress::{Inbox, Incoming, NotStored, Verified},
    store::StoreError,
    telegram::update::Update,
};

/// So many updates that are being stored at the same moment are a burst: a backlog of Telegram's, not people who type.
const BURST: usize = 16;
/// How long the turns of a burst wait at most for its last update.
const WHOLE: Duration = Duration::from_secs(1);
/// From the beginning of one such wait to the next: without pause, turns run beside what is stored.
const AGAIN: Duration = Duration::from_secs(2);

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
    async fn take_in(self: &Arc<Self>, known: Vec<(Lane, Update, bytes::Bytes)>) -> Result<(), StoreError> {
        let now = now();
        let storing = self.bursts.enter();
        let stored = self
            .store
            .write(move |tx| {
                known
                    .into_iter()
                    .map(|(lane, update, body)| {
                        let row = inbox::accept(tx, &lane, update.id, &body, now)?;
                        Ok(row.map(|row| (lane, Item { row, update })))
                    })
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        for (lane, item) in stored.into_iter().flatten() {
            self.route(lane, item);
        }
        drop(storing);
        Ok(())
    }
}

/// Updates that are being stored at this moment.
#[derive(Default)]
pub(super) struct Bursts {
    storing: AtomicUsize,
    /// When turns were last held back.
    since: Mutex<Option<Instant>>,
    over: Notify,
}

/// One of them.
struct Storing<'a>(&'a Bursts);

impl Bursts {
    fn enter(&self) -> Storing<'_> {
        if self.storing.fetch_add(1, Ordering::Relaxed) + 1 == BURST {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_none_or(|since| since.elapsed() >= AGAIN) {
                *since = Some(Instant::now());
            }
        }
        Storing(self)
    }

    /// Waits for the end of a burst, at most [`WHOLE`] from its beginning.
    pub async fn over(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        over.as_mut().enable();
        if self.storing.load(Ordering::Relaxed) < BURST {
            return;
        }
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let left = since.map_or(Duration::ZERO, |since| WHOLE.saturating_sub(since.elapsed()));
        if !left.is_zero() {
            // Past the time, the burst is no reason to wait any longer.
            let _ = tokio::time::timeout(left, over).await;
        }
    }
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        if self.0.storing.fetch_sub(1, Ordering::Relaxed) == BURST {
            self.0.over.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context, task::Poll, task::Waker};

    use super::{BURST, Bursts};

    #[tokio::test]
    async fn turns_wait_for_the_end_of_a_burst_but_not_for_ever() {
        let bursts = Bursts::default();
        let few: Vec<_> = (1..BURST).map(|_| bursts.enter()).collect();
        bursts.over().await;
        let last = bursts.enter();
        let mut waiting = pin!(bursts.over());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending, "a burst");
        // The time is up although the burst goes on.
        bursts.over().await;
        drop(last);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()), "its end");
        drop(few);
        bursts.over().await;
    }
}
