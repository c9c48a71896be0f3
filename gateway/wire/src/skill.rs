//! A skill: a folder with `SKILL.md` (AgentSkills) and `skill.toml` (our manifest). Loading reads, checks and digests it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::SkillId;

/// Most files of a skill, and most bytes of all of them.
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 64 << 20;

/// Places that no skill may be given, nor anything below them, nor a folder that holds one (incident 65).
const FORBIDDEN: [&str; 9] =
    ["/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/root", "/var/run", "/var/lib/openclaw/egress"];

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
    #[error("read manifest {path}: {message}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Line, key and what was expected.
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

/// `skill.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The program, relative to the folder.
    pub program: PathBuf,
    /// What it may touch.
    #[serde(default)]
    pub permissions: Permissions,
    /// What it may use up.
    #[serde(default)]
    pub limits: Limits,
    /// What the model can call.
    pub tool: Vec<Tool>,
}

/// Section `[permissions]`. Empty means nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Folders to read: absolute, or below `~/`.
    pub read: Vec<PathGrant>,
    /// Folders to read and write.
    pub write: Vec<PathGrant>,
}

/// A folder in a manifest: `~/documents` or `/srv/media`. No `..`, no globs, nothing forbidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathGrant(String);

impl TryFrom<String> for PathGrant {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let rest = match text.strip_prefix("~/") {
            Some(rest) => Path::new(rest),
            None => Path::new(
                text.strip_prefix('/').ok_or_else(|| format!("path {text:?} must start with `/` or `~/`"))?,
            ),
        };
        let normal = rest.components().all(|part| matches!(part, Component::Normal(_)));
        if rest.as_os_str().is_empty() || !normal {
            return Err(format!("path {text:?} must name a folder below `/` or `~/`, without `.` or `..`"));
        }
        if text.chars().any(|c| c.is_control() || "*?[]{}\\$".contains(c)) {
            return Err(format!("path {text:?}: patterns and control characters are not allowed"));
        }
        let path = Path::new(&text);
        if FORBIDDEN.iter().any(|bad| path.starts_with(bad) || Path::new(bad).starts_with(path)) {
            return Err(format!("path {text:?} may not be given to a skill"));
        }
        Ok(Self(text))
    }
}

impl From<PathGrant> for String {
    fn from(grant: PathGrant) -> String {
        grant.0
    }
}

impl PathGrant {
    /// The folder on this machine.
    pub fn resolve(&self, home: &Path) -> PathBuf {
        match self.0.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(&self.0),
        }
    }

    /// Where the skill sees it: never the host's path (incident 85).
    pub fn inside(&self) -> PathBuf {
        Path::new("/files").join(self.0.strip_prefix("~/").unwrap_or(self.0.trim_start_matches('/')))
    }

    /// As written in the manifest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all its processes together.
    pub memory: Size,
    /// CPU time of all its processes together.
    pub cpu: Span,
    /// Time on the clock.
    pub wall: Span,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes on standard output.
    pub output: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Size(128 << 20),
            cpu: Span(Duration::from_secs(5)),
            wall: Span(Duration::from_secs(20)),
            processes: 8,
            output: Size(1 << 20),
        }
    }
}

/// An amount of bytes, written `"128 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        amount(&text, &units)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size like `128 MiB` (B, KiB, MiB, GiB)"))
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        format!("{} B", size.0)
    }
}

/// A time, written `"20 s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1_000), ("min", 60_000)];
        let millis = amount(&text, &units)
            .ok_or_else(|| format!("{text:?} is not a time like `20 s` (ms, s, min)"))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        format!("{} ms", span.0.as_millis())
    }
}

/// A positive whole number, a space, a unit.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(factor).filter(|n| (1..=1 << 40).contains(n))
}

/// One `[[tool]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name for the model: `[a-zA-Z0-9_-]{1,64}`, what every vendor accepts.
    pub name: ToolName,
    /// For the model.
    pub description: String,
    /// What calling it does to the world.
    pub effect: Effect,
    /// JSON schema of the arguments (2020-12, an object).
    pub arguments: serde_json::Value,
    /// What each argument decides; unnamed ones are `control`.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
}

