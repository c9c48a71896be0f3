//! A file as a message: a row like any other, in the order of its chat, which names the file that it carries. The file stays
//! where it is until the row is sent or deleted ([`held`]).

use std::{fs, io, sync::Arc};

use openclaw_wire::{
    file::FileName,
    id::{BotName, ChatId},
};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use super::rows::{self, Body, GENERAL};
use crate::telegram::method::SentAs;

/// Which files are still to be sent.
pub const MIGRATION: &str = "
ALTER TABLE outbox ADD COLUMN file INTEGER;             -- the file that it carries
CREATE INDEX outbox_file ON outbox (file) WHERE file IS NOT NULL;
";

/// Opens the file of a conversation, or says why it can't be sent.
pub type Opening = Arc<dyn Fn(&Carried) -> io::Result<fs::File> + Send + Sync>;

/// What a row carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Of which conversation.
    pub session: i64,
    /// Its name there.
    pub name: FileName,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub digest: String,
    /// What people see as its name.
    pub shown: String,
    /// Media type, by its first bytes.
    pub media: String,
    /// As what it is sent.
    pub sent_as: SentAs,
}

/// A file that is to be sent.
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
    /// Its number over all conversations.
    pub id: i64,
    /// The file.
    pub file: Carried,
}

/// Stores it behind what waits already. Wake the sender after the commit. Gives the row's id.
pub fn enqueue(transaction: &Transaction<'_>, message: &Outgoing, now: i64) -> rusqlite::Result<i64> {
    let body = Body {
        html: String::new(),
        plain: String::new(),
        edit: None,
        reply_to: None,
        buttons: None,
        file: Some(message.file.clone()),
    };
    let state = if rows::busy(transaction, &message.bot, message.chat)? { "queued" } else { "sending" };
    transaction
        .prepare_cached(
            "INSERT INTO outbox (bot, chat, topic, answers, created, kind, body, state, file)
             VALUES (?1, ?2, ?3, ?4, ?5, 'send', ?6, ?7, ?8)",
        )?
        .execute(params![
            message.bot.as_str(),
            message.chat.0,
            message.topic.filter(|topic| *topic != GENERAL),
            message.answers,
            now,
            rows::json(&body),
            state,
            message.id
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// Files that wait to be sent, those of dead letters too: somebody may send them again.
pub fn held(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT file FROM outbox WHERE file IS NOT NULL AND state <> 'sent'")?
        .query_map([], |row| row.get(0))?
        .collect()
}
