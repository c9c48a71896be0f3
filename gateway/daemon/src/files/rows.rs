//! The files as rows. A row is written when its file is on the disk; it is deleted before its file is. What is gone from a
//! conversation and still waits to be sent is kept, and seen by nobody, until it is sent.

use openclaw_wire::{config::Files, file::FileName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// The stage's tables.
pub const MIGRATION: &str = "
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    name TEXT NOT NULL,                     -- ours, as on the disk: 7.ogg
    inbox INTEGER NOT NULL,                 -- the message that it came with or was made for
    origin TEXT NOT NULL,                   -- once in a conversation: Telegram's id of the file, or a call and a number
    made INTEGER NOT NULL,                  -- a skill made it
    kind TEXT NOT NULL,                     -- what it is said to be, for people
    shown TEXT NOT NULL,                    -- the sender's or the skill's name for it, for people; '' without
    media TEXT NOT NULL,                    -- media type, as told; '' without
    size INTEGER NOT NULL,                  -- bytes
    digest TEXT NOT NULL,                   -- SHA-256 of it, in hex
    stored INTEGER NOT NULL,                -- unix seconds
    forgotten INTEGER NOT NULL DEFAULT 0    -- the conversation is over, and it still has to be sent
) STRICT;
CREATE UNIQUE INDEX file_name ON file (session, name);
CREATE UNIQUE INDEX file_origin ON file (session, origin) WHERE forgotten = 0;
CREATE INDEX file_inbox ON file (inbox);
CREATE INDEX file_stored ON file (stored);
CREATE TABLE file_number (session INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
";

/// Rows that are deleted in one commit.
const AT_ONCE: i64 = 1000;

/// A file of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its number over all conversations.
    pub id: i64,
    /// Whose it is.
    pub session: i64,
    /// Its name.
    pub name: FileName,
    /// What it is said to be.
    pub kind: String,
    /// Its sender's or maker's name for it; empty without.
    pub shown: String,
    /// Media type as told; empty without.
    pub media: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub digest: String,
}

/// What is to become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Of which conversation, by which name, how large: [`File::id`] is not known yet.
    pub file: File,
    /// The message.
    pub inbox: i64,
    /// Once in a conversation.
    pub origin: String,
    /// A skill made it.
    pub made: bool,
}

/// A file whose row is gone: what is left to do is to delete it.
pub type Gone = (i64, FileName);

/// The next number in a conversation. None is used twice, whatever is deleted.
pub fn number(transaction: &Transaction<'_>, session: i64) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO file_number VALUES (?1, 1) ON CONFLICT (session) DO UPDATE SET last = last + 1 RETURNING last",
        )?
        .query_row([session], |row| row.get(0))
}

/// Adds a file that is on the disk; gives its id, or that of the one that was there already.
pub fn add(transaction: &Transaction<'_>, new: &New, now: i64) -> rusqlite::Result<i64> {
    let file = &new.file;
    transaction
        .prepare_cached(
            "INSERT INTO file (session, name, inbox, origin, made, kind, shown, media, size, digest, stored)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) RETURNING id",
        )?
        .query_row(
            params![
                file.session,
                file.name.as_str(),
                new.inbox,
                new.origin,
                new.made,
                file.kind,
                file.shown,
                file.media,
                file.size as i64,
                file.digest,
                now
            ],
            |row| row.get(0),
        )
}

const COLUMNS: &str = "id, session, name, kind, shown, media, size, digest";

fn read(row: &Row<'_>) -> rusqlite::Result<File> {
    Ok(File {
        id: row.get(0)?,
        session: row.get(1)?,
        name: name(row, 2)?,
        kind: row.get(3)?,
        shown: row.get(4)?,
        media: row.get(5)?,
        size: row.get::<_, i64>(6)?.unsigned_abs(),
        digest: row.get(7)?,
    })
}

fn name(row: &Row<'_>, at: usize) -> rusqlite::Result<FileName> {
    FileName::try_from(row.get::<_, String>(at)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
    })
}

