//! A skill: a folder with `SKILL.md` (AgentSkills) and `skill.toml` (our manifest). Loading reads, checks and digests it.
//! Never runs anything, and never reads a right out of anything but the manifest.

mod amount;
mod check;
mod digest;
mod host;
mod inside;
mod line;
mod manifest;
mod path;
mod tool;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::{
    amount::{Size, Span},
    digest::{MAX_BYTES, MAX_FILES, digest},
    host::{HostGrant, HostName, KeyName, Method, PathPrefix, Placement, Reach},
    manifest::{Limits, Manifest, Permissions, parse},
    path::PathGrant,
    tool::{Confidentiality, Effect, Integrity, Returns, Role, Tool, ToolName},
};
use crate::id::SkillId;

/// JSON schema of `skill.toml`, for editors and other people's tools. A test keeps it equal to the types.
pub const SCHEMA: &str = include_str!("skill.schema.json");

/// Why a skill was refused.
#[derive(Debug, thiserror::Error)]
pub enum SkillError {
    /// A file could not be read, or the folder holds something that is neither file nor folder.
    #[error("read skill {path}: {message}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The manifest is wrong.
    #[error("read manifest {path}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: Option<usize>,
        /// Key, what was expected, what mends it.
        message: String,
    },
}

/// A loaded skill.
#[derive(Debug, Clone)]
pub struct Skill {
    /// Name of the folder.
    pub id: SkillId,
    /// Where it is.
    pub folder: PathBuf,
    /// SHA-256 over every name, mode and byte of the folder, in hex.
    pub digest: String,
    /// The manifest; `None` for instructions only, which can execute nothing.
    pub manifest: Option<Manifest>,
}

/// Loads one skill folder.
pub fn load(folder: &Path) -> Result<Skill, SkillError> {
    let broken = |message: String| SkillError::Read { path: folder.into(), message };
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let id: SkillId = name.parse().map_err(|error| broken(format!("{error}")))?;
    let digest = digest(folder)?;
    let path = folder.join("skill.toml");
    let manifest = match std::fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text, &path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(SkillError::Read { path, message: error.to_string() }),
    };
    Ok(Skill { id, folder: folder.into(), digest, manifest })
}
