//! What a scripted model does: one [`Step`] for each call, one [`Act`] for each attempt at it.

use std::time::Duration;

use serde_json::{Value, json};

/// A part of an answer.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text.
    Text(String),
    /// A tool call: name, and the arguments as they go over the wire (perhaps not JSON).
    Call(String, String),
}

/// What happens to one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// A good answer.
    Answer(Vec<Part>),
    /// A good answer whose text comes in this many pieces with a pause before each.
    Slow(Vec<Part>, usize, Duration),
    /// An HTTP error with the provider's error type and `retry-after` in seconds.
    Status(u16, &'static str, Option<u64>),
    /// HTTP 200 with an error object as body.
    ErrorIn200,
    /// A stream that begins well and then carries an error event.
    ErrorInStream(Vec<Part>),
    /// A stream that ends in the middle, without its closing events; the connection closes in order.
    Truncated(Vec<Part>),
    /// A stream whose connection is cut.
    Cut(Vec<Part>),
    /// A stream with a line that is not JSON.
    Garbage,
    /// An answer with the stop reason for a full output.
    OutputFull(Vec<Part>),
    /// Never an answer.
    Hang,
}

/// One call of the model: the acts of its attempts; the last one repeats.
#[derive(Debug, Clone)]
pub struct Step(pub Vec<Act>);

impl Step {
    /// Says a text.
    pub fn say(text: impl Into<String>) -> Self {
        Self(vec![Act::say(text)])
    }

    /// Says a text in pieces, slowly.
    pub fn say_slowly(text: impl Into<String>, pieces: usize, pause: Duration) -> Self {
        Self(vec![Act::Slow(vec![Part::Text(text.into())], pieces, pause)])
    }

    /// Calls a tool.
    pub fn call(tool: &str, arguments: Value) -> Self {
        Self(vec![Act::Answer(vec![Part::Call(tool.into(), arguments.to_string())])])
    }

    /// Calls several tools at once.
    pub fn calls(calls: &[(&str, Value)]) -> Self {
        let part = |(tool, arguments): &(&str, Value)| Part::Call((*tool).into(), arguments.to_string());
        Self(vec![Act::Answer(calls.iter().map(part).collect())])
    }

    /// Calls a tool with arguments that are no JSON.
    pub fn call_with_garbage(tool: &str, arguments: &str) -> Self {
        Self(vec![Act::Answer(vec![Part::Call(tool.into(), arguments.into())])])
    }

    /// Fails first: the acts come before this step's own, one for each attempt.
    pub fn after(self, failures: impl IntoIterator<Item = Act>) -> Self {
        Self(failures.into_iter().chain(self.0).collect())
    }
}

impl Act {
    /// Says a text.
    pub fn say(text: impl Into<String>) -> Self {
        Self::Answer(vec![Part::Text(text.into())])
    }

    /// The text that was asked for, when no script fits; without the marks around what is not the owner's.
    pub(super) fn echo(text: &str) -> Self {
        let words: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("<untrusted") && *line != "</untrusted>").collect();
        Self::say(format!("You said: {}", words.join("\n").trim()))
    }
}

/// The error object of each protocol.
pub fn error_body(anthropic: bool, kind: &str, message: &str) -> Value {
    match anthropic {
        true => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_test"})
        }
        false => json!({"error": {"type": kind, "message": message, "param": null, "code": kind}}),
    }
}
