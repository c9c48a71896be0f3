//! How often in a row the process began and never came to the end of what waited for it: a crash loop is known by it.
//! An orderly stop ends the row; a power failure does not, but it is rarely one of many.

use rusqlite::{Connection, Transaction};

/// The stage's second table.
pub const MIGRATION: &str = "
CREATE TABLE starts (unfinished INTEGER NOT NULL) STRICT;
INSERT INTO starts VALUES (0);
";

/// Starts in a row that came to no end, before this one.
pub fn unfinished(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT unfinished FROM starts", [], |row| row.get(0))
}

/// Another start. Gives how many starts before it came to no end.
pub fn begin(transaction: &Transaction<'_>) -> rusqlite::Result<u32> {
    transaction.query_row(
        "UPDATE starts SET unfinished = unfinished + 1 RETURNING unfinished - 1",
        [],
        |row| row.get(0),
    )
}

/// All that waited at the start is dealt with, or the operator ended the process.
pub fn settled(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute("UPDATE starts SET unfinished = 0", [])?;
    Ok(())
}
