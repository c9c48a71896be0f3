//! What the gateway says to the runner: [`crate::frame`]s, one connection for each call.
//!
//! The gateway sends one [`Request`]. For a call the runner answers [`Reply::Started`] when the jail runs the skill, then
//! [`Reply::Finished`]. When the gateway closes the connection earlier, the jail is killed at once.

use serde::{Deserialize, Serialize};

use crate::{file::FileName, id::SkillId, mcp::Offered};

/// What the gateway asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run a tool of a skill.
    Call(Call),
    /// Ask an MCP server which tools it offers. Its jail has no way out and writes to no folder.
    Tools(Look),
    /// Tell what the kernel enforces, and whether skills can run.
    Status,
}

/// A granted call. The runner checks the digest and nothing else: what is allowed was decided by the gateway's policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// The gateway's id of the call, for logs.
    pub id: String,
    /// The skill.
    pub skill: SkillId,
    /// Digest of the skill's folder that was approved ([`crate::skill::digest`]).
    pub digest: String,
    /// The tool.
    pub tool: String,
    /// Its arguments, valid against the manifest's schema.
    pub arguments: serde_json::Value,
    /// For a tool of an MCP server: [`Offered::digest`] of what the call was made for.
    #[serde(default)]
    pub definition: Option<String>,
    /// The attachments that the call names. For each of them a descriptor to read follows the request ([`crate::pass`]), in
    /// this order: the runner needs no right to the gateway's files.
    #[serde(default)]
    pub attached: Vec<FileName>,
    /// A socket follows them, to which the jail writes what the skill made ([`crate::file::write`]).
    #[serde(default)]
    pub makes: bool,
}

/// A skill in one state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    /// The gateway's id of the question, for logs.
    pub id: String,
    /// The skill.
    pub skill: SkillId,
    /// Digest of its folder.
    pub digest: String,
}

/// What the runner answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The jail has been entered and the skill runs.
    Started,
    /// The skill is gone, with everything that it started.
    Finished(Outcome),
    /// Answer to [`Request::Status`].
    Status {
        /// What the kernel enforces on the runner (`openclaw_confine::Report`).
        confinement: serde_json::Value,
        /// Why no skill can run; `None` when skills can.
        skills_off: Option<String>,
        /// How memory, processes and CPU time are limited.
        limits: String,
    },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The skill exited with 0. Its standard output, untrusted, within the output limit.
    Output(String),
    /// It did not.
    Failed {
        /// For programs.
        reason: Failure,
        /// For people: the limit, or what the skill printed last on standard error. Untrusted.
        detail: String,
    },
}

impl Failure {
    /// A limit of its manifest, or a rule of its jail, ended it: the owner is told.
    pub fn was_stopped(self) -> bool {
        use Failure::*;
        matches!(self, Time | Cpu | Memory | Output | Disk | Processes | Forbidden)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No such skill or tool, or its digest is not the approved one.
    Refused,
    /// The jail could not be built; nothing ran.
    NoJail,
    /// Wall clock limit.
    Time,
    /// CPU time limit.
    Cpu,
    /// Memory limit.
    Memory,
    /// Output limit.
    Output,
    /// Limit of what is written to files.
    Disk,
    /// Limit of processes and threads.
    Processes,
    /// A system call that the jail forbids: the kernel killed it for asking.
    Forbidden,
    /// It exited with another status than 0, or by a signal.
    Crashed,
    /// The gateway closed the connection.
    Cancelled,
}

/// What a skill program reads on its standard input, as one JSON document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: serde_json::Value,
}

/// What a skill program writes on its standard output, as one JSON document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The result, for the model.
    Text(String),
    /// What went wrong, for the model.
    Error(String),
    /// From the MCP client alone: what the server offers.
    Tools(Vec<Offered>),
    /// From the MCP client alone: the tool is not what it was when the call was made. It was not called.
    Changed(String),
}
