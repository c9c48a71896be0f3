//! Egress's own store of approved manifests: which skill, in which state, may reach what. Written by the operator's
//! command and filled at start with what is bundled beside the programs; never by the gateway.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use openclaw_wire::{
    egress::{Approval, Approved, Standing},
    id::SkillId,
    skill::{self, HostGrant},
};
use serde::{Deserialize, Serialize};

use crate::{private_file, revoked::Revoked};

/// The file in its folder.
const FILE: &str = "approved.toml";
/// Largest file, in bytes.
const LARGEST: u64 = 4 << 20;
/// Approvals, and hosts of one.
const MOST: usize = 1024;
const HOSTS: usize = 64;

/// The store.
pub struct Store {
    path: PathBuf,
    revoked: Arc<Revoked>,
    approved: Mutex<Approved>,
}

/// What stands in the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    /// Of former releases, which kept it here.
    #[serde(skip_serializing)]
    revoked: Vec<SkillId>,
    approved: Vec<Approval>,
}

impl Store {
    /// Reads the store in `folder`, making the folder, and the skills in the folders that are bundled.
    pub fn open(
        state: &Path,
        folder: &Path,
        bundled: &[PathBuf],
        revoked: Arc<Revoked>,
    ) -> anyhow::Result<Self> {
        private_file::check_folders(state, folder)?;
        let path = state.join(folder).join(FILE);
        let mut written = Written::default();
        if let Some(text) = private_file::text(&path, LARGEST)? {
            written = toml::from_str(&text).with_context(|| {
                format!("read {}\n  mend: remove it and approve the skills again", path.display())
            })?;
        }
        written.revoked.iter().try_for_each(|skill| revoked.add_skill(skill))?;
        let approved = Approved {
            operator: written.approved,
            bundled: bundled.iter().flat_map(|folder| load(folder)).collect(),
            revoked: revoked.skills(),
        };
        Ok(Self { path, revoked, approved: Mutex::new(approved) })
    }

    /// The hosts of a skill in exactly this state, if it is approved.
    pub fn hosts(&self, skill: &SkillId, digest: &str) -> Option<Vec<HostGrant>> {
        let approved = self.lock();
        if approved.revoked.contains(skill) {
            return None;
        }
        let mut all = approved.operator.iter().chain(&approved.bundled);
        all.find(|each| each.skill == *skill && each.digest == digest).map(|each| each.hosts.clone())
    }

    /// All of it.
    pub fn all(&self) -> Approved {
        self.lock().clone()
    }

    /// Approves one state of a skill, in the place of every other that the operator approved.
    pub fn approve(&self, approval: Approval) -> anyhow::Result<()> {
        let digest = &approval.digest;
        let good =
            digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        anyhow::ensure!(good, "approve {}: its digest is not 64 hexadecimal digits", approval.skill);
        anyhow::ensure!(approval.hosts.len() <= HOSTS, "approve {}: more than {HOSTS} hosts", approval.skill);
        let skill = approval.skill.clone();
        self.change(|approved| {
            approved.operator.retain(|other| other.skill != approval.skill);
            approved.operator.push(approval);
        })?;
        self.revoked.forget_skill(&skill)?;
        self.lock().revoked.retain(|other| *other != skill);
        Ok(())
    }

    /// Takes every approval of a skill back; `false` when there was none.
    pub fn revoke(&self, skill: &SkillId) -> anyhow::Result<bool> {
        if self.all().standing(skill) != Standing::Approved {
            return Ok(false);
        }
        // From here on nothing counts, whatever becomes of the other file.
        self.revoked.add_skill(skill)?;
        self.lock().revoked.push(skill.clone());
        self.change(|approved| approved.operator.retain(|each| each.skill != *skill))?;
        Ok(true)
    }

