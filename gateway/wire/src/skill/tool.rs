//! A tool of a skill: what the model sees of it, and what the policy decides by. A wish of the manifest's author, which
//! the operator approves with it; never more than that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One `[[tool]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name for the model: `[a-zA-Z0-9_-]{1,64}`, what every vendor accepts.
    pub name: ToolName,
    /// For the model. An MCP server tells its own, so there it may be left out.
    #[serde(default)]
    pub description: String,
    /// What calling it does to the world.
    pub effect: Effect,
    /// JSON schema of the arguments (2020-12, an object). An MCP server tells its own, so there it may be left out.
    #[serde(default = "no_schema")]
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, serde_json::Value>"))]
    pub arguments: serde_json::Value,
    /// What each argument decides; unnamed ones are `control`.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// How what it returns is labelled; the strictest by default.
    #[serde(default)]
    pub returns: Returns,
}

fn no_schema() -> serde_json::Value {
    serde_json::Value::Null
}

impl Tool {
    /// What this argument decides.
    pub fn role(&self, argument: &str) -> Role {
        self.roles.get(argument).copied().unwrap_or(Role::Control)
    }
}

/// A tool's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[a-zA-Z0-9_-]{1,64}$")))]
pub struct ToolName(String);

impl ToolName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ToolName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if good {
            Ok(Self(text))
        } else {
            Err(format!("tool name {text:?} must be 1 to 64 of a-z A-Z 0-9 _ -"))
        }
    }
}

impl From<ToolName> for String {
    fn from(name: ToolName) -> String {
        name.0
    }
}

/// What calling a tool does. Policy decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation; `Read` alone may be repeated after a crash
pub enum Effect {
    Read,
    Fetch,
    WriteLocal,
    Send,
    Pay,
    Auth,
    Delete,
    Exec,
    MemoryWrite,
    Schedule,
    Install,
    Config,
}

/// What an argument decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who, where, how much, which object.
    Control,
    /// What is said or written.
    Content,
    /// A switch without consequence.
    Flag,
}

/// The label of what a tool returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Returns {
    /// Whose words it is.
    pub integrity: Integrity,
    /// Who may see it.
    pub confidentiality: Confidentiality,
}

/// Whose words a tool returns. No manifest can claim the owner's or the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Somebody else's: a page, a letter, a file.
    #[default]
    Untrusted,
    /// The skill's own, computed from its arguments alone: a time, a sum.
    Skill,
}

/// Who may see what a tool returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// Anybody: it is public already.
    Public,
    /// The owner.
    #[default]
    Private,
    /// The owner, and it goes nowhere else.
    Secret,
}
