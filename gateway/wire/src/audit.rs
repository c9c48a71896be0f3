//! What an audit found: one line for each check. Written by `openclaw security audit`, read by scripts and by the gateway, which
//! shows it on the status page.

use serde::{Deserialize, Serialize};

/// A whole audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// The release that looked.
    pub version: String,
    /// What kind of machine it found itself on.
    pub place: Place,
    /// Every check, in the order of the table.
    pub checks: Vec<Checked>,
}

/// What kind of machine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Each process is a unit of systemd with a user of its own.
    Appliance,
    /// `openclaw run` in a container.
    Container,
    /// `openclaw run` on any other machine.
    Host,
}

/// How bad it is when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// One more obstacle is missing.
    Low,
    /// Something that goes wrong elsewhere does more harm.
    Medium,
    /// Others on this machine or on its network get further than they should.
    High,
    /// Keys or conversations are open to others, or strangers give orders.
    Critical,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was seen to hold.
    Pass,
    /// It was seen not to hold.
    Fail,
    /// Somebody who can know says that it holds; the audit did not see it.
    Attested,
    /// It could not be seen. Never a pass.
    Unknown,
    /// There is nothing here that it could be about.
    NotApplicable,
}

impl Outcome {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Attested => "attested",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not applicable",
        }
    }
}

impl Severity {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Stable, for scripts.
    pub id: String,
    /// Its number among the ten points of the checklist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<u8>,
    /// What it is about: `keys`, `network` and the like.
    pub area: String,
    /// How bad it is when it fails.
    pub severity: Severity,
    /// What should be true.
    pub title: String,
    /// What is known.
    pub outcome: Outcome,
    /// By what that is known, or why it is not. Never a key or a word of a conversation.
    pub evidence: String,
    /// What mends it, or what would let the audit see; empty when it holds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mend: String,
    /// What `--fix` would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
    /// What `--fix` did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<String>,
}

impl Audit {
    /// Checks with this outcome, of this severity and above.
    pub fn count(&self, outcome: Outcome, least: Severity) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome && check.severity >= least).count()
    }
}
