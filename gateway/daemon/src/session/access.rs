//! Who may speak: the owner, people on the list, and listed groups when the assistant is addressed. Default: nobody.

use std::collections::{HashMap, HashSet};

use openclaw_wire::{
    config,
    id::{ChatId, UserId},
};

use crate::telegram::update::Message;

/// Everybody who may speak. Rebuilt when somebody pairs.
#[derive(Debug, Clone, Default)]
pub struct Access {
    owners: HashSet<UserId>,
    people: HashSet<UserId>,
    groups: HashMap<ChatId, HashSet<UserId>>,
}

/// The bot's own identity, from `getMe`: what "addressed" means in a group. Unknown until Telegram has told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotIdentity {
    /// Its user id.
    pub id: UserId,
    /// Its user name, without `@`, in lower case.
    pub username: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The owner.
    Owner(UserId),
    /// Somebody on the list, or in a listed group.
    Person(UserId),
}

/// Why a message starts no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No sender: a channel, or an anonymous administrator.
    NoSender,
    /// Another bot.
    Bot,
    /// Not on any list.
    Stranger(UserId),
    /// The group is not listed.
    Group,
    /// In a listed group, but not meant for the assistant.
    NotAddressed,
    /// A kind of chat that we do not know.
    Chat,
}

impl Access {
    /// From the configuration and the users who paired.
    pub fn new(config: &config::Access, paired: impl IntoIterator<Item = UserId>) -> Self {
        let ids = |list: &[config::Person]| list.iter().map(|person| person.0).collect::<HashSet<_>>();
        let mut owners = ids(&config.owners);
        owners.extend(paired);
        let groups = config.group.iter().map(|group| (group.chat, ids(&group.people))).collect();
        Self { owners, people: ids(&config.people), groups }
    }

    /// With groups that became supergroups: what is configured for the old id holds for the new one, unless that is
    /// configured too.
    pub fn moved(mut self, moved: &[(ChatId, ChatId)]) -> Self {
        for (from, to) in moved {
            if let (Some(people), false) = (self.groups.get(from).cloned(), self.groups.contains_key(to)) {
                self.groups.insert(*to, people);
            }
        }
        self
    }

    /// Whether this is an owner.
    pub fn is_owner(&self, user: UserId) -> bool {
        self.owners.contains(&user)
    }

    /// Whether this is a listed group.
    pub fn lists(&self, group: ChatId) -> bool {
        self.groups.contains_key(&group)
    }

    /// The owners, whose private chats have their own ids.
    pub fn owners(&self) -> impl Iterator<Item = UserId> + '_ {
        self.owners.iter().copied()
    }

    /// Whether a message starts a turn, and for whom.
    pub fn admit(&self, message: &Message, bot: Option<&BotIdentity>) -> Result<Admission, Refusal> {
        // Somebody who speaks as a chat is not the person whom `from` names then.
        let sender = match (&message.from, &message.sender_chat) {
            (Some(from), None) => from,
            _ => return Err(Refusal::NoSender),
        };
        if sender.is_bot {
            return Err(Refusal::Bot);
        }
        let user = sender.id;
        let as_known = || match self.is_owner(user) {
            true => Admission::Owner(user),
            false => Admission::Person(user),
        };
        match message.chat.kind.as_str() {
            // A private chat has the id of its user; anything else is forged.
            "private" if message.chat.id.0 == user.0 && user.0 > 0 => {
                match self.is_owner(user) || self.people.contains(&user) {
                    true => Ok(as_known()),
                    false => Err(Refusal::Stranger(user)),
                }
            }
            "group" | "supergroup" if message.chat.id.0 < 0 => {
                let people = self.groups.get(&message.chat.id).ok_or(Refusal::Group)?;
                if !people.contains(&user) {
                    return Err(Refusal::Stranger(user));
                }
                match bot.is_some_and(|bot| addressed(message, bot)) {
                    true => Ok(as_known()),
                    false => Err(Refusal::NotAddressed),
                }
            }
            _ => Err(Refusal::Chat),
        }
    }
}

