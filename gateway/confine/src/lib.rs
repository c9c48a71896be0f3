//! What the kernel enforces on a process of ours. The only crate with `unsafe`; no async, no TLS, no SQL.
//!
//! Interface (being filled in): every program calls [`enforce`] once, before its first thread.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a process asks the kernel to take from it.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Name for the report: `gateway`, `egress`, `runner`, `jail`.
    pub process: &'static str,
    /// `production`: anything that the kernel does not enforce is an error.
    pub required: bool,
    /// Files and folders (with all below) to read.
    pub read: Vec<PathBuf>,
    /// Folders to read, write, make and remove files in.
    pub write: Vec<PathBuf>,
    /// Files and folders to execute from.
    pub execute: Vec<PathBuf>,
    /// TCP ports to bind; none by default.
    pub bind: Vec<u16>,
    /// TCP ports to connect to; `None` is any, `Some(vec![])` is none.
    pub connect: Option<Vec<u16>>,
    /// Which filter of system calls.
    pub role: Role,
}

/// The seccomp allowlist of each kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// No `execve`, no `socket`, no `connect` (under `openclaw run`).
    #[default]
    Gateway,
    /// As the gateway, but may open and connect IP sockets (egress).
    Egress,
    /// May start processes and make namespaces; no IP socket; no Landlock filesystem ruleset.
    Runner,
}

/// What was asked, and what the kernel says is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The process.
    pub process: String,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// One barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `capabilities`, `no_new_privs`, `dumpable`, `rlimits`, `landlock-fs`, `landlock-tcp`, `landlock-scope`, `seccomp`, `descriptors`.
    pub name: String,
    /// What was asked, for people.
    pub asked: String,
    /// What the kernel reports, read back after the fact, for people.
    pub enforced: String,
    /// Whether that is all that was asked.
    pub complete: bool,
}

impl Report {
    /// All layers are in force.
    pub fn complete(&self) -> bool {
        self.layers.iter().all(|layer| layer.complete)
    }
}

/// Why a process may not start.
#[derive(Debug, thiserror::Error)]
#[error("{process}: {message}\n  mend: {mend}")]
pub struct Error {
    /// The process.
    pub process: String,
    /// What is not enforced, and what the kernel said.
    pub message: String,
    /// What the operator can do.
    pub mend: String,
}

/// Locks this process down for good and reports what is in force.
pub fn enforce(profile: &Profile) -> Result<Report, Error> {
    Ok(Report { process: profile.process.to_owned(), layers: Vec::new() })
}
