//! The last audit that the operator held, for the status page.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The table.
pub const MIGRATION: &str = "
CREATE TABLE audit_report (                 -- one row at most
    at INTEGER NOT NULL,                    -- unix seconds
    report TEXT NOT NULL                    -- JSON
);
";

/// Keeps one in the place of the one before.
pub fn keep(transaction: &Transaction<'_>, at: i64, report: &str) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM audit_report", [])?;
    transaction.execute("INSERT INTO audit_report (at, report) VALUES (?1, ?2)", params![at, report])?;
    Ok(())
}

/// The last one, as JSON.
pub fn last(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT report FROM audit_report")?.query_row([], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    #[test]
    fn the_last_one_is_kept_and_no_other() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        assert_eq!(super::last(&connection).expect("reads"), None);
        let transaction = connection.transaction().expect("begin");
        for (at, report) in [(1, "{1}"), (2, "{2}")] {
            super::keep(&transaction, at, report).expect("kept");
        }
        assert_eq!(super::last(&transaction).expect("reads").as_deref(), Some("{2}"));
    }
}
