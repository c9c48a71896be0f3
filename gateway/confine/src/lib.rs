//! What the kernel enforces on a process of ours. The only crate with `unsafe`; no async, no TLS, no SQL.
//!
//! A program calls [`Inherited::take`] first, opens what it needs, and then calls [`enforce`], before its first thread.

#![allow(unsafe_code)] // the one crate that may; each block says why it holds

pub mod inherited;
pub mod spawn;
pub mod again;
pub mod peer;
pub mod namespaces;
pub mod mounts;
pub mod process;
pub mod memory;
pub mod attempt;
mod barrier;
pub mod wipe;
pub mod locked;
mod status;
mod descriptors;
mod limits;
mod capabilities;
mod landlock;
mod probe;
mod seccomp;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::{
    barrier::Barrier, inherited::Inherited, landlock::version as landlock_version, seccomp::compile_ahead,
    status::Evidence,
};

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
    /// Descriptors that each process may hold open; the role's own bound by default.
    pub files: Option<u64>,
    /// Which filter of system calls.
    pub role: Role,
    /// Layers that the process has put in force by itself.
    pub own: Vec<Layer>,
    /// Under systemd: doors and the notification socket are paths, so `socket(AF_UNIX)` and `connect` stay allowed.
    pub paths: bool,
    /// Barriers that the drill leaves out to test the others; empty everywhere else.
    pub without: Vec<Barrier>,
}

/// The seccomp allowlist of each kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// No `execve`, no `socket`, no `connect` (under `openclaw run`).
    #[default]
    Gateway,
    /// As the gateway, but may open and connect IP sockets (egress).
    Egress,
    /// May start processes and make namespaces; no IP socket but TCP, in an empty network namespace; no Landlock
    /// filesystem ruleset.
    Runner,
    /// Runs a skill: processes, threads and files; no socket (TCP only if there is a port to connect to), no namespace, no
    /// mount.
    Jail,
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
    /// `capabilities`, `no_new_privs`, `dumpable`, `rlimits`, `landlock-fs`, `landlock-tcp`, `landlock-scope`, `seccomp`, `descriptors`,
    /// `key-memory`.
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

/// Locks this process down for good and reports what is in force. Single-threaded, with `/proc` mounted.
pub fn enforce(profile: &Profile) -> Result<Report, Error> {
    let mut evidence = Evidence::open().map_err(|error| Error {
        process: profile.process.to_owned(),
        message: format!("open /proc/self/status: {error}"),
        mend: "mount /proc (a container runtime does it by default)".into(),
    })?;
    enforce_with(profile, &mut evidence)
}

/// As [`enforce`], for a process that has left `/proc` behind and opened its evidence before.
pub fn enforce_with(profile: &Profile, evidence: &mut Evidence) -> Result<Report, Error> {
    let broken = |message: String, mend: &str| Error {
        process: profile.process.to_owned(),
        message,
        mend: mend.to_owned(),
    };
    let mut look = || {
        evidence
            .read()
            .map_err(|error| broken(format!("read /proc/self/status: {error}"), "use a Linux kernel"))
    };
    let before = look()?;
    if before.threads != 1 {
        // Landlock and seccomp hold the calling thread alone.
        return Err(broken(
            format!("{} threads run already, so a barrier would hold only one of them", before.threads),
            "lock down before the first thread starts; this is a mistake in the program, please report it",
        ));
    }

    let marked = descriptors::close_on_exec();
    let mut layers = vec![descriptors::layer(&marked)];
    // The results of these are not kept: what counts is what the kernel says afterwards.
    let with = |barrier| !profile.without.contains(&barrier);
    if with(Barrier::Rlimits) {
        let _read_back = limits::apply(profile);
    }
    let _read_back = match with(Barrier::Capabilities) {
        true => capabilities::drop_all(),
        false => capabilities::keep_all(),
    };
    let _read_back = (limits::not_dumpable(), capabilities::no_new_privs());
    if with(Barrier::Landlock) {
        layers.extend(landlock::apply(profile));
    }
    let filtered = match with(Barrier::Seccomp) {
        true => seccomp::apply(profile),
        false => Err(std::io::Error::other("left out by the drill")),
    };

    let now = look()?;
    layers.extend(limits::layers(profile));
    layers.push(capabilities::layer(&now, profile.required));
    layers.push(capabilities::no_new_privs_layer(&now));
    layers.push(seccomp::layer(profile, &filtered, &before, &now));
    layers.extend(profile.own.iter().cloned());
    let report = Report { process: profile.process.to_owned(), layers };
    match report.layers.iter().find(|layer| !layer.complete) {
        Some(missing) if profile.required => Err(broken(
            format!("{}: asked {}, enforced {}", missing.name, missing.asked, missing.enforced),
            mend(&missing.name),
        )),
        _ => Ok(report),
    }
}

/// What an operator can do about a layer that is not in force.
pub fn mend(layer: &str) -> &'static str {
    match layer {
        "landlock-fs" | "landlock-tcp" | "landlock-scope" => {
            "boot a kernel of 6.12 or later with `landlock` in its lsm= list (`cat /sys/kernel/security/lsm`)"
        }
        "capabilities" => {
            "start it with an empty bounding set: the systemd units do (CapabilityBoundingSet=), a container does with \
             --cap-drop=ALL; or set profile = \"development\""
        }
        "seccomp" | "no_new_privs" => {
            "use a kernel with CONFIG_SECCOMP_FILTER, outside emulators such as qemu-user"
        }
        "key-memory" => {
            "let this user lock 512 KiB: LimitMEMLOCK=8M in the unit, `ulimit -l` in a shell, --ulimit memlock in a container"
        }
        "rlimits" | "dumpable" | "descriptors" => "use a Linux kernel of 5.11 or later",
        _ => "report this",
    }
}
