//! What a skill made, out of its jail's socket onto the disk. The far end is a jail: nothing that it says is more than bytes
//! to count and a word to show. A name is ours (incident 76), and what is not whole is nothing.

use std::io;

use openclaw_wire::file::{END, FILE, FileName, MORE, MOST_MADE, PIECE};
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::{
    naming::{self, seems},
    rows::number,
    shelf::{Draft, Shelf, Written},
};
use crate::store::Store;

/// A file that a skill made. It goes unless it is kept.
#[derive(Debug)]
pub struct Made {
    /// On the disk, durable.
    pub draft: Draft,
    /// What is in it.
    pub written: Written,
    /// Its name.
    pub name: FileName,
    /// The skill's name for it.
    pub shown: String,
    /// What it seems to be.
    pub media: &'static str,
}

/// Reads until the jail says that it was all; gives the files, and whether there were more than may be. `most` bounds the
/// bytes of all of them.
pub async fn receive(
    mut from: UnixStream,
    store: &Store,
    shelf: &Shelf,
    session: i64,
    most: u64,
) -> io::Result<(Vec<Made>, bool)> {
    let (mut made, mut left) = (Vec::new(), most);
    let mut piece = vec![0; PIECE];
    loop {
        match from.read_u8().await? {
            END => return Ok((made, false)),
            MORE => return Ok((made, true)),
            FILE if made.len() < MOST_MADE => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a jail handed out something odd")),
        }
        let length = from.read_u8().await?;
        let mut word = vec![0; usize::from(length)];
        from.read_exact(&mut word).await?;
        let shown = naming::shown(&String::from_utf8_lossy(&word));
        let first = next(&mut from, &mut piece).await?;
        if first == 0 {
            continue; // There is nothing in it.
        }
        let seems = seems(&piece[..first]);
        // A DOCX is a ZIP, and only its name says so.
        let ending = match seems.ending {
            "bin" | "zip" => naming::ending_of(&shown, seems.ending),
            known => known.to_owned(),
        };
        let number = store.write(move |tx| number(tx, session)).await.map_err(io::Error::other)?;
        let name = FileName::new(number, &ending).ok_or(io::ErrorKind::InvalidData)?;
        let mut draft = shelf.create(session, &name, left)?;
        let mut read = first;
        while read > 0 {
            draft = draft.add(piece[..read].to_vec()).await?;
            read = next(&mut from, &mut piece).await?;
        }
        let (draft, written) = draft.finish().await?;
        left -= written.size;
        made.push(Made { draft, written, name, shown, media: seems.media });
    }
}

/// The next piece; 0 at the end of the file.
async fn next(from: &mut UnixStream, piece: &mut [u8]) -> io::Result<usize> {
    let length = from.read_u32().await? as usize;
    let piece = piece.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    from.read_exact(piece).await?;
    Ok(length)
}

#[cfg(test)]
mod tests;
