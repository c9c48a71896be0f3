//! Which skills the operator has switched off, and the last drill that failed: both hold over a restart.

use openclaw_wire::admin::LastDrill;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// The stage's tables, after [`super::calls`].
pub const MIGRATION: &str = "
CREATE TABLE skill_off (
    skill TEXT PRIMARY KEY,
    since INTEGER NOT NULL                  -- unix seconds
);
CREATE TABLE drill (
    at INTEGER NOT NULL,                    -- unix seconds
    failed TEXT NOT NULL                    -- what got through; no row when the last drill held
);
ALTER TABLE call ADD COLUMN failed INTEGER; -- 1 when the skill did not do what it should
";

/// The last drill whole.
pub const MIGRATION_REPORT: &str = "
CREATE TABLE drill_report (                 -- one row at most
    at INTEGER NOT NULL,                    -- unix seconds
    probes INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    report TEXT NOT NULL                    -- JSON
);
";

/// What is switched off.
pub fn off(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached("SELECT skill FROM skill_off")?.query_map([], |row| row.get(0))?.collect()
}

/// Switches a skill off, or on again.
pub fn switch(transaction: &Transaction<'_>, skill: &str, on: bool, now: i64) -> rusqlite::Result<()> {
    match on {
        true => transaction.execute("DELETE FROM skill_off WHERE skill = ?1", [skill])?,
        false => transaction.execute(
            "INSERT INTO skill_off (skill, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![skill, now],
        )?,
    };
    Ok(())
}

/// What got through at the last drill.
pub fn failed(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT failed FROM drill")?.query_row([], |row| row.get(0)).optional()
}

/// Keeps what came of a drill: what got through, in words, and the drill itself.
pub fn drilled(
    transaction: &Transaction<'_>,
    failed: Option<&str>,
    last: &LastDrill,
    report: &str,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM drill", [])?;
    if let Some(failed) = failed {
        transaction.execute("INSERT INTO drill (at, failed) VALUES (?1, ?2)", params![last.at, failed])?;
    }
    transaction.execute("DELETE FROM drill_report", [])?;
    transaction.execute(
        "INSERT INTO drill_report (at, probes, failed, report) VALUES (?1, ?2, ?3, ?4)",
        params![last.at, last.probes as i64, last.failed as i64, report],
    )?;
    Ok(())
}

/// The last drill, in short.
pub fn last(connection: &Connection) -> rusqlite::Result<Option<LastDrill>> {
    let read = |row: &Row<'_>| {
        let count = |at| row.get(at).map(|count: i64| count.unsigned_abs());
        Ok(LastDrill { at: row.get(0)?, probes: count(1)?, failed: count(2)? })
    };
    connection.prepare_cached("SELECT at, probes, failed FROM drill_report")?.query_row([], read).optional()
}

/// The last drill whole, as JSON.
pub fn report(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT report FROM drill_report")?.query_row([], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use openclaw_wire::admin::LastDrill;
    use rusqlite::Connection;

    #[test]
    fn what_is_off_stays_off_and_a_good_drill_forgives() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(crate::skill::calls::MIGRATION).expect("migrate");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        connection.execute_batch(super::MIGRATION_REPORT).expect("migrate");
        let last = |at, failed| LastDrill { at, probes: 100, failed };
        let transaction = connection.transaction().expect("begin");
        for _ in 0..2 {
            super::switch(&transaction, "a", false, 1).expect("off");
            super::drilled(&transaction, Some("files: read"), &last(1, 1), "{}").expect("kept");
        }
        assert_eq!(super::off(&transaction).expect("reads"), ["a"]);
        assert_eq!(super::failed(&transaction).expect("reads").as_deref(), Some("files: read"));
        super::switch(&transaction, "a", true, 2).expect("on");
        super::drilled(&transaction, None, &last(2, 0), "{1}").expect("kept");
        assert!(super::off(&transaction).expect("reads").is_empty());
        assert_eq!(super::failed(&transaction).expect("reads"), None);
        assert_eq!(super::last(&transaction).expect("reads"), Some(last(2, 0)));
        assert_eq!(super::report(&transaction).expect("reads").as_deref(), Some("{1}"));
    }
}
