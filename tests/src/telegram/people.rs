//! People at their phones: what they say, edit, press and see. Each act becomes the updates that Telegram would make.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{
    Account,
    world::{self, Callback, Queue},
};

/// A group.
#[derive(Clone)]
pub struct Group {
    pub(super) chat: Value,
}

/// A person in a chat: the private one, or a group after [`Person::in_group`].
#[derive(Clone)]
pub struct Person {
    pub(super) account: Account,
    pub(super) user: Value,
    pub(super) chat: Value,
    pub(super) topic: Option<i64>,
}

/// A message of the bot as people see it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id in the chat.
    pub id: i64,
    /// What people read.
    pub text: String,
    /// The whole `Message`.
    pub message: Value,
}

impl Sent {
    fn new(message: &Value) -> Self {
        Self {
            id: message["message_id"].as_i64().unwrap_or_default(),
            text: message["text"].as_str().or(message["caption"].as_str()).unwrap_or_default().into(),
            message: message.clone(),
        }
    }

    /// The labels of its inline keyboard.
    pub fn buttons(&self) -> Vec<String> {
        let rows = self.message["reply_markup"]["inline_keyboard"].as_array();
        let buttons = rows.into_iter().flatten().flat_map(|row| row.as_array().into_iter().flatten());
        buttons.filter_map(|button| button["text"].as_str().map(str::to_owned)).collect()
    }
}

impl Person {
    /// The same person, speaking in a group.
    pub fn in_group(&self, group: &Group) -> Self {
        Self { chat: group.chat.clone(), ..self.clone() }
    }

    /// The same person, speaking in a topic of this chat.
    pub fn in_topic(&self, topic: i64) -> Self {
        Self { topic: Some(topic), ..self.clone() }
    }

    /// The same person under another display name and username; the id stays.
    pub fn renamed(&self, first_name: &str, username: &str) -> Self {
        let mut copy = self.clone();
        copy.user["first_name"] = json!(first_name);
        copy.user["username"] = json!(username);
        copy
    }

    /// The numeric user id.
    pub fn id(&self) -> i64 {
        self.user["id"].as_i64().unwrap_or_default()
    }

    /// The chat's id.
    pub fn chat_id(&self) -> i64 {
        self.chat["id"].as_i64().unwrap_or_default()
    }

    /// Says something. Returns the message's id.
    pub fn says(&self, text: &str) -> i64 {
        self.sends(text_fields(text))
    }

    /// Says something and returns the update's id and its `message`, for repeating it.
    pub fn says_update(&self, text: &str) -> (i64, Value) {
        let message = self.add(text_fields(text));
        let id = self.account.update(Queue::Chat(self.chat_id()), "message", message.clone());
        (id.expect("messages are asked for"), message)
    }

    /// Answers a message by a reply.
    pub fn replies(&self, to: i64, text: &str) -> i64 {
        let original = self.account.core.look(&self.account.token, |bot| {
            bot.chats.get(&self.chat_id()).and_then(|chat| chat.messages.get(&to).cloned())
        });
        let mut fields = text_fields(text);
        fields.insert("reply_to_message".into(), original.flatten().expect("the message replied to exists"));
        self.sends(fields)
    }

    /// Forwards somebody else's words.
    pub fn forwards(&self, text: &str, from: &str) -> i64 {
        let mut fields = text_fields(text);
        let origin = json!({"type": "hidden_user", "date": world::now(), "sender_user_name": from});
        fields.insert("forward_origin".into(), origin);
        self.sends(fields)
    }

    /// Sends a photo with a caption.
    pub fn sends_photo(&self, bytes: &[u8], caption: &str) -> i64 {
        self.sends(self.photo(bytes, caption))
    }

    /// Sends several photos as an album: one message each, with the same `media_group_id`. Returns their ids.
    pub fn sends_album(&self, photos: &[(&[u8], &str)]) -> Vec<i64> {
        let album = self.account.core.with(&self.account.token, |bot| bot.fresh()).unwrap_or_default();
        let send = |(bytes, caption): &(&[u8], &str)| {
            let mut fields = self.photo(bytes, caption);
            fields.insert("media_group_id".into(), json!(format!("1300{album}")));
            self.sends(fields)
        };
        photos.iter().map(send).collect()
    }

