//! What each MCP server offered when it was looked at, bound to the state of its folder: over a restart the model is shown
//! the same tools, and a server is asked again only when its folder changes or the operator wants it.

use openclaw_wire::{id::SkillId, mcp::Offered};
use rusqlite::{Connection, Transaction, params};

/// The stage's table.
pub const MIGRATION: &str = "
CREATE TABLE offered (
    skill TEXT PRIMARY KEY,
    digest TEXT NOT NULL,                   -- of the folder
    tools TEXT NOT NULL,                    -- JSON, as the server said it
    seen INTEGER NOT NULL                   -- unix seconds
);
";

/// What a server in this state of its folder offered.
pub fn known(
    connection: &Connection,
    skill: &SkillId,
    digest: &str,
) -> rusqlite::Result<Option<Vec<Offered>>> {
    let mut rows = connection.prepare_cached("SELECT tools FROM offered WHERE skill = ?1 AND digest = ?2")?;
    let mut rows = rows.query_map(params![skill.as_str(), digest], |row| row.get::<_, String>(0))?;
    // What cannot be read is asked for again.
    Ok(rows.next().transpose()?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Keeps what a server offers.
pub fn keep(
    transaction: &Transaction<'_>,
    skill: &SkillId,
    digest: &str,
    tools: &str,
    now: i64,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO offered (skill, digest, tools, seen) VALUES (?1, ?2, ?3, ?4)",
        params![skill.as_str(), digest, tools, now],
    )?;
    Ok(())
}

/// Forgets it.
pub fn forget(transaction: &Transaction<'_>, skill: &SkillId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM offered WHERE skill = ?1", [skill.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use openclaw_wire::mcp::Offered;
    use rusqlite::Connection;

    #[test]
    fn it_is_known_for_one_state_until_it_is_forgotten() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let id = "files".parse().expect("id");
        let tools =
            vec![Offered { name: "a".into(), description: "d".into(), schema: serde_json::json!({}) }];
        let text = serde_json::to_string(&tools).expect("json");
        super::keep(&transaction, &id, "1", &text, 0).expect("kept");
        assert_eq!(super::known(&transaction, &id, "1").expect("reads"), Some(tools));
        assert_eq!(super::known(&transaction, &id, "2").expect("reads"), None, "another state");
        super::keep(&transaction, &id, "1", "broken", 0).expect("kept");
        assert_eq!(super::known(&transaction, &id, "1").expect("reads"), None);
        super::forget(&transaction, &id).expect("forgotten");
    }
}
