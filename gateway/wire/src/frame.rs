//! Frames on the runner's sockets: a length (u32, big endian), then that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Upper bound of a frame: a skill's largest output (8 MiB) in JSON escapes, and no more.
pub const MAX: usize = 16 << 20;

/// One frame as bytes.
pub fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 4];
    serde_json::to_writer(&mut out, value)?;
    let len = length(u32::try_from(out.len() - 4).unwrap_or(u32::MAX))?;
    out[..4].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(out)
}

/// Checks a length that came from the other side.
pub fn length(len: u32) -> io::Result<usize> {
    let len = len as usize;
    if len > MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("frame of {len} bytes, at most {MAX}"),
        ));
    }
    Ok(len)
}

/// Writes one frame.
pub fn write<T: Serialize>(mut to: impl Write, value: &T) -> io::Result<()> {
    to.write_all(&encode(value)?)
}

/// Reads one frame; `None` when the other side has closed.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; length(u32::from_be_bytes(head))?];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_and_back_and_too_long() {
        let bytes = super::encode(&vec![1, 2, 3]).expect("encodes");
        assert_eq!(super::read::<Vec<u8>>(&bytes[..]).expect("reads"), Some(vec![1, 2, 3]));
        assert_eq!(super::read::<Vec<u8>>(&[][..]).expect("closed"), None);
        assert!(super::read::<Vec<u8>>(&[0xff; 8][..]).is_err());
    }
}
