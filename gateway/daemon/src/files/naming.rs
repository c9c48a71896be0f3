//! What a file is called and what it seems to be. A name's ending comes out of few letters; what the first bytes say decides
//! only as what it is sent. Nothing is decoded here.

use openclaw_wire::file::ending;

/// Longest name of a sender or skill that is kept, in characters.
const NAME: usize = 100;
/// Longest media type.
const MEDIA: usize = 100;

/// The ending for a name of ours: the sender's, if it is one, in small letters; else the usual one.
pub fn ending_of(name: &str, usual: &str) -> String {
    let own = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    own.as_deref().and_then(ending).or(ending(usual)).unwrap_or("bin").to_owned()
}

/// Somebody's name for a file, to be shown and never to be opened: without what nobody should see, without the folders
/// before it, on one line.
pub fn shown(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = last.chars().map(|c| if c.is_control() || c == '"' { ' ' } else { c });
    plain.take(NAME).collect::<String>().trim().to_owned()
}

/// A media type, or nothing.
pub fn media_type(told: &str) -> String {
    let good = told.len() <= MEDIA
        && told.split_once('/').is_some_and(|(kind, more)| !kind.is_empty() && !more.is_empty())
        && told.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.+-".contains(&b));
    if good { told.to_ascii_lowercase() } else { String::new() }
}

/// What a file seems to be, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seems {
    /// The usual ending.
    pub ending: &'static str,
    /// The media type.
    pub media: &'static str,
}

/// How many bytes [`seems`] wants to see.
pub const FIRST: usize = 12;

/// By the marks at its beginning.
pub fn seems(first: &[u8]) -> Seems {
    let (ending, media) = match first {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => ("png", "image/png"),
        [0xff, 0xd8, 0xff, ..] => ("jpg", "image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("webp", "image/webp"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => ("wav", "audio/wav"),
        [b'G', b'I', b'F', b'8', ..] => ("gif", "image/gif"),
        [b'O', b'g', b'g', b'S', ..] => ("ogg", "audio/ogg"),
        [b'I', b'D', b'3', ..] => ("mp3", "audio/mpeg"),
        [b'%', b'P', b'D', b'F', b'-', ..] => ("pdf", "application/pdf"),
        [b'P', b'K', 3, 4, ..] => ("zip", "application/zip"),
        _ => ("bin", "application/octet-stream"),
    };
    Seems { ending, media }
}

/// `20 MiB`, for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ending_of, media_type, seems, shown, size};

    /// Incident 72: what a sender calls a file is never more than an ending of few letters.
    #[test]
    fn names_of_senders_become_endings_and_words() {
        for (name, usual, expected) in [
            ("report.PDF", "bin", "pdf"),
            ("a.tar.gz", "bin", "gz"),
            ("x.ogg/../../y", "bin", "bin"),
            ("x.../", "ogg", "ogg"),
            ("x.sh\0", "bin", "bin"),
            ("x.ö", "jpg", "jpg"),
            ("x.toolongforanending", "bin", "bin"),
            ("", "mp4", "mp4"),
            ("", "../x", "bin"),
        ] {
            assert_eq!(ending_of(name, usual), expected, "{name:?}");
        }
        assert_eq!(shown("../../etc/pass\nwd \"x\""), "pass wd  x");
        assert_eq!(shown("C:\\temp\\a.pdf"), "a.pdf");
        assert_eq!(shown(&"ä".repeat(300)).chars().count(), 100);
        assert_eq!((media_type("Audio/OGG").as_str(), media_type("a/b; x=1\n").as_str()), ("audio/ogg", ""));
        assert_eq!(
            (seems(b"\x89PNG\r\n\x1a\n....").media, seems(b"OggS").ending, seems(b"").ending),
            ("image/png", "ogg", "bin")
        );
        assert_eq!(
            (size(5).as_str(), size(1025).as_str(), size(20 << 20).as_str()),
            ("5 bytes", "2 KiB", "20 MiB")
        );
    }
}