    /// Sends a file.
    pub fn sends_document(&self, name: &str, kind: &str, bytes: &[u8], caption: &str) -> i64 {
        let more = json!({ "file_name": name, "mime_type": kind });
        self.sends_media("document", more, bytes, caption)
    }

    /// Records a voice note.
    pub fn sends_voice(&self, bytes: &[u8], seconds: u64) -> i64 {
        self.sends_media("voice", json!({ "duration": seconds, "mime_type": "audio/ogg" }), bytes, "")
    }

    /// Sends what is told in `kind`, a field of a message such as `video_note`, with `more` of it besides what the server
    /// knows. With a `file_size` in it the size is a lie.
    pub fn sends_media(&self, kind: &str, more: Value, bytes: &[u8], caption: &str) -> i64 {
        let name = match (more["file_name"].as_str(), kind) {
            (Some(name), _) => name.to_owned(),
            (None, "voice") => "file.oga".into(),
            (None, _) => "file.mp4".into(),
        };
        let (id, unique) = self.account.store_file(&format!("{kind}s"), &name, bytes);
        let known = json!({ "file_id": id, "file_unique_id": unique, "file_size": bytes.len() });
        let mut file = known.as_object().cloned().unwrap_or_default();
        file.extend(more.as_object().cloned().unwrap_or_default());
        let mut fields = Map::from_iter([(kind.to_owned(), Value::Object(file))]);
        if !caption.is_empty() {
            fields.insert("caption".into(), json!(caption));
        }
        self.sends(fields)
    }

    /// The bytes of the file that a message of the bot carries.
    pub fn opens(&self, sent: &Sent) -> Vec<u8> {
        let message = &sent.message;
        let files = [&message["photo"][0], &message["document"], &message["voice"]];
        let id = files.iter().find_map(|file| file["file_id"].as_str()).expect("the message carries a file");
        let look = |bot: &world::Bot| {
            let found = bot.files.iter().find(|(path, _)| super::methods::file_id(path) == id);
            found.map(|(_, bytes)| bytes.clone())
        };
        self.account.core.look(&self.account.token, look).flatten().expect("the server has the file")
    }

    /// Changes an earlier message of theirs.
    pub fn edits(&self, message: i64, text: &str) {
        let edited = self.account.core.with(&self.account.token, |bot| {
            let message = bot.chats.get_mut(&self.chat_id())?.messages.get_mut(&message)?;
            message["text"] = json!(text);
            message["edit_date"] = json!(world::now());
            Some(message.clone())
        });
        let edited = edited.flatten().expect("the message edited exists");
        self.account.update(Queue::Chat(self.chat_id()), "edited_message", edited);
    }

    /// Presses a button of an inline keyboard by its label. Returns the callback query's id.
    pub fn presses(&self, sent: &Sent, label: &str) -> String {
        let rows = sent.message["reply_markup"]["inline_keyboard"].as_array();
        let mut buttons = rows.into_iter().flatten().flat_map(|row| row.as_array().into_iter().flatten());
        let button = buttons.find(|button| button["text"].as_str().is_some_and(|text| text.contains(label)));
        let button = button.unwrap_or_else(|| panic!("no button {label:?}, only {:?}", sent.buttons()));
        let data = button["callback_data"].as_str().expect("the button has callback data").to_owned();
        self.presses_data(sent, &data)
    }

    /// Sends a callback query with any data, as a manipulated client can.
    pub fn presses_data(&self, sent: &Sent, data: &str) -> String {
        let message = self.account.core.with(&self.account.token, |bot| {
            let id = format!("{}{:07}", self.id(), bot.fresh());
            bot.callbacks.insert(id.clone(), Callback { asked: Instant::now(), answer: None });
            let message =
                bot.chats.get(&self.chat_id()).and_then(|chat| chat.messages.get(&sent.id).cloned());
            (id, message)
        });
        let (id, message) = message.expect("the account exists");
        let mut body = json!({"id": id, "from": self.user, "chat_instance": "4242424242", "data": data});
        if let Some(message) = message {
            body["message"] = message;
        }
        self.account.update(Queue::Callback(self.id()), "callback_query", body);
        id
    }

