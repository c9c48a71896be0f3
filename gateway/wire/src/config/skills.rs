//! Section `[skills]`: where skills are, which stay off, and the interpreters that they may name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Endpoint;
use crate::id::{RuntimeName, SkillId};

/// Section `[skills]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skills {
    /// What `~` in a manifest means; the invoking user's home by default.
    pub home: Option<PathBuf>,
    /// Further folders of skills, besides the bundled ones.
    pub folders: Vec<PathBuf>,
    /// Skills that stay off.
    pub disabled: Vec<SkillId>,
    /// The runner attacks its own jails when it starts, and runs no skill if one did not hold.
    pub drill_at_start: bool,
    /// Interpreters that a manifest may name (`runtime = "python"`). None by default.
    pub runtime: BTreeMap<RuntimeName, Runtime>,
    /// Servers of the operator's own that a manifest may name (`host = "NAME.internal"`). None by default.
    pub private: BTreeMap<String, Endpoint>,
}

/// One `[skills.runtime.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// The interpreter.
    pub path: PathBuf,
    /// Folders that it needs besides the system's libraries. A skill sees them under the same path, read-only.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
}

impl Skills {
    /// A path that no process of ours could resolve, with the key that it stands under.
    pub(super) fn relative(&self) -> Option<&Path> {
        let runtimes =
            self.runtime.values().flat_map(|runtime| runtime.folders.iter().chain([&runtime.path]));
        let all = self.folders.iter().chain(&self.home).chain(runtimes);
        all.map(PathBuf::as_path).find(|path| !path.is_absolute())
    }
}
