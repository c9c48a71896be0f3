//! The ledger's file: SQLite in WAL mode, each commit on the disk before anybody relies on it. Sums by day, key, model,
//! chat and skill, never a word of a conversation. Holds all SQL of this folder.

use std::{collections::HashMap, path::Path, time::Duration};

use openclaw_wire::{
    money::Usd,
    spend::{Alert, AlertKind, CapId, Line, Report, Span, Spent, Used, Whose},
};
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior, params};
use smol_str::SmolStr;

use super::{
    book::{Batch, Begun, FIRST, Loaded, NAMES, OTHERS},
    period::Day,
    slots::{Account, Record},
};

/// Steps of the schema, in order; a database has run as many as its `user_version` says. Amounts are nano-dollars, days
/// count from 1970.
const MIGRATIONS: &[&str] = &["
CREATE TABLE ledger (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  starts INTEGER NOT NULL,
  boot TEXT NOT NULL,
  settled INTEGER NOT NULL,
  high INTEGER NOT NULL
) STRICT;
INSERT INTO ledger VALUES (1, 0, '', 0, 0);
CREATE TABLE spent (
  day INTEGER NOT NULL,
  key TEXT NOT NULL,
  model TEXT NOT NULL,
  chat TEXT NOT NULL,
  skill TEXT NOT NULL,
  calls INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cut INTEGER NOT NULL,
  input INTEGER NOT NULL,
  cached INTEGER NOT NULL,
  output INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  PRIMARY KEY (day, key, model, chat, skill)
) STRICT, WITHOUT ROWID;
CREATE TABLE place (
  place INTEGER PRIMARY KEY,
  call INTEGER NOT NULL
) STRICT;
CREATE TABLE raised (
  cap TEXT PRIMARY KEY,
  period TEXT NOT NULL,
  times INTEGER NOT NULL,
  added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE alert (
  id TEXT PRIMARY KEY,
  period TEXT NOT NULL,
  alert TEXT NOT NULL,
  seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"];
/// Days that are kept.
const KEPT: i64 = 400;
/// Pages after which the WAL goes into the database: one MiB.
const CHECKPOINT: u32 = 256;
/// Lines of a report; the rest is in its total.
const LINES: u32 = 1000;

/// The open database.
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens or makes the database.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "cache_size", -200)?;
        // After the lock down there is no folder for temporary files.
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        if done > MIGRATIONS.len() {
            return Err(rusqlite::Error::ToSqlConversionFailure(
                "the ledger is of a newer release; install that release again".into(),
            ));
        }
        for step in &MIGRATIONS[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        transaction.commit()?;
        Ok(Self { connection })
    }

    /// Takes over what a former process left. Its calls under way count with their most. After a loss of power, which
    /// may have taken records, everything up to the mark counts as spent today, by nobody knows whom.
    pub fn begin(
        &mut self,
        left: Vec<(usize, Record)>,
        boot: Option<&str>,
        today: Day,
    ) -> rusqlite::Result<Begun> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (starts, old_boot, mut settled, high): (u32, String, i64, i64) =
            transaction.query_row("SELECT starts, boot, settled, high FROM ledger", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        for (place, record) in left {
            let known = "SELECT EXISTS (SELECT 1 FROM place WHERE place = ?1 AND call >= ?2)";
            if transaction.query_row(known, params![place as i64, int(record.id)], |row| row.get(0))? {
                continue;
            }
            let cut = Used { calls: 1, cut: 1, ..record.used };
            let used = if record.over { record.used } else { cut };
            add(&transaction, record.day(), &record.who, &used)?;
            stands(&transaction, place, &record)?;
            settled = settled.saturating_add(int(used.cost.as_nano()));
        }
        let lost = high.saturating_sub(settled);
        if lost > 0 && boot.is_none_or(|boot| boot != old_boot) {
            let cost = nano(lost);
            tracing::warn!(most = %cost.shown(), "the machine lost its power: what may have been spent counts as spent");
            add(&transaction, today, &Account::default(), &Used { cost, ..Used::default() })?;
            settled = high;
        }
        let high = settled.saturating_add(int(FIRST.as_nano()).saturating_mul(2));
        transaction.execute(
            "UPDATE ledger SET starts = ?1, boot = ?2, settled = ?3, high = ?4",
            params![starts.wrapping_add(1), boot.unwrap_or_default(), settled, high],
        )?;
        transaction.execute("DELETE FROM spent WHERE day < ?1", [today.0 - KEPT])?;
        let loaded = load(&transaction, today)?;
        transaction.commit()?;
        let next_id = u64::from(starts.wrapping_add(1)) << 32;
        Ok(Begun { settled: nano(settled), high: nano(high), next_id, loaded })
    }

    /// Writes a batch, whole or not at all, and reads the sums of the day that it asks for.
    pub fn commit(&mut self, batch: &Batch) -> rusqlite::Result<Option<(Day, Loaded)>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (place, record) in &batch.over {
            add(&transaction, record.day(), &record.who, &record.used)?;
            if let Some(place) = place {
                stands(&transaction, *place, record)?;
            }
        }
        for alert in &batch.alerts {
            transaction.execute(
                "INSERT OR IGNORE INTO alert VALUES (?1, ?2, ?3, 0)",
                params![
                    alert_id(&alert.state.cap, alert.kind, alert.state.raised),
                    alert.state.cap.period,
                    json(alert)
                ],
            )?;
        }
        for (cap, kind, raised) in &batch.seen {
            transaction
                .execute("UPDATE alert SET seen = 1 WHERE id = ?1", [alert_id(cap, *kind, *raised)])?;
        }
        for (cap, times, added) in &batch.raised {
            transaction.execute(
                "INSERT OR REPLACE INTO raised VALUES (?1, ?2, ?3, ?4)",
                params![json(cap), cap.period, times, int(added.as_nano())],
            )?;
        }
        transaction
            .prepare_cached("UPDATE ledger SET settled = ?1, high = ?2")?
            .execute([int(batch.settled.as_nano()), int(batch.high.as_nano())])?;
        let loaded = match batch.roll {
            Some(day) => {
                transaction.execute("DELETE FROM spent WHERE day < ?1", [day.0 - KEPT])?;
                let (today, month) = (day.name(Span::Day), day.name(Span::Month));
                for table in ["alert", "raised"] {
                    transaction.execute(
                        &format!("DELETE FROM {table} WHERE period NOT IN (?1, ?2)"),
                        [&today, &month],
                    )?;
                }
                Some((day, load(&transaction, day)?))
            }
            None => None,
        };
        transaction.commit()?;
        Ok(loaded)
    }

    /// What was used in a day and its month. Caps are the book's matter.
    pub fn report(&self, day: Day) -> rusqlite::Result<Report> {
        let (first, next) = day.month();
        let today = self.spent(day.name(Span::Day), day, Day(day.0 + 1))?;
        Ok(Report { today, month: self.spent(day.name(Span::Month), first, next)?, caps: Vec::new() })
    }

    fn spent(&self, period: String, from: Day, to: Day) -> rusqlite::Result<Spent> {
        const SUMS: &str = "coalesce(sum(calls), 0), coalesce(sum(failed), 0), coalesce(sum(cut), 0), coalesce(sum(input), 0), \
             coalesce(sum(cached), 0), coalesce(sum(output), 0), coalesce(sum(cost), 0)";
        let total = format!("SELECT {SUMS} FROM spent WHERE day >= ?1 AND day < ?2");
        let total = self.connection.prepare_cached(&total)?.query_row([from.0, to.0], |row| used(row, 0))?;
        let lines = format!(
            "SELECT {SUMS}, key, model, chat, skill FROM spent WHERE day >= ?1 AND day < ?2
             GROUP BY key, model, chat, skill ORDER BY 7 DESC, 1 DESC LIMIT {LINES}"
        );
        let line = |row: &Row<'_>| {
            let (key, model, chat, skill) = (row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?);
            Ok(Line { key, model, chat, skill, used: used(row, 0)? })
        };
        let lines = self
            .connection
            .prepare_cached(&lines)?
            .query_map([from.0, to.0], line)?
            .collect::<Result<_, _>>()?;
        Ok(Spent { period, total, lines })
    }
}