    /// Waits for the answer to a callback query and returns its text.
    pub async fn callback_answer(&self, id: &str) -> String {
        let found = |bot: &mut world::Bot| bot.callbacks.get(id).and_then(|callback| callback.answer.clone());
        self.account.wait(&format!("callback query {id} is answered"), found).await
    }

    /// Presses Telegram's own stop button under a draft.
    pub fn stops_draft(&self, draft: i64) {
        let body = json!({"chat": self.chat, "draft_id": draft});
        self.account.update(
            Queue::Other("stopped_message_generation", self.chat_id()),
            "stopped_message_generation",
            body,
        );
    }

    /// Reacts to a message; the bot gets it only if it asked for reactions.
    pub fn reacts(&self, message: i64) {
        let body = json!({
            "chat": self.chat, "message_id": message, "user": self.user, "date": world::now(), "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}]
        });
        self.account.update(Queue::Other("message_reaction", self.chat_id()), "message_reaction", body);
    }

    /// Blocks the bot: writing to them is refused from now on.
    pub fn blocks_the_bot(&self) {
        let me = self.account.core.with(&self.account.token, |bot| {
            if let Some(chat) = bot.chats.get_mut(&self.chat_id()) {
                chat.closed = Some("Forbidden: bot was blocked by the user");
            }
            bot.sender()
        });
        let body = json!({
            "chat": self.chat, "from": self.user, "date": world::now(),
            "old_chat_member": {"status": "member", "user": me}, "new_chat_member": {"status": "kicked", "user": me, "until_date": 0}
        });
        self.account.update(Queue::Other("my_chat_member", self.chat_id()), "my_chat_member", body);
    }

    /// Makes the group a supergroup with this id, which is below -1000000000000. The bot is told in both, unless the
    /// updates are lost; the old id is closed. Gives the person in the supergroup.
    pub fn upgrades(&self, id: i64, told: bool) -> Self {
        let group = self.account.group(id, self.chat["title"].as_str().unwrap_or_default());
        let (old, new) = (self.chat_id(), self.in_group(&group));
        if told {
            self.sends(Map::from_iter([("migrate_to_chat_id".to_owned(), json!(id))]));
            new.sends(Map::from_iter([("migrate_from_chat_id".to_owned(), json!(old))]));
        }
        self.account.core.with(&self.account.token, |bot| {
            if let Some(chat) = bot.chats.get_mut(&old) {
                chat.became = Some(id);
            }
        });
        new
    }

    /// Waits for the bot's next message in this chat that no test has looked at.
    pub async fn hears(&self) -> Sent {
        let chat = self.chat_id();
        let next = |bot: &mut world::Bot| {
            let chat = bot.chats.get_mut(&chat)?;
            let id = chat.unseen.pop_front()?;
            chat.messages.get(&id).map(Sent::new)
        };
        self.account.wait(&format!("the bot writes to chat {chat}"), next).await
    }

    /// Waits for a message that contains a text, and skips those before it.
    pub async fn hears_of(&self, part: &str) -> Sent {
        loop {
            let sent = self.hears().await;
            if sent.text.contains(part) {
                return sent;
            }
        }
    }

    /// Waits until a message of the bot, new or edited, contains a text. Marks nothing as seen.
    pub async fn reads(&self, part: &str) -> Sent {
        let chat = self.chat_id();
        let found = |bot: &mut world::Bot| {
            let me = bot.user["id"].clone();
            let messages = bot.chats.get(&chat)?.messages.values().rev();
            let mut own = messages.filter(|message| message["from"]["id"] == me).map(Sent::new);
            own.find(|sent| sent.text.contains(part))
        };
        self.account.wait(&format!("chat {chat} shows {part:?}"), found).await
    }

