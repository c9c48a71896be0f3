//! What a message carries besides words, as Telegram tells it. Everything in it was chosen by its sender or by Telegram:
//! names and media types are data, and a size is a guess until the bytes were counted.
//! Source: <https://core.telegram.org/bots/api#message> (Bot API 10.3).

use serde::Deserialize;

/// Longest id that is taken for one; Telegram's have below 100 characters.
const ID: usize = 512;

/// What the sender's app says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Recorded speech: OGG with Opus.
    Voice,
    /// Music or another sound file.
    Audio,
    /// A picture that Telegram has made smaller.
    Photo,
    /// Any file.
    Document,
    /// A video.
    Video,
    /// A round video of a person speaking.
    VideoNote,
    /// A silent video, or a GIF.
    Animation,
    /// A sticker.
    Sticker,
}

/// The file of a message.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Media {
    /// For `getFile`.
    #[serde(default)]
    pub file_id: String,
    /// The same for the same file, over time and for every bot.
    #[serde(default)]
    pub file_unique_id: String,
    /// The sender's name for it.
    #[serde(default)]
    pub file_name: Option<String>,
    /// The sender's word for what is in it.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// Bytes, as somebody says.
    #[serde(default)]
    pub file_size: Option<u64>,
    /// Seconds.
    #[serde(default)]
    pub duration: Option<u64>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    is_animated: bool,
    #[serde(default)]
    is_video: bool,
}

/// A file with what it is said to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attachment<'a> {
    /// What it is said to be.
    pub kind: Kind,
    /// What is told of it.
    pub media: &'a Media,
}

impl Kind {
    /// For people and models, and in the database.
    pub fn words(self) -> &'static str {
        match self {
            Self::Voice => "voice note",
            Self::Audio => "audio file",
            Self::Photo => "photo",
            Self::Document => "document",
            Self::Video => "video",
            Self::VideoNote => "video note",
            Self::Animation => "animation",
            Self::Sticker => "sticker",
        }
    }
}

impl<'a> Attachment<'a> {
    /// `None` when it has no file that could be asked for.
    pub fn new(kind: Kind, media: &'a Media) -> Option<Self> {
        let good = |id: &str| {
            (1..=ID).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        (good(&media.file_id) && good(&media.file_unique_id)).then_some(Self { kind, media })
    }

    /// The ending that files of this kind have, where the sender names none.
    pub fn usual_ending(&self) -> &'static str {
        match self.kind {
            Kind::Voice => "ogg",
            Kind::Photo => "jpg",
            Kind::Video | Kind::VideoNote | Kind::Animation => "mp4",
            Kind::Sticker if self.media.is_video => "webm",
            Kind::Sticker if self.media.is_animated => "tgs",
            Kind::Sticker => "webp",
            Kind::Audio => "mp3",
            Kind::Document => "bin",
        }
    }

    /// The media type, as told or as files of this kind have it.
    pub fn media_type(&self) -> &str {
        let usual = match self.kind {
            Kind::Voice => "audio/ogg",
            Kind::Photo => "image/jpeg",
            Kind::Video | Kind::VideoNote => "video/mp4",
            _ => "",
        };
        self.media.mime_type.as_deref().unwrap_or(usual)
    }
}

/// The largest of a photo's sizes.
pub fn largest(sizes: &[Media]) -> Option<&Media> {
    sizes.iter().max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Attachment, Kind, Media, largest};

    #[test]
    fn the_largest_photo_is_taken_and_odd_ids_are_no_file() {
        let size = |id: &str, width: u32| -> Media {
            serde_json::from_value(
                json!({ "file_id": id, "file_unique_id": id, "width": width, "height": 10 }),
            )
            .expect("media")
        };
        let sizes = [size("a", 90), size("b", 1280), size("c", 320)];
        assert_eq!(largest(&sizes).expect("one").file_id, "b");
        assert!(largest(&[]).is_none());
        for odd in ["", "../x", "a b", "é", &"a".repeat(600)] {
            assert!(Attachment::new(Kind::Photo, &size(odd, 1)).is_none(), "{odd}");
        }
        assert!(Attachment::new(Kind::Photo, &size("AgACAgIAAxkBAA-_", 1)).is_some());
    }
}
