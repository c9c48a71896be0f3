//! What the operator's commands say to the gateway, over HTTP/1.1 on the admin socket (a path below the state folder,
//! mode 0600). Plain data; whoever can connect is the operator.
//!
//! - `GET /status`: [`Status`].
//! - `POST /chat` with [`Say`]: the turn as a stream of [`ChatEvent`]s, one JSON document on each line.
//! - `POST /chat/files?name=NAME` with a file as its body: [`AttachedAs`], for [`Say::attached`]; `GET /chat/files/7.ogg`: the
//!   file of that name in the terminal's conversation, or 404.
//! - `POST /chat/stop`: stops the turn that runs in the terminal's chat; 204.
//! - `POST /approve` with [`Approve`]: answers a question that the chat asked; 204, or 410 when it has expired.
//! - `POST /pair`: [`PairCode`].
//! - `POST /freeze`, `POST /unfreeze`: 204.
//! - `POST /skills/switch` with [`SwitchSkill`]: 204, or 409. `POST /skills/run` with [`RunTool`]: [`Ran`], or 409.
//!   `GET /skills/calls?skill=NAME`: a list of [`SkillCall`], newest first, of all skills without a name.
//!   `GET /skills/tools?skill=NAME`: a list of [`crate::skill::Tool`], as the model is shown them, those of MCP servers too.
//! - `POST /drill` with a [`Drill`](crate::drill::Drill): 204; one that failed turns skills off until one holds.
//! - `POST /audit` with an [`Audit`](crate::audit::Audit): 204; the status page shows it.
//! - `POST /page/token` with [`PageToken`]: 204; the digest of the status page's new token, or none. Whoever is logged in by
//!   the old one is not any more.
//! - `GET /dead-letters`: a list of [`DeadLetter`]; `POST /dead-letters` with [`Letter`]: 204, or 404.
//!
//! What cannot be carried out is answered with 4xx or 5xx and a [`Problem`].

use serde::{Deserialize, Serialize};

use crate::{
    config::{From, Profile},
    egress::{BotRoute, ModelRoute},
    file::FileName,
    id::SkillId,
    spend::CapState,
};

/// How the appliance is doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// How strict the kernel barriers and the keys are.
    pub profile: Profile,
    /// When the gateway started, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// The gateway's release.
    pub version: String,
    /// Models in order of preference, the rehearsal among them when it is what answers; empty when egress has not
    /// answered yet.
    pub models: Vec<ModelRoute>,
    /// Bots.
    pub bots: Vec<BotRoute>,
    /// Who connects to the webhook; `None` when none listens.
    #[serde(default)]
    pub webhook_from: Option<From>,
    /// What may be spent in all, and what was; and where four fifths of a chat's, key's or skill's are used.
    #[serde(default)]
    pub caps: Vec<CapState>,
    /// What waits, and what was given up.
    pub queues: Queues,
    /// Somebody has paired, or the configuration names an owner.
    pub owner_paired: bool,
    /// Skills that were found.
    pub skills: Vec<SkillStatus>,
    /// Why no skill can run; `None` when skills can.
    pub skills_off: Option<String>,
    /// The last drill of which the gateway was told.
    #[serde(default)]
    pub last_drill: Option<LastDrill>,
    /// The status page.
    #[serde(default)]
    pub page: PageStatus,
    /// What the kernel enforces on each process (`openclaw_confine::Report`), gateway first.
    pub processes: Vec<serde_json::Value>,
    /// What the operator should know, in whole sentences.
    pub warnings: Vec<String>,
}

/// What waits, and what was given up. Numbers of messages or turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// Accepted updates that no turn has taken up yet.
    pub inbox_waiting: u64,
    /// Turns that run now.
    pub running_turns: u64,
    /// Answers that are stored and not yet sent.
    pub outbox_waiting: u64,
    /// Messages and answers that were given up after the last try.
    pub dead_letters: u64,
}

/// One skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillStatus {
    /// The name of its folder.
    pub id: SkillId,
    /// SHA-256 over the folder, in hex ([`crate::skill::digest`]); empty when it could not be read.
    pub digest: String,
    /// The tools that the model can call; none for instructions only.
    pub tools: Vec<String>,
    /// Why it can't be used; `None` when it can.
    pub problem: Option<String>,
}

/// A message of the owner, typed in the terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// The words, or a command such as `/new`.
    pub text: String,
    /// Files of the terminal's conversation that come with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<FileName>,
}

/// A file that is to become one of the terminal's conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// What its owner calls it.
    pub name: String,
}

