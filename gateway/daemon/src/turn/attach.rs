//! What comes with a message: each file is on the disk and has its row before the message is thought about, and what can't be
//! taken is said. A message without files costs nothing here.

use std::time::Duration;

use openclaw_wire::file::FileName;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Engine, TERMINAL, now};
use crate::{
    files::{
        File,
        fetch::{Fetch, Pace, Trouble},
        naming,
        rows::{self, New},
        shelf::{Draft, Written},
    },
    inbox::Lane,
    outbox,
    policy::hygiene,
    session::history,
    store::StoreError,
    telegram::{attachment::Attachment, update::Message},
};

/// One file of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// It came with the message that is answered, and not with this one.
    pub quoted: bool,
    /// What it is said to be.
    pub kind: &'static str,
    /// Seconds of sound or film, as told.
    pub seconds: Option<u64>,
    /// The file, or why there is none, for people.
    pub file: Result<File, String>,
}

/// Takes the files of the messages that belong together. Ends early, with what there is, when the turn is stopped.
pub async fn take_in(
    engine: &Engine,
    lane: &Lane,
    row: i64,
    messages: &[&Message],
    stop: &CancellationToken,
) -> Result<Vec<Came>, StoreError> {
    let mut came = Vec::new();
    for message in messages {
        let quoted = message.reply_to_message.as_ref().and_then(|quoted| quoted.attachment());
        for (quoted, attachment) in [(true, quoted), (false, message.attachment())] {
            let Some(attachment) = attachment else { continue };
            let taking = take(engine, lane, row, attachment);
            let file = tokio::select! {
                file = taking => file?,
                () = stop.cancelled() => return Ok(came),
            };
            let (kind, seconds) = (attachment.kind.words(), attachment.media.duration);
            came.push(Came { quoted, kind, seconds, file });
        }
        if lane.bot.as_str() == TERMINAL {
            came.extend(typed(engine, lane, &message.attached)?);
        }
    }
    Ok(came)
}

/// Those that the operator attached in the terminal, and that are stored already.
fn typed(engine: &Engine, lane: &Lane, names: &[String]) -> Result<Vec<Came>, StoreError> {
    let names = names.iter().filter_map(|name| FileName::try_from(name.clone()).ok());
    let found = names.map(|name| engine.file(lane, &name)).collect::<Result<Vec<_>, _>>()?;
    let came = |file| Came { quoted: false, kind: "file", seconds: None, file: Ok(file) };
    Ok(found.into_iter().flatten().map(came).collect())
}

/// One file; `Err` inside is why not.
async fn take(
    engine: &Engine,
    lane: &Lane,
    row: i64,
    attachment: Attachment<'_>,
) -> Result<Result<File, String>, StoreError> {
    let (media, largest) = (attachment.media, engine.config.files.largest);
    let session = engine.session(lane).await?;
    let origin = format!("telegram {}", media.file_unique_id);
    let known = engine.store.read(|connection| rows::of_origin(connection, session, &origin))?;
    if let Some(file) = known {
        return Ok(Ok(file));
    }
    // A size that is told can only make us ask for less.
    if media.file_size.is_some_and(|size| size > largest) {
        return Ok(Err(Trouble::TooLarge(largest).to_string()));
    }
    let Ok(_turn) = engine.fetching.acquire().await else { return Err(StoreError::Stopped) };
    let called = naming::shown(media.file_name.as_deref().unwrap_or_default());
    let name = engine.new_name(session, &naming::ending_of(&called, attachment.usual_ending())).await?;
    let fetch = Fetch {
        egress: &engine.egress,
        api: &*engine.api,
        bot: &lane.bot,
        shelf: &engine.shelf,
        pace: Pace::default(),
    };
    let started = std::time::Instant::now();
    match fetch.file(&media.file_id, (session, &name), largest).await {
        Ok((draft, written)) => {
            let (size, elapsed_ms) = (written.size, started.elapsed().as_millis() as u64);
            info!(row, chat = %lane.chat, kind = attachment.kind.words(), size, elapsed_ms, "took a file");
            let file = File {
                id: 0,
                session,
                name,
                kind: attachment.kind.words().into(),
                shown: hygiene::clean(&called).into_owned(),
                media: naming::media_type(attachment.media_type()),
                size: 0,
                digest: String::new(),
            };
            let new = New { file, inbox: row, origin, made: false };
            engine.keep_file(draft, written, new).await.map(Ok)
        }
        Err(trouble) => {
            info!(row, chat = %lane.chat, kind = attachment.kind.words(), %trouble, "could not take a file");
            Ok(Err(trouble.to_string()))
        }
    }
}

impl Engine {
    /// The number of a chat's session; it is made when it is not there.
    pub(super) async fn session(&self, lane: &Lane) -> Result<i64, StoreError> {
        let lane = lane.clone();
        let open = move |tx: &rusqlite::Transaction<'_>| {
            history::open(tx, lane.bot.as_str(), lane.chat.0, lane.topic)
        };
        self.store.write(open).await
    }

    /// The next name in a conversation.
    pub(super) async fn new_name(&self, session: i64, ending: &str) -> Result<FileName, StoreError> {
        let number = self.store.write(move |tx| rows::number(tx, session)).await?;
        let odd = || StoreError::Statement("the numbers of this conversation's files are used up".into());
        FileName::new(number, ending).ok_or_else(odd)
    }

    /// The file of this name in a chat.
    pub fn file(&self, lane: &Lane, name: &FileName) -> Result<Option<File>, StoreError> {
        self.store.read(|connection| {
            match history::find(connection, lane.bot.as_str(), lane.chat.0, lane.topic)? {
                Some(session) => rows::find(connection, session.id, name),
                None => Ok(None),
            }
        })
    }

    /// Gives a file that is on the disk its row. Older ones make room for it.
    pub(super) async fn keep_file(
        &self,
        draft: Draft,
        written: Written,
        mut new: New,
    ) -> Result<File, StoreError> {
        (new.file.size, new.file.digest) = (written.size, written.digest);
        let (limits, row) = (self.config.files.clone(), new.clone());
        let (id, gone) = self
            .store
            .write(move |tx| {
                let held = outbox::file::held(tx)?;
                let gone = rows::make_room(tx, row.file.session, row.file.size, &limits, &held)?;
                Ok((rows::add(tx, &row, now())?, gone))
            })
            .await?;
        draft.keep();
        self.shelf.remove(&gone);
        Ok(File { id, ..new.file })
    }

    /// What a crash left of files goes, before anything is stored.
    pub(super) async fn sweep_files(&self) -> Result<(), StoreError> {
        let all = self.store.read(rows::every)?;
        match self.shelf.sweep(&all) {
            Ok(lost) if lost.is_empty() => Ok(()),
            Ok(lost) => self.store.write(move |tx| rows::lost(tx, &lost)).await,
            Err(error) => {
                tracing::warn!(%error, "could not sweep up the files; the next start tries again");
                Ok(())
            }
        }
    }

    /// Files that are too old go, and those that were only kept to be sent.
    pub(super) async fn expire_files(&self) -> Result<(), StoreError> {
        let before = now() - Duration::from_secs(u64::from(self.config.files.days) * 86_400).as_secs() as i64;
        let expire = move |tx: &rusqlite::Transaction<'_>| {
            let held = outbox::file::held(tx)?;
            rows::expire(tx, before, &held)
        };
        let gone = self.store.write(expire).await?;
        self.shelf.remove(&gone);
        Ok(())
    }
}
