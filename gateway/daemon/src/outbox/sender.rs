//! Rows → messages. One task for each chat that has something to send, so chats do not wait for each other and a
//! chat's rows never overtake; a task ends when its chat is served. The database is read when a chat is woken and at
//! start, never polled. Never decides what is said.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use openclaw_wire::id::{BotName, ChatId};
use rusqlite::Transaction;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    deliver::{Flow, deliver},
    file::Opening,
    live::Tempo,
    pace::{Pace, Pacer},
    rows,
};
use crate::{
    store::{Store, StoreError},
    telegram::method::BotApi,
};

/// Rows of a chat that are read at once.
const BATCH: u32 = 16;
/// How often old rows are forgotten, and what is old.
const PRUNE_EVERY: Duration = Duration::from_secs(6 * 3600);
const SENT_KEPT: Duration = Duration::from_secs(7 * 86_400);
const DEAD_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How patient the sender is.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Telegram's limits.
    pub pace: Pace,
    /// Calls that run at the same time, over all bots.
    pub in_flight: usize,
    /// Calls for one row until it is given up. With the waits below it is about a day, as long as Telegram itself keeps
    /// what it could not deliver.
    pub attempts: u32,
    /// Wait after the first failure; it doubles up to `longest_wait`.
    pub first_wait: Duration,
    /// Longest wait between two tries of one row, and of a bot whose token was refused.
    pub longest_wait: Duration,
    /// How long a call may take.
    pub call: Duration,
    /// What is shown while a turn runs.
    pub tempo: Tempo,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            in_flight: 256,
            attempts: 1500,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            call: Duration::from_secs(60),
            tempo: Tempo::default(),
        }
    }
}

/// What somebody should hear of. Whoever tells the owner through the outbox must expect a [`Event::Dead`] for that
/// message too, and not answer it with another message to the same chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Messages were given up; they are in the dead letters.
    Dead {
        /// Bot.
        bot: BotName,
        /// Chat.
        chat: ChatId,
        /// Rows of the outbox.
        rows: Vec<i64>,
        /// Row of the inbox that the first of them answers.
        answers: Option<i64>,
        /// Why.
        problem: String,
    },
    /// The bot's token is missing or refused; it is tried again now and then. Told once until it works again.
    Paused {
        /// Bot.
        bot: BotName,
    },
    /// The bot works again.
    Resumed {
        /// Bot.
        bot: BotName,
    },
    /// The group became a supergroup; what waited for it goes to its new id.
    Migrated {
        /// Bot.
        bot: BotName,
        /// The group.
        from: ChatId,
        /// The supergroup.
        to: ChatId,
    },
}

/// A chat of a bot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub bot: BotName,
    pub chat: ChatId,
}

pub(super) struct Shared {
    pub store: Store,
    pub api: Arc<dyn BotApi>,
    pub files: Opening,
    pub limits: Limits,
    pub pacer: Arc<Pacer>,
    pub permits: Semaphore,
    events: mpsc::Sender<Event>,
    /// Chats with a task; true: woken since the task has last read its rows.
    chats: Mutex<HashMap<Key, bool>>,
    paused: Mutex<HashSet<BotName>>,
    /// A pause has ended early.
    hurry: Notify,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

/// The sender. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    pub(super) shared: Arc<Shared>,
}

/// The sender is stopping, or the store has.
#[derive(Debug)]
pub(super) struct Stopped;

impl Sender {
    /// Marks what a crash left undecided and starts to send what waits. Before anything is enqueued, and only once for
    /// a database. `files` opens what rows carry. `events` is never waited for: what does not fit into it is only logged.
    pub async fn start(
        store: Store,
        api: Arc<dyn BotApi>,
        files: Opening,
        limits: Limits,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, StoreError> {
        let waiting = store.write(rows::recover).await?;
        let shared = Arc::new(Shared {
            store,
            api,
            files,
            pacer: Arc::new(Pacer::new(limits.pace)),
            permits: Semaphore::new(limits.in_flight.max(1)),
            limits,
            events,
            chats: Mutex::default(),
            paused: Mutex::default(),
            hurry: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let sender = Self { shared };
        for (bot, chat) in waiting {
            sender.wake(&bot, chat);
        }
        sender.shared.tasks.spawn(forget(sender.shared.clone()));
        Ok(sender)
    }

    /// Something was enqueued for this chat, and committed.
    pub fn wake(&self, bot: &BotName, chat: ChatId) {
        wake(&self.shared, Key { bot: bot.clone(), chat });
    }

    /// The bot has a new token: tries again now.
    pub fn resume(&self, bot: &BotName) {
        let now = Instant::now();
        self.shared.pacer.pause_bot(bot, now, now);
        self.shared.hurry.notify_waiters();
    }

    /// Begins no further call and waits for those under way, at most `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(limit, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                "messages were still being sent at the stop; they will be marked as possibly repeated"
            );
        }
    }
}

