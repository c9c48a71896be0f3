//! After crashes in a row: turns run one at a time over all chats, and each is counted on the disk before it runs. So
//! the message that ends the process is known, and it alone goes to the dead letters. Otherwise nothing is counted: many
//! turns run at once, and a crash would blame them all.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::{
    Engine, Item,
    recover::{self, LONGEST_PAUSE, PAUSE},
    urgent,
};
use crate::{
    inbox::{self, Lane, starts},
    store::StoreError,
};

/// Starts in a row that came to no end, after which it gets careful. The machine and the operator end processes too.
const IN_A_ROW: u32 = 2;
/// How often it is looked whether all that waited at the start is dealt with.
const LOOK: Duration = Duration::from_secs(1);

impl Engine {
    /// Whether turns run one at a time now.
    pub(super) fn is_careful(&self) -> bool {
        self.careful.load(Ordering::Relaxed)
    }

    /// Notes the start, with the last row that waits. Gives the only seat if it gets careful: nothing runs before it is
    /// dropped.
    pub(super) async fn begin(
        self: &Arc<Self>,
        last: Option<i64>,
    ) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let Some(last) = last else {
            if self.store.read(starts::unfinished)? > 0 {
                self.store.write(starts::settled).await?;
            }
            return Ok(None);
        };
        let before = self.store.write(starts::begin).await?;
        let mut seat = None;
        if before >= IN_A_ROW {
            warn!(
                before,
                "the gateway ended again and again while it dealt with what waits: one message at a time now"
            );
            self.careful.store(true, Ordering::Relaxed);
            self.turns.forget_permits(self.config.turn.concurrent - 1);
            seat = Arc::clone(&self.turns).acquire_owned().await.ok();
        }
        let engine = Arc::clone(self);
        self.tasks.spawn(async move { engine.until_settled(last).await });
        Ok(seat)
    }

    /// The operator ends the process: what goes on after the next start is no crash.
    pub async fn ends_well(&self) {
        if let Err(error) = self.store.write(starts::settled).await {
            warn!(%error, "the next start takes this stop for a crash");
        }
    }

    async fn until_settled(self: Arc<Self>, last: i64) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stopping.cancelled() => return,
            }
            let left = self.store.read(|connection| inbox::left(connection, last));
            if matches!(left, Ok(false)) && self.store.write(starts::settled).await.is_ok() {
                break;
            }
        }
        if self.careful.swap(false, Ordering::Relaxed) {
            info!("all that waited at the start is dealt with: many at once again");
            self.turns.add_permits(self.config.turn.concurrent - 1);
        }
    }

    /// Counts a turn that is about to run, while it is careful. `false` when it may not run: it was given up, or the
    /// process stops before the disk took the count.
    pub(super) async fn may_run(&self, lane: &Lane, row: i64) -> bool {
        if !self.is_careful() {
            return true;
        }
        let Some(tries) = self.count(row).await else { return false };
        if tries > self.config.turn.tries {
            recover::give_up(self, lane, row, "the gateway ended each time while it was dealt with").await;
            return false;
        }
        true
    }

    /// Counts a try, however long the disk takes nothing; `None` when the process stops before.
    pub(super) async fn count(&self, row: i64) -> Option<u32> {
        let mut pause = PAUSE;
        loop {
            match self.store.write(move |tx| inbox::tried(tx, row)).await {
                Ok(tries) => return Some(tries),
                Err(error) => warn!(%error, row, "the disk does not take anything"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
                () = self.stopping.cancelled() => return None,
            }
        }
    }

    /// What waited and does not wait in a lane, one after the other, on the only seat.
    pub(super) fn urgent_first(self: &Arc<Self>, seat: OwnedSemaphorePermit, items: Vec<(Lane, Item)>) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            for (lane, item) in items {
                if engine.may_run(&lane, item.row).await {
                    urgent::handle(&engine, &lane, item).await;
                }
            }
            drop(seat);
        });
    }

    /// A turn waits for a person: its seat is free meanwhile, and what ends the process meanwhile is not its fault. Gives
    /// its row, for [`Engine::come_back`].
    pub(super) async fn leave_seat(&self, lane: &Lane) -> Option<i64> {
        let row = self.lanes.stand(lane)?;
        if self.is_careful()
            && let Err(error) = self.store.write(move |tx| inbox::not_tried(tx, row)).await
        {
            warn!(%error, row, "could not take a count back");
        }
        Some(row)
    }

    /// The turn goes on, as soon as there is a seat.
    pub(super) async fn come_back(&self, lane: &Lane, row: Option<i64>) {
        let Some(row) = row else { return };
        let Ok(seat) = Arc::clone(&self.turns).acquire_owned().await else { return };
        self.lanes.sit(lane, row, seat);
        if self.is_careful() {
            self.count(row).await;
        }
    }
}