/// A tool's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolName(String);

impl ToolName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ToolName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if good {
            Ok(Self(text))
        } else {
            Err(format!("tool name {text:?} must be 1 to 64 of a-z A-Z 0-9 _ -"))
        }
    }
}

impl From<ToolName> for String {
    fn from(name: ToolName) -> String {
        name.0
    }
}

/// What calling a tool does. Policy decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation; `Read` alone may be repeated after a crash
pub enum Effect {
    Read,
    Fetch,
    WriteLocal,
    Send,
    Pay,
    Auth,
    Delete,
    Exec,
    MemoryWrite,
    Schedule,
    Install,
    Config,
}

/// What an argument decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who, where, how much, which object.
    Control,
    /// What is said or written.
    Content,
    /// A switch without consequence.
    Flag,
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

/// Checks the text of a manifest; `path` is for the messages only.
pub fn parse(text: &str, path: &Path) -> Result<Manifest, SkillError> {
    let refuse = |message: String| SkillError::Manifest { path: path.into(), message };
    let manifest: Manifest =
        toml::from_str(text).map_err(|error| refuse(error.to_string().trim().to_owned()))?;
    let program = manifest.program.to_str().unwrap_or_default();
    let inside = manifest.program.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || program.is_empty() || program.chars().any(char::is_control) {
        return Err(refuse(format!(
            "program {:?} must be a path inside the skill's folder",
            manifest.program
        )));
    }
    let grants = manifest.permissions.read.iter().chain(&manifest.permissions.write);
    let mut places: Vec<_> = grants.map(PathGrant::inside).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refuse(format!("permissions: two folders would both be {:?} for the skill", pair[0])));
    }
    if !(1..=256).contains(&manifest.limits.processes) {
        return Err(refuse("limits: processes must be 1 to 256".into()));
    }
    if manifest.limits.output.0 > 8 << 20 {
        return Err(refuse("limits: output can be at most 8 MiB".into()));
    }
    for (at, tool) in manifest.tool.iter().enumerate() {
        if manifest.tool[..at].iter().any(|other| other.name == tool.name) {
            return Err(refuse(format!("tool {:?} stands twice", tool.name.as_str())));
        }
        if tool.arguments.get("type").and_then(|t| t.as_str()) != Some("object") {
            return Err(refuse(format!(
                "tool {:?}: arguments must be a JSON schema of type \"object\"",
                tool.name.as_str()
            )));
        }
        let known = |name: &String| tool.arguments.get("properties").and_then(|p| p.get(name)).is_some();
        if let Some(name) = tool.roles.keys().find(|name| !known(name)) {
            return Err(refuse(format!(
                "tool {:?}: roles names {name:?}, which is no argument",
                tool.name.as_str()
            )));
        }
    }
    Ok(manifest)
}