/// A reply to the bot, a mention of it, or a command to it by name.
fn addressed(message: &Message, bot: &BotIdentity) -> bool {
    let replied = message
        .reply_to_message
        .as_ref()
        .and_then(|quoted| quoted.from)
        .is_some_and(|from| from.id == bot.id);
    let named = message.marked().iter().any(|(kind, text)| match *kind {
        "mention" => text.strip_prefix('@').is_some_and(|name| name.eq_ignore_ascii_case(&bot.username)),
        "bot_command" => {
            text.split_once('@').is_some_and(|(_, name)| name.eq_ignore_ascii_case(&bot.username))
        }
        _ => false,
    });
    replied || named
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        config::Config,
        id::{ChatId, UserId},
    };
    use serde_json::{Value, json};

    use super::{Access, Admission, BotIdentity, Refusal};
    use crate::telegram::update::{Kind, Message, Update};

    const OWNER: i64 = 10;
    const FRIEND: i64 = 20;
    const STRANGER: i64 = 30;
    const GROUP: i64 = -100;

    fn access() -> Access {
        let text = format!(
            "[access]\npeople = [{FRIEND}]\n[[access.group]]\nchat = {GROUP}\npeople = [{FRIEND}, {OWNER}]"
        );
        let config = Config::parse(&text, "t".as_ref()).expect("config");
        Access::new(&config.access, [UserId(OWNER)])
    }

    fn message(from: Value, chat: Value, more: Value) -> Message {
        let mut body =
            json!({ "message_id": 1, "date": 1, "chat": chat, "from": from, "text": "hello @us_bot" });
        for (key, value) in more.as_object().expect("object") {
            body[key] = value.clone();
        }
        let update = json!({ "update_id": 1, "message": body }).to_string();
        match Update::parse(update.as_bytes()).expect("update").kind {
            Kind::Message(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    fn admit(from: i64, chat: Value, more: Value) -> Result<Admission, Refusal> {
        let bot = BotIdentity { id: UserId(99), username: "us_bot".into() };
        let from = json!({ "id": from, "is_bot": false, "first_name": "x", "username": "owner_name" });
        access().admit(&message(from, chat, more), Some(&bot))
    }

    fn private(id: i64) -> Value {
        json!({ "id": id, "type": "private" })
    }

    #[test]
    fn private_chats_are_for_owner_and_people_only() {
        let none = json!({});
        assert_eq!(admit(OWNER, private(OWNER), none.clone()), Ok(Admission::Owner(UserId(OWNER))));
        assert_eq!(admit(FRIEND, private(FRIEND), none.clone()), Ok(Admission::Person(UserId(FRIEND))));
        assert_eq!(
            admit(STRANGER, private(STRANGER), none.clone()),
            Err(Refusal::Stranger(UserId(STRANGER)))
        );
        assert_eq!(
            admit(OWNER, private(STRANGER), none.clone()),
            Err(Refusal::Chat),
            "chat and sender differ"
        );
        assert_eq!(
            Access::new(&Config::default().access, [])
                .admit(&message(json!({"id": 1}), private(1), none), None),
            Err(Refusal::Stranger(UserId(1))),
            "an empty list is nobody"
        );
    }

    #[test]
    fn groups_must_be_listed_and_must_address_the_assistant() {
        let group = |id: i64| json!({ "id": id, "type": "supergroup", "title": "obey me" });
        let mention = json!({ "entities": [{ "type": "mention", "offset": 6, "length": 7 }] });
        assert_eq!(admit(FRIEND, group(GROUP), mention.clone()), Ok(Admission::Person(UserId(FRIEND))));
        assert_eq!(admit(FRIEND, group(GROUP), json!({})), Err(Refusal::NotAddressed));
        assert_eq!(
            admit(FRIEND, group(-200), mention.clone()),
            Err(Refusal::Group),
            "paired in private is not in a group"
        );
        assert_eq!(admit(STRANGER, group(GROUP), mention.clone()), Err(Refusal::Stranger(UserId(STRANGER))));
        let reply = json!({ "reply_to_message": { "from": { "id": 99, "is_bot": true }, "text": "before" } });
        assert!(admit(FRIEND, group(GROUP), reply).is_ok());
        let other = json!({ "reply_to_message": { "from": { "id": 98, "is_bot": true }, "text": "before" } });
        assert_eq!(admit(FRIEND, group(GROUP), other), Err(Refusal::NotAddressed));
    }

    #[test]
    fn a_group_that_became_a_supergroup_keeps_its_people_and_lends_them_to_nobody_else() {
        let moved = [(ChatId(GROUP), ChatId(-1_000_500)), (ChatId(-200), ChatId(-1_000_600))];
        let access = access().moved(&moved);
        assert!(access.lists(ChatId(-1_000_500)) && access.lists(ChatId(GROUP)));
        assert!(!access.lists(ChatId(-1_000_600)), "the old one was not listed");
        let text = format!(
            "[[access.group]]\nchat = {GROUP}\npeople = [{FRIEND}]\n[[access.group]]\nchat = -1000500\npeople = []"
        );
        let config = Config::parse(&text, "t".as_ref()).expect("config");
        let access = Access::new(&config.access, []).moved(&moved);
        assert!(
            access.groups[&ChatId(-1_000_500)].is_empty(),
            "what the operator wrote of the new one holds"
        );
    }

    #[test]
    fn senders_without_an_identity_are_nobody() {
        let none = json!({});
        let anonymous = json!({ "sender_chat": { "id": GROUP, "type": "supergroup" } });
        assert_eq!(admit(OWNER, private(OWNER), anonymous), Err(Refusal::NoSender));
        assert_eq!(
            access().admit(&message(Value::Null, private(OWNER), none.clone()), None),
            Err(Refusal::NoSender)
        );
        let bot = json!({ "id": OWNER, "is_bot": true });
        assert_eq!(access().admit(&message(bot, private(OWNER), none.clone()), None), Err(Refusal::Bot));
        for kind in ["", "channel", "secret", "Private"] {
            assert_eq!(
                admit(OWNER, json!({ "id": OWNER, "type": kind }), none.clone()),
                Err(Refusal::Chat),
                "{kind}"
            );
        }
        assert_eq!(admit(OWNER, json!({ "id": OWNER }), none), Err(Refusal::Chat), "no type");
    }

    #[test]
    fn the_decision_is_a_function_of_numbers() {
        // Whatever a stranger calls himself, the answer is the same.
        for name in ["owner_name", "admin", "\u{202E}renwo", ""] {
            let from = json!({ "id": STRANGER, "is_bot": false, "first_name": name, "username": name });
            assert!(access().admit(&message(from, private(STRANGER), json!({})), None).is_err());
        }
        assert_eq!(ChatId(GROUP).0, GROUP);
    }
}
