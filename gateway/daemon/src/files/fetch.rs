//! A file from Telegram onto the disk: where it is (`getFile`), then its bytes, through egress, piece by piece. What size was
//! told is nothing that anybody relies on: bytes are counted as they come, and they have to keep coming (incidents 115, 129).

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use openclaw_wire::{egress::RefusalKind, file::FileName, id::BotName};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    naming,
    shelf::{Draft, Shelf, Written},
};
use crate::{
    egress::{Egress, EgressError},
    telegram::method::{ApiError, BotApi, GetFile, call_within},
};

/// Bytes that are gathered before they are written.
const PIECE: usize = 128 << 10;
/// For the answer that says where a file is, and for the first byte of it.
const ANSWER: Duration = Duration::from_secs(20);
/// Pauses before it is tried again, where that may help.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// How slowly a file may come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// In each such time…
    pub window: Duration,
    /// …at least so many bytes have to arrive,
    pub least: u64,
    /// and all of them within this one.
    pub whole: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { window: Duration::from_secs(10), least: 64 << 10, whole: Duration::from_secs(300) }
    }
}

/// Why there is no file. For the one who sent it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// More bytes than it may have.
    #[error("it is larger than {}", naming::size(*.0))]
    TooLarge(u64),
    /// Telegram says so.
    #[error("Telegram does not have it any more")]
    Gone,
    /// Too few bytes in too much time.
    #[error("it came too slowly")]
    Slow,
    /// Telegram was not reached, or what it sent broke off.
    #[error("it could not be fetched: {0}")]
    Cut(String),
    /// The disk did not take it.
    #[error("it could not be stored: {0}")]
    Disk(#[from] io::Error),
}

/// Whom to ask, and where to put what they give.
pub struct Fetch<'a> {
    /// The way out.
    pub egress: &'a Egress,
    /// The Bot API.
    pub api: &'a dyn BotApi,
    /// Which bot was sent the file.
    pub bot: &'a BotName,
    /// The disk.
    pub shelf: &'a Shelf,
    /// How slowly it may come.
    pub pace: Pace,
}

impl Fetch<'_> {
    /// Takes a file of at most `most` bytes. It is durable, and goes unless it is kept. Dropping the future leaves nothing.
    pub async fn file(
        &self,
        file_id: &str,
        (session, name): (i64, &FileName),
        most: u64,
    ) -> Result<(Draft, Written), Trouble> {
        let mut pauses = AGAIN.into_iter();
        loop {
            match self.once(file_id, session, name, most).await {
                Err(Trouble::Cut(why)) => match pauses.next() {
                    Some(pause) => {
                        tracing::info!(bot = %self.bot, why, "a file broke off; trying again");
                        tokio::time::sleep(pause).await;
                    }
                    None => return Err(Trouble::Cut(why)),
                },
                other => return other,
            }
        }
    }

    async fn once(
        &self,
        file_id: &str,
        session: i64,
        name: &FileName,
        most: u64,
    ) -> Result<(Draft, Written), Trouble> {
        let file = match call_within(self.api, self.bot, &GetFile { file_id }, ANSWER).await {
            Ok(file) => file,
            Err(ApiError::Refused { description, .. }) if description.contains("too big") => {
                return Err(Trouble::TooLarge(most));
            }
            Err(ApiError::Refused { .. }) => return Err(Trouble::Gone),
            Err(error) => return Err(Trouble::Cut(error.to_string())),
        };
        let path = file.file_path.ok_or(Trouble::Gone)?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("/r/telegram/{}/file/{path}", self.bot))
            .body(Full::default())
            .map_err(|_| Trouble::Gone)?;
        let sent = timeout(ANSWER, self.egress.send(request)).await;
        let response = match sent.unwrap_or(Err(EgressError::Slow(ANSWER))) {
            Ok(response) => response,
            // The path is not one that egress lets pass.
            Err(EgressError::Refused(refusal)) if refusal.kind == RefusalKind::NotAllowed => {
                return Err(Trouble::Gone);
            }
            Err(error) => return Err(Trouble::Cut(error.to_string())),
        };
        match response.status().as_u16() {
            200 => {}
            400..=499 => return Err(Trouble::Gone),
            status => return Err(Trouble::Cut(format!("Telegram answered {status}"))),
        }
        let draft = self.shelf.create(session, name, most)?;
        stream(response.into_body(), draft, most, self.pace).await
    }
}

/// A body to its end, as fast as it must come.
async fn stream<B>(mut body: B, mut draft: Draft, most: u64, pace: Pace) -> Result<(Draft, Written), Trouble>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let end = Instant::now() + pace.whole;
    let (mut until, mut came) = (Instant::now() + pace.window, 0);
    let mut piece = BytesMut::new();
    loop {
        let frame = timeout_at(until.min(end), body.frame()).await;
        let now = Instant::now();
        if now >= until.min(end) {
            if now >= end || came < pace.least {
                return Err(Trouble::Slow);
            }
            (until, came) = (now + pace.window, 0);
        }
        let Ok(frame) = frame else { continue };
        let data = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Trouble::Cut("the connection broke off".into())),
        };
        came += data.len() as u64;
        if draft.size() + (piece.len() + data.len()) as u64 > most {
            return Err(Trouble::TooLarge(most));
        }
        piece.extend_from_slice(&data);
        if piece.len() >= PIECE {
            draft = draft.add(std::mem::take(&mut piece)).await?;
        }
    }
    Ok(draft.add(piece).await?.finish().await?)
}

#[cfg(test)]
mod tests;
