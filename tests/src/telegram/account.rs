//! A bot account as its owner sees it: its people and groups, its state at the server.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Core, Group, Person,
    flood::Flood,
    world::{self, Queue},
};

/// How long a wait may last before the test fails; generous, because many builds share the machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// One bot.
#[derive(Clone)]
pub struct Account {
    pub(super) core: Arc<Core>,
    pub(super) token: String,
}

impl Account {
    /// A person who has opened a private chat with the bot.
    pub fn person(&self, id: i64, name: &str) -> Person {
        let user = json!({"id": id, "is_bot": false, "first_name": name, "language_code": "en"});
        let chat = json!({"id": id, "type": "private", "first_name": name});
        self.core.with(&self.token, |bot| {
            bot.chat(&chat);
        });
        Person { account: self.clone(), user, chat, topic: None }
    }

    /// A group of which the bot is a member. `id` is negative; ids below -1000000000000 are supergroups.
    pub fn group(&self, id: i64, title: &str) -> Group {
        let kind = if id < -1_000_000_000_000 { "supergroup" } else { "group" };
        self.place(json!({"id": id, "type": kind, "title": title}))
    }

    /// A supergroup with topics.
    pub fn forum(&self, id: i64, title: &str) -> Group {
        self.place(json!({"id": id, "type": "supergroup", "title": title, "is_forum": true}))
    }

    fn place(&self, chat: Value) -> Group {
        self.core.with(&self.token, |bot| {
            bot.chat(&chat);
        });
        Group { chat }
    }

    /// Hands any update to the server, as it would come from Telegram's own network. Returns its id.
    pub fn update(&self, queue: Queue, kind: &str, body: Value) -> Option<i64> {
        let probe = json!({"update_id": 1, kind: body});
        if let Err(why) = super::Schema::get().check_type("Update", &probe) {
            self.core.violation(format!("the stand-in's own update: {why}"));
        }
        self.core.with(&self.token, |bot| bot.push(queue, kind, body)).flatten()
    }

    /// Hands over an update that breaks the schema on purpose. Returns its id.
    pub fn malformed_update(&self, chat: i64, kind: &str, body: Value) -> Option<i64> {
        self.core.with(&self.token, |bot| bot.push(Queue::Chat(chat), kind, body)).flatten()
    }

    /// Delivers an update once more, as happens when an answer was lost: the same id, the same content.
    pub fn repeat(&self, id: i64, queue: Queue, kind: &str, body: Value) {
        let pending = world::Pending {
            queue,
            kind: kind.into(),
            body,
            expires: std::time::Instant::now() + queue.lifetime(),
        };
        self.core.with(&self.token, |bot| bot.pending.insert(id, pending));
    }

    /// Updates that the bot has not confirmed.
    pub fn pending(&self) -> usize {
        self.core.look(&self.token, |bot| bot.pending.len()).unwrap_or_default()
    }

    /// The registered webhook: its URL and secret.
    pub fn webhook(&self) -> Option<(String, Option<String>)> {
        self.core
            .look(&self.token, |bot| bot.hook.as_ref().map(|h| (h.url.clone(), h.secret.clone())))
            .flatten()
    }

    /// The commands that the bot announced.
    pub fn commands(&self) -> Value {
        self.core.look(&self.token, |bot| bot.commands.clone()).unwrap_or_default()
    }

    /// Registers a webhook without a call of the bot, for tests that are not about `setWebhook`.
    pub fn register_webhook(&self, url: &str, secret: Option<&str>) {
        self.core.with(&self.token, |bot| {
            bot.hook = Some(world::Hook {
                url: url.into(),
                secret: secret.map(str::to_owned),
                max_connections: 40,
                last_error: None,
            });
            bot.poll += 1;
        });
    }

    /// Switches Telegram's rate limits on.
    pub fn limit_rates(&self) {
        self.core.with(&self.token, |bot| bot.flood = Some(Flood::default()));
    }

    /// Every call with this token is refused from now on.
    pub fn revoke(&self) {
        self.core.with(&self.token, |bot| bot.revoked = true);
    }

    /// Waits until no update is unconfirmed.
    pub async fn all_delivered(&self) {
        self.wait("all updates are confirmed", |bot| bot.pending.is_empty().then_some(())).await;
    }

    /// Waits for something to become true of the bot's side of the world.
    pub(super) async fn wait<T>(&self, what: &str, mut found: impl FnMut(&mut world::Bot) -> Option<T>) -> T {
        let mut changes = self.core.changes.subscribe();
        let search = async {
            loop {
                if let Some(found) = self.core.with_quietly(&self.token, &mut found).flatten() {
                    return found;
                }
                let _ = changes.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("waited {PATIENCE:?} in vain until {what}; last calls:\n{}", self.last_calls()),
        }
    }

    fn last_calls(&self) -> String {
        let journal = super::lock(&self.core.journal);
        let last = journal.calls.iter().rev().filter(|call| call.method != "getUpdates").take(12);
        last.map(|call| {
            let parameters: String = serde_json::to_string(&call.parameters).unwrap_or_default();
            format!(
                "  {} {} {}\n",
                call.status,
                call.method,
                parameters.chars().take(300).collect::<String>()
            )
        })
        .collect()
    }

    /// Stores a file and returns the fields that describe it in a message.
    pub(super) fn store_file(&self, folder: &str, name: &str, bytes: &[u8]) -> (String, String) {
        // As the server does: a path is its own, whatever a sender calls a file.
        let plain = |end: &&str| end.bytes().all(|b| b.is_ascii_alphanumeric());
        let suffix = Path::new(name).extension().and_then(|end| end.to_str()).filter(plain);
        let suffix = suffix.unwrap_or("bin").to_owned();
        let path = self.core.with(&self.token, |bot| {
            let path = format!("{folder}/file_{}.{suffix}", bot.fresh());
            bot.files.insert(path.clone(), bytes.to_vec());
            path
        });
        let path = path.expect("the account exists");
        (super::methods::file_id(&path), super::methods::unique(&path))
    }
}

impl Core {
    /// Acts on one bot without waking anybody: for those who wait themselves.
    pub(super) fn with_quietly<T>(&self, token: &str, act: impl FnOnce(&mut world::Bot) -> T) -> Option<T> {
        super::lock(&self.bots).get_mut(token).map(act)
    }
}
