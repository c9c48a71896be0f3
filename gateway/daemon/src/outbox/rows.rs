//! The durable table: one row for each message or edit, in the order in which they were said. Holds this module's SQL
//! and what each state means; never sends.
//!
//! `queued` → `sending` → `sent` or `dead`. A row is `sending` on disk before the call is made, so what is found
//! `sending` after a crash may have been delivered, and nothing else may: those rows, and only those, go out again
//! with a visible mark.

use openclaw_wire::id::{BotName, ChatId};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    file::Carried,
    rich::Rich,
    split::{MESSAGE, split, units},
};
use crate::telegram::method::InlineKeyboard;

/// The table. Times are milliseconds since 1970. `body` is emptied once the message is sent: the conversation has its
/// own store, and this is none.
pub const MIGRATION: &str = "
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  bot TEXT NOT NULL,
  chat INTEGER NOT NULL,
  topic INTEGER,
  answers INTEGER,
  created INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('send', 'edit')),
  body TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'dead')),
  attempts INTEGER NOT NULL DEFAULT 0,
  not_before INTEGER NOT NULL DEFAULT 0,
  repeat INTEGER NOT NULL DEFAULT 0,
  message_id INTEGER,
  problem TEXT
) STRICT;
CREATE INDEX outbox_pending ON outbox (bot, chat, id) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 'dead';
";

/// The visible mark of a message that may have been delivered before, with its line break.
pub const REPEAT_MARK: &str = "↻ possibly repeated\n";

/// The topic "General" of every forum, which must not be named in a call.
pub(super) const GENERAL: i64 = 1;

/// A message or an edit that is to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Through which bot.
    pub bot: BotName,
    /// Where to.
    pub chat: ChatId,
    /// Topic of a forum, or none.
    pub topic: Option<i64>,
    /// Row of the inbox that it answers.
    pub answers: Option<i64>,
    /// What it says, of any length. Blank: there is nothing to send.
    pub text: Rich,
    /// The message that its first part answers.
    pub reply_to: Option<i64>,
    /// Below its last part.
    pub buttons: Option<InlineKeyboard>,
    /// The message whose text becomes the first part; if it is gone, the part is sent instead.
    pub edit: Option<i64>,
    /// Its beginning may have been delivered already: the first part is marked.
    pub repeat: bool,
}

/// Send or edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Send,
    /// The message.
    Edit(i64),
}

/// What is in `body`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    pub html: String,
    pub plain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buttons: Option<InlineKeyboard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Carried>,
}

/// A row that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub id: i64,
    pub topic: Option<i64>,
    pub answers: Option<i64>,
    pub body: Body,
    /// On disk it is already `sending`.
    pub announced: bool,
    pub attempts: u32,
    pub not_before: i64,
    pub repeat: bool,
}

impl Row {
    pub fn kind(&self) -> Kind {
        self.body.edit.map_or(Kind::Send, Kind::Edit)
    }
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Row.
    pub id: i64,
    /// Bot.
    pub bot: String,
    /// Chat.
    pub chat: ChatId,
    /// Row of the inbox that it answers.
    pub answers: Option<i64>,
    /// When it was said, in milliseconds since 1970.
    pub created: i64,
    /// Calls that were made.
    pub attempts: u32,
    /// Why it was given up.
    pub problem: String,
}

/// Stores a message, one row for each part, in order. Wake the sender after the commit. Gives the rows' ids.
pub fn enqueue(transaction: &Transaction<'_>, message: &Outgoing, now: i64) -> rusqlite::Result<Vec<i64>> {
    let parts = split(&message.text, MESSAGE - units(REPEAT_MARK));
    let busy = busy(transaction, &message.bot, message.chat)?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO outbox (bot, chat, topic, answers, created, kind, body, state, repeat)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let topic = message.topic.filter(|topic| *topic != GENERAL);
    let last = parts.len().saturating_sub(1);
    let mut ids = Vec::with_capacity(parts.len());
    for (at, part) in parts.into_iter().enumerate() {
        let body = Body {
            html: part.html,
            plain: part.plain,
            edit: message.edit.filter(|_| at == 0),
            reply_to: message.reply_to.filter(|_| at == 0),
            buttons: message.buttons.clone().filter(|_| at == last),
            file: None,
        };
        let kind = if body.edit.is_some() { "edit" } else { "send" };
        // Nothing of this chat is ahead of it: it is sent as soon as this is committed, without a second commit.
        let state = if at == 0 && !busy { "sending" } else { "queued" };
        let (bot, chat) = (message.bot.as_str(), message.chat.0);
        let repeat = message.repeat && at == 0;
        insert.execute(params![bot, chat, topic, message.answers, now, kind, json(&body), state, repeat])?;
        ids.push(transaction.last_insert_rowid());
    }
    Ok(ids)
}

