//! What egress tells of money, to the gateway's door and to the operator's socket alike:
//!
//! - `GET /spend`: [`Report`].
//! - `GET /spend/alerts`: a list of [`Alert`]s that nobody has acknowledged; it is answered when there is one, or after
//!   [`ALERTS_WAIT`] with none. `POST /spend/alerts` with one of them acknowledges it; 204.
//! - `POST /spend/raise` with [`Raise`]: [`CapState`] afterwards. The ceiling is egress's own.
//!
//! A request for a model names the chat that it is for in the header [`CHAT`].

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::money::Usd;

/// Header of a request for a model: the chat, as `bot/number`.
pub const CHAT: &str = "x-openclaw-chat";
/// How long a question for alerts waits for one.
pub const ALERTS_WAIT: Duration = Duration::from_secs(45);

/// A day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// From midnight to midnight.
    Day,
    /// From the first to the last day.
    Month,
}

/// Whose spending a cap bounds. The names of thousands of chats live long among pieces that pass: each in a piece of its
/// own would hold a page of memory, so they stand where the enum stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "of", content = "name")]
pub enum Whose {
    /// Everybody's together.
    All,
    /// Of one key, by name.
    Key(SmolStr),
    /// Of one chat: `bot/number`.
    Chat(SmolStr),
    /// Of one skill.
    Skill(SmolStr),
}

/// For people: `all together`, `key X`.
impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all together"),
            Self::Key(name) => write!(f, "key {name}"),
            Self::Chat(name) => write!(f, "chat {name}"),
            Self::Skill(name) => write!(f, "skill {name}"),
        }
    }
}

/// A cap and its period: what an alert and a raise are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CapId {
    /// Whose spending.
    #[serde(flatten)]
    pub whose: Whose,
    /// Day or month.
    pub span: Span,
    /// Which: `2026-11-22` or `2026-11`.
    pub period: String,
}

/// A cap in its present period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapState {
    /// Which.
    #[serde(flatten)]
    pub cap: CapId,
    /// What was spent.
    pub spent: Usd,
    /// What calls under way may cost at most.
    pub reserved: Usd,
    /// What may be spent.
    pub limit: Usd,
    /// To what the owner may raise it.
    pub ceiling: Usd,
    /// What one more raise makes of it; the limit itself at the ceiling.
    pub next: Usd,
    /// How often it was raised in this period.
    pub raised: u32,
}

impl CapState {
    /// Four fifths of it are used.
    pub fn is_near(&self) -> bool {
        is_near(self.spent, self.limit)
    }
}

/// Four fifths of a limit are used.
pub fn is_near(spent: Usd, limit: Usd) -> bool {
    spent.times(5) >= limit.times(4)
}

/// What the owner must hear of a cap, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What happened.
    pub kind: AlertKind,
    /// The cap as it was then.
    #[serde(flatten)]
    pub state: CapState,
}

/// What happened to a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// Four fifths of it are used.
    Near,
    /// A call was refused because of it.
    Reached,
}

/// The owner's wish for more, up to the ceiling. Does nothing if the cap was raised since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// Which cap, in its present period.
    #[serde(flatten)]
    pub cap: CapId,
    /// [`CapState::raised`] as the owner saw it.
    pub raised: u32,
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Calls, those that failed or broke off among them.
    pub calls: u64,
    /// Calls that the far end answered with an error.
    pub failed: u64,
    /// Calls that broke off or were cancelled; what can't be known of them counts with its most.
    pub cut: u64,
    /// Input tokens, the cached ones among them.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached: u64,
    /// Output tokens, reasoning among them.
    pub output: u64,
    /// What it cost.
    pub cost: Usd,
}

impl Used {
    /// Adds.
    pub fn add(&mut self, more: &Self) {
        self.calls += more.calls;
        self.failed += more.failed;
        self.cut += more.cut;
        self.input += more.input;
        self.cached += more.cached;
        self.output += more.output;
        self.cost = self.cost.plus(more.cost);
    }
}

/// Use by one key, of one model, for one chat and skill. Empty where there is none; without a model: what may have been
/// spent when the machine lost its power, and is in no call's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Name of the key.
    pub key: String,
    /// The vendor's name of the model, or the host of a skill's request.
    pub model: String,
    /// `bot/number`.
    pub chat: String,
    /// Skill.
    pub skill: String,
    /// How much.
    pub used: Used,
}

/// One period.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// `2026-11-22` or `2026-11`.
    pub period: String,
    /// In all.
    pub total: Used,
    /// In detail, the dearest first.
    pub lines: Vec<Line>,
}

/// What was spent, and what may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The present day.
    pub today: Spent,
    /// The present month.
    pub month: Spent,
    /// Caps of whatever was used this month, and those over all.
    pub caps: Vec<CapState>,
}