fn add(transaction: &Transaction<'_>, day: Day, who: &Account, used: &Used) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, failed = failed + excluded.failed,
               cut = cut + excluded.cut, input = input + excluded.input, cached = cached + excluded.cached,
               output = output + excluded.output, cost = cost + excluded.cost",
        )?
        .execute(params![
            day.0,
            who.key.as_str(),
            who.model.as_str(),
            who.chat.as_str(),
            who.skill.as_str(),
            int(used.calls),
            int(used.failed),
            int(used.cut),
            int(used.input),
            int(used.cached),
            int(used.output),
            int(used.cost.as_nano()),
        ])?;
    Ok(())
}

/// What stands in this place of the slots is in the sums by now.
fn stands(transaction: &Transaction<'_>, place: usize, record: &Record) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO place VALUES (?1, ?2) ON CONFLICT DO UPDATE SET call = excluded.call")?
        .execute(params![place as i64, int(record.id)])?;
    Ok(())
}

fn load(transaction: &Transaction<'_>, day: Day) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    let (first, next) = day.month();
    let mut rows = transaction.prepare(
        "SELECT key, chat, skill, model, sum(cost), sum(cost) FILTER (WHERE day = ?3) FROM spent
         WHERE day >= ?1 AND day < ?2 GROUP BY key, chat, skill, model ORDER BY 5 DESC",
    )?;
    let mut rows = rows.query([first.0, next.0, day.0])?;
    while let Some(row) = rows.next()? {
        // A release that did not bound the names may have left more; the dearest keep theirs.
        let mut chat = SmolStr::new(row.get_ref(1)?.as_str()?);
        if loaded.spent.len() >= NAMES
            && !chat.is_empty()
            && !loaded.spent.contains_key(&Whose::Chat(chat.clone()))
        {
            chat = SmolStr::new_static(OTHERS);
        }
        let sums = [nano(row.get::<_, Option<i64>>(5)?.unwrap_or(0)), nano(row.get(4)?)];
        let mut to = |whose| {
            let sum: &mut [Usd; 2] = loaded.spent.entry(whose).or_default();
            *sum = [sum[0].plus(sums[0]), sum[1].plus(sums[1])];
        };
        to(Whose::All);
        let [key, skill] = [row.get_ref(0)?.as_str()?, row.get_ref(2)?.as_str()?];
        if row.get_ref(3)?.as_str()?.is_empty() {
            loaded.unknown = [loaded.unknown[0].plus(sums[0]), loaded.unknown[1].plus(sums[1])];
        }
        for (name, whose) in [
            (key.into(), Whose::Key as fn(SmolStr) -> Whose),
            (chat, Whose::Chat),
            (skill.into(), Whose::Skill),
        ] {
            if !name.is_empty() {
                to(whose(name));
            }
        }
    }
    let periods = [day.name(Span::Day), day.name(Span::Month)];
    let mut raised = transaction.prepare("SELECT cap, times, added FROM raised WHERE period IN (?1, ?2)")?;
    let mut rows = raised.query([&periods[0], &periods[1]])?;
    loaded.raised = HashMap::new();
    while let Some(row) = rows.next()? {
        let cap: CapId = parse(row.get_ref(0)?.as_str()?)?;
        loaded.raised.insert(cap, (row.get(1)?, nano(row.get(2)?)));
    }
    let mut alerts = transaction.prepare("SELECT alert, seen FROM alert WHERE period IN (?1, ?2)")?;
    let mut rows = alerts.query([&periods[0], &periods[1]])?;
    while let Some(row) = rows.next()? {
        let alert: Alert = parse(row.get_ref(0)?.as_str()?)?;
        loaded.alerts.push((alert, row.get(1)?));
    }
    Ok(loaded)
}

fn used(row: &Row<'_>, at: usize) -> rusqlite::Result<Used> {
    let number = |offset: usize| row.get::<_, i64>(at + offset).map(i64::unsigned_abs);
    Ok(Used {
        calls: number(0)?,
        failed: number(1)?,
        cut: number(2)?,
        input: number(3)?,
        cached: number(4)?,
        output: number(5)?,
        cost: Usd::nano(number(6)?),
    })
}

/// One for each cap, period and kind, and for each time that a cap is reached after it was raised.
fn alert_id(cap: &CapId, kind: AlertKind, raised: u32) -> String {
    match kind {
        AlertKind::Near => format!("near {}", json(cap)),
        AlertKind::Reached => format!("reached {raised} {}", json(cap)),
    }
}

/// SQLite's integers are signed; nine billion dollars are enough for everybody.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nano(number: i64) -> Usd {
    Usd::nano(number.max(0).unsigned_abs())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}