/// SHA-256 over the folder: each file's relative path, whether it is executable, its length and its bytes, in order of
/// path. Symlinks, devices and sockets are refused, and so are folders beyond [`MAX_FILES`] and [`MAX_BYTES`].
pub fn digest(folder: &Path) -> Result<String, SkillError> {
    let mut files = Vec::new();
    list(folder, folder, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut total = 0;
    for relative in &files {
        let path = folder.join(relative);
        let broken = |message: String| SkillError::Read { path: path.clone(), message };
        let mut file = std::fs::File::open(&path).map_err(|e| broken(e.to_string()))?;
        let data = file.metadata().map_err(|e| broken(e.to_string()))?;
        total += data.len();
        if total > MAX_BYTES {
            return Err(broken(format!("the skill is larger than {MAX_BYTES} bytes")));
        }
        let mut bytes = Vec::with_capacity(data.len() as usize);
        file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| broken(e.to_string()))?;
        let name = relative.to_str().ok_or_else(|| broken("its name is not UTF-8".into()))?;
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update([u8::from(data.permissions().mode() & 0o111 != 0)]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(&bytes);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn list(root: &Path, folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), SkillError> {
    let broken = |path: &Path, message: String| SkillError::Read { path: path.into(), message };
    for entry in std::fs::read_dir(folder).map_err(|e| broken(folder, e.to_string()))? {
        let entry = entry.map_err(|e| broken(folder, e.to_string()))?;
        let kind = entry.file_type().map_err(|e| broken(&entry.path(), e.to_string()))?;
        if kind.is_dir() {
            list(root, &entry.path(), into)?;
        } else if kind.is_file() {
            into.push(entry.path().strip_prefix(root).expect("listed below root").to_owned());
        } else {
            return Err(broken(
                &entry.path(),
                "is neither a file nor a folder (links are not allowed in a skill)".into(),
            ));
        }
        if into.len() > MAX_FILES {
            return Err(broken(root, format!("more than {MAX_FILES} files")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    const GOOD: &str = r#"
program = "bin/x"
[permissions]
read = ["~/documents"]
[limits]
memory = "64 MiB"
[[tool]]
name = "list"
description = "d"
effect = "read"
arguments = { type = "object", properties = { folder = { type = "string" } } }
roles = { folder = "control" }
"#;

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = super::parse(GOOD, Path::new("skill.toml")).expect("good");
        assert_eq!(manifest.limits.memory.0, 64 << 20);
        let grant = &manifest.permissions.read[0];
        assert_eq!(grant.resolve(Path::new("/home/a")), Path::new("/home/a/documents"));
        assert_eq!(grant.inside(), Path::new("/files/documents"));
        let odd = super::parse(&GOOD.replace("~/documents", "/~"), Path::new("skill.toml")).expect("good");
        assert_eq!(odd.permissions.read[0].inside(), Path::new("/files/~"));
    }

    #[test]
    fn bad_manifests_are_refused() {
        for (from, to, part) in [
            ("~/documents", "/", "must name a folder"),
            ("~/documents", "~/../x", "without `.` or `..`"),
            ("~/documents", "/proc/1", "may not be given"),
            ("~/documents", "/run", "may not be given"),
            ("~/documents", "/var/lib/openclaw", "may not be given"),
            ("~/documents", "/var", "may not be given"),
            ("~/documents", "/srv/*", "patterns"),
            ("~/documents", "documents", "must start with"),
            ("~/documents\"]", "~/a\", \"/a\"]", "would both be"),
            ("~/documents\"]", "~/a\"]\nwrite = [\"~/a/\"]", "would both be"),
            ("bin/x", "../x", "inside the skill's folder"),
            ("bin/x", "/bin/sh", "inside the skill's folder"),
            ("bin/x", "", "inside the skill's folder"),
            ("bin/x", "bin/\\u0000", "inside the skill's folder"),
            ("64 MiB", "64MB", "not a size"),
            ("effect = \"read\"", "effect = \"reed\"", "unknown variant"),
            ("type = \"object\"", "type = \"string\"", "type \"object\""),
            ("{ folder = \"control\" }", "{ other = \"control\" }", "no argument"),
            ("description = \"d\"", "descriptoin = \"d\"", "unknown field"),
            ("[limits]", "[limits]\nnamespace = \"host\"", "unknown field"),
        ] {
            let error =
                super::parse(&GOOD.replace(from, to), Path::new("skill.toml")).expect_err(to).to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }

    #[test]
    fn the_digest_sees_content_names_and_modes_and_refuses_links() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("a");
        std::fs::write(&file, "1").expect("write");
        let first = super::digest(dir.path()).expect("digest");
        std::fs::write(&file, "2").expect("write");
        let second = super::digest(dir.path()).expect("digest");
        std::fs::rename(&file, dir.path().join("b")).expect("rename");
        let third = super::digest(dir.path()).expect("digest");
        assert!(first != second && second != third);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("c")).expect("link");
        assert!(super::digest(dir.path()).is_err());
    }
}
