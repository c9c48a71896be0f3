//! What the Bot API server remembers: bots, chats, messages, files, pending updates. Plain data behind one lock; the
//! files beside this one act on it. Holds nothing across an await.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::flood::Flood;

/// Which updates wait for each other. One of a queue is in flight at a time; across queues no order is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Messages and edits of a chat.
    Chat(i64),
    /// Callback queries of a user: not the queue of the chat in which the button was pressed.
    Callback(i64),
    /// Everything else, by kind and id.
    Other(&'static str, i64),
}

impl Queue {
    /// How long the server keeps an update of this queue.
    pub fn lifetime(self) -> Duration {
        match self {
            Self::Callback(_) => Duration::from_secs(150),
            Self::Other("inline_query", _) => Duration::from_secs(30),
            Self::Other("chosen_inline_result", _) => Duration::from_secs(600),
            Self::Chat(_) | Self::Other(..) => Duration::from_secs(24 * 3600),
        }
    }
}

/// An update that the bot has not confirmed.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its queue.
    pub queue: Queue,
    /// Its key in the update object.
    pub kind: String,
    /// The object under that key.
    pub body: Value,
    /// When the server gives up on it.
    pub expires: Instant,
}

/// A chat as one bot sees it.
pub struct Chat {
    /// The `Chat` object.
    pub object: Value,
    /// Messages by id, as the API returns them.
    pub messages: BTreeMap<i64, Value>,
    /// Ids of the messages that the bot sent and no test has looked at, in order.
    pub unseen: VecDeque<i64>,
    /// Drafts that the bot showed, in order: id and text.
    pub drafts: Vec<(i64, String)>,
    /// Why the bot may not write here; the 403's description.
    pub closed: Option<&'static str>,
    /// The supergroup that it became.
    pub became: Option<i64>,
    /// How often the bot showed that it is typing.
    pub typing: usize,
    next_message: i64,
}

/// A registered webhook.
#[derive(Debug, Clone, Default)]
pub struct Hook {
    /// As the bot registered it.
    pub url: String,
    /// For the header `X-Telegram-Bot-Api-Secret-Token`.
    pub secret: Option<String>,
    /// Most deliveries at a time.
    pub max_connections: usize,
    /// When and why the last delivery failed.
    pub last_error: Option<(u64, String)>,
}

/// A callback query that waits for its answer.
pub struct Callback {
    /// When it was pressed.
    pub asked: Instant,
    /// The answer's text, once answered.
    pub answer: Option<String>,
}

/// One bot account.
pub struct Bot {
    /// Its `User` object.
    pub user: Value,
    /// Chats by id.
    pub chats: HashMap<i64, Chat>,
    /// Unconfirmed updates by id.
    pub pending: BTreeMap<i64, Pending>,
    /// Queues with a delivery in flight.
    pub busy: HashSet<Queue>,
    /// The webhook.
    pub hook: Option<Hook>,
    /// Kinds of updates that it asked for; `None` for the default set.
    pub allowed: Option<Vec<String>>,
    /// Counts pollers: a poll that finds another number was pushed aside.
    pub poll: u64,
    /// Callback queries by id.
    pub callbacks: HashMap<String, Callback>,
    /// Files by `file_path`.
    pub files: HashMap<String, Vec<u8>>,
    /// Rate limits, when they are switched on.
    pub flood: Option<Flood>,
    /// Its token was revoked.
    pub revoked: bool,
    /// The commands that it announced.
    pub commands: Value,
    next_update: i64,
    next_id: i64,
}

impl Bot {
    /// A new account.
    pub fn new(id: i64, username: &str) -> Self {
        Self {
            user: json!({
                "id": id, "is_bot": true, "first_name": username, "username": username,
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
                "can_connect_to_business": false, "has_main_web_app": false, "has_topics_enabled": false
            }),
            chats: HashMap::new(),
            pending: BTreeMap::new(),
            busy: HashSet::new(),
            hook: None,
            allowed: None,
            poll: 0,
            callbacks: HashMap::new(),
            files: HashMap::new(),
            flood: None,
            revoked: false,
            commands: json!([]),
            next_update: 700_000_001 + id % 1000 * 1_000_000,
            next_id: 1,
        }
    }

    /// The bot as it stands in a message's `from`.
    pub fn sender(&self) -> Value {
        json!({
            "id": self.user["id"], "is_bot": true, "first_name": self.user["first_name"],
            "username": self.user["username"]
        })
    }

    /// The chat, made when it is new.
    pub fn chat(&mut self, object: &Value) -> &mut Chat {
        let id = object["id"].as_i64().unwrap_or_default();
        self.chats.entry(id).or_insert_with(|| Chat {
            object: object.clone(),
            messages: BTreeMap::new(),
            unseen: VecDeque::new(),
            drafts: Vec::new(),
            closed: None,
            became: None,
            typing: 0,
            next_message: 1,
        })
    }

    /// A number that this bot's server has not used.
    pub fn fresh(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// Queues an update, unless the bot did not ask for its kind. Returns its id.
    pub fn push(&mut self, queue: Queue, kind: &str, body: Value) -> Option<i64> {
        let wanted = match &self.allowed {
            Some(kinds) if !kinds.is_empty() => kinds.iter().any(|k| k == kind),
            _ => !matches!(kind, "chat_member" | "message_reaction" | "message_reaction_count"),
        };
        if !wanted {
            return None;
        }
        let id = self.next_update;
        self.next_update += 1;
        let expires = Instant::now() + queue.lifetime();
        self.pending.insert(id, Pending { queue, kind: kind.into(), body, expires });
        Some(id)
    }

    /// Drops updates whose time is over.
    pub fn expire(&mut self) {
        let now = Instant::now();
        self.pending.retain(|_, update| update.expires > now);
    }
}

impl Chat {
    /// Stores a message and returns it whole.
    pub fn add(&mut self, from: &Value, more: Map<String, Value>) -> Value {
        let id = self.next_message;
        self.next_message += 1;
        let mut message = Map::from_iter([
            ("message_id".to_owned(), json!(id)),
            ("date".to_owned(), json!(now())),
            ("chat".to_owned(), self.object.clone()),
            ("from".to_owned(), from.clone()),
        ]);
        message.extend(more);
        let message = Value::Object(message);
        self.messages.insert(id, message.clone());
        message
    }
}

/// The whole update object.
pub fn update(id: i64, pending: &Pending) -> Value {
    json!({ "update_id": id, pending.kind.as_str(): pending.body })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
