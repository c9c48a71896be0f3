//! What was exchanged, in order, for the tests to look at.

use std::time::Instant;

use serde_json::{Map, Value};

/// One call that a bot made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The bot's username.
    pub bot: String,
    /// As the documentation spells it.
    pub method: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// HTTP status of the answer; 0 when the connection was cut or left hanging instead.
    pub status: u16,
    /// The answer's body.
    pub answer: Value,
    /// When the answer was made.
    pub at: Instant,
}

/// One attempt to deliver an update to the webhook.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The update.
    pub update: i64,
    /// 1 for the first.
    pub number: u32,
    /// HTTP status; `None` when there was no answer.
    pub status: Option<u16>,
    /// The answer's body, or what went wrong.
    pub answer: String,
    /// The answer's `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// When the attempt began.
    pub at: Instant,
}

/// All of it.
#[derive(Default)]
pub struct Journal {
    /// Calls.
    pub calls: Vec<Call>,
    /// Paths of files that were fetched.
    pub files: Vec<String>,
    /// Deliveries.
    pub attempts: Vec<Attempt>,
}
