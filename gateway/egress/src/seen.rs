//! Which keys were used under which profile: `production` and `development` have separate keys, so one that was seen under
//! the one is refused under the other. Remembers a keyed hash of each key, never the key; the hash's own key is random and
//! stays in egress's folder, so the list alone tells nothing.

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use openclaw_wire::config::Profile;
use zeroize::Zeroizing;

use crate::{
    keys::{Key, Keys},
    private_file,
    secret::Secret,
};

/// The file's name in egress's folder.
const NAME: &str = "seen-keys";
/// Shortest value that counts, in characters: servers that want no key get words like `ollama`.
pub const SHORTEST: usize = 16;
/// Largest file, in bytes: thousands of keys.
const MAX: u64 = 1 << 20;
/// Characters of the hash's key, and of a hash.
const HEX: usize = 64;

/// What was seen.
pub struct Seen {
    path: PathBuf,
    profile: Profile,
    salt: Zeroizing<String>,
    lines: Vec<String>,
}

/// A key of the other profile.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key {name} was used under the profile {} before, and this is {}\n  mend: make a key for this profile alone at its provider, and put it in the place of this one",
    name_of(.other),
    name_of(.this)
)]
pub struct OtherProfile {
    name: String,
    other: Profile,
    this: Profile,
}

fn name_of(profile: &Profile) -> &'static str {
    match profile {
        Profile::Development => "development",
        Profile::Production => "production",
    }
}

impl Seen {
    /// Reads the list in `folder`; without one, begins it.
    pub fn open(folder: &Path, profile: Profile) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let text = private_file::text(&path, MAX)?.unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        let salt = match lines.next() {
            Some(salt) if salt.len() == HEX => salt,
            Some(_) => anyhow::bail!(
                "{}: not a list of seen keys\n  mend: restore it; without it keys of the other profile are not known",
                path.display()
            ),
            None => random_key()?,
        };
        Ok(Self { path, profile, salt: Zeroizing::new(salt), lines: lines.collect() })
    }

    /// Refuses a key that was seen under the other profile.
    pub fn check(&self, key: &Key) -> Result<(), OtherProfile> {
        let this = self.profile;
        let other = match this {
            Profile::Development => Profile::Production,
            Profile::Production => Profile::Development,
        };
        match counts(key) && self.lines.contains(&self.line(other, &key.secret)) {
            true => Err(OtherProfile { name: key.name.clone(), other, this }),
            false => Ok(()),
        }
    }

    /// Remembers keys as this profile's.
    pub fn remember(&mut self, keys: &Keys) -> anyhow::Result<()> {
        let before = self.lines.len();
        for key in keys.iter().filter(|key| counts(key)) {
            let line = self.line(self.profile, &key.secret);
            if !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
        if self.lines.len() > before {
            let text = Zeroizing::new(format!("{}\n{}\n", *self.salt, self.lines.join("\n")));
            private_file::create(&self.path, text.as_bytes())?;
        }
        Ok(())
    }

    fn line(&self, profile: Profile, secret: &Secret) -> String {
        format!("{} {}", name_of(&profile), keyed_hash(&self.salt, secret.expose().as_bytes()))
    }
}

/// A key for hashes.
pub fn random_key() -> anyhow::Result<String> {
    let mut random = Zeroizing::new([0; HEX / 2]);
    getrandom::fill(&mut *random).map_err(|error| anyhow::anyhow!("make a random key: {error}"))?;
    Ok(hex(&*random))
}

/// What may be written down of a secret.
pub fn keyed_hash(key: &str, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hex(hmac::sign(&key, secret).as_ref())
}

/// Addresses and names of models stand among the keys, and are the same under both profiles.
fn counts(key: &Key) -> bool {
    let address = key.name.ends_with("_URL") || key.name.ends_with("_MODEL");
    !address && key.secret.expose().len() >= SHORTEST
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use openclaw_wire::config::Profile::{Development, Production};

    use super::{NAME, Seen};
    use crate::keys::{Keys, Source::File};

    #[test]
    fn a_key_of_the_other_profile_is_refused_and_none_is_written_down() {
        let dir = tempfile::tempdir().expect("dir");
        let keys = Keys::of(&[
            ("OPENAI_API_KEY", "test-key-not-real", File),
            ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1", File),
            ("LOCAL", "ollama", File),
        ]);
        let mut development = Seen::open(dir.path(), Development).expect("begins");
        development.remember(&keys).expect("writes");
        drop(development);
        let again = Seen::open(dir.path(), Development).expect("reads");
        assert!(keys.iter().all(|key| again.check(key).is_ok()));
        let mut production = Seen::open(dir.path(), Production).expect("reads");
        let refused: Vec<_> = keys.iter().filter_map(|key| production.check(key).err()).collect();
        assert_eq!(refused.len(), 1);
        let text = refused[0].to_string();
        assert!(text.contains("OPENAI_API_KEY was used under the profile development"), "{text}");
        // Under another name it is the same key; another key is not.
        let other = Keys::of(&[("NEW", "test-key-not-real", File), ("KEY", "another-key-not-real", File)]);
        assert_eq!(other.iter().filter(|key| production.check(key).is_err()).count(), 1);
        production.remember(&other).expect("writes");

        let text = std::fs::read_to_string(dir.path().join(NAME)).expect("there");
        assert!(!text.contains("test-key") && !text.contains("another"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn a_broken_list_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().expect("dir");
        private_file(dir.path(), "short\n");
        assert!(Seen::open(dir.path(), Production).is_err());
    }

    fn private_file(folder: &std::path::Path, content: &str) {
        std::fs::write(folder.join(NAME), content).expect("write");
        crate::private_file::tests::chmod(&folder.join(NAME), 0o600);
    }
}