/// Whether something of this chat waits already.
pub(super) fn busy(connection: &Connection, bot: &BotName, chat: ChatId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE bot = ?1 AND chat = ?2 AND state IN ('queued', 'sending'))",
        )?
        .query_row(params![bot.as_str(), chat.0], |row| row.get(0))
}

/// The message that a row became.
pub fn message_id(connection: &Connection, row: i64) -> rusqlite::Result<Option<i64>> {
    let found = connection
        .prepare_cached("SELECT message_id FROM outbox WHERE id = ?1")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// Messages that wait to be sent, and messages that were given up, over all chats.
pub fn depth(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    Ok((
        count("SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')")?,
        count("SELECT count(*) FROM outbox WHERE state = 'dead'")?,
    ))
}

/// Messages that were given up, the latest first.
pub fn dead(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Dead>> {
    connection
        .prepare_cached(
            "SELECT id, bot, chat, answers, created, attempts, coalesce(problem, '') FROM outbox
             WHERE state = 'dead' ORDER BY id DESC LIMIT ?1",
        )?
        .query_map([limit], |row| {
            Ok(Dead {
                id: row.get(0)?,
                bot: row.get(1)?,
                chat: ChatId(row.get(2)?),
                answers: row.get(3)?,
                created: row.get(4)?,
                attempts: row.get(5)?,
                problem: row.get(6)?,
            })
        })?
        .collect()
}

/// Puts a message that was given up back into its place. Wake the sender after the commit.
pub fn revive(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    let changed = transaction
        .prepare_cached(
            "UPDATE outbox SET state = 'queued', attempts = 0, not_before = 0, problem = NULL
             WHERE id = ?1 AND state = 'dead'",
        )?
        .execute([id])?;
    Ok(changed > 0)
}

/// Deletes a message that was given up.
pub fn discard(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    Ok(transaction.prepare_cached("DELETE FROM outbox WHERE id = ?1 AND state = 'dead'")?.execute([id])? > 0)
}

/// What a crash left behind: rows in `sending` may have been delivered and are marked, except edits, which can be
/// repeated unseen. Gives every chat with something to send. Run once, before anything is enqueued.
pub(super) fn recover(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(BotName, ChatId)>> {
    transaction.execute(
        "UPDATE outbox SET state = 'queued', repeat = max(repeat, kind = 'send') WHERE state = 'sending'",
        [],
    )?;
    let mut chats =
        transaction.prepare("SELECT DISTINCT bot, chat FROM outbox WHERE state IN ('queued', 'sending')")?;
    let chats = chats.query_map([], |row| Ok((row.get::<_, String>(0)?, ChatId(row.get(1)?))))?;
    let named = |(bot, chat): (String, ChatId)| Ok((bot.parse().map_err(odd)?, chat));
    chats.map(|chat| chat.and_then(named)).collect()
}

/// The oldest rows of a chat that are to be sent.
pub(super) fn pending(
    connection: &Connection,
    bot: &BotName,
    chat: ChatId,
    limit: u32,
) -> rusqlite::Result<Vec<Row>> {
    connection
        .prepare_cached(
            "SELECT id, topic, answers, body, state = 'sending', attempts, not_before, repeat
             FROM outbox WHERE bot = ?1 AND chat = ?2 AND state IN ('queued', 'sending') ORDER BY id LIMIT ?3",
        )?
        .query_map(params![bot.as_str(), chat.0, limit], row)?
        .collect()
}

fn row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let body = serde_json::from_str(row.get_ref(3)?.as_str()?).map_err(odd)?;
    Ok(Row {
        id: row.get(0)?,
        topic: row.get(1)?,
        answers: row.get(2)?,
        body,
        announced: row.get(4)?,
        attempts: row.get(5)?,
        not_before: row.get(6)?,
        repeat: row.get(7)?,
    })
}

/// The call is about to be made.
pub(super) fn announce(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE outbox SET state = 'sending' WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The call was not made after all, or surely did nothing, or is to be made again in another way.
pub(super) fn requeue(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE outbox SET state = 'queued', attempts = ?2, not_before = ?3, repeat = ?4, topic = ?5, body = ?6
             WHERE id = ?1",
        )?
        .execute(params![row.id, row.attempts, row.not_before, row.repeat, row.topic, json(&row.body)])?;
    Ok(())
}

/// It was delivered.
pub(super) fn sent(transaction: &Transaction<'_>, id: i64, message_id: Option<i64>) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE outbox SET state = 'sent', body = '', attempts = attempts + 1, message_id = ?2 WHERE id = ?1",
        )?
        .execute(params![id, message_id])?;
    Ok(())
}

/// It is given up.
pub(super) fn bury(
    transaction: &Transaction<'_>,
    id: i64,
    attempts: u32,
    problem: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE outbox SET state = 'dead', attempts = ?2, problem = ?3 WHERE id = ?1")?
        .execute(params![id, attempts, problem])?;
    Ok(())
}

/// Nothing more can be sent to this chat. Gives the rows that are given up with it.
pub(super) fn bury_chat(
    transaction: &Transaction<'_>,
    bot: &BotName,
    chat: ChatId,
    problem: &str,
) -> rusqlite::Result<Vec<i64>> {
    let mut rows: Vec<i64> = transaction
        .prepare_cached(
            "UPDATE outbox SET state = 'dead', problem = ?3
             WHERE bot = ?1 AND chat = ?2 AND state IN ('queued', 'sending') RETURNING id",
        )?
        .query_map(params![bot.as_str(), chat.0, problem], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    rows.sort_unstable();
    Ok(rows)
}

/// The group has become a supergroup.
pub(super) fn migrate(
    transaction: &Transaction<'_>,
    bot: &BotName,
    from: ChatId,
    to: ChatId,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE outbox SET chat = ?3, state = 'queued'
             WHERE bot = ?1 AND chat = ?2 AND state IN ('queued', 'sending')",
        )?
        .execute(params![bot.as_str(), from.0, to.0])?;
    Ok(())
}

/// Forgets what was sent before `sent_before` and given up before `dead_before`, a bounded number at a time.
pub(super) fn prune(
    transaction: &Transaction<'_>,
    sent_before: i64,
    dead_before: i64,
) -> rusqlite::Result<usize> {
    transaction.execute(
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE
           (state = 'sent' AND created < ?1) OR (state = 'dead' AND created < ?2) ORDER BY id LIMIT 5000)",
        [sent_before, dead_before],
    )
}

