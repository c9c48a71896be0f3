//! The operator's own chat, in the terminal: the same walk, with the owner as its only sender and no outbox.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openclaw_wire::{
    admin::{ChatEvent, Say},
    file::FileName,
    id::ChatId,
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Engine, Item, TERMINAL, now, urgent};
use crate::{
    files::{File, naming, rows::New},
    inbox::{self, Lane},
    policy::hygiene,
    store::StoreError,
    telegram::update::Update,
};

/// Events that may wait for a slow terminal; more are dropped, and the end of the turn says the whole text.
const EVENTS: usize = 4096;

/// The operator's terminals that wait for an answer, by inbox row.
#[derive(Debug, Default)]
pub struct Terminal {
    waiting: Mutex<HashMap<i64, mpsc::Sender<ChatEvent>>>,
}

impl Terminal {
    /// Events of the turn that a row starts.
    pub fn listen(&self, row: i64) -> mpsc::Receiver<ChatEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(row, sender);
        receiver
    }

    /// Nobody will answer this row: whoever waits for it is told so.
    pub fn dropped(&self, row: i64) {
        if let Some(terminal) = self.take(row) {
            let _ = terminal.try_send(ChatEvent::Done(true));
        }
    }

    /// The terminal that waits for a row, once.
    pub fn take(&self, row: i64) -> Option<mpsc::Sender<ChatEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&row)
    }
}

/// The terminal's lane.
pub(super) fn lane() -> Lane {
    Lane { bot: TERMINAL.parse().expect("a constant that is a valid name"), chat: ChatId(0), topic: 0 }
}

impl Engine {
    /// Takes a message from the terminal; its events follow.
    pub async fn say(self: &Arc<Self>, said: &Say) -> Result<mpsc::Receiver<ChatEvent>, StoreError> {
        let lane = lane();
        // Microseconds are unique enough for one person's typing; the table says so if they are not.
        let id = jiff::Timestamp::now().as_microsecond();
        let message = json!({ "message_id": id, "chat": { "id": 0, "type": "private" }, "text": said.text,
            "attached": said.attached });
        let body = json!({ "update_id": id, "message": message }).to_string().into_bytes();
        let update = Update::parse(&body).map_err(|error| StoreError::Statement(error.to_string()))?;
        let (engine, stored, bytes) = (Arc::clone(self), lane.clone(), body.len());
        // A task of its own, so that what is committed is also routed when the terminal goes away meanwhile.
        let storing = self.tasks.spawn(async move {
            let row = engine.store.write(move |tx| inbox::accept(tx, &stored, id, &body, now())).await?;
            let row = row.ok_or_else(|| {
                StoreError::Statement("two messages at the same time; send it again".into())
            })?;
            let events = engine.terminal.listen(row);
            engine.route(lane, Item { row, update, bytes });
            Ok(events)
        });
        storing.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Stores a file that the operator attaches, for a message that names it. `Err` inside says why not.
    pub async fn attach_in_terminal<E: std::fmt::Display>(
        &self,
        called: &str,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Result<FileName, String>, StoreError> {
        let largest = self.config.files.largest;
        let session = self.session(&lane()).await?;
        let shown = naming::shown(called);
        let name = self.new_name(session, &naming::ending_of(&shown, "bin")).await?;
        let mut first = Vec::new();
        let store = async {
            let mut draft = self.shelf.create(session, &name, largest)?;
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| io::Error::other(error.to_string()))?;
                first.extend(piece.iter().take(naming::FIRST.saturating_sub(first.len())));
                draft = draft.add(piece).await?;
            }
            draft.finish().await
        };
        let (draft, written) = match store.await {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(Err(format!("it is larger than {}", naming::size(largest))));
            }
            Err(error) => return Ok(Err(format!("it could not be stored: {error}"))),
        };
        let file = File {
            id: 0,
            session,
            name: name.clone(),
            kind: "file".into(),
            shown: hygiene::clean(&shown).into_owned(),
            media: naming::seems(&first).media.into(),
            size: 0,
            digest: String::new(),
        };
        let origin = format!("terminal {}", name.as_str());
        self.keep_file(draft, written, New { file, inbox: 0, origin, made: false }).await?;
        Ok(Ok(name))
    }

    /// A file of the terminal's conversation.
    pub fn file_in_terminal(&self, name: &FileName) -> Result<Option<std::fs::File>, StoreError> {
        let Some(file) = self.file(&lane(), name)? else { return Ok(None) };
        let opened = self.shelf.read(file.session, &file.name);
        opened.map(Some).map_err(|error| StoreError::Disk(format!("open {}: {error}", name.as_str())))
    }

    /// Stops what runs in the terminal's chat.
    pub async fn stop_terminal(&self) -> bool {
        urgent::stop_lane(self, &lane()).await
    }

    /// Answers a question that the terminal's chat asked. `false` when it is not open.
    pub async fn approve_in_terminal(&self, id: &str, yes: bool) -> Result<bool, StoreError> {
        urgent::answer_question(self, &lane(), id, yes).await
    }
}
