//! After a crash or a failure: what waits is taken up again, and what fails again and again goes to the dead letters,
//! so that its chat goes on.

use std::{sync::Arc, time::Duration};

use openclaw_wire::id::UserId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Engine, Item, TERMINAL, now, owner};
use crate::{
    inbox::{self, Lane},
    outbox::{rows, sender::Event, shown},
    policy::ask,
    skill::calls,
    store::StoreError,
    telegram::update::Update,
};

/// Pause before a turn that could not be stored is tried again; doubled each time.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Seconds after which the message that showed an unfinished answer is forgotten.
const SHOWN_KEPT: i64 = 7 * 86_400;
/// How often old rows are deleted.
const TIDY: Duration = Duration::from_secs(3600);

impl Engine {
    /// Takes up everything that waits in the inbox, in order. Once, at start.
    pub async fn recover(self: &Arc<Self>) -> Result<usize, StoreError> {
        self.follow_all().await?;
        self.close_unasked().await?;
        self.sweep_files().await?;
        let rows = self.store.read(inbox::waiting)?;
        let count = rows.len();
        let seat = self.begin(rows.last().map(|row| row.id)).await?;
        let mut urgent = Vec::new();
        for row in rows {
            if row.lane.bot.as_str() == TERMINAL {
                self.settle(vec![row.id]).await; // Whoever asked is gone.
                continue;
            }
            let parsed = Update::parse(&row.body);
            match parsed.map(|update| Item { row: row.id, update, bytes: row.body.len() }) {
                Ok(item) if seat.is_some() && self.urgent(&row.lane, &item) => urgent.push((row.lane, item)),
                Ok(item) => self.route(row.lane, item),
                Err(error) => give_up(self, &row.lane, row.id, &error.to_string()).await,
            }
        }
        if let Some(seat) = seat {
            self.urgent_first(seat, urgent);
        }
        if count > 0 {
            info!(count, "took up what waited");
        }
        Ok(count)
    }

    /// Tells the owner what the outbox could not deliver, until the outbox ends.
    pub async fn hear(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.stopping.cancelled() => return,
            };
            let Some(event) = event else { return };
            let (bot, chat, text) = match event {
                Event::Dead { bot, chat, problem, rows, .. } => {
                    self.not_asked(rows, problem.clone()).await;
                    let text = format!("An answer to chat {chat} was given up: {problem}.");
                    (bot, chat, text)
                }
                // Without its token the bot can't tell anybody; the log and the status do.
                Event::Paused { .. } | Event::Resumed { .. } => continue,
                Event::Migrated { bot, from, to } => {
                    if let Err(error) = self.group_moved(&bot, from, to).await {
                        warn!(%error, %from, %to, "could not follow a group");
                    }
                    continue;
                }
            };
            // What can't be sent to the owner is not told to the owner in the same chat.
            if self.access().is_owner(UserId(chat.0)) {
                continue;
            }
            let lane = Lane { bot, chat, topic: 0 };
            if let Err(error) = owner::tell(&self, &lane, text).await {
                warn!(%error, "could not tell the owner");
            }
        }
    }

    /// Questions that Telegram does not deliver wait for nobody.
    async fn not_asked(&self, rows: Vec<i64>, problem: String) {
        match self.store.write(move |tx| ask::undelivered(tx, &rows, &problem)).await {
            Ok(calls) if calls.is_empty() => {}
            Ok(_) => self.answered.notify_waiters(),
            Err(error) => warn!(%error, "could not close a question that was not delivered; it expires"),
        }
    }

    /// The same for those whose message was given up right before the process ended, so that nobody heard of it.
    async fn close_unasked(&self) -> Result<(), StoreError> {
        let dead = self.store.read(|connection| rows::dead(connection, u32::MAX))?;
        if dead.is_empty() {
            return Ok(());
        }
        let close = move |tx: &rusqlite::Transaction<'_>| {
            dead.iter().try_for_each(|row| ask::undelivered(tx, &[row.id], &row.problem).map(drop))
        };
        self.store.write(close).await
    }

    /// Deletes what is no longer needed, for ever.
    pub async fn tidy(self: Arc<Self>) {
        loop {
            if let Err(error) = self.expire_files().await {
                warn!(%error, "could not delete old files");
            }
            let now = now();
            let tidied = self
                .store
                .write(move |tx| {
                    shown::prune(tx, (now - SHOWN_KEPT) * 1000)?;
                    Ok(inbox::forget(tx, now)? + ask::forget(tx, now)? + calls::expire(tx, now)?)
                })
                .await;
            let pause = match tidied {
                Ok(deleted) if deleted >= inbox::FORGET => PAUSE, // There may be more.
                Ok(_) => TIDY,
                Err(error) => {
                    warn!(%error, "could not delete old rows");
                    TIDY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }
}

/// A turn could not be stored: the message, and what it took with it (an album's other pictures). It is tried again in
/// its lane's place, after a pause, or given up; the others are never lost with it.
pub async fn failed(engine: &Arc<Engine>, lane: &Lane, mut items: Vec<Item>, stop: &CancellationToken) {
    let row = items[0].row;
    // While it is careful it is counted before it runs, not here.
    let tries = match engine.is_careful() {
        true => 0,
        false => match engine.count(row).await {
            Some(tries) => tries,
            None => return,
        },
    };
    if stop.is_cancelled() {
        return engine.settle(items.iter().map(|item| item.row).collect()).await;
    }
    if tries >= engine.config.turn.tries {
        items.remove(0);
        give_up(engine, lane, row, "its turn could not be stored").await;
    }
    engine.lanes.put_back(lane, items);
}

/// To the dead letters, and the owner is told.
pub async fn give_up(engine: &Engine, lane: &Lane, row: i64, problem: &str) {
    warn!(row, bot = %lane.bot, chat = %lane.chat, problem, "given up: a dead letter");
    engine.terminal.dropped(row);
    let mut pause = PAUSE;
    loop {
        let reason = problem.to_owned();
        match engine.store.write(move |tx| inbox::dead(tx, row, &reason)).await {
            Ok(()) => break,
            Err(error) => warn!(%error, row, "could not move a message to the dead letters; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
            () = engine.stopping.cancelled() => return,
        }
    }
    let text =
        format!("A message in chat {} was given up: {problem}. It is kept as dead letter {row}.", lane.chat);
    if let Err(error) = owner::tell(engine, lane, text).await {
        warn!(%error, "could not tell the owner");
    }
}
