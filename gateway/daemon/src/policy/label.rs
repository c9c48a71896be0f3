//! Labels: where each piece of context came from. The gateway gives them, never the model, and they are stored beside
//! what they label.

use openclaw_wire::id::{SkillId, UserId};
use serde::{Deserialize, Serialize};

/// Who vouches for a piece of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// The operator's configuration.
    Operator,
    /// The owner's own words on a paired channel.
    Owner,
    /// A value that the owner approved for this task.
    Endorsed,
    /// Somebody on the allowlist: known, not trusted.
    Known(UserId),
    /// Output of a skill's own code (a note of ours about a call).
    Skill(SkillId),
    /// Everything else, with its source: a forwarded message, a document, the model after it read one.
    Untrusted(String),
}

impl Integrity {
    /// Whether words with this label are instructions. Everything else is data.
    pub fn trusted(&self) -> bool {
        matches!(self, Self::Operator | Self::Owner | Self::Endorsed)
    }

    /// Whether what is said after reading it is no better than somebody else's words.
    pub fn taints(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Untrusted(_))
    }
}

/// Who may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// Anybody.
    Public,
    /// The owner and whom the owner names.
    Private,
    /// Nobody outside.
    Secret,
}

/// Where in which result it stood.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The tool call that returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// JSON pointer into that result (RFC 6901); empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
}

/// The label of one part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Who vouches for it.
    pub integrity: Integrity,
    /// Who may see it.
    pub confidentiality: Confidentiality,
    /// Where it came from.
    #[serde(default)]
    pub origin: Origin,
}

impl Label {
    /// A label without a call: what people wrote.
    pub fn said(integrity: Integrity) -> Self {
        Self { integrity, confidentiality: Confidentiality::Private, origin: Origin::default() }
    }

    /// What a call returned, as a whole.
    pub fn returned(skill: &SkillId, call: &str) -> Self {
        Self {
            integrity: Integrity::Untrusted(format!("output of {skill}")),
            confidentiality: Confidentiality::Private,
            origin: Origin { call: Some(call.to_owned()), pointer: String::new() },
        }
    }

    /// What the model says: as good as the worst that it has read.
    pub fn model(tainted: bool) -> Self {
        Self::said(if tainted {
            Integrity::Untrusted("model".into())
        } else {
            Integrity::Skill(model_skill())
        })
    }
}

/// The model's own words in a clean session are nobody's instructions either; they carry this name.
fn model_skill() -> SkillId {
    "model".parse().expect("a constant that is a valid name")
}

#[cfg(test)]
mod tests {
    use super::{Integrity, Label};

    #[test]
    fn only_three_are_instructions_and_the_model_is_not_one_of_them() {
        assert!(Integrity::Owner.trusted() && Integrity::Operator.trusted() && Integrity::Endorsed.trusted());
        assert!(!Label::model(false).integrity.trusted() && !Label::model(true).integrity.trusted());
        assert!(!Integrity::Known(openclaw_wire::id::UserId(1)).trusted());
        assert!(
            Integrity::Known(openclaw_wire::id::UserId(1)).taints() && Label::model(true).integrity.taints()
        );
        assert!(!Integrity::Owner.taints() && !Label::model(false).integrity.taints());
    }

    #[test]
    fn labels_survive_the_store() {
        let label = Label::returned(&"read-documents".parse().expect("name"), "c1");
        let text = serde_json::to_string(&label).expect("json");
        assert_eq!(serde_json::from_str::<Label>(&text).expect("json"), label);
    }
}
