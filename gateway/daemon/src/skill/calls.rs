//! Tool calls as rows: `started` before anything runs, finished with its result. After a crash the row says whether a
//! call may have happened.

use openclaw_wire::{admin::SkillCall, runner::Failure};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The stage's table.
pub const MIGRATION: &str = "
CREATE TABLE call (
    id TEXT PRIMARY KEY,                    -- message and call, unique for ever
    inbox INTEGER NOT NULL,
    skill TEXT NOT NULL,
    tool TEXT NOT NULL,
    started INTEGER NOT NULL,               -- unix seconds
    finished INTEGER,
    result TEXT                             -- what the model was told, as JSON; NULL until finished
);
CREATE INDEX call_inbox ON call (inbox);
";

/// Calls that were stopped half way are told from those that a crash ended.
pub const MIGRATION_STOPPED: &str = "
ALTER TABLE call ADD COLUMN stopped INTEGER;            -- unix seconds; it may have happened
";

/// Why a call was ended is kept for `openclaw skills logs`.
pub const MIGRATION_REASON: &str = "
ALTER TABLE call ADD COLUMN reason TEXT;                -- the runner's word (openclaw_wire::runner::Failure)
";

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// It did not do what it should.
    pub failed: bool,
    /// Why the runner ended it or could not run it.
    pub reason: Option<Failure>,
}

/// What is known of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was never started.
    New,
    /// It was started, and nothing more is known: it may have happened.
    Started,
    /// It is over, with this result.
    Finished(String),
}

/// Records that a call is about to run. `false` when it was started before: then it must not run again unasked.
pub fn start(
    transaction: &Transaction<'_>,
    id: &str,
    inbox: i64,
    skill: &str,
    tool: &str,
    now: i64,
) -> rusqlite::Result<bool> {
    let rows = transaction
        .prepare_cached("INSERT INTO call (id, inbox, skill, tool, started) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING")?
        .execute(params![id, inbox, skill, tool, now])?;
    Ok(rows == 1)
}

/// Records the result.
pub fn finish(
    transaction: &Transaction<'_>,
    id: &str,
    result: &str,
    end: End,
    now: i64,
) -> rusqlite::Result<()> {
    let reason = end.reason.and_then(|reason| serde_json::to_value(reason).ok()?.as_str().map(str::to_owned));
    transaction
        .prepare_cached("UPDATE call SET finished = ?2, result = ?3, failed = ?4, reason = ?5 WHERE id = ?1")?
        .execute(params![id, now, result, end.failed, reason])?;
    Ok(())
}

/// The last calls, newest first, without anything that was said.
pub fn recent(connection: &Connection, skill: Option<&str>, most: u32) -> rusqlite::Result<Vec<SkillCall>> {
    connection
        .prepare_cached(
            "SELECT skill, tool, started, finished, failed, reason FROM call WHERE ?1 IS NULL OR skill = ?1 \
             ORDER BY started DESC, rowid DESC LIMIT ?2",
        )?
        .query_map(params![skill, most], |row| {
            Ok(SkillCall {
                skill: row.get(0)?,
                tool: row.get(1)?,
                started: row.get(2)?,
                finished: row.get(3)?,
                failed: row.get(4)?,
                reason: row.get(5)?,
            })
        })?
        .collect()
}

/// The turn of a message was stopped: what it had started and not finished may have happened. Gives the tools.
pub fn stopped(transaction: &Transaction<'_>, inbox: i64, now: i64) -> rusqlite::Result<Vec<String>> {
    transaction
        .prepare_cached(
            "UPDATE call SET stopped = ?2 WHERE inbox = ?1 AND finished IS NULL AND stopped IS NULL RETURNING tool",
        )?
        .query_map([inbox, now], |row| row.get(0))?
        .collect()
}

/// What is known of a call.
pub fn state(connection: &Connection, id: &str) -> rusqlite::Result<State> {
    let row: Option<Option<String>> = connection
        .prepare_cached("SELECT result FROM call WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(match row {
        None => State::New,
        Some(None) => State::Started,
        Some(Some(result)) => State::Finished(result),
    })
}

/// Erases the results of a message that is dealt with; that the calls ran stays for the audit, for 30 days.
pub fn forget(transaction: &Transaction<'_>, inbox: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE call SET result = '' WHERE inbox = ?1 AND result IS NOT NULL")?
        .execute([inbox])?;
    Ok(())
}

/// Deletes rows of calls that began more than 30 days ago.
pub fn expire(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM call WHERE started < ?1", [now - 30 * 86_400])
}

#[cfg(test)]
mod tests {
    use openclaw_wire::runner::Failure;
    use rusqlite::Connection;

    use super::{End, State, finish, recent, start, state, stopped};

    #[test]
    fn a_call_starts_once_and_its_state_tells() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        connection.execute_batch(crate::skill::standing::MIGRATION).expect("migrate");
        connection.execute_batch(super::MIGRATION_STOPPED).expect("migrate");
        connection.execute_batch(super::MIGRATION_REASON).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        assert_eq!(state(&transaction, "c").expect("state"), State::New);
        assert!(start(&transaction, "c", 1, "s", "t", 0).expect("start"));
        assert_eq!(state(&transaction, "c").expect("state"), State::Started);
        assert!(!start(&transaction, "c", 1, "s", "t", 0).expect("start"), "a second start");
        finish(&transaction, "c", "r", End { failed: true, reason: Some(Failure::Cpu) }, 1).expect("finish");
        assert_eq!(state(&transaction, "c").expect("state"), State::Finished("r".into()));
        start(&transaction, "d", 1, "other", "t", 5).expect("start");
        let ran = |skill| {
            let calls = recent(&transaction, skill, 10).expect("calls").into_iter();
            calls.map(|call| (call.skill, call.reason)).collect::<Vec<_>>()
        };
        assert_eq!(ran(None), [("other".to_owned(), None), ("s".to_owned(), Some("cpu".to_owned()))]);
        assert_eq!(ran(Some("s")).len(), 1);
        assert!(start(&transaction, "e", 1, "s", "u", 0).expect("start"));
        let mut tools = stopped(&transaction, 1, 2).expect("stopped");
        tools.sort();
        assert_eq!(tools, ["t", "u"], "what is finished was not stopped");
        assert_eq!(stopped(&transaction, 1, 3).expect("stopped"), Vec::<String>::new(), "once");
        assert_eq!(state(&transaction, "e").expect("state"), State::Started, "it may have happened");
    }
}
