//! `openclaw.toml`: one struct for each section. Unknown keys are errors. `openclaw.toml` beside this file is the
//! template that a first run writes: every key with its default, its unit and its meaning.

mod admin;
mod check;
mod direct;
mod endpoint;
mod files;
mod mistake;
mod skills;
mod spend;
mod webhook;

pub use mistake::without_values;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

pub use self::{
    admin::{Admin, Page},
    direct::{Challenge, Direct},
    endpoint::Endpoint,
    files::Files,
    skills::{Runtime, Skills},
    spend::{Cap, Price, Spend, UtcOffset},
    webhook::{From, Listen, Webhook},
};
use crate::{
    facts::FACTS,
    id::{BotName, ChatId, ModelName, UserId},
};

/// The commented template: what a first run writes, and the reference of every key.
pub const TEMPLATE: &str = include_str!("openclaw.toml");

/// The operator's own chat stands where a bot's name stands elsewhere, so no bot may have this name.
pub const TERMINAL: &str = "terminal";

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong type or range.
    #[error("configuration {path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column, key and what was expected.
        message: String,
    },
    /// Keys that are fine alone but not together.
    #[error("configuration {path}: {message}\n  mend: {mend}")]
    Conflict {
        /// The file.
        path: PathBuf,
        /// What contradicts what.
        message: String,
        /// What to write instead.
        mend: String,
    },
}

/// How strict the kernel barriers and the keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Starts with what the kernel offers and says loudly what is missing.
    #[default]
    Development,
    /// Refuses to start with less than was asked for.
    Production,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How strict.
    pub profile: Profile,
    /// What is written down, and where.
    pub log: Log,
    /// Where the keys are.
    pub keys: Keys,
    /// How far ends are reached.
    pub network: Network,
    /// The bots.
    pub telegram: Telegram,
    /// Where updates are delivered to.
    pub webhook: Webhook,
    /// The certificate, without a tunnel.
    pub direct: Direct,
    /// The operator's status page.
    pub admin: Admin,
    /// Who may talk to the assistant.
    pub access: Access,
    /// Models in order of preference.
    pub model: Vec<Model>,
    /// How much may be spent.
    pub spend: Spend,
    /// Other caps for one key, chat or skill.
    pub cap: Vec<Cap>,
    /// Prices that are not in the table of this release.
    pub price: Vec<Price>,
    /// Budgets of one turn.
    pub turn: Turn,
    /// What a turn remembers.
    pub session: Session,
    /// What people attach and skills make.
    pub files: Files,
    /// Skills and what is granted to them.
    pub skills: Skills,
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least severity that is written.
    pub level: Level,
    /// Shape of a line.
    pub format: LogFormat,
}

/// Section `[network]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Certificates (PEM) that are trusted besides the system's.
    pub extra_roots: Option<PathBuf>,
    /// Lists of revoked certificates (CRL, PEM).
    pub revoked: Option<PathBuf>,
}

/// Section `[keys]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The key file; `egress/.env` in the state folder by default.
    pub file: Option<PathBuf>,
}

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what failed for good.
    Error,
    /// And what was mended by itself.
    Warn,
    /// And each start, stop and refusal.
    Info,
    /// And each step. Never message text or keys, at any level.
    Debug,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Section `[telegram]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telegram {
    /// Base URL of the Bot API server.
    pub api: Url,
    /// The API server is on a private address that the operator vouches for.
    pub private: bool,
    /// A proxy on the way to the API server: `socks5://host:port` or `http://host:port`.
    pub via: Option<Url>,
    /// Messages that a bot sends per second, over all its chats.
    pub per_second: u32,
    /// Messages that it sends per minute in one private chat.
    pub per_chat_minute: u32,
    /// Messages that it sends per minute in one group.
    pub per_group_minute: u32,
    /// The bots. None named, but a key `TELEGRAM_BOT_TOKEN` present: one bot `main`, by polling.
    pub bot: Vec<Bot>,
}

/// One `[[telegram.bot]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bot {
    /// Part of the webhook path.
    pub name: BotName,
    /// Name of the key that is its token.
    #[serde(default = "default_token")]
    pub token: String,
    /// How its updates arrive.
    #[serde(default)]
    pub updates: Updates,
}

/// How updates arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Updates {
    /// `getUpdates`, no public address needed.
    #[default]
    Poll,
    /// Telegram calls us.
    Webhook,
}

fn default_token() -> String {
    "TELEGRAM_BOT_TOKEN".into()
}

