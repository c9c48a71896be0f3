//! Barriers by name, so that the drill can leave one out and show that the others hold. Nothing else ever leaves one out.

use serde::{Deserialize, Serialize};

/// A barrier of a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Barrier {
    /// User, mount, pid, net, ipc, uts and cgroup namespaces; without them there is no own root either.
    Namespaces,
    /// The root in memory with its read-only and noexec mounts.
    Mounts,
    /// Files, TCP ports, scopes.
    Landlock,
    /// The filter of system calls.
    Seccomp,
    /// The empty capability sets.
    Capabilities,
    /// Limits of each process.
    Rlimits,
    /// What measures the whole call: cgroup and watchdog.
    Watchdog,
}

impl Barrier {
    /// All, in the order of a table.
    pub const ALL: [Self; 7] = [
        Self::Namespaces,
        Self::Mounts,
        Self::Landlock,
        Self::Seccomp,
        Self::Capabilities,
        Self::Rlimits,
        Self::Watchdog,
    ];

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Mounts => "mounts",
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp",
            Self::Capabilities => "capabilities",
            Self::Rlimits => "rlimits",
            Self::Watchdog => "watchdog",
        }
    }
}
