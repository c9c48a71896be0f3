//! A call with files: those that it names go along by descriptor, and those that it made come back, one commit with its
//! result. A call that is run again after a crash has made nothing yet.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Engine, now};
use crate::{
    files::{
        self, File,
        made::Made,
        naming,
        rows::{self, New},
    },
    inbox::Lane,
    outbox::file::{Carried, Outgoing},
    policy::{Attached, Grant, hygiene},
    session::history,
    skill::{Found, Handed, Output, Untrusted, calls},
    store::StoreError,
    telegram::method::SentAs,
};

/// Files that a mistaken call is told of.
const TOLD: u32 = 20;

/// The files of this conversation that a call names; an error inside is for the model.
pub fn named(
    engine: &Engine,
    lane: &Lane,
    found: &Found,
    arguments: &Value,
) -> Result<Result<Vec<File>, String>, StoreError> {
    if !found.attachments() {
        return Ok(Ok(Vec::new()));
    }
    let mut files = Vec::new();
    for name in found.named(arguments) {
        match engine.file(lane, &name)? {
            Some(file) => files.push(file),
            None => {
                let there = engine.store.read(|connection| {
                    match history::find(connection, lane.bot.as_str(), lane.chat.0, lane.topic)? {
                        Some(session) => rows::of_session(connection, session.id, TOLD),
                        None => Ok(Vec::new()),
                    }
                })?;
                let there: Vec<_> = there.iter().map(|file| file.name.path()).collect();
                let there = if there.is_empty() { "none".into() } else { there.join(", ") };
                return Ok(Err(format!(
                    "There is no file {} in this conversation. Those that are there: {there}.",
                    name.path()
                )));
            }
        }
    }
    Ok(Ok(files))
}

/// How the owner is shown them, and what binds the answer to just these.
pub fn attached(files: &[File]) -> Vec<Attached> {
    let shown = |file: &File| Attached {
        name: file.name.clone(),
        words: words(file),
        called: file.shown.clone(),
        digest: file.digest.clone(),
    };
    files.iter().map(shown).collect()
}

/// `document, application/pdf, 12 KiB`.
pub fn words(file: &File) -> String {
    let media = if file.media.is_empty() { String::new() } else { format!(", {}", file.media) };
    format!("{}{media}, {}", file.kind, naming::size(file.size))
}

/// A call that ran, and the files that are still to get their rows.
pub struct Ran {
    /// What it said.
    pub output: Untrusted<Output>,
    made: Vec<Made>,
    /// There were more files than one call may make, or not all of them came whole.
    pub lost: Option<&'static str>,
    session: i64,
}

/// Opens them for a jail, each as it was stored; an error is for the model.
pub async fn open(engine: &Engine, files: &[File]) -> Result<Vec<OwnedFd>, String> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let (shelf, wanted) = (engine.shelf.clone(), files.to_vec());
    let all = move || {
        wanted
            .iter()
            .map(|file| shelf.whole(file.session, &file.name, &file.digest).map(Into::into))
            .collect()
    };
    let opened = tokio::task::spawn_blocking(all).await.map_err(io::Error::other);
    opened.and_then(|opened: io::Result<Vec<OwnedFd>>| opened).map_err(|error| {
        warn!(%error, "an attachment can't be handed over");
        format!("An attachment can't be read: {error}.")
    })
}

/// Runs a granted call. `attached` are the files that its grant names, in that order.
pub async fn run(
    engine: &Engine,
    lane: &Lane,
    (grant, chat, found): (Grant, &str, &Found),
    attached: Vec<OwnedFd>,
    stop: &CancellationToken,
) -> Result<Ran, StoreError> {
    let run = |made| engine.executor.run(grant, chat, found, Handed { attached, made }, stop);
    let Some(most) = found.makes() else {
        return Ok(Ran { output: run(None).await, made: Vec::new(), lost: None, session: 0 });
    };
    let session = engine.session(lane).await?;
    let pair = UnixStream::pair().and_then(|(near, far)| {
        near.set_nonblocking(true)?;
        Ok((tokio::net::UnixStream::from_std(near)?, far))
    });
    let (near, far) = pair.map_err(|error| StoreError::Disk(format!("make a socket pair: {error}")))?;
    let receiving = files::made::receive(near, &engine.store, &engine.shelf, session, most);
    let (output, received) = tokio::join!(run(Some(far.into())), receiving);
    let (made, lost) = match received {
        _ if !output.is_good() => (Vec::new(), None),
        Ok((made, false)) => (made, None),
        Ok((made, true)) => (made, Some("It made more files than one call may; the others are lost.")),
        Err(error) => {
            warn!(%error, skill = %found.skill.id, "what a skill made did not come whole");
            (Vec::new(), Some("It made files that did not come out of its jail whole; they are lost."))
        }
    };
    Ok(Ran { output, made, lost, session })
}

