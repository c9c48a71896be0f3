//! The inbox: what was accepted, durable before anybody is told so. An update is stored once for each bot and update
//! id; its text is erased as soon as it is dealt with, the ids stay for two days so that a late copy is recognised.
//! It never looks at what a message says.

pub mod starts;

use openclaw_wire::id::{BotName, ChatId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The stage's tables.
pub const MIGRATION: &str = "
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY,                 -- never used again, see `forget`: the history names messages by it
    bot TEXT NOT NULL,
    update_id INTEGER NOT NULL,
    chat INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    received INTEGER NOT NULL,              -- unix seconds
    state TEXT NOT NULL DEFAULT 'waiting',  -- waiting, done, dead
    tries INTEGER NOT NULL DEFAULT 0,       -- tries that may have failed
    problem TEXT,                           -- why it is dead
    body BLOB NOT NULL                      -- the update; empty once done
);
CREATE UNIQUE INDEX inbox_once ON inbox (bot, update_id);
CREATE INDEX inbox_waiting ON inbox (id) WHERE state = 'waiting';
CREATE INDEX inbox_dead ON inbox (id) WHERE state = 'dead';
CREATE INDEX inbox_old ON inbox (received) WHERE state = 'done';
";

/// How long ids are remembered, in seconds. Telegram retries for at most 24 hours.
const REMEMBER: i64 = 48 * 3600;

/// Rows that [`forget`] deletes at a time: the writer must not be held up.
pub const FORGET: usize = 5000;

/// Chat, topic and bot: one turn at a time in each, many at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The bot; `terminal` for the operator's own chat.
    pub bot: BotName,
    /// The chat.
    pub chat: ChatId,
    /// The topic, 0 without one.
    pub topic: i64,
}

/// A stored update.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number: the order of acceptance.
    pub id: i64,
    /// Where it belongs.
    pub lane: Lane,
    /// The update as it came.
    pub body: Vec<u8>,
    /// How often it was tried and not finished.
    pub tries: u32,
}

/// Stores an update; `None` when it is there already. Accepted only once the transaction is committed.
///
/// Without `RETURNING`, here and in what a turn does often: SQLite keeps what it returns in a table that it opens and closes
/// each time, and writes a journal for the statement besides.
pub fn accept(
    transaction: &Transaction<'_>,
    lane: &Lane,
    update_id: i64,
    body: &[u8],
    now: i64,
) -> rusqlite::Result<Option<i64>> {
    let stored = transaction
        .prepare_cached(
            "INSERT INTO inbox (bot, update_id, chat, topic, received, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (bot, update_id) DO NOTHING",
        )?
        .execute(params![lane.bot.as_str(), update_id, lane.chat.0, lane.topic, now, body])?;
    Ok((stored == 1).then(|| transaction.last_insert_rowid()))
}

