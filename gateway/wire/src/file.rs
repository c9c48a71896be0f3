//! A file of a conversation: the name that the gateway gives it, where a jail sees it, and how what a skill made comes out
//! of its jail. Nobody's own name of a file is ever a part of a path (incidents 72, 76).

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Where a jail shows the attachments that its call names.
pub const ATTACHED: &str = "/attached";
/// Where a skill puts what it makes for the conversation.
pub const MADE: &str = "/made";
/// Most attachments of one call.
pub const MOST_ATTACHED: usize = 16;
/// Most files that one call may make.
pub const MOST_MADE: usize = 8;
/// Most bytes that the files of one call may have together: what goes through egress in one request.
pub const LARGEST_MADE: u64 = 24 << 20;
/// Longest name that a skill may give to what it made, in bytes.
pub const LONGEST_NAME: usize = 255;
/// Most bytes of one piece of a made file.
pub const PIECE: usize = 64 << 10;
/// Longest ending.
const ENDING: usize = 8;

/// `7.ogg`: a number that the gateway counts, and an ending of few letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// From its parts; `None` when they are none.
    pub fn new(number: i64, ending: &str) -> Option<Self> {
        Self::try_from(format!("{number}.{ending}")).ok()
    }

    /// Of a path as a call names it: `/attached/7.ogg`.
    pub fn at(path: &str) -> Option<Self> {
        let name = path.strip_prefix(ATTACHED)?.strip_prefix('/')?;
        Self::try_from(name.to_owned()).ok()
    }

    /// The text, known to be `[1-9][0-9]{0,9}\.[a-z0-9]{1,8}`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the model and the skill call it.
    pub fn path(&self) -> String {
        format!("{ATTACHED}/{}", self.0)
    }
}

impl TryFrom<String> for FileName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = text.split_once('.').is_some_and(|(number, end)| {
            (1..=10).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
                && !number.starts_with('0')
                && ending(end) == Some(end)
        });
        match good {
            true => Ok(Self(text)),
            false => Err(format!(
                "{:?} is not the name of a file of a conversation",
                text.chars().take(40).collect::<String>()
            )),
        }
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> String {
        name.0
    }
}

/// The text, if it may be the ending of a name.
pub fn ending(text: &str) -> Option<&str> {
    let good = (1..=ENDING).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    good.then_some(text)
}

/// Before a file; its name's length in one byte and the name follow, then pieces (u32, big endian, and so many bytes), the
/// last of them empty. No size is announced: whoever reads counts.
pub const FILE: u8 = 1;
/// After the last file.
pub const END: u8 = 0;
/// After the last file that may be made, where there were more.
pub const MORE: u8 = 2;

/// Writes one file as a jail hands it out. `name` is the skill's word for it.
pub fn write(mut to: impl Write, name: &[u8], mut from: impl Read) -> io::Result<()> {
    let name = &name[..name.len().min(LONGEST_NAME)];
    to.write_all(&[FILE, name.len() as u8])?;
    to.write_all(name)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        to.write_all(&(read as u32).to_be_bytes())?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::{FileName, ending};

    /// Incidents 72 and 76: no spelling of a name is a path.
    #[test]
    fn a_name_is_a_number_and_an_ending() {
        for good in ["1.ogg", "7.tar", "4294967295.7z"] {
            assert_eq!(FileName::try_from(good.to_owned()).expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "1",
            "1.",
            ".ogg",
            "0.ogg",
            "01.ogg",
            "-1.ogg",
            "1.OGG",
            "1.o g",
            "1.a.b",
            "../1.ogg",
            "1.ogg/",
            "/1.ogg",
            "1/2.ogg",
            "1.ogg\0",
            "1.\u{2215}",
            "12345678901.ogg",
            "1.toolongend",
            "a.ogg",
            "1.é",
            "\u{ff11}.ogg",
            "1.ogg ",
        ] {
            assert!(FileName::try_from(bad.to_owned()).is_err(), "{bad:?}");
            assert!(FileName::at(&format!("/attached/{bad}")).is_none(), "{bad:?}");
        }
        assert_eq!(FileName::at("/attached/7.ogg"), FileName::new(7, "ogg"));
        for bad in
            ["/attached7.ogg", "/attached//7.ogg", "attached/7.ogg", "/attached/../7.ogg", "/made/7.ogg"]
        {
            assert_eq!(FileName::at(bad), None, "{bad}");
        }
        assert_eq!(
            (ending("ogg"), ending(""), ending("a/b"), ending("123456789")),
            (Some("ogg"), None, None, None)
        );
    }
}