fn gone(row: &Row<'_>) -> rusqlite::Result<Gone> {
    Ok((row.get(0)?, name(row, 1)?))
}

/// The file of this name in a conversation.
pub fn find(connection: &Connection, session: i64, name: &FileName) -> rusqlite::Result<Option<File>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM file WHERE session = ?1 AND name = ?2 AND forgotten = 0"
        ))?
        .query_row(params![session, name.as_str()], read)
        .optional()
}

/// The file that came from there.
pub fn of_origin(connection: &Connection, session: i64, origin: &str) -> rusqlite::Result<Option<File>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM file WHERE session = ?1 AND origin = ?2 AND forgotten = 0"
        ))?
        .query_row(params![session, origin], read)
        .optional()
}

/// The files of a conversation, the newest first.
pub fn of_session(connection: &Connection, session: i64, most: u32) -> rusqlite::Result<Vec<File>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM file WHERE session = ?1 AND forgotten = 0 ORDER BY id DESC LIMIT ?2"
        ))?
        .query_map(params![session, most], read)?
        .collect()
}

/// What skills made for a message, in order.
pub fn made_for(connection: &Connection, inbox: i64) -> rusqlite::Result<Vec<File>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM file WHERE inbox = ?1 AND made = 1 AND forgotten = 0 ORDER BY id"
        ))?
        .query_map([inbox], read)?
        .collect()
}

/// `/new`: the files of a conversation go, but for those in `held`, which nobody sees any more.
pub fn forget(transaction: &Transaction<'_>, session: i64, held: &[i64]) -> rusqlite::Result<Vec<Gone>> {
    transaction.prepare_cached("UPDATE file SET forgotten = 1 WHERE session = ?1")?.execute([session])?;
    delete(transaction, "session = ?1", session, held)
}

/// What was stored before this time, and what was only kept to be sent.
pub fn expire(transaction: &Transaction<'_>, before: i64, held: &[i64]) -> rusqlite::Result<Vec<Gone>> {
    delete(transaction, "stored < ?1 OR forgotten = 1", before, held)
}