/// Everything that waits, in order of acceptance: read once, at start.
pub fn waiting(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare("SELECT id, bot, chat, topic, body, tries FROM inbox WHERE state = 'waiting' ORDER BY id")?
        .query_map([], read)?
        .collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    use rusqlite::{Error::FromSqlConversionFailure, types::Type};
    let bot: String = row.get(1)?;
    let bot = bot.parse().map_err(|error| FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    Ok(Row {
        id: row.get(0)?,
        lane: Lane { bot, chat: ChatId(row.get(2)?), topic: row.get(3)? },
        body: row.get(4)?,
        tries: row.get(5)?,
    })
}

/// Counts a try: before a turn that may end the process, and after one that failed.
pub fn tried(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<u32> {
    transaction.prepare_cached("UPDATE inbox SET tries = tries + 1 WHERE id = ?1")?.execute([id])?;
    transaction.prepare_cached("SELECT tries FROM inbox WHERE id = ?1")?.query_row([id], |row| row.get(0))
}

/// Takes the last try back: it waits for a person.
pub fn not_tried(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE inbox SET tries = max(tries - 1, 0) WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Whether anything waits up to this row.
pub fn left(connection: &Connection, last: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbox WHERE state = 'waiting' AND id <= ?1)")?
        .query_row([last], |row| row.get(0))
}

/// Dealt with: the text goes, the ids stay.
pub fn done(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE inbox SET state = 'done', body = x'' WHERE id = ?1 AND state = 'waiting'")?
        .execute([id])?;
    Ok(())
}

/// Given up: to the dead letters, with the text, so that the owner can look at it.
pub fn dead(transaction: &Transaction<'_>, id: i64, problem: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE inbox SET state = 'dead', problem = ?2 WHERE id = ?1 AND state = 'waiting'")?
        .execute(params![id, problem])?;
    Ok(())
}

/// A group became a supergroup: what is kept of it belongs there now.
pub fn follow(transaction: &Transaction<'_>, from: i64, to: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE inbox SET chat = ?2 WHERE chat = ?1 AND state IN ('waiting', 'dead')")?
        .execute([from, to])?;
    Ok(())
}

/// A dead letter: number, bot, chat, when it was accepted, why it was given up.
pub type Letter = (i64, String, i64, i64, String);

/// What was given up, newest first.
pub fn letters(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Letter>> {
    connection
        .prepare_cached(
            "SELECT id, bot, chat, received, coalesce(problem, '') FROM inbox WHERE state = 'dead' ORDER BY id DESC LIMIT ?1",
        )?
        .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect()
}

/// Puts a dead letter back among those that wait; `None` when there is none of this number.
pub fn revive(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<Row>> {
    transaction
        .prepare_cached(
            "UPDATE inbox SET state = 'waiting', tries = 0, problem = NULL WHERE id = ?1 AND state = 'dead'
             RETURNING id, bot, chat, topic, body, tries",
        )?
        .query_row([id], read)
        .optional()
}

/// Deletes the text of a dead letter; its ids stay like those of any other.
pub fn bury(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    let rows = transaction
        .prepare_cached("UPDATE inbox SET state = 'done', body = x'' WHERE id = ?1 AND state = 'dead'")?
        .execute([id])?;
    Ok(rows == 1)
}

/// Forgets what was dealt with long ago, a bounded number at a time. Gives how many. The newest row stays whatever its
/// age: SQLite gives the next one the number behind it.
pub fn forget(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<usize> {
    transaction.execute(
        "DELETE FROM inbox WHERE id IN
         (SELECT id FROM inbox WHERE state = 'done' AND received < ?1 LIMIT ?2)
         AND id < (SELECT max(id) FROM inbox)",
        [now - REMEMBER, FORGET as i64],
    )
}

/// Messages that wait, and dead letters.
pub fn depth(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let count = |state: &str| {
        connection
            .prepare_cached(&format!("SELECT count(*) FROM inbox WHERE state = '{state}'"))?
            .query_row([], |row| row.get::<_, i64>(0))
    };
    Ok((count("waiting")?.unsigned_abs(), count("dead")?.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::ChatId;
    use rusqlite::Connection;

    use super::{Lane, REMEMBER, accept, dead, done, forget, waiting};

    fn lane(bot: &str) -> Lane {
        Lane { bot: bot.parse().expect("name"), chat: ChatId(5), topic: 0 }
    }

    #[test]
    fn an_update_is_stored_once_for_each_bot_and_its_text_goes_when_it_is_done() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let first = accept(&transaction, &lane("a"), 1, b"x", 0).expect("accept").expect("new");
        assert_eq!(
            accept(&transaction, &lane("a"), 1, b"y", 0).expect("accept"),
            None,
            "the same update again"
        );
        let other = accept(&transaction, &lane("b"), 1, b"x", 0).expect("accept").expect("another bot's");
        done(&transaction, first).expect("done");
        dead(&transaction, other, "why").expect("dead");
        assert_eq!(
            accept(&transaction, &lane("a"), 1, b"x", 9).expect("accept"),
            None,
            "again, after it was done"
        );
        assert!(waiting(&transaction).expect("waiting").is_empty());
        let bodies: Vec<Vec<u8>> = transaction
            .prepare("SELECT body FROM inbox ORDER BY id")
            .expect("sql")
            .query_map([], |row| row.get(0))
            .expect("query")
            .collect::<Result<_, _>>()
            .expect("rows");
        assert_eq!(bodies, [b"".to_vec(), b"x".to_vec()]);
    }

    #[test]
    fn a_number_is_never_used_again() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let first = accept(&transaction, &lane("a"), 1, b"x", 0).expect("accept").expect("new");
        done(&transaction, first).expect("done");
        let second = accept(&transaction, &lane("a"), 2, b"x", 0).expect("accept").expect("new");
        done(&transaction, second).expect("done");
        assert_eq!(forget(&transaction, REMEMBER).expect("forget"), 0, "still remembered");
        assert_eq!(forget(&transaction, REMEMBER + 1).expect("forget"), 1, "all but the newest");
        // The history of a chat names its messages by this number: the next one must not look begun.
        let next = accept(&transaction, &lane("a"), 3, b"x", 0).expect("accept").expect("new");
        assert!(next > second && second > first, "{next}");
    }
}
