//! The conversation of a chat, as rows. What a turn sends to the model is a window of the newest rows and a summary of
//! what was before, so that its cost does not grow with the age of the conversation; what is in the summary is deleted.
//! The content of a row is text that only the caller understands; its labels stand beside it.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The stage's tables.
pub const MIGRATION: &str = "
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    bot TEXT NOT NULL,
    chat INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    model TEXT,                             -- chosen by /model; NULL is the configured order
    summary TEXT NOT NULL DEFAULT '',       -- of what is no longer in history
    summary_label TEXT NOT NULL DEFAULT '',
    bytes INTEGER NOT NULL DEFAULT 0,       -- of all its history rows
    last INTEGER NOT NULL DEFAULT 0,        -- number of its newest history row, never used again
    UNIQUE (bot, chat, topic)
);
CREATE TABLE history (
    id INTEGER PRIMARY KEY,                 -- session << 32 | number: a session's rows lie side by side
    inbox INTEGER NOT NULL,                 -- the message that it belongs to
    turn TEXT NOT NULL,                     -- JSON of one turn of the conversation
    labels TEXT NOT NULL                    -- JSON, a label for each part of it
);
CREATE TABLE usage (
    session INTEGER NOT NULL,
    day TEXT NOT NULL,                      -- UTC, 2026-01-31
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    output INTEGER NOT NULL,
    PRIMARY KEY (session, day, model)
) WITHOUT ROWID;
CREATE TABLE frozen (since INTEGER NOT NULL);
";
/// What was used is in egress's ledger.
pub const MIGRATION_USAGE: &str = "DROP TABLE usage;";

/// A chat's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// The model that the owner chose for it.
    pub model: Option<String>,
    /// Of what is no longer in the rows.
    pub summary: String,
    /// Label of the summary, as JSON; empty without one.
    pub summary_label: String,
    /// Bytes of all rows.
    pub bytes: usize,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// The message that it belongs to.
    pub inbox: i64,
    /// JSON of the turn.
    pub turn: String,
    /// JSON of its labels.
    pub labels: String,
}

/// The session of a chat; made when it is not there.
pub fn open(transaction: &Transaction<'_>, bot: &str, chat: i64, topic: i64) -> rusqlite::Result<i64> {
    let found = transaction
        .prepare_cached("SELECT id FROM session WHERE bot = ?1 AND chat = ?2 AND topic = ?3")?
        .query_row(params![bot, chat, topic], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => {
            transaction
                .prepare_cached("INSERT INTO session (bot, chat, topic) VALUES (?1, ?2, ?3)")?
                .execute(params![bot, chat, topic])?;
            Ok(transaction.last_insert_rowid())
        }
    }
}

/// A group became a supergroup: its sessions go on there, but for topics that have one already.
pub fn follow(transaction: &Transaction<'_>, from: i64, to: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE OR IGNORE session SET chat = ?2 WHERE chat = ?1")?
        .execute([from, to])?;
    Ok(())
}

/// The session of a chat, if there is one.
pub fn find(connection: &Connection, bot: &str, chat: i64, topic: i64) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(
            "SELECT id, model, summary, summary_label, bytes FROM session WHERE bot = ?1 AND chat = ?2 AND topic = ?3",
        )?
        .query_row(params![bot, chat, topic], |row| {
            Ok(Session {
                id: row.get(0)?,
                model: row.get(1)?,
                summary: row.get(2)?,
                summary_label: row.get(3)?,
                bytes: row.get::<_, i64>(4)?.unsigned_abs() as usize,
            })
        })
        .optional()
}

/// The bot of the newest session in a chat, leaving one out.
pub fn last_bot(connection: &Connection, chat: i64, but: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT bot FROM session WHERE chat = ?1 AND bot <> ?2 ORDER BY id DESC LIMIT 1")?
        .query_row(params![chat, but], |row| row.get(0))
        .optional()
}

/// All rows of a session, oldest first. Their number is bounded by [`fold`].
pub fn rows(connection: &Connection, session: i64) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(
            "SELECT id, inbox, turn, labels FROM history WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 0xffffffff ORDER BY id",
        )?
        .query_map([session], |row| {
            Ok(Row { id: row.get(0)?, inbox: row.get(1)?, turn: row.get(2)?, labels: row.get(3)? })
        })?
        .collect()
}

