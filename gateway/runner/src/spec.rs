//! What the runner tells `skill-jail`, and what it hears back: frames on one socket pair for each call.
//! Never anything that the skill wrote: its words come through its own pipes.

use std::{path::PathBuf, time::Duration};

use openclaw_confine::Barrier;
use openclaw_wire::file::FileName;
use serde::{Deserialize, Serialize};

/// Where the call's own certificate authority is, in its jail: where most software looks by itself.
pub const AUTHORITY: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where the client of an MCP server is, in its jail.
pub const CLIENT: &str = "/mcp/client";

/// Where the skill's own folder is, in its jail.
pub const SKILL: &str = "/skill";

/// What an operator can do where the kernel refuses namespaces or the mounts in them.
pub const NAMESPACES: &str = "mend: allow unprivileged user namespaces (sysctl user.max_user_namespaces > 0, \
    kernel.unprivileged_userns_clone=1; on Ubuntu an AppArmor profile with `userns,` or \
    kernel.apparmor_restrict_unprivileged_userns=0; in a container a seccomp profile that has unshare and mount)";

/// A jail to build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// What to run; `None` to try the barriers and run nothing.
    pub skill: Option<Skill>,
    /// Granted folders.
    pub grants: Vec<Grant>,
    /// Anything that the kernel does not enforce is an error.
    pub required: bool,
    /// Limits.
    pub limits: Limits,
    /// The attachments that the call names; a descriptor of each follows.
    pub attached: Vec<FileName>,
    /// Most bytes of what the skill makes for the conversation; `None` when its manifest lets it make nothing, or nobody
    /// asked for it.
    pub makes: Option<u64>,
    /// Certificate authority of its way out, as PEM, whose descriptor follows; `None` when it has no way out.
    pub authority: Option<String>,
    /// Barriers that the drill leaves out, to show that the others hold; for a skill always empty.
    pub without: Vec<Barrier>,
}

impl Spec {
    /// Whether this barrier is built.
    pub fn with(&self, barrier: Barrier) -> bool {
        !self.without.contains(&barrier)
    }

    /// Processes and threads in the jail that are not the skill's: its first process, and the thread of its way out.
    pub fn ours(&self) -> u32 {
        1 + u32::from(self.authority.is_some())
    }
}

/// A skill and what was approved of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skill {
    /// Its folder on this machine.
    pub folder: PathBuf,
    /// Digest that its copy in the jail must have.
    pub digest: String,
    /// The program, or the interpreter's script, relative to the folder.
    pub program: PathBuf,
    /// The interpreter.
    pub runtime: Option<Runtime>,
    /// Arguments of the manifest, after the program's or script's name.
    pub args: Vec<String>,
    /// The program is an MCP server: what is started is its client, this file of ours, which starts the server.
    pub client: Option<PathBuf>,
}

/// An interpreter out of the operator's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Runtime {
    /// As the operator wrote it: what it finds its own files by.
    pub name: PathBuf,
    /// The program itself, absolute, without symbolic links.
    pub program: PathBuf,
    /// Folders that it sees under the same path, read-only; without symbolic links.
    pub folders: Vec<PathBuf>,
}

/// A granted folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    /// As the manifest writes it, for messages: the host's path is nobody's business.
    pub name: String,
    /// On this machine, absolute, without symbolic links.
    pub host: PathBuf,
    /// In the jail.
    pub inside: PathBuf,
    /// May be written to.
    pub write: bool,
}

/// What each process of the skill is held to by the kernel. The watchdog holds all of them together.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: u64,
    /// Seconds of CPU time, rounded up.
    pub cpu: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes of one file, and of `/tmp`.
    pub disk: u64,
    /// Open files of each process.
    pub files: u32,
}

impl Limits {
    /// From a manifest's.
    pub fn of(limits: &openclaw_wire::skill::Limits) -> Self {
        Self {
            memory: limits.memory.0,
            cpu: limits.cpu.0.as_millis().div_ceil(1000).max(1) as u64,
            processes: limits.processes,
            disk: limits.disk.0,
            files: limits.files,
        }
    }
}

/// What the runner hears, in this order; the process that a line is from in brackets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// [zygote] The jail's first process is this one, in its namespaces, and its pidfd comes along.
    Made {
        /// In the runner's pid namespace.
        pid: i32,
    },
    /// [either] Something went wrong before the skill ran. The last word.
    NoJail {
        /// What was attempted, on what, what the kernel said, and what mends it.
        message: String,
    },
    /// [first] The skill's folder is not the approved one. The last word.
    Changed,
    /// [first] The skill runs; the jail's mount namespace comes along.
    Runs {
        /// CPU time that building took: it is not the skill's.
        built: Duration,
        /// What the kernel enforces, where that was asked (a trial).
        report: Option<openclaw_confine::Report>,
    },
    /// [first] The skill has ended. The last word.
    Ended {
        /// Its wait status (wait(2)).
        status: i32,
    },
}
