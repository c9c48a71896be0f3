//! The one conversation type, which maps without loss to every provider's wire. Plain data: it is stored as JSON and
//! never says where a part came from; labels are put around the parts by whoever owns them.

use openclaw_wire::{config::Api, id::ModelName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// Instructions of the operator. Nothing that anybody else wrote.
    pub system: String,
    /// The conversation, oldest first. It must end with [`Turn::User`] or [`Turn::ToolResults`].
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Vec<ToolSpec>,
    /// Most tokens of the answer; the model's own bound holds too.
    pub max_output: u32,
    /// Whether it may, must or must not call.
    pub tool_choice: ToolChoice,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]{1,64}`, what every provider accepts.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON schema of the arguments, of type `object`.
    pub schema: Value,
}

/// Whether the model may call tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// It decides.
    #[default]
    Auto,
    /// It must answer in words; for the last step of a budget.
    None,
    /// It must call one.
    Required,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// What people sent.
    User {
        /// In order.
        content: Vec<Content>,
    },
    /// What a model answered.
    Assistant {
        /// Who answered: opaque parts are replayed only to the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
        /// In order.
        parts: Vec<Part>,
    },
    /// What the calls of the turn before gave.
    ToolResults {
        /// One for each call; missing ones are told to the model as interrupted.
        results: Vec<ToolResult>,
    },
}

impl Turn {
    /// A user turn of one text.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { content: vec![Content::text(text)] }
    }
}

/// A model at a server: what may see opaque parts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name in the configuration.
    pub route: ModelName,
    /// Protocol.
    pub api: Api,
    /// The vendor's name of the model.
    pub model: String,
}

/// Data that enters: from people or from tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A picture.
    Image {
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`; others are named to the model, not sent.
        mime: String,
        /// The file.
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
    },
    /// A file that the provider reads: PDF or plain text; others are named to the model, not sent.
    Document {
        /// `application/pdf` or `text/…`.
        mime: String,
        /// File name, for the model.
        name: String,
        /// The file.
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
    },
}

impl Content {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// A part of a model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words for the user.
    Text {
        /// The words.
        text: String,
    },
    /// Reasoning. Not for the user.
    Thinking {
        /// What the provider shows of it; may be empty.
        text: String,
        /// The provider's proof of it (a signature, or the field it came in), replayed unchanged to the same source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
    },
    /// A call.
    ToolCall(ToolCall),
    /// The model's own words for why it declines.
    Refusal {
        /// The words.
        text: String,
    },
    /// A block that only its source understands.
    Opaque {
        /// As it came.
        value: Value,
    },
}

/// A call that the model asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Ours: 9 of `[0-9a-z]` (what every provider accepts), not used before.
    pub id: String,
    /// The provider's id, replayed to the same source; `None` if it gave none that identifies the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_id: Option<String>,
    /// As the model wrote it: it may name no tool at all.
    pub name: String,
    /// Always an object. Empty when [`ToolCall::invalid`].
    pub arguments: Value,
    /// The arguments could not be read: don't run it, answer it with [`Invalid::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Invalid>,
    /// Fields that only the source understands, replayed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// Arguments that are not a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// A sentence for the model.
    pub reason: String,
    /// The beginning of what it wrote.
    pub raw: String,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// [`ToolCall::id`].
    pub call_id: String,
    /// The output; empty is told to the model as such.
    pub content: Vec<Content>,
    /// It failed or was denied; the content says why.
    pub is_error: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It is complete.
    End,
    /// It waits for the results of its calls.
    ToolCalls,
    /// `max_output` is reached: text is cut, and a call that was being written is marked invalid.
    MaxTokens,
    /// The model declined, in words: they are in [`Part::Refusal`].
    Refusal,
}

/// Tokens. `input` counts neither cached nor cache-writing ones, so the total is the sum of four; `reasoning` is
/// inside `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // named above
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
    /// The server told no numbers: three bytes count as one token.
    pub estimated: bool,
}

impl Usage {
    /// All tokens that count against a budget.
    pub fn total(&self) -> u64 {
        [self.input, self.cache_read, self.cache_write, self.output].into_iter().fold(0, u64::saturating_add)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.estimated = self.estimated || other.estimated;
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Content, Invalid, Part, Source, ToolCall, ToolResult, Turn, Usage};

    #[test]
    fn every_turn_survives_the_database() {
        let source = Source {
            route: "a".parse().expect("name"),
            api: openclaw_wire::config::Api::Openai,
            model: "m".into(),
        };
        let call = ToolCall {
            id: "a1b2c3d4e".into(),
            wire_id: Some("call_1".into()),
            name: "f".into(),
            arguments: json!({"n": 1}),
            invalid: Some(Invalid { reason: "r".into(), raw: "{".into() }),
            extra: Some(json!({"extra_content": {"x": 1}})),
        };
        let turns = vec![
            Turn::User {
                content: vec![
                    Content::text("é\u{0}\u{202e}"),
                    Content::Image { mime: "image/png".into(), bytes: vec![0, 255, 7] },
                    Content::Document { mime: "application/pdf".into(), name: "a.pdf".into(), bytes: vec![] },
                ],
            },
            Turn::Assistant {
                source: Some(source),
                parts: vec![
                    Part::Text { text: "t".into() },
                    Part::Thinking { text: String::new(), opaque: Some("sig".into()) },
                    Part::ToolCall(call),
                    Part::Refusal { text: "no".into() },
                    Part::Opaque { value: json!({"type": "redacted_thinking", "data": "x"}) },
                ],
            },
            Turn::ToolResults {
                results: vec![ToolResult { call_id: "a1b2c3d4e".into(), content: vec![], is_error: true }],
            },
            Turn::Assistant { source: None, parts: vec![] },
        ];
        let stored = serde_json::to_string(&turns).expect("encodes");
        assert_eq!(serde_json::from_str::<Vec<Turn>>(&stored).expect("decodes"), turns);
    }

    #[test]
    fn usage_adds_up_and_never_overflows() {
        let mut sum =
            Usage { input: 1, cache_read: 2, cache_write: 3, output: 4, reasoning: 2, estimated: false };
        sum += sum;
        assert_eq!((sum.total(), sum.reasoning), (20, 4));
        sum += Usage { input: u64::MAX, output: 1, estimated: true, ..Usage::default() };
        assert_eq!((sum.total(), sum.estimated), (u64::MAX, true));
    }
}