/// Deletes the oldest files until one of `size` bytes more fits into its conversation and into all of them.
pub fn make_room(
    transaction: &Transaction<'_>,
    session: i64,
    size: u64,
    limits: &Files,
    held: &[i64],
) -> rusqlite::Result<Vec<Gone>> {
    let mut all = Vec::new();
    for (of, most) in [(Some(session), limits.per_chat), (None, limits.total)] {
        let used: i64 = transaction
            .prepare_cached("SELECT coalesce(sum(size), 0) FROM file WHERE ?1 IS NULL OR session = ?1")?
            .query_row([of], |row| row.get(0))?;
        let mut over = used.saturating_add_unsigned(size).saturating_sub_unsigned(most);
        let oldest: Vec<(i64, i64)> = match over > 0 {
            false => Vec::new(),
            true => transaction
                .prepare_cached(
                    "SELECT id, size FROM file WHERE ?1 IS NULL OR session = ?1 ORDER BY id LIMIT ?2",
                )?
                .query_map(params![of, AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?,
        };
        for (id, bytes) in oldest.into_iter().filter(|(id, _)| !held.contains(id)) {
            if over <= 0 {
                break;
            }
            over -= bytes;
            all.push(remove(transaction, id)?);
        }
    }
    Ok(all)
}

fn remove(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Gone> {
    transaction
        .prepare_cached("DELETE FROM file WHERE id = ?1 RETURNING session, name")?
        .query_row([id], gone)
}

fn delete(
    transaction: &Transaction<'_>,
    which: &str,
    value: i64,
    held: &[i64],
) -> rusqlite::Result<Vec<Gone>> {
    let found: Vec<i64> = transaction
        .prepare_cached(&format!("SELECT id FROM file WHERE {which}"))?
        .query_map([value], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    found.into_iter().filter(|id| !held.contains(id)).map(|id| remove(transaction, id)).collect()
}

/// Every file that has a row, with its size: for the sweep at the start.
pub fn every(connection: &Connection) -> rusqlite::Result<Vec<(i64, Gone, u64)>> {
    connection
        .prepare("SELECT session, name, id, size FROM file")?
        .query_map([], |row| Ok((row.get(2)?, gone(row)?, row.get::<_, i64>(3)?.unsigned_abs())))?
        .collect()
}

/// Rows whose file is not there, or is another one.
pub fn lost(transaction: &Transaction<'_>, ids: &[i64]) -> rusqlite::Result<()> {
    ids.iter().try_for_each(|id| {
        transaction.prepare_cached("DELETE FROM file WHERE id = ?1")?.execute([id]).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{config::Files, file::FileName};
    use rusqlite::{Connection, Transaction};

    use super::{
        File, MIGRATION, New, add, expire, find, forget, made_for, make_room, number, of_origin, of_session,
    };

    fn store(tx: &Transaction<'_>, session: i64, size: u64, now: i64) -> i64 {
        let number = number(tx, session).expect("number");
        let file = File {
            id: 0,
            session,
            name: FileName::new(number, "ogg").expect("name"),
            kind: "voice note".into(),
            shown: String::new(),
            media: String::new(),
            size,
            digest: "d".into(),
        };
        let origin = format!("telegram {number}");
        add(tx, &New { file, inbox: 1, origin, made: number % 2 == 0 }, now).expect("add")
    }

    fn names(files: &[File]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn numbers_are_never_used_again_and_what_has_to_be_sent_stays() {
        let mut db = Connection::open_in_memory().expect("open");
        db.execute_batch(MIGRATION).expect("migrate");
        let tx = db.transaction().expect("begin");
        let ids: Vec<i64> = (0..4).map(|at| store(&tx, 7, 10, at)).collect();
        store(&tx, 8, 10, 0);
        assert_eq!(names(&of_session(&tx, 7, 9).expect("all")), ["4.ogg", "3.ogg", "2.ogg", "1.ogg"]);
        assert_eq!(names(&made_for(&tx, 1).expect("made")), ["2.ogg", "4.ogg"]);
        assert!(of_origin(&tx, 7, "telegram 3").expect("found").is_some());
        let gone = forget(&tx, 7, &[ids[1]]).expect("forget");
        assert_eq!(gone.len(), 3);
        assert!(of_session(&tx, 7, 9).expect("all").is_empty(), "nobody sees what only has to be sent");
        assert!(find(&tx, 7, &FileName::new(2, "ogg").expect("name")).expect("find").is_none());
        assert_eq!(of_session(&tx, 8, 9).expect("all").len(), 1, "another conversation's stays");
        store(&tx, 7, 10, 9);
        assert_eq!(names(&of_session(&tx, 7, 9).expect("all")), ["5.ogg"]);
        assert!(expire(&tx, 0, &[ids[1]]).expect("expire").is_empty(), "it was not sent yet");
        assert_eq!(expire(&tx, 0, &[]).expect("expire").len(), 1);
        assert_eq!(expire(&tx, 9, &[]).expect("expire").len(), 1, "too old");
    }

    /// The oldest go first: of the conversation, then of all; and never what still has to be sent.
    #[test]
    fn room_is_made_within_both_bounds() {
        let mut db = Connection::open_in_memory().expect("open");
        db.execute_batch(MIGRATION).expect("migrate");
        let tx = db.transaction().expect("begin");
        let limits = Files { largest: 10, per_chat: 30, total: 60, days: 1 };
        let first = store(&tx, 1, 10, 0);
        let fill = |session: i64| (0..2).for_each(|_| assert!(store(&tx, session, 10, 0) > 0));
        fill(1);
        fill(2);
        assert!(make_room(&tx, 2, 10, &limits, &[]).expect("room").is_empty(), "it fits");
        let gone = make_room(&tx, 1, 10, &limits, &[first]).expect("room");
        assert_eq!(gone.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["2.ogg"]);
        fill(3);
        let gone = make_room(&tx, 3, 10, &limits, &[first]).expect("room");
        assert_eq!(gone, [(1, FileName::new(3, "ogg").expect("name"))], "the oldest of all");
    }
}