/// Adds a turn to a session.
pub fn append(
    transaction: &Transaction<'_>,
    session: i64,
    inbox: i64,
    turn: &str,
    labels: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE session SET bytes = bytes + ?2, last = last + 1 WHERE id = ?1")?
        .execute(params![session, turn.len() as i64])?;
    let number: i64 = transaction
        .prepare_cached("SELECT last FROM session WHERE id = ?1")?
        .query_row([session], |row| row.get(0))?;
    transaction
        .prepare_cached("INSERT INTO history (id, inbox, turn, labels) VALUES (?1 << 32 | ?2, ?3, ?4, ?5)")?
        .execute(params![session, number, inbox, turn, labels])?;
    Ok(())
}

/// Replaces everything up to and including a row by a summary that tells it.
pub fn fold(
    transaction: &Transaction<'_>,
    session: i64,
    upto: i64,
    summary: &str,
    label: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM history WHERE id BETWEEN ?1 << 32 AND min(?2, ?1 << 32 | 0xffffffff)")?
        .execute(params![session, upto])?;
    transaction
        .prepare_cached(
            "UPDATE session SET summary = ?2, summary_label = ?3,
             bytes = (SELECT coalesce(sum(octet_length(turn)), 0) FROM history
                      WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 0xffffffff) WHERE id = ?1",
        )?
        .execute(params![session, summary, label])?;
    Ok(())
}

/// `/new`: forgets the conversation, keeps the chosen model.
pub fn clear(transaction: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
    fold(transaction, session, i64::MAX, "", "")
}

/// `/model`: chooses a model for a session, or the configured order again.
pub fn choose_model(
    transaction: &Transaction<'_>,
    session: i64,
    model: Option<&str>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE session SET model = ?2 WHERE id = ?1")?
        .execute(params![session, model])?;
    Ok(())
}

/// Since when everything is frozen, in unix seconds; `None` when it is not.
pub fn frozen(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT min(since) FROM frozen")?.query_row([], |row| row.get(0))
}

/// `/freeze`, and the operator's `unfreeze`.
pub fn freeze(transaction: &Transaction<'_>, since: Option<i64>) -> rusqlite::Result<()> {
    match since {
        Some(now) => transaction.execute("INSERT INTO frozen VALUES (?1)", [now])?,
        None => transaction.execute("DELETE FROM frozen", [])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{append, clear, find, fold, open, rows};

    #[test]
    fn rows_are_folded_into_the_summary_and_bytes_follow() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let session = open(&transaction, "a", 1, 0).expect("open");
        assert_eq!(open(&transaction, "a", 1, 0).expect("open"), session);
        for text in ["é1", "22", "333"] {
            append(&transaction, session, 7, text, "[]").expect("append");
        }
        let all = rows(&transaction, session).expect("rows");
        assert_eq!(find(&transaction, "a", 1, 0).expect("find").expect("there").bytes, 8);
        fold(&transaction, session, all[1].id, "told", "l").expect("fold");
        let state = find(&transaction, "a", 1, 0).expect("find").expect("there");
        assert_eq!((state.summary.as_str(), state.bytes), ("told", 3));
        assert_eq!(rows(&transaction, session).expect("rows"), all[2..]);
        let other = open(&transaction, "a", 2, 0).expect("open");
        append(&transaction, other, 8, "elsewhere", "[]").expect("append");
        clear(&transaction, session).expect("clear");
        assert_eq!(rows(&transaction, other).expect("rows").len(), 1, "another session's row stays");
        append(&transaction, session, 9, "4444", "[]").expect("append");
        let new = rows(&transaction, session).expect("rows");
        assert!(new.len() == 1 && new[0].id > all[2].id, "a number is never used again");
        clear(&transaction, session).expect("clear");
        let state = find(&transaction, "a", 1, 0).expect("find").expect("there");
        assert_eq!((state.summary.as_str(), state.bytes), ("", 0));
    }
}