/// What is stored when a call is over.
pub struct Ending {
    /// Our id of the call.
    pub call: String,
    /// The message.
    pub inbox: i64,
    /// What made them, for people.
    pub by: String,
    /// How it ended.
    pub end: calls::End,
}

/// Stores what a call made and what the model is told of it in one commit. `result` makes the latter out of the files'
/// names. Gives what was stored.
pub async fn store<T>(
    engine: &Engine,
    (made, session): (Vec<Made>, i64),
    ending: Ending,
    result: impl FnOnce(&[File]) -> (T, String),
) -> Result<T, StoreError> {
    let (mut drafts, mut new) = (Vec::new(), Vec::new());
    for (at, Made { draft, written, name, shown, media }) in made.into_iter().enumerate() {
        drafts.push(draft);
        let file = File {
            id: 0,
            session,
            name,
            kind: format!("file made by {}", ending.by),
            shown: hygiene::clean(&shown).into_owned(),
            media: media.to_owned(),
            size: written.size,
            digest: written.digest,
        };
        new.push(New { file, inbox: ending.inbox, origin: format!("call {} {at}", ending.call), made: true });
    }
    let files: Vec<File> = new.iter().map(|new| new.file.clone()).collect();
    let (value, told) = result(&files);
    let (limits, at) = (engine.config.files.clone(), now());
    let Ending { call, end, .. } = ending;
    let gone = engine
        .store
        .write(move |tx| {
            let mut gone = Vec::new();
            let held = if new.is_empty() { Vec::new() } else { crate::outbox::file::held(tx)? };
            for one in &new {
                gone.extend(rows::make_room(tx, session, one.file.size, &limits, &held)?);
                rows::add(tx, one, at)?;
            }
            calls::finish(tx, &call, &told, end, at)?;
            Ok(gone)
        })
        .await?;
    drafts.into_iter().for_each(files::shelf::Draft::keep);
    engine.shelf.remove(&gone);
    Ok(value)
}

impl Ran {
    /// Its parts: what it said, what it made, and what was lost.
    pub fn into_parts(self) -> (Untrusted<Output>, (Vec<Made>, i64), Option<&'static str>) {
        (self.output, (self.made, self.session), self.lost)
    }
}

/// What is told of files that a call made; names are ours.
pub fn note(files: &[File], lost: Option<&'static str>) -> Option<String> {
    let names: Vec<_> = files
        .iter()
        .map(|file| format!("{} ({}, {})", file.name.path(), file.media, naming::size(file.size)))
        .collect();
    let made = (!names.is_empty()).then(|| format!("Files that it made: {}.", names.join(", ")));
    let parts: Vec<_> = made.into_iter().chain(lost.map(str::to_owned)).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// The messages that carry them.
pub fn outgoing(lane: &Lane, row: i64, files: Vec<File>) -> Vec<Outgoing> {
    let message = |file: File| {
        let shown = if file.shown.is_empty() { file.name.as_str().to_owned() } else { file.shown };
        Outgoing {
            bot: lane.bot.clone(),
            chat: lane.chat,
            topic: (lane.topic != 0).then_some(lane.topic),
            answers: Some(row),
            id: file.id,
            file: Carried {
                sent_as: SentAs::of(&file.media, file.size),
                session: file.session,
                name: file.name,
                size: file.size,
                digest: file.digest,
                shown,
                media: file.media,
            },
        }
    };
    files.into_iter().map(message).collect()
}
