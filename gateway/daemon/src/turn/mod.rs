//! The turn: the only module that knows the order of the stages. `walk` is one message, top to bottom; the rest of
//! this module keeps lanes apart, carries answers away, and picks up after a crash what was begun before it.

mod accept;
mod burst;
mod lanes;
mod careful;
mod introduced;
mod moved;
mod attach;
mod words;
mod vouched;
mod conversation;
mod walk;
mod think;
mod permit;
mod made;
mod reply;
mod orders;
mod urgent;
mod fold;
mod recover;
mod owner;
mod money;
mod alarm;
mod terminal;
mod letters;
mod skills;
mod servers;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use openclaw_wire::{
    config::{Config, TERMINAL},
    id::{BotName, ModelName},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    audit,
    egress::Egress,
    files::{self, Shelf},
    inbox::{self, Lane},
    model::{self, Models},
    outbox, policy,
    session::{self, Access, BotIdentity, pairing::Guesses},
    skill::{self, Catalog, Executor},
    spend,
    store::{Store, StoreError},
    telegram::{
        method::BotApi,
        update::{Kind, Update},
    },
};

pub use accept::Hatch;
pub use terminal::Terminal;

/// See [`Engine::fetching`].
const FETCHING: usize = 4;

/// The tables of all stages, in the order in which releases brought them. Only ever appended to.
pub const MIGRATIONS: [&str; 20] = [
    inbox::MIGRATION,
    session::pairing::MIGRATION,
    session::history::MIGRATION,
    policy::ask::MIGRATION,
    skill::calls::MIGRATION,
    outbox::rows::MIGRATION,
    skill::standing::MIGRATION,
    outbox::shown::MIGRATION,
    inbox::starts::MIGRATION,
    policy::ask::MIGRATION_MESSAGES,
    skill::calls::MIGRATION_STOPPED,
    session::moved::MIGRATION,
    spend::told::MIGRATION,
    skill::offered::MIGRATION,
    skill::calls::MIGRATION_REASON,
    session::history::MIGRATION_USAGE,
    skill::standing::MIGRATION_REPORT,
    files::MIGRATION,
    outbox::file::MIGRATION,
    audit::kept::MIGRATION,
];

/// An accepted update on its way through its lane.
#[derive(Debug)]
pub struct Item {
    /// Its inbox row.
    pub row: i64,
    /// What it says.
    pub update: Update,
    /// Bytes in which it came.
    pub bytes: usize,
}

/// Everything that a turn needs. One for the process.
pub struct Engine {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The Bot API, through egress.
    pub api: Arc<dyn BotApi>,
    /// Skills.
    pub catalog: Catalog,
    /// The way to the runner.
    pub executor: Executor,
    /// Sends what is in the outbox.
    pub sender: outbox::sender::Sender,
    /// Models, as egress tells them.
    pub models: Models,
    /// For what was spent, and for files.
    pub egress: Egress,
    /// The files of conversations.
    pub shelf: Shelf,
    /// Files that are fetched at the same time: their bytes are on the disk before they count.
    fetching: Semaphore,
    /// The operator's own chat.
    pub terminal: Terminal,
    access: RwLock<Arc<Access>>,
    bots: Mutex<HashMap<BotName, BotIdentity>>,
    guesses: Guesses,
    lanes: lanes::Lanes,
    bursts: burst::Bursts,
    /// Seats of turns that run; one for all while it is careful.
    turns: Arc<Semaphore>,
    careful: AtomicBool,
    frozen: AtomicBool,
    moving: moved::Moving,
    /// When the owner was last told of a model's trouble. Bounded: models times kinds.
    told: Mutex<HashMap<(ModelName, model::Kind), std::time::Instant>>,
    /// When the owner was last told of what a skill tried. Bounded by `owner`.
    denied: Mutex<HashMap<String, std::time::Instant>>,
    /// Skills that are off.
    switches: Mutex<skills::Switches>,
    /// Somebody answered a question.
    answered: Notify,
    /// An MCP server is to be looked at.
    look: Notify,
    /// Telegram introduced a bot.
    introduced: Notify,
    stopping: CancellationToken,
    /// Where turns run, whoever hands an update in.
    runtime: Handle,
    /// Lanes and urgent updates under way.
    tasks: TaskTracker,
}

/// The parts from which an engine is made.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The Bot API, through egress.
    pub api: Arc<dyn BotApi>,
    /// Skills.
    pub catalog: Catalog,
    /// The way to the runner.
    pub executor: Executor,
    /// Sends what is in the outbox.
    pub sender: outbox::sender::Sender,
    /// Models in order of preference.
    pub models: Models,
    /// The way out, for what was spent, and for files.
    pub egress: Egress,
    /// The files of conversations.
    pub shelf: Shelf,
}