/// Section `[access]`. Nobody is allowed by default; pairing adds the owner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Owners by numeric id, besides those who paired.
    pub owners: Vec<Person>,
    /// People who may talk to the assistant in a private chat.
    pub people: Vec<Person>,
    /// Groups in which the assistant answers when addressed.
    pub group: Vec<Group>,
}

/// A positive numeric Telegram user id. Names and group ids are refused (incidents 20, 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "i64")]
pub struct Person(pub UserId);

impl TryFrom<toml::Value> for Person {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Integer(id) if id > 0 => Ok(Self(UserId(id))),
            toml::Value::Integer(id) => Err(format!(
                "{id} is not a user id (a negative number is a group: list it under [[access.group]])"
            )),
            toml::Value::String(name) => Err(format!(
                "{name:?} is a name, and names can change hands; write the numeric user id (the bot's /start shows it)"
            )),
            other => Err(format!("{other} is not a numeric user id")),
        }
    }
}

impl std::convert::From<Person> for i64 {
    fn from(person: Person) -> i64 {
        person.0.0
    }
}

/// One `[[access.group]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group's id, negative.
    #[serde(deserialize_with = "group_id")]
    pub chat: ChatId,
    /// Who may address the assistant there; nobody if empty.
    pub people: Vec<Person>,
}

fn group_id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ChatId, D::Error> {
    let id = i64::deserialize(from)?;
    match id < 0 {
        true => Ok(ChatId(id)),
        false => Err(serde::de::Error::custom(format!("{id} is not a group: group ids are negative"))),
    }
}

/// One `[[model]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in `/model` and its route at egress.
    pub name: ModelName,
    /// The protocol that the server speaks.
    pub api: Api,
    /// Where the server is; the vendor's address by default.
    #[serde(default)]
    pub url: Option<Url>,
    /// The server is on a private address that the operator vouches for.
    #[serde(default)]
    pub private: bool,
    /// The vendor's name of the model.
    pub model: String,
    /// Name of the key; none for servers that want none.
    #[serde(default)]
    pub key: Option<String>,
    /// Names of further keys, in order: asked when the first is refused (401) or asked for too often (429).
    #[serde(default)]
    pub spare_keys: Vec<String>,
    /// A proxy on the way to the server: `socks5://host:port` or `http://host:port`.
    #[serde(default)]
    pub via: Option<Url>,
    /// Most tokens of one answer.
    #[serde(default = "default_max_output")]
    pub max_output: u32,
}

fn default_max_output() -> u32 {
    4096
}

/// Protocols of model servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions, and everything compatible.
    Openai,
    /// Scripted, offline, labelled: shows the whole path without a provider.
    Rehearsal,
}

/// Section `[turn]`: budgets of one turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Most model calls.
    pub steps: u32,
    /// Most tokens, input and output together.
    pub tokens: u64,
    /// Most seconds.
    pub seconds: u64,
    /// How often a message is tried before it goes to the dead letters.
    pub tries: u32,
    /// Turns that run at the same time, over all chats.
    pub concurrent: usize,
}

/// Section `[session]`: what a turn remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// The operator's instructions; they stay in every request, word for word.
    pub instructions: String,
    /// Bytes of conversation kept word for word; older parts are folded into the summary.
    pub window: usize,
    /// Largest summary, in bytes.
    pub summary: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text }
    }
}

impl Default for Telegram {
    fn default() -> Self {
        Self {
            api: FACTS.telegram.api.clone(),
            private: false,
            via: None,
            per_second: 30,
            per_chat_minute: 60,
            per_group_minute: 20,
            bot: Vec::new(),
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self { steps: 12, tokens: 200_000, seconds: 300, tries: 3, concurrent: 64 }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            instructions: "You are a helpful personal assistant. Answer briefly.".into(),
            window: 32_768,
            summary: 4_096,
        }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Checks a text; `path` is for the messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.into(),
            message: mistake::describe(&error, text),
        })?;
        config.coherent().map_err(|(message, mend)| ConfigError::Conflict {
            path: path.into(),
            message,
            mend,
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, TEMPLATE};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("t.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_template_is_the_defaults_and_names_every_key() {
        assert_eq!(parse(TEMPLATE).expect("as it is"), Config::default());
        // With every commented assignment switched on, it says the same, but for the examples of lists.
        let on: String =
            TEMPLATE.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line).to_owned() + "\n").collect();
        assert_eq!(parse(&on).expect("switched on"), Config::default());
    }
}
