//! Incoming updates, parsed once at the edge. Unknown fields are tolerated, unknown kinds are their own case.
//! Source: <https://core.telegram.org/bots/api#update> (Bot API 10.3).

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use openclaw_wire::id::{ChatId, UserId};

use super::attachment::{Attachment, Kind as Carried, Media, largest};

/// Most entities of a message that are looked at; Telegram gives no more than 100. Each may cover the whole text, so
/// without a bound a small message would become much text.
const ENTITIES: usize = 100;

/// Why bytes are not an update. Holds no content.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not JSON, or a field of the wrong type.
    #[error("not an update: {0}")]
    Json(String),
    /// No `update_id`, or not one that Telegram can have sent.
    #[error("not an update: `update_id` is missing or out of range")]
    Id,
}

/// One update.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Unique for the bot; increasing but for jumps after a quiet week.
    pub id: i64,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A new message.
    Message(Box<Message>),
    /// An edited message, as it is now.
    Edited(Box<Message>),
    /// A button was pressed.
    Callback(Box<Callback>),
    /// Telegram's own stop button under a streamed draft.
    Stopped(Stopped),
    /// The bot's own membership changed (blocked, kicked, added).
    Membership {
        /// Where.
        chat: Chat,
    },
    /// A group became a supergroup, which has another id.
    Moved {
        /// The group.
        from: ChatId,
        /// The supergroup.
        to: ChatId,
    },
    /// Anything else; by name, never by content.
    Other(String),
}

impl Kind {
    /// Its name, for the log.
    pub fn name(&self) -> &str {
        match self {
            Self::Message(_) | Self::Moved { .. } => "message",
            Self::Edited(_) => "edited_message",
            Self::Callback(_) => "callback_query",
            Self::Stopped(_) => "stopped_message_generation",
            Self::Membership { .. } => "my_chat_member",
            Self::Other(name) => name,
        }
    }
}

/// A chat.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// `private`, `group`, `supergroup`, `channel`, or something newer.
    #[serde(rename = "type", default)]
    pub kind: String,
}

/// A sender. Names are not parsed: nothing may depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The only identity.
    pub id: UserId,
    /// Other bots are never senders.
    #[serde(default)]
    pub is_bot: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Message {
    /// Unique in its chat.
    pub message_id: i64,
    /// Forum topic or thread.
    #[serde(default)]
    pub message_thread_id: Option<i64>,
    /// Whether the thread is a topic (else it is only a reply chain).
    #[serde(default)]
    pub is_topic_message: bool,
    /// Absent for channels and anonymous administrators.
    #[serde(default)]
    pub from: Option<User>,
    /// Set when somebody speaks as a chat: then `from` is not a person.
    #[serde(default)]
    pub sender_chat: Option<Chat>,
    /// Where.
    pub chat: Chat,
    /// Text.
    #[serde(default)]
    pub text: Option<String>,
    /// Entities of the text.
    #[serde(default)]
    pub entities: Vec<Entity>,
    /// Caption of media.
    #[serde(default)]
    pub caption: Option<String>,
    /// Entities of the caption.
    #[serde(default)]
    pub caption_entities: Vec<Entity>,
    /// Same for all messages of an album.
    #[serde(default)]
    pub media_group_id: Option<String>,
    /// Present when the text is not the sender's own.
    #[serde(default)]
    pub forward_origin: Option<Value>,
    /// The message that is answered.
    #[serde(default)]
    pub reply_to_message: Option<Box<Quoted>>,
    /// In a group's last message: the id under which it goes on.
    #[serde(default)]
    pub migrate_to_chat_id: Option<ChatId>,
    /// In a supergroup's first message: the id that it had before.
    #[serde(default)]
    pub migrate_from_chat_id: Option<ChatId>,
    /// Present when the text was written by an inline bot.
    #[serde(default)]
    pub via_bot: Option<User>,
    #[serde(default)]
    photo: Vec<Media>,
    #[serde(default)]
    document: Option<Media>,
    #[serde(default)]
    voice: Option<Media>,
    #[serde(default)]
    audio: Option<Media>,
    #[serde(default)]
    video: Option<Media>,
    #[serde(default)]
    video_note: Option<Media>,
    #[serde(default)]
    animation: Option<Media>,
    #[serde(default)]
    sticker: Option<Media>,
    #[serde(default)]
    location: Option<IgnoredAny>,
    /// Names of files of the conversation that come with it: from the operator's terminal alone.
    #[serde(default)]
    pub attached: Vec<String>,
}

