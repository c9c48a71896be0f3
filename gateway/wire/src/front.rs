//! openclaw-front: what it tells of itself, in a file, and what it asks of openclaw-host, one [`crate::frame`] each way.

use serde::{Deserialize, Serialize};

use crate::config::Challenge;

/// The file in its folder that says how it stands.
pub const STANDING: &str = "standing.json";

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The name that a certificate is kept for.
    pub domain: String,
    /// When the certificate ends, in seconds since 1970-01-01 UTC; there is none yet if it is not here.
    #[serde(default)]
    pub ends: Option<u64>,
    /// When the next one is asked for.
    #[serde(default)]
    pub next: Option<u64>,
    /// Why the last try brought none.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What the kernel enforces on it (`openclaw_confine::Report`).
    #[serde(default)]
    pub confinement: serde_json::Value,
}

/// A try that brought no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// What went wrong.
    pub what: String,
    /// What the operator can do.
    pub mend: String,
}

/// Everybody may come to the port of this challenge, for [`crate::facts::Direct::open`] seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Which.
    pub challenge: Challenge,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opened {
    /// It is open, for so many seconds.
    For(u64),
    /// It is not.
    Not(String),
}
