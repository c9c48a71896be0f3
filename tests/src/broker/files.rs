//! What comes out of a jail through the socket of made files, as a gateway would read it.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
};

use openclaw_wire::file::{END, FILE};

/// What a call made: the skill's names and the bytes, in order; an error when the end did not come.
pub type Made = io::Result<Vec<(String, Vec<u8>)>>;

/// Reads all of it.
pub fn read(mut from: UnixStream) -> Made {
    let mut files = Vec::new();
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        match byte[0] {
            END => return Ok(files),
            FILE => {}
            other => return Err(io::Error::other(format!("an odd byte: {other}"))),
        }
        from.read_exact(&mut byte)?;
        let mut name = vec![0; usize::from(byte[0])];
        from.read_exact(&mut name)?;
        let mut bytes = Vec::new();
        loop {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            let mut piece = vec![0; u32::from_be_bytes(length) as usize];
            if piece.is_empty() {
                break;
            }
            from.read_exact(&mut piece)?;
            bytes.extend(piece);
        }
        files.push((String::from_utf8_lossy(&name).into_owned(), bytes));
    }
}