pub(super) fn json(body: &Body) -> String {
    serde_json::to_string(body).expect("texts, numbers and lists can always be written")
}

/// A value in the table that this release can't read.
fn odd<E: std::error::Error + Send + Sync + 'static>(error: E) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn message(text: &str) -> Outgoing {
        Outgoing {
            bot: "main".parse().expect("name"),
            chat: ChatId(5),
            topic: None,
            answers: Some(1),
            text: Rich::plain(text),
            reply_to: Some(9),
            buttons: Some(InlineKeyboard::default()),
            edit: None,
            repeat: false,
        }
    }

    fn open() -> Connection {
        let connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(MIGRATION).expect("migrate");
        connection
    }

    fn change<T>(
        connection: &mut Connection,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> T {
        let transaction = connection.transaction().expect("begin");
        let result = act(&transaction).expect("change");
        transaction.commit().expect("commit");
        result
    }

    fn all(connection: &Connection) -> Vec<Row> {
        pending(connection, &"main".parse().expect("name"), ChatId(5), 100).expect("pending")
    }

    #[test]
    fn a_long_message_becomes_rows_in_order_and_the_first_goes_straight_out() {
        let mut db = open();
        let ids = change(&mut db, |t| enqueue(t, &message(&"word ".repeat(2_000)), 7));
        let rows = all(&db);
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
        assert_eq!(rows.iter().map(|row| row.announced).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(rows.iter().map(|row| row.body.reply_to).collect::<Vec<_>>(), [Some(9), None, None]);
        let buttons: Vec<_> = rows.iter().map(|row| row.body.buttons.is_some()).collect();
        assert_eq!(buttons, [false, false, true]);
        assert!(rows.iter().all(|row| units(&row.body.plain) + units(REPEAT_MARK) <= MESSAGE));

        change(&mut db, |t| enqueue(t, &message("next"), 8));
        assert!(!all(&db)[3].announced, "something is ahead of it");
        assert!(change(&mut db, |t| enqueue(t, &message(" \n"), 9)).is_empty(), "nothing to send");
    }

    #[test]
    fn the_general_topic_is_not_named() {
        let mut db = open();
        for topic in [Some(1), Some(2), None] {
            change(&mut db, |t| enqueue(t, &Outgoing { topic, ..message("a") }, 7));
        }
        assert_eq!(all(&db).iter().map(|row| row.topic).collect::<Vec<_>>(), [None, Some(2), None]);
    }

    #[test]
    fn only_what_may_have_been_delivered_is_marked_as_repeated() {
        let mut db = open();
        let edit = Outgoing { chat: ChatId(6), edit: Some(3), ..message("edit") };
        change(&mut db, |t| {
            enqueue(t, &message("a"), 7)?;
            enqueue(t, &message("b"), 7)?;
            enqueue(t, &edit, 7)
        });
        let chats = change(&mut db, recover);
        assert_eq!(chats.iter().map(|chat| chat.1).collect::<Vec<_>>(), [ChatId(5), ChatId(6)]);
        let rows = all(&db);
        assert_eq!(
            rows.iter().map(|row| (row.repeat, row.announced)).collect::<Vec<_>>(),
            [(true, false), (false, false)]
        );
        let edits = pending(&db, &edit.bot, edit.chat, 9).expect("pending");
        assert!(!edits[0].repeat && edits[0].kind() == Kind::Edit(3));
        change(&mut db, recover);
        assert_eq!(all(&db).iter().filter(|row| row.repeat).count(), 1, "twice changes nothing");
    }

    #[test]
    fn a_sent_row_keeps_no_text_and_a_dead_one_can_come_back() {
        let mut db = open();
        let ids = change(&mut db, |t| enqueue(t, &message(&"word ".repeat(1_000)), 7));
        change(&mut db, |t| {
            sent(t, ids[0], Some(77))?;
            bury(t, ids[1], 3, "why")
        });
        assert_eq!(message_id(&db, ids[0]).expect("read"), Some(77));
        let left: String =
            db.query_row("SELECT body FROM outbox WHERE id = ?1", [ids[0]], |r| r.get(0)).expect("row");
        assert_eq!(left, "");
        assert!(all(&db).is_empty());
        let list = dead(&db, 10).expect("dead");
        assert_eq!((list[0].id, list[0].attempts, list[0].problem.as_str()), (ids[1], 3, "why"));
        assert!(change(&mut db, |t| revive(t, ids[1])));
        assert!(!change(&mut db, |t| revive(t, ids[0])), "what is sent stays sent");
        assert_eq!(all(&db)[0].id, ids[1]);
        assert_eq!(change(&mut db, |t| prune(t, 8, 8)), 1, "what waits is not forgotten");
    }

    #[test]
    fn the_queue_is_found_by_its_index() {
        let db = open();
        let plan: String = db
            .query_row(
                "EXPLAIN QUERY PLAN SELECT id FROM outbox WHERE bot = 'a' AND chat = 1
                 AND state IN ('queued', 'sending') ORDER BY id LIMIT 3",
                [],
                |row| row.get(3),
            )
            .expect("plan");
        assert!(plan.contains("outbox_pending") && plan.contains("bot=? AND chat=?"), "{plan}");
    }
}