/// A message that another one answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Quoted {
    /// Whose it was.
    #[serde(default)]
    pub from: Option<User>,
    /// Its text.
    #[serde(default)]
    pub text: Option<String>,
    /// Its caption.
    #[serde(default)]
    pub caption: Option<String>,
    #[serde(default)]
    photo: Vec<Media>,
    #[serde(default)]
    document: Option<Media>,
    #[serde(default)]
    voice: Option<Media>,
    #[serde(default)]
    audio: Option<Media>,
    #[serde(default)]
    video: Option<Media>,
    #[serde(default)]
    video_note: Option<Media>,
    #[serde(default)]
    animation: Option<Media>,
    #[serde(default)]
    sticker: Option<Media>,
}

/// A marked stretch of a text, in UTF-16 units.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entity {
    /// `mention`, `bot_command`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Start.
    pub offset: usize,
    /// Length.
    pub length: usize,
}

/// A pressed button.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Callback {
    /// For the answer.
    pub id: String,
    /// Who pressed it.
    pub from: User,
    /// The message with the button.
    #[serde(default)]
    pub message: Option<CallbackMessage>,
    /// What the button carries.
    #[serde(default)]
    pub data: Option<String>,
}

/// The message with a pressed button; it may be too old for more than its place.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CallbackMessage {
    /// In its chat.
    pub message_id: i64,
    /// Where.
    pub chat: Chat,
}

/// The stop button under a draft.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Stopped {
    /// Where.
    pub chat: Chat,
    /// Topic.
    #[serde(default)]
    pub message_thread_id: Option<i64>,
    /// The draft.
    pub draft_id: i64,
}

#[derive(Deserialize)]
struct Raw {
    update_id: Option<i64>,
    message: Option<Box<Message>>,
    edited_message: Option<Box<Message>>,
    callback_query: Option<Box<Callback>>,
    stopped_message_generation: Option<Stopped>,
    my_chat_member: Option<Membership>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Membership {
    chat: Chat,
}

impl Update {
    /// Parses the body of a webhook request or one element of `getUpdates`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| Malformed::Json(place(&error)))?;
        let id = raw.update_id.filter(|id| *id >= 0).ok_or(Malformed::Id)?;
        let kind = match raw {
            Raw { message: Some(message), .. } => {
                match (message.migrate_from_chat_id, message.migrate_to_chat_id) {
                    (Some(from), _) => Kind::Moved { from, to: message.chat.id },
                    (None, Some(to)) => Kind::Moved { from: message.chat.id, to },
                    (None, None) => Kind::Message(message),
                }
            }
            Raw { edited_message: Some(message), .. } => Kind::Edited(message),
            Raw { callback_query: Some(callback), .. } => Kind::Callback(callback),
            Raw { stopped_message_generation: Some(stopped), .. } => Kind::Stopped(stopped),
            Raw { my_chat_member: Some(Membership { chat }), .. } => Kind::Membership { chat },
            Raw { rest, .. } => {
                let name = rest.into_keys().next().unwrap_or_default();
                Kind::Other(name.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(40).collect())
            }
        };
        Ok(Self { id, kind })
    }

    /// Chat and topic: what is answered one after the other. `None` for what has no chat.
    pub fn lane(&self) -> Option<(ChatId, i64)> {
        match &self.kind {
            Kind::Message(message) | Kind::Edited(message) => Some((message.chat.id, message.topic())),
            Kind::Callback(callback) => callback.message.as_ref().map(|message| (message.chat.id, 0)),
            Kind::Stopped(stopped) => Some((stopped.chat.id, stopped.message_thread_id.unwrap_or(0))),
            Kind::Membership { chat } => Some((chat.id, 0)),
            Kind::Moved { from, .. } => Some((*from, 0)),
            Kind::Other(_) => None,
        }
    }
}