    /// Whether the bot says nothing for a while. For denials: show first that the same act is answered.
    pub async fn hears_nothing_for(&self, time: Duration) -> bool {
        tokio::time::sleep(time).await;
        self.unseen().is_empty()
    }

    /// The bot's messages that no test has looked at.
    pub fn unseen(&self) -> Vec<Sent> {
        let look = |bot: &world::Bot| {
            let chat = bot.chats.get(&self.chat_id())?;
            Some(chat.unseen.iter().filter_map(|id| chat.messages.get(id)).map(Sent::new).collect())
        };
        self.account.core.look(&self.account.token, look).flatten().unwrap_or_default()
    }

    /// Every message of the bot in this chat, in order.
    pub fn history(&self) -> Vec<Sent> {
        let look = |bot: &world::Bot| {
            let me = bot.user["id"].clone();
            let chat = bot.chats.get(&self.chat_id())?;
            Some(chat.messages.values().filter(|m| m["from"]["id"] == me).map(Sent::new).collect())
        };
        self.account.core.look(&self.account.token, look).flatten().unwrap_or_default()
    }

    /// The drafts that the bot showed in this chat: id and text, in order.
    pub fn drafts(&self) -> Vec<(i64, String)> {
        let look = |bot: &world::Bot| bot.chats.get(&self.chat_id()).map(|chat| chat.drafts.clone());
        self.account.core.look(&self.account.token, look).flatten().unwrap_or_default()
    }

    /// Waits until the bot has shown a draft, and returns it.
    pub async fn sees_draft(&self) -> (i64, String) {
        let chat = self.chat_id();
        let found = |bot: &mut world::Bot| bot.chats.get(&chat)?.drafts.last().cloned();
        self.account.wait(&format!("the bot shows a draft in chat {chat}"), found).await
    }

    /// How often the bot showed here that it is typing.
    pub fn typing(&self) -> usize {
        let look = |bot: &world::Bot| bot.chats.get(&self.chat_id()).map(|chat| chat.typing);
        self.account.core.look(&self.account.token, look).flatten().unwrap_or_default()
    }

    fn photo(&self, bytes: &[u8], caption: &str) -> Map<String, Value> {
        let (id, unique) = self.account.store_file("photos", "photo.jpg", bytes);
        let photo = json!([{
            "file_id": id, "file_unique_id": unique, "width": 90, "height": 60, "file_size": bytes.len()
        }]);
        let mut fields = Map::from_iter([("photo".to_owned(), photo)]);
        if !caption.is_empty() {
            fields.insert("caption".into(), json!(caption));
        }
        fields
    }

    fn add(&self, mut fields: Map<String, Value>) -> Value {
        if let Some(topic) = self.topic {
            fields.insert("message_thread_id".into(), json!(topic));
            fields.insert("is_topic_message".into(), json!(true));
        }
        let added =
            self.account.core.with(&self.account.token, |bot| bot.chat(&self.chat).add(&self.user, fields));
        added.expect("the account exists")
    }

    fn sends(&self, fields: Map<String, Value>) -> i64 {
        let message = self.add(fields);
        let id = message["message_id"].as_i64().unwrap_or_default();
        self.account.update(Queue::Chat(self.chat_id()), "message", message);
        id
    }
}

/// A text with the entities that Telegram's clients find by themselves: a command, mentions.
fn text_fields(text: &str) -> Map<String, Value> {
    let mut entities = Vec::new();
    let mut offset = 0;
    for word in text.split(' ') {
        let length = word.encode_utf16().count();
        let kind = match word.chars().next() {
            Some('/') if word.len() > 1 => Some("bot_command"),
            Some('@') if word.len() > 1 => Some("mention"),
            _ => None,
        };
        if let Some(kind) = kind {
            entities.push(json!({"type": kind, "offset": offset, "length": length}));
        }
        offset += length + 1;
    }
    let mut fields = Map::from_iter([("text".to_owned(), json!(text))]);
    if !entities.is_empty() {
        fields.insert("entities".into(), Value::Array(entities));
    }
    fields
}