/// Under which name it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedAs {
    /// The name.
    pub name: FileName,
}

/// What happens in a turn, in order. The last one is [`ChatEvent::Done`] or [`ChatEvent::Error`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatEvent {
    /// The next piece of the answer. Whoever prints it removes control characters: a model wrote it.
    Text(String),
    /// A tool is called; its name.
    Tool(String),
    /// Files that a skill made for this conversation, in words.
    Files(String),
    /// A tool asks for leave. The turn waits for [`Approve`].
    Ask(Ask),
    /// The turn is over: `{"done":true}`.
    Done(bool),
    /// The turn is over without an answer; what was attempted and what mends it.
    Error(String),
}

/// A question that only the owner can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Names the question in [`Approve`]; single use.
    pub id: String,
    /// What would be done, with its full arguments.
    pub text: String,
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// [`Ask::id`].
    pub id: String,
    /// Do it.
    pub approve: bool,
}

/// A code that makes whoever sends it to the bot the owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PairCode {
    /// To be sent as `/start CODE` in a private chat with a bot; single use.
    pub code: String,
    /// When it stops working, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// User names of the bots that take it, without `@`, as far as they are known.
    #[serde(default)]
    pub bots: Vec<String>,
}

/// A message or an answer that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `in-7` for a message, `out-7` for an answer.
    pub id: String,
    /// Through which bot.
    pub bot: String,
    /// In which chat.
    pub chat: i64,
    /// When it was accepted or said, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Why it was given up.
    pub problem: String,
}

/// What to do with a [`DeadLetter`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// [`DeadLetter::id`].
    pub id: String,
    /// Try it again; else delete it.
    pub retry: bool,
}

/// Switches a skill.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchSkill {
    /// Which.
    pub skill: SkillId,
    /// On; else off.
    pub on: bool,
}

/// A call of a tool that the operator typed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTool {
    /// The skill.
    pub skill: SkillId,
    /// Its tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: serde_json::Value,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ran {
    /// What the skill said, or why it did not. Whoever prints it removes control characters.
    pub text: String,
    /// It did not do what it should.
    pub is_error: bool,
}

/// Whose calls, or tools.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfSkill {
    /// This skill's; everybody's without one.
    pub skill: Option<SkillId>,
}

/// A call of the last 30 days.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SkillCall {
    /// The skill.
    pub skill: String,
    /// Its tool.
    pub tool: String,
    /// Seconds since 1970-01-01 UTC.
    pub started: i64,
    /// The same; `None` while it runs, or when it was interrupted.
    pub finished: Option<i64>,
    /// It did not do what it should; `None` when that is not known.
    pub failed: Option<bool>,
    /// Why the runner ended it or could not run it; `None` when it answered, well or not.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a token of the status page is good for. Nothing that a browser sends changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The page and its buttons, and the figures.
    Operator,
    /// `/metrics` alone.
    Metrics,
}

/// A token of the status page, by its digest: the token itself is known to whoever made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageToken {
    /// What it is good for.
    pub scope: Scope,
    /// SHA-256 of the token, in hex; `None` takes the old one away and puts nothing in its place.
    pub sha256: Option<String>,
}

/// The status page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageStatus {
    /// It is switched on.
    pub on: bool,
    /// Where it answers now.
    pub listens: Vec<String>,
    /// The tokens that there are.
    pub tokens: Vec<Scope>,
}

/// The last drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrill {
    /// When it ended, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Probes.
    pub probes: u64,
    /// What got through; 0 when the jail held.
    pub failed: u64,
}

/// Why a request on the admin socket could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was attempted, on what, and what went wrong.
    pub message: String,
    /// What the operator can do.
    #[serde(default)]
    pub mend: String,
}

#[cfg(test)]
mod tests {
    use super::{Ask, ChatEvent};

    #[test]
    fn chat_events_are_the_documented_lines() {
        for (event, line) in [
            (ChatEvent::Text("a".into()), r#"{"text":"a"}"#),
            (ChatEvent::Tool("read".into()), r#"{"tool":"read"}"#),
            (ChatEvent::Ask(Ask { id: "1".into(), text: "t".into() }), r#"{"ask":{"id":"1","text":"t"}}"#),
            (ChatEvent::Done(true), r#"{"done":true}"#),
            (ChatEvent::Error("e".into()), r#"{"error":"e"}"#),
        ] {
            assert_eq!(serde_json::to_string(&event).expect("encodes"), line);
            assert_eq!(serde_json::from_str::<ChatEvent>(line).expect("decodes"), event);
        }
    }
}