pub(super) fn wake(shared: &Arc<Shared>, key: Key) {
    if shared.stop.is_cancelled() {
        return;
    }
    let mut chats = shared.chats.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(again) = chats.get_mut(&key) {
        *again = true;
        return;
    }
    chats.insert(key.clone(), false);
    drop(chats);
    shared.tasks.spawn(serve(shared.clone(), key));
}

/// Sends a chat's rows until there are none.
async fn serve(shared: Arc<Shared>, key: Key) {
    loop {
        let flow = match shared.store.read(|db| rows::pending(db, &key.bot, key.chat, BATCH)) {
            Ok(rows) => batch(&shared, &key, rows).await,
            Err(error) => {
                tracing::error!(%error, chat = %key.chat, "read the outbox; trying again");
                shared.rest(Duration::from_secs(1)).await.map_or(Flow::Stop, |()| Flow::Reload)
            }
        };
        match flow {
            Flow::Stop => break,
            Flow::Reload => {}
            Flow::Next if shared.is_served(&key) => return,
            Flow::Next => {}
        }
    }
    shared.chats.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
}

async fn batch(shared: &Arc<Shared>, key: &Key, rows: Vec<rows::Row>) -> Flow {
    let all = rows.len() < BATCH as usize;
    let mut rows = rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        match deliver(shared, key, row, rows.peek_mut()).await {
            Flow::Next => {}
            other => return other,
        }
    }
    if all { Flow::Next } else { Flow::Reload }
}

impl Shared {
    /// Rows of this chat wait or are being sent.
    pub fn is_busy(&self, key: &Key) -> bool {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// No row was added since they were read: then the chat's task ends.
    fn is_served(&self, key: &Key) -> bool {
        let mut chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        match chats.get_mut(key) {
            Some(again) if *again => {
                *again = false;
                false
            }
            _ => {
                chats.remove(key);
                true
            }
        }
    }

    /// Sleeps, unless the sender stops; or shorter, when a pause ends early.
    pub async fn rest(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = self.hurry.notified() => Ok(()),
            () = sleep(time) => Ok(()),
        }
    }

    /// Makes a change durable, however long the disk is full. Until then the chat waits: to go on would make it
    /// unknowable after a crash what was sent.
    pub async fn record<F>(&self, what: &'static str, change: F) -> Result<(), Stopped>
    where
        F: Fn(&Transaction<'_>) -> rusqlite::Result<()> + Send + Sync + Clone + 'static,
    {
        let mut told = false;
        loop {
            match self.store.write(change.clone()).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Stopped) => return Err(Stopped),
                Err(error) if !told => tracing::error!(%error, what, "write the outbox; trying again"),
                Err(_) => {}
            }
            told = true;
            self.rest(Duration::from_secs(1)).await?;
        }
    }

    pub fn tell(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            tracing::warn!(%error, "nobody listens to the outbox's events");
        }
    }

    /// The bot's token was refused. True: it is news.
    pub fn bot_failed(&self, bot: &BotName) -> bool {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).insert(bot.clone())
    }

    /// The bot's token works.
    pub fn bot_works(&self, bot: &BotName) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if !paused.is_empty() && paused.remove(bot) {
            self.tell(Event::Resumed { bot: bot.clone() });
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn forget(shared: Arc<Shared>) {
    let millis = |time: Duration| time.as_millis() as i64;
    let old = move |t: &Transaction<'_>| rows::prune(t, now() - millis(SENT_KEPT), now() - millis(DEAD_KEPT));
    let mut due = Instant::now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep_until(due) => {}
        }
        match shared.store.write(old).await {
            // Bounded at a time; when there is more it goes on soon.
            Ok(0) => due += PRUNE_EVERY,
            Ok(_) => due = Instant::now() + Duration::from_secs(1),
            Err(error) => {
                tracing::warn!(%error, "forget old rows of the outbox");
                due += PRUNE_EVERY;
            }
        }
    }
}

#[cfg(test)]
mod tests;
