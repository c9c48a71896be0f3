//! Which alerts the owner was told of: a row stands in the same commit as the message, so that each is queued exactly
//! once, whatever is killed before egress has heard that it was seen.

use openclaw_wire::spend::{Alert, Raise};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// The table. `alert` is JSON; `name` is the same for what must be told only once.
pub const MIGRATION: &str = "
CREATE TABLE told (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  alert TEXT NOT NULL
) STRICT;
";
/// Seconds after which a row is forgotten; a month's alert is not repeated by then.
const KEPT: i64 = 100 * 86_400;

/// Records that the owner is told now. `None` when he was before.
pub fn record(transaction: &Transaction<'_>, alert: &Alert, now: i64) -> rusqlite::Result<Option<i64>> {
    transaction.execute("DELETE FROM told WHERE at < ?1", [now - KEPT])?;
    let raised = if alert.kind == openclaw_wire::spend::AlertKind::Near { 0 } else { alert.state.raised };
    let name = serde_json::json!([alert.kind, alert.state.cap, raised]).to_string();
    let alert = serde_json::to_string(alert).unwrap_or_default();
    transaction
        .query_row(
            "INSERT INTO told (name, at, alert) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING RETURNING id",
            params![name, now, alert],
            |row| row.get(0),
        )
        .optional()
}

/// Records that the owner is told of something else by this name. `false` when he was before.
pub fn once(transaction: &Transaction<'_>, name: &str, now: i64) -> rusqlite::Result<bool> {
    let insert = "INSERT INTO told (name, at, alert) VALUES (?1, ?2, 'null') ON CONFLICT DO NOTHING";
    Ok(transaction.execute(insert, params![name, now])? > 0)
}

/// What the button of that message asks for.
pub fn wish(connection: &Connection, id: i64) -> rusqlite::Result<Option<Raise>> {
    let alert: Option<String> =
        connection.query_row("SELECT alert FROM told WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    let alert: Option<Alert> = alert.and_then(|alert| serde_json::from_str(&alert).ok());
    Ok(alert.map(|alert| Raise { cap: alert.state.cap, raised: alert.state.raised }))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        money::Usd,
        spend::{Alert, AlertKind, CapId, CapState, Span, Whose},
    };
    use rusqlite::Connection;

    #[test]
    fn each_alert_is_told_once_and_a_raised_cap_can_be_reached_again() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let alert = |kind, spent, raised| Alert {
            kind,
            state: CapState {
                cap: CapId {
                    whose: Whose::Chat("main/1".into()),
                    span: Span::Day,
                    period: "2026-11-22".into(),
                },
                spent: Usd::nano(spent),
                reserved: Usd::ZERO,
                limit: Usd::nano(5),
                ceiling: Usd::nano(10),
                next: Usd::nano(7),
                raised,
            },
        };
        let transaction = connection.transaction().expect("begin");
        let told = |alert: &Alert| super::record(&transaction, alert, 1).expect("records");
        let first = told(&alert(AlertKind::Near, 4, 0));
        assert!(first.is_some());
        assert_eq!(told(&alert(AlertKind::Near, 5, 1)), None);
        assert!(told(&alert(AlertKind::Reached, 5, 0)).is_some());
        assert_eq!(told(&alert(AlertKind::Reached, 5, 0)), None);
        let again = told(&alert(AlertKind::Reached, 7, 1)).expect("raised since");
        let wish = super::wish(&transaction, again).expect("reads").expect("there");
        assert_eq!((wish.raised, wish.cap.period.as_str()), (1, "2026-11-22"));
        assert_eq!(super::wish(&transaction, 99).expect("reads"), None);
    }
}
