//! The database: SQLite in WAL mode with `synchronous = FULL`, one writer thread that commits many changes with one
//! fsync (group commit). Each stage keeps its own SQL; this module only runs it. What [`Store::write`] has returned
//! is on the disk.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

/// Changes that one commit may carry. More would only delay the first of them.
const GROUP: usize = 512;
/// After two groups of at least so many together the writer waits a moment for as many again: their senders will be back, and
/// a commit costs the same for all. Half of what the last commit took: so senders wait together for a slow disk, and in two
/// halves, one behind the other, for a fast one (PostgreSQL's `commit_siblings`, `commit_delay`, and its advice for them).
const SIBLINGS: usize = 8;
/// At most that long.
const MOMENT: Duration = Duration::from_millis(1);
/// Changes that may wait for the writer; beyond it callers wait, so that memory stays bounded.
const QUEUE: usize = 4096;
/// Pages in the WAL after which the writer checkpoints between two groups: 4 MiB, which stay in the system's cache.
const CHECKPOINT_PAGES: i64 = 1000;
/// Changes after which the writer looks at the length of the WAL; one change writes some ten pages.
const LOOK: usize = 64;
/// After this time without a change the WAL is emptied.
const QUIET: Duration = Duration::from_secs(60);

/// Why a change or a query failed. Nothing of it was stored.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StoreError {
    /// The disk is full or read-only, or the file is damaged: the sender should try again.
    #[error("database: {0}")]
    Disk(String),
    /// The statement itself failed.
    #[error("database: {0}")]
    Statement(String),
    /// The writer has stopped.
    #[error("database: the writer has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use ErrorCode::{CannotOpen, DatabaseCorrupt, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure};
        match error.sqlite_error_code() {
            Some(DiskFull | SystemIoFailure | ReadOnly | CannotOpen | DatabaseCorrupt | PermissionDenied) => {
                Self::Disk(error.to_string())
            }
            _ => Self::Statement(error.to_string()),
        }
    }
}

/// A change in the writer's queue.
trait Change: Send {
    /// Does it inside the group's transaction, and keeps what came of it. `false` when it failed.
    fn run(&mut self, transaction: &Transaction<'_>) -> bool;
    /// Answers its caller, after the commit or in place of it.
    fn tell(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A change, what came of it, and who is to be told.
struct Waiting<F, T, G> {
    change: F,
    came: Option<rusqlite::Result<T>>,
    tell: G,
}

impl<F, T, G> Change for Waiting<F, T, G>
where
    F: Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
    G: FnOnce(Result<T, StoreError>) + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> bool {
        self.came.insert((self.change)(transaction)).is_ok()
    }

    fn tell(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { change, came, tell } = *self;
        // Before the rest, so that nobody else holds what it shared with the change.
        drop(change);
        tell(committed.and_then(|()| Ok(came.ok_or(StoreError::Stopped)??)));
    }
}

/// An open database whose writer does not run yet: a process locks itself down while it has one thread.
pub struct Prepared {
    writer: Connection,
    reader: Connection,
}

/// A handle on the database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: mpsc::SyncSender<Box<dyn Change>>,
    reader: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens or makes the database and runs the migrations that it has not seen, in order, all or nothing.
    pub fn prepare(path: &Path, migrations: &[&str]) -> Result<Prepared, StoreError> {
        let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        migrate(&mut writer, migrations)?;
        Ok(Prepared { writer, reader: connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)? })
    }

    /// [`Store::prepare`] and [`Prepared::start`] in one.
    pub fn open(path: &Path, migrations: &[&str]) -> Result<Self, StoreError> {
        Self::prepare(path, migrations)?.start()
    }

    /// Makes a change durable. Concurrent changes share one transaction and one fsync. When one of them fails, only it
    /// is undone: the others are run again, so a change must do nothing but what the transaction undoes.
    pub async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (caller, told) = oneshot::channel();
        let tell = |came| {
            // A caller that went away needs no answer.
            let _ = caller.send(came);
        };
        self.hand_over(change, tell).await?;
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// [`Store::write`] that does not wait: the writer tells what came of it once it is on the disk, whether or not anybody still
    /// wants to know. It does nothing else meanwhile, so that has to be short.
    pub async fn hand_over<T, F, G>(&self, change: F, tell: G) -> Result<(), StoreError>
    where
        T: Send + 'static,
        F: Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
        G: FnOnce(Result<T, StoreError>) + Send + 'static,
    {
        self.enqueue(Box::new(Waiting { change, came: None, tell })).await
    }

