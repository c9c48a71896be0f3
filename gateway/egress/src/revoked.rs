//! What the operator took back: keys that were retired, webhook secrets that were exchanged, skills that were revoked. Kept
//! apart from the files that it concerns, and in no backup: whoever restores one of those brings nothing of this back. Holds
//! no secret, only keyed hashes.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use openclaw_wire::id::SkillId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    keys::Key,
    private_file,
    secret::Secret,
    seen::{SHORTEST, keyed_hash, random_key},
};

/// The file in egress's folder.
pub const FILE: &str = "revoked";
/// Largest file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Entries of each kind; the oldest go first.
const MOST: usize = 1024;

/// All of it.
#[derive(Debug)]
pub struct Revoked {
    path: PathBuf,
    written: Mutex<Written>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    /// The key of the hashes.
    salt: String,
    secrets: Vec<String>,
    skills: Vec<SkillId>,
}

/// A key that came back.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key {0} was retired\n  mend: take its line out of the key file; `openclaw keys add {0}` takes the key into use again"
)]
pub struct Retired(String);

impl Revoked {
    /// Reads the list in `folder`; without one, begins it.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let mut written = Written::default();
        if let Some(text) = private_file::text(&path, LARGEST)? {
            written = toml::from_str(&text).with_context(|| {
                format!(
                    "read {}\n  mend: remove it; what was retired or revoked is then forgotten",
                    path.display()
                )
            })?;
        }
        if written.salt.is_empty() {
            written.salt = random_key()?;
        }
        Ok(Self { path, written: Mutex::new(written) })
    }

    /// Refuses a key that was retired.
    pub fn check(&self, key: &Key) -> Result<(), Retired> {
        match self.has(&key.secret) {
            true => Err(Retired(key.name.clone())),
            false => Ok(()),
        }
    }

    /// Whether this secret is out of use for good.
    pub fn has(&self, secret: &Secret) -> bool {
        let written = self.lock();
        written.secrets.contains(&hash(&written.salt, secret))
    }

    /// A secret is out of use from now on. Not a word like `ollama`, which servers get that want no key.
    pub fn add(&self, secret: &Secret) -> anyhow::Result<()> {
        if secret.expose().len() < SHORTEST {
            return Ok(());
        }
        self.change(|written| {
            let hash = hash(&written.salt, secret);
            push(&mut written.secrets, hash);
        })
    }

    /// The operator takes it into use again.
    pub fn forget(&self, secret: &Secret) -> anyhow::Result<()> {
        self.change(|written| {
            let hash = hash(&written.salt, secret);
            written.secrets.retain(|known| *known != hash);
        })
    }

    /// Skills whose approval was taken back.
    pub fn skills(&self) -> Vec<SkillId> {
        self.lock().skills.clone()
    }

    /// No approval of a skill counts from now on.
    pub fn add_skill(&self, skill: &SkillId) -> anyhow::Result<()> {
        self.change(|written| push(&mut written.skills, skill.clone()))
    }

    /// The operator approves it again.
    pub fn forget_skill(&self, skill: &SkillId) -> anyhow::Result<()> {
        self.change(|written| written.skills.retain(|known| known != skill))
    }

    /// First on the disk, then here; nothing when it is so already.
    fn change(&self, change: impl FnOnce(&mut Written)) -> anyhow::Result<()> {
        let mut written = self.lock();
        let mut next = written.clone();
        change(&mut next);
        if (&next.secrets, &next.skills) == (&written.secrets, &written.skills) {
            return Ok(());
        }
        let text = toml::to_string(&next).context("write what was revoked")?;
        private_file::create(&self.path, text.as_bytes())?;
        *written = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a digest: what makes the keyed hash leaves what it was given on the stack, and these secrets are out of use.
fn hash(salt: &str, secret: &Secret) -> String {
    keyed_hash(salt, &Sha256::digest(secret.expose()))
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        if list.len() >= MOST {
            list.remove(0);
        }
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE, MOST, Revoked};
    use crate::secret::Secret;

    #[test]
    fn what_was_taken_back_stays_so_and_no_secret_is_written_down() {
        let dir = tempfile::tempdir().expect("dir");
        let open = || Revoked::open(dir.path()).expect("opens");
        let secret = |text: &str| Secret::new(text).expect("room");
        let (one, other, skill) =
            (secret("test-key-not-real"), secret("ollama"), "weather".parse().expect("id"));
        let revoked = open();
        revoked.add(&one).expect("writes");
        revoked.add(&other).expect("no secret");
        revoked.add_skill(&skill).expect("writes");
        assert_eq!((open().has(&one), open().has(&other)), (true, false));
        assert_eq!(open().skills(), std::slice::from_ref(&skill));
        let text = std::fs::read_to_string(dir.path().join(FILE)).expect("there");
        assert!(!text.contains("test-key"), "{text}");
        open().forget(&one).expect("writes");
        open().forget_skill(&skill).expect("writes");
        assert_eq!((open().has(&one), open().skills().len()), (false, 0));
        for number in 0..MOST + 5 {
            super::push(&mut revoked.lock().secrets, number.to_string());
        }
        assert_eq!(revoked.lock().secrets.len(), MOST);
    }

    #[test]
    fn a_broken_list_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join(FILE), "keys = 1").expect("write");
        crate::private_file::tests::chmod(&dir.path().join(FILE), 0o600);
        assert!(format!("{:#}", Revoked::open(dir.path()).expect_err("broken")).contains("mend: remove it"));
    }
}