impl Engine {
    /// Reads who paired and whether everything is frozen. Turns will run on the runtime that calls this. Nothing runs yet: see [`Engine::recover`].
    pub fn new(parts: Parts, stopping: CancellationToken) -> Result<Arc<Self>, StoreError> {
        use crate::session::{history, moved as groups, pairing};
        let owners = parts.store.read(pairing::owners)?;
        let frozen = parts.store.read(history::frozen)?.is_some();
        let moved = parts.store.read(groups::all)?;
        let access = Access::new(&parts.config.access, owners).moved(&moved);
        let switches = skills::Switches::read(&parts.store)?;
        servers::remember(&parts.store, &parts.catalog)?;
        let turns = Arc::new(Semaphore::new(parts.config.turn.concurrent));
        Ok(Arc::new(Self {
            store: parts.store,
            api: parts.api,
            catalog: parts.catalog,
            executor: parts.executor,
            sender: parts.sender,
            terminal: Terminal::default(),
            models: parts.models,
            egress: parts.egress,
            shelf: parts.shelf,
            fetching: Semaphore::new(FETCHING),
            access: RwLock::new(Arc::new(access)),
            bots: Mutex::default(),
            guesses: Guesses::default(),
            lanes: lanes::Lanes::default(),
            bursts: burst::Bursts::default(),
            turns,
            careful: AtomicBool::new(false),
            frozen: AtomicBool::new(frozen),
            moving: moved::Moving::default(),
            told: Mutex::default(),
            denied: Mutex::default(),
            switches: Mutex::new(switches),
            answered: Notify::new(),
            look: Notify::new(),
            introduced: Notify::new(),
            stopping,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            config: parts.config,
        }))
    }

    /// Who may speak.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What Telegram says of a bot.
    pub fn set_identity(&self, bot: BotName, identity: BotIdentity) {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner).insert(bot, identity);
        self.introduced.notify_waiters();
    }

    /// What Telegram said of a bot, if it has.
    pub fn identity(&self, bot: &BotName) -> Option<BotIdentity> {
        self.bots.lock().unwrap_or_else(PoisonError::into_inner).get(bot).cloned()
    }

    /// User names of the bots, as far as Telegram has told them.
    pub fn usernames(&self) -> Vec<String> {
        let bots = self.bots.lock().unwrap_or_else(PoisonError::into_inner);
        bots.values().map(|bot| bot.username.clone()).collect()
    }

    /// Turns that run or wait: lanes, and messages in them.
    pub fn depth(&self) -> (usize, usize) {
        self.lanes.depth()
    }

    /// Whether `/freeze` is in force.
    pub fn frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Sends a stored update to whoever deals with it: at once, or in its lane.
    fn route(self: &Arc<Self>, lane: Lane, item: Item) {
        if self.unclear(&lane, &item) && self.may_be_urgent(&item) {
            let engine = Arc::clone(self);
            let held = async move {
                if engine.until_introduced(&lane, &CancellationToken::new()).await {
                    engine.route(lane, item);
                }
            };
            self.tasks.spawn_on(held, &self.runtime);
            return;
        }
        if self.urgent(&lane, &item) {
            let engine = Arc::clone(self);
            self.tasks.spawn_on(async move { urgent::handle(&engine, &lane, item).await }, &self.runtime);
            return;
        }
        let item = match self.replaces(&lane, item) {
            Some(item) => item,
            None => return,
        };
        if self.lanes.push(&lane, item) {
            let engine = Arc::clone(self);
            self.tasks.spawn_on(async move { engine.work_off(lane).await }, &self.runtime);
        }
    }

    /// An edit of a message that still waits takes its place; the row of the old text is done.
    fn replaces(self: &Arc<Self>, lane: &Lane, item: Item) -> Option<Item> {
        let Kind::Edited(edited) = &item.update.kind else { return Some(item) };
        let id = edited.message_id;
        let same =
            |old: &Item| matches!(&old.update.kind, Kind::Message(m) | Kind::Edited(m) if m.message_id == id);
        match self.lanes.replace(lane, same, item) {
            Err(item) => Some(*item),
            Ok(old) => {
                let engine = Arc::clone(self);
                self.tasks.spawn_on(async move { engine.settle(vec![old]).await }, &self.runtime);
                None
            }
        }
    }

    /// Waits, after a stop was asked, until no turn runs. What still waits then is in the inbox.
    pub async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn work_off(self: Arc<Self>, lane: Lane) {
        while let Some((item, stop)) = self.lanes.next(&lane) {
            if self.stopping.is_cancelled() {
                return; // It stays in the inbox; the next start takes it up.
            }
            if self.unclear(&lane, &item) && !self.until_introduced(&lane, &stop).await {
                return;
            }
            if !self.until_moved(lane.chat).await {
                return;
            }
            let Ok(seat) = Arc::clone(&self.turns).acquire_owned().await else { return };
            self.lanes.sit(&lane, item.row, seat);
            self.bursts.over().await;
            if self.may_run(&lane, item.row).await {
                walk::walk(&self, &lane, item, &stop).await;
            }
            self.lanes.stand(&lane);
        }
    }

    /// Marks rows as dealt with. While the disk does not take it, that is tried again behind the caller's back; if the
    /// process ends before it did, they are dealt with again after the next start.
    async fn settle(&self, rows: Vec<i64>) {
        rows.iter().for_each(|row| self.terminal.dropped(*row));
        let rows: Arc<[i64]> = rows.into();
        let (store, stopping) = (self.store.clone(), self.stopping.clone());
        let again = rows.clone();
        let write = move |store: Store, rows: Arc<[i64]>| async move {
            store.write(move |tx| rows.iter().try_for_each(|row| inbox::done(tx, *row))).await
        };
        let Err(error) = write(self.store.clone(), rows).await else { return };
        warn!(%error, "could not mark updates as done; trying again");
        self.tasks.spawn(async move {
            let mut pause = recover::PAUSE;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (2 * pause).min(recover::LONGEST_PAUSE),
                    () = stopping.cancelled() => return,
                }
                if write(store.clone(), again.clone()).await.is_ok() {
                    return;
                }
            }
        });
    }
}

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests;
