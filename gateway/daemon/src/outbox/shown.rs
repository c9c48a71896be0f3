//! Which message shows an answer that still grows, durably: after a crash the finished answer replaces it, or, where
//! nobody knows whether it was delivered, is marked as possibly repeated. Only for chats in which it is shown by edits;
//! drafts go by themselves.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The stage's second table. `since` is milliseconds since 1970.
pub const MIGRATION: &str = "
CREATE TABLE shown (
  answers INTEGER PRIMARY KEY,            -- row of the inbox, which is never used again
  message_id INTEGER,                     -- NULL: its call was begun, and nothing more is known
  since INTEGER NOT NULL
) STRICT;
";

/// What is known of the message that shows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// There is none.
    #[default]
    No,
    /// There may be one.
    Perhaps,
    /// This one.
    As(i64),
}

/// What is known of the answer to a row of the inbox.
pub fn find(connection: &Connection, answers: i64) -> rusqlite::Result<Shown> {
    let found: Option<Option<i64>> = connection
        .prepare_cached("SELECT message_id FROM shown WHERE answers = ?1")?
        .query_row([answers], |row| row.get(0))
        .optional()?;
    Ok(found.map_or(Shown::No, |id| id.map_or(Shown::Perhaps, Shown::As)))
}

/// Records it: before the first call, and after it.
pub fn note(transaction: &Transaction<'_>, answers: i64, shown: Shown, now: i64) -> rusqlite::Result<()> {
    let id = match shown {
        Shown::No => return forget(transaction, answers),
        Shown::Perhaps => None,
        Shown::As(id) => Some(id),
    };
    transaction
        .prepare_cached("INSERT OR REPLACE INTO shown (answers, message_id, since) VALUES (?1, ?2, ?3)")?
        .execute(params![answers, id, now])?;
    Ok(())
}

/// The answer is a row of the outbox now, which knows the message.
pub fn forget(transaction: &Transaction<'_>, answers: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM shown WHERE answers = ?1")?.execute([answers])?;
    Ok(())
}

/// Forgets what is older than this: its answer was given up.
pub fn prune(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM shown WHERE since < ?1", [before])
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Shown, find, note, prune};

    #[test]
    fn what_is_shown_is_known_until_it_is_answered() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        for shown in [Shown::No, Shown::Perhaps, Shown::As(44), Shown::No, Shown::As(45)] {
            note(&transaction, 7, shown, 100).expect("note");
            assert_eq!(find(&transaction, 7).expect("find"), shown);
            assert_eq!(find(&transaction, 8).expect("find"), Shown::No);
        }
        assert_eq!(
            (prune(&transaction, 100).expect("prune"), prune(&transaction, 101).expect("prune")),
            (0, 1)
        );
    }
}