    /// Reads what is committed. Short queries only: it runs on the calling thread.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(query(&reader)?)
    }

    async fn enqueue(&self, mut change: Box<dyn Change>) -> Result<(), StoreError> {
        loop {
            match self.writer.try_send(change) {
                Ok(()) => return Ok(()),
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Stopped),
                Err(mpsc::TrySendError::Full(back)) => change = back,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Prepared {
    /// Starts the writer's thread.
    pub fn start(self) -> Result<Store, StoreError> {
        let (writer, changes) = mpsc::sync_channel(QUEUE);
        thread::Builder::new()
            .name("store".into())
            .spawn(move || write_groups(self.writer, &changes))
            .map_err(|error| StoreError::Disk(format!("start the writer: {error}")))?;
        Ok(Store { writer, reader: Arc::new(Mutex::new(self.reader)) })
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Kibibytes. Each commit of the writer voids what the reader has cached, so the reader needs little.
    let writes = flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE);
    connection.pragma_update(None, "cache_size", if writes { -1_000 } else { -250 })?;
    // After the lock down there is no folder for temporary files, and nothing here needs one.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);
    if writes {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // Deleted messages are overwritten, not just unlinked.
        connection.pragma_update(None, "secure_delete", true)?;
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > migrations.len() {
        return Err(StoreError::Statement(format!(
            "the database is of a newer release (schema {done}, this release knows {}); install that release again",
            migrations.len()
        )));
    }
    for step in &migrations[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", migrations.len() as i64)?;
    Ok(transaction.commit()?)
}

fn write_groups(mut connection: Connection, changes: &mpsc::Receiver<Box<dyn Change>>) {
    let (mut since, mut last, mut siblings, mut moment) = (0, 0, 0, Duration::ZERO);
    loop {
        let first = match changes.recv_timeout(QUIET) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                checkpoint(&connection, "TRUNCATE");
                let _ = connection.execute_batch("PRAGMA shrink_memory");
                let Ok(first) = changes.recv() else { return };
                first
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let mut group = vec![first];
        if siblings >= SIBLINGS {
            gather(&mut group, siblings, moment, changes);
        }
        let begun = Instant::now();
        let committed = commit_group(&mut connection, &mut group, changes);
        moment = (begun.elapsed() / 2).min(MOMENT);
        siblings = group.len() + std::mem::replace(&mut last, group.len());
        since += group.len();
        for change in group {
            change.tell(committed.clone());
        }
        if since >= LOOK {
            since = 0;
            if wal_pages(&connection) > CHECKPOINT_PAGES {
                checkpoint(&connection, "RESTART");
            }
        }
    }
}

/// Waits until so many are there, at most for a moment.
fn gather(
    group: &mut Vec<Box<dyn Change>>,
    siblings: usize,
    moment: Duration,
    changes: &mpsc::Receiver<Box<dyn Change>>,
) {
    let until = Instant::now() + moment;
    while group.len() < siblings {
        let left = until.saturating_duration_since(Instant::now());
        match changes.recv_timeout(left) {
            Ok(next) => group.push(next),
            Err(_) => return,
        }
    }
}

/// Commits the changes in `group` and what waits behind them, in one transaction. A savepoint for each change would cost
/// a copy of every page that it touches, so there is none unless one fails.
fn commit_group(
    connection: &mut Connection,
    group: &mut Vec<Box<dyn Change>>,
    changes: &mpsc::Receiver<Box<dyn Change>>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut run = 0;
    let good = loop {
        while group.get_mut(run).is_some_and(|change| change.run(&transaction)) {
            run += 1;
        }
        if run < group.len() || run >= GROUP {
            break run == group.len();
        }
        match changes.try_recv() {
            Ok(next) => group.push(next),
            Err(_) => break true,
        }
    };
    if good {
        return Ok(transaction.commit()?);
    }
    undone(&transaction)?;
    transaction.rollback()?;
    one_by_one(connection, group)
}

/// Runs each change again in a savepoint of its own, so that those that fail undo themselves alone.
fn one_by_one(connection: &mut Connection, group: &mut [Box<dyn Change>]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in group {
        transaction.execute_batch("SAVEPOINT change")?;
        let good = change.run(&transaction);
        undone(&transaction)?;
        transaction.execute_batch(if good {
            "RELEASE change"
        } else {
            "ROLLBACK TO change; RELEASE change"
        })?;
    }
    Ok(transaction.commit()?)
}

/// When the disk is full or fails, SQLite undoes the whole transaction by itself. Whatever ran after it would be
/// committed one by one, and then be reported as failed.
fn undone(transaction: &Connection) -> Result<(), StoreError> {
    match transaction.is_autocommit() {
        true => {
            Err(StoreError::Disk("a change of the same commit failed, and all of them were undone".into()))
        }
        false => Ok(()),
    }
}

/// Moves the WAL into the database between two groups, so that no commit waits for it to be of unbounded length.
/// `RESTART` lets the next commits write over it, which costs the disk a fraction of what a growing file does;
/// `TRUNCATE` also empties the file, so that what was deleted does not stay in it.
fn checkpoint(connection: &Connection, how: &str) {
    if let Err(error) = connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(())) {
        tracing::warn!(%error, "checkpoint failed; the write-ahead log stays longer until the next one");
    }
}

fn wal_pages(connection: &Connection) -> i64 {
    connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Store, StoreError};

    const TABLE: &str = "CREATE TABLE t (n INTEGER PRIMARY KEY)";

    fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
    }

    #[tokio::test]
    async fn concurrent_changes_are_all_stored_and_a_failing_one_undoes_only_itself() {
        let dir = tempfile::tempdir().expect("dir");
        let store = Store::open(&dir.path().join("db"), &[TABLE]).expect("open");
        let writes = (0..1000).map(|n: i64| {
            let store = store.clone();
            tokio::spawn(async move {
                // Every tenth change does half of its work and fails.
                store
                    .write(move |tx| {
                        tx.execute("INSERT INTO t VALUES (?1)", [n])?;
                        tx.execute("INSERT INTO t VALUES (?1)", [if n % 10 == 0 { n } else { n + 10_000 }])
                    })
                    .await
            })
        });
        let mut failed = 0;
        for write in writes.collect::<Vec<_>>() {
            match write.await.expect("task") {
                Ok(_) => {}
                Err(StoreError::Statement(_)) => failed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(failed, 100);
        assert_eq!(store.read(count).expect("read"), 1800);
        // Another connection sees the same: it is on the disk, not in a cache.
        let other = Connection::open(dir.path().join("db")).expect("open");
        assert_eq!(count(&other).expect("count"), 1800);
    }

    #[tokio::test]
    async fn when_sqlite_undoes_a_commit_nobody_is_told_that_it_holds_and_later_changes_do() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("db");
        let store = Store::open(&path, &["CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB)"]).expect("open");
        let insert = |n: i64| {
            let store = store.clone();
            async move { store.write(move |tx| tx.execute("INSERT INTO t (n) VALUES (?1)", [n])).await }
        };
        // The first holds the writer until the others are in its queue, so that all are of one group.
        let (go, going) = std::sync::mpsc::channel();
        let first = store.write(move |tx| {
            going.recv().expect("go");
            tx.execute("INSERT INTO t (n) VALUES (1)", [])
        });
        let full = store.write(|tx| {
            let pages: i64 = tx.pragma_query_value(None, "page_count", |row| row.get(0))?;
            tx.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(()))?;
            tx.execute("INSERT INTO t VALUES (2, zeroblob(1000000))", [])
        });
        let (first, full, behind, ()) =
            tokio::join!(first, full, insert(3), async { go.send(()).expect("go") });
        assert!(matches!(full, Err(StoreError::Disk(_))), "{full:?}");
        let other = Connection::open(&path).expect("open");
        let there = |n: i64| {
            other
                .query_row("SELECT count(*) FROM t WHERE n = ?1", [n], |row| row.get::<_, i64>(0))
                .expect("count")
                == 1
        };
        assert_eq!((first.is_ok(), behind.is_ok(), false), (there(1), there(3), there(2)), "told what holds");
        assert!(first.is_err(), "it was undone with the others");
        assert!(insert(1).await.is_ok() && there(1), "the store goes on");
    }

    #[test]
    fn migrations_run_once_and_a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("db");
        drop(Store::open(&path, &[TABLE]).expect("first"));
        let store = Store::open(&path, &[TABLE, "INSERT INTO t VALUES (1)"]).expect("second");
        assert_eq!(store.read(count).expect("read"), 1);
        drop(store);
        let error = Store::open(&path, &[TABLE]).err().expect("an older release");
        assert!(error.to_string().contains("newer release"), "{error}");
        assert!(Store::open(&dir.path().join("bad"), &["CREATE TABLE x (a)", "nonsense"]).is_err());
        let bad = Connection::open(dir.path().join("bad")).expect("open");
        let tables: i64 =
            bad.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("count");
        assert_eq!(tables, 0, "all or nothing");
    }
}