/// Where serde stopped, without the content it saw there.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field has the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is not JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// The one file among the fields of a message. What Telegram calls an animation it repeats as a document, for old bots.
macro_rules! attachment {
    ($message:expr) => {
        [
            (Carried::Voice, &$message.voice),
            (Carried::Audio, &$message.audio),
            (Carried::VideoNote, &$message.video_note),
            (Carried::Animation, &$message.animation),
            (Carried::Video, &$message.video),
            (Carried::Sticker, &$message.sticker),
            (Carried::Document, &$message.document),
        ]
        .into_iter()
        .find_map(|(kind, media)| Attachment::new(kind, media.as_ref()?))
        .or_else(|| Attachment::new(Carried::Photo, largest(&$message.photo)?))
    };
}

impl Quoted {
    /// The file that it carries.
    pub fn attachment(&self) -> Option<Attachment<'_>> {
        attachment!(self)
    }
}

impl Message {
    /// Topic of a forum, or thread of a private chat; 0 without one.
    pub fn topic(&self) -> i64 {
        match self.is_topic_message {
            true => self.message_thread_id.unwrap_or(0),
            false => 0,
        }
    }

    /// Text or caption.
    pub fn words(&self) -> &str {
        self.text.as_deref().or(self.caption.as_deref()).unwrap_or_default()
    }

    /// The file that it carries.
    pub fn attachment(&self) -> Option<Attachment<'_>> {
        attachment!(self)
    }

    /// It says where somebody is.
    pub fn is_location(&self) -> bool {
        self.location.is_some()
    }

    /// The entities of [`Message::words`] with their text, cut at UTF-16 units.
    pub fn marked(&self) -> Vec<(&str, String)> {
        let units: Vec<u16> = self.words().encode_utf16().collect();
        let entities = if self.text.is_some() { &self.entities } else { &self.caption_entities };
        entities
            .iter()
            .take(ENTITIES)
            .filter_map(|entity| {
                let end = entity.offset.checked_add(entity.length)?;
                Some((entity.kind.as_str(), String::from_utf16_lossy(units.get(entity.offset..end)?)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Malformed, Update};

    fn parse(text: &str) -> Result<Update, Malformed> {
        Update::parse(text.as_bytes())
    }

    #[test]
    fn a_message_is_parsed_and_unknown_fields_are_tolerated() {
        let update = parse(
            r#"{"update_id":7,"message":{"message_id":1,"date":1,"new_field":{"a":[1]},"chat":{"id":-5,"type":"supergroup","title":"x"},
                "from":{"id":9,"is_bot":false,"first_name":"A"},"is_topic_message":true,"message_thread_id":3,"text":"😀 @me hi",
                "entities":[{"type":"mention","offset":3,"length":3},{"type":"mention","offset":90,"length":3}]}}"#,
        )
        .expect("good");
        assert_eq!((update.id, update.lane().map(|(chat, topic)| (chat.0, topic))), (7, Some((-5, 3))));
        let Kind::Message(message) = update.kind else { panic!("not a message") };
        assert_eq!(message.marked(), [("mention", "@me".to_owned())]);
    }

    #[test]
    fn malformed_updates_say_where_but_not_what() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            r#"{"update_id":1,"message":{"secret":"canary"}}"#,
            r#"{"update_id":"canary"}"#,
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(!error.contains("canary") && error.starts_with("not an update"), "{error}");
        }
        assert_eq!(parse("{}"), Err(Malformed::Id));
        assert_eq!(parse(r#"{"update_id":-1}"#), Err(Malformed::Id));
    }

    #[test]
    fn a_group_that_became_a_supergroup_says_so_from_both_ends() {
        let moved = Kind::Moved { from: super::ChatId(-5), to: super::ChatId(-1005) };
        for (chat, field, other) in [(-5, "migrate_to_chat_id", -1005), (-1005, "migrate_from_chat_id", -5)] {
            let text = format!(
                r#"{{"update_id":1,"message":{{"message_id":1,"date":1,"chat":{{"id":{chat},"type":"group"}},"{field}":{other}}}}}"#
            );
            assert_eq!(parse(&text).expect("good").kind, moved);
        }
    }

    #[test]
    fn unknown_kinds_are_named() {
        let update = parse(r#"{"update_id":1,"message_reaction":{"chat":{"id":1}}}"#).expect("good");
        assert_eq!(update.kind, Kind::Other("message_reaction".into()));
        assert_eq!(update.lane(), None);
    }
}