    /// First on the disk, then here.
    fn change(&self, change: impl FnOnce(&mut Approved)) -> anyhow::Result<()> {
        let mut approved = self.lock();
        let mut next = approved.clone();
        change(&mut next);
        anyhow::ensure!(next.operator.len() <= MOST, "more than {MOST} skills are approved");
        let written = Written { approved: next.operator.clone(), ..Written::default() };
        let text = toml::to_string(&written).context("write the approved manifests")?;
        private_file::create(&self.path, text.as_bytes())?;
        *approved = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Approved> {
        self.approved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The skills in a folder that name hosts. One that cannot be loaded has no way out.
fn load(folder: &Path) -> Vec<Approval> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let skills = entries.filter(|path| path.is_dir()).filter_map(|path| match skill::load(&path) {
        Ok(skill) => Some(skill),
        Err(error) => {
            tracing::warn!("a bundled skill has no way out: {error}");
            None
        }
    });
    let with_hosts = skills.filter_map(|skill| {
        let hosts = skill.manifest?.permissions.hosts;
        (!hosts.is_empty()).then_some(Approval { skill: skill.id, digest: skill.digest, hosts })
    });
    with_hosts.collect()
}

#[cfg(test)]
mod tests {
    use std::{
        path::{Path, PathBuf},
        sync::Arc,
    };

    use openclaw_wire::egress::{Approval, Standing};

    use super::Store;
    use crate::revoked::Revoked;

    fn approval(skill: &str, digit: &str) -> Approval {
        let host = serde_json::json!({ "host": "api.example.com" });
        Approval {
            skill: skill.parse().expect("id"),
            digest: digit.repeat(64),
            hosts: vec![serde_json::from_value(host).expect("a host")],
        }
    }

    fn store(folder: &Path, bundled: &[PathBuf]) -> anyhow::Result<Store> {
        Store::open(folder, Path::new("approved"), bundled, Arc::new(Revoked::open(folder).expect("opens")))
    }

    /// Incident 44: the approvals of before, put back, approve nothing that was revoked since.
    #[test]
    fn a_restored_file_brings_no_approval_back() {
        let dir = tempfile::tempdir().expect("dir");
        let open = || store(dir.path(), &[]).expect("opens");
        let (file, skill) = (dir.path().join("approved/approved.toml"), "weather".parse().expect("id"));
        open().approve(approval("weather", "a")).expect("approves");
        let backup = std::fs::read(&file).expect("the file");
        assert!(open().hosts(&skill, &"a".repeat(64)).is_some());
        assert!(open().revoke(&skill).expect("revokes"));
        std::fs::write(&file, &backup).expect("restored");
        assert!(open().hosts(&skill, &"a".repeat(64)).is_none());
        assert_eq!(open().all().standing(&skill), Standing::Revoked);
        open().approve(approval("weather", "a")).expect("approves");
        assert!(open().hosts(&skill, &"a".repeat(64)).is_some(), "the operator alone brings it back");
    }

    #[test]
    fn one_state_of_a_skill_is_approved_and_survives_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let open = || store(dir.path(), &[]).expect("opens");
        let (store, skill) = (open(), "weather".parse().expect("id"));
        assert!(store.hosts(&skill, &"a".repeat(64)).is_none());
        store.approve(approval("weather", "a")).expect("approves");
        assert_eq!(store.hosts(&skill, &"a".repeat(64)).expect("approved").len(), 1);
        assert!(store.hosts(&skill, &"b".repeat(64)).is_none(), "another state");
        assert!(store.hosts(&"other".parse().expect("id"), &"a".repeat(64)).is_none(), "another skill");
        let store = open();
        store.approve(approval("weather", "b")).expect("approves");
        assert!(store.hosts(&skill, &"a".repeat(64)).is_none(), "the newer approval counts alone");
        assert!(open().revoke(&skill).expect("revokes"));
        assert!(!open().revoke(&skill).expect("nothing"), "twice");
        assert_eq!(open().all().standing(&skill), Standing::Revoked);
        assert_eq!(open().all().operator, []);
        for bad in ["", "A", "g", "zz"] {
            assert!(store.approve(approval("weather", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_bundled_is_approved_until_it_is_revoked() {
        let dir = tempfile::tempdir().expect("dir");
        let skills = dir.path().join("skills");
        std::fs::create_dir_all(skills.join("weather")).expect("folder");
        let manifest = "program = \"x\"\n[permissions]\nhosts = [{ host = \"api.example.com\" }]\n[[tool]]\nname = \"t\"\n\
            description = \"d\"\neffect = \"fetch\"\narguments = { type = \"object\" }\n";
        std::fs::write(skills.join("weather/skill.toml"), manifest).expect("manifest");
        let open = || store(dir.path(), std::slice::from_ref(&skills)).expect("opens");
        let store = open();
        let bundled = store.all().bundled.pop().expect("loaded");
        assert!(store.hosts(&bundled.skill, &bundled.digest).is_some());
        assert_eq!(store.all().standing(&bundled.skill), Standing::Approved);
        assert!(store.revoke(&bundled.skill).expect("revokes"));
        assert!(store.hosts(&bundled.skill, &bundled.digest).is_none());
        assert_eq!(store.all().standing(&bundled.skill), Standing::Revoked, "it has not changed");
        assert!(open().hosts(&bundled.skill, &bundled.digest).is_none(), "after a restart too");
        store.approve(bundled.clone()).expect("approves");
        assert!(open().hosts(&bundled.skill, &bundled.digest).is_some());
        assert_eq!(open().all().standing(&bundled.skill), Standing::Approved);
        assert_eq!(open().all().standing(&"other".parse().expect("id")), Standing::Unknown);
    }

    #[test]
    fn a_broken_or_exposed_file_stops_the_start() {
        let dir = tempfile::tempdir().expect("dir");
        let open = || store(dir.path(), &[]).map(drop);
        open().expect("empty");
        let file = dir.path().join("approved/approved.toml");
        std::fs::write(&file, "[[approved]]\nskill = 1").expect("write");
        crate::private_file::tests::chmod(&file, 0o600);
        assert!(open().expect_err("broken").to_string().contains("mend"));
        crate::private_file::tests::chmod(&file, 0o666);
        assert!(open().expect_err("exposed").to_string().contains("wider than 0600"));
    }
}
