//! Groups that became supergroups: the old id and the new one, as Telegram told them. What is configured or stored under
//! the old id goes on under the new one.

use openclaw_wire::id::ChatId;
use rusqlite::{Connection, Transaction};

/// The stage's table. Ids of chats are the same for every bot.
pub const MIGRATION: &str = "
CREATE TABLE moved (
    chat INTEGER PRIMARY KEY,               -- the group
    became INTEGER NOT NULL,                -- the supergroup
    since INTEGER NOT NULL                  -- unix seconds
) STRICT;
";

/// Records one. `false` when it was known.
pub fn note(transaction: &Transaction<'_>, from: ChatId, to: ChatId, now: i64) -> rusqlite::Result<bool> {
    let rows = transaction
        .prepare_cached("INSERT OR IGNORE INTO moved (chat, became, since) VALUES (?1, ?2, ?3)")?
        .execute([from.0, to.0, now])?;
    Ok(rows == 1)
}

/// All of them. Their number is bounded by that of the listed groups.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<(ChatId, ChatId)>> {
    connection
        .prepare_cached("SELECT chat, became FROM moved")?
        .query_map([], |row| Ok((ChatId(row.get(0)?), ChatId(row.get(1)?))))?
        .collect()
}
