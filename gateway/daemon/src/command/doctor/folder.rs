//! The state folder and the key file: whose they are, who else can look into them, and room on the disk.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use openclaw_wire::facts::FACTS;

use super::{Finding, Severity};
use crate::command::place::Place;

/// Room below which the disk is about to stop the service, and below which it will soon, in bytes.
const NO_ROOM: u64 = 100 << 20;
const LITTLE_ROOM: u64 = 1 << 30;

const WHY_PRIVATE: &str = "conversations and keys are in it, and everybody on this machine could read them";

/// Looks at both.
pub fn look(place: &Place) -> Vec<Finding> {
    let state = &place.state;
    let facts = match fs::metadata(state) {
        Ok(facts) => facts,
        Err(error) => {
            let what = format!("the state folder {}: {error}", state.display());
            let why = "conversations and keys are kept there; the first `openclaw run` makes it";
            return vec![Finding::new(Severity::Warning, "state-missing", what, why, "openclaw run")];
        }
    };
    let mut findings = Vec::new();
    let me = rustix::process::geteuid().as_raw();
    let keys = place.keys();
    let database = state.join(&FACTS.state.database);
    if let Some(owner) = own_folders(facts.uid(), &database) {
        return apart(state, &keys, &database, owner);
    }
    if me != 0 && facts.uid() != me {
        findings.push(Finding::new(
            Severity::Error,
            "state-owner",
            format!("{} belongs to uid {}, and this is uid {me}", state.display(), facts.uid()),
            "another account's appliance can be neither started nor asked from here",
            "use that account, or name another folder with --state",
        ));
    }
    if facts.uid() == 0 {
        findings.push(Finding::new(
            Severity::Error,
            "state-root",
            format!("{} belongs to root", state.display()),
            "no process of OpenClaw runs as root, so none can use it",
            format!("chown -R openclaw: {}", state.display()),
        ));
    }
    for folder in [Some(state.as_path()), keys.parent(), database.parent()].into_iter().flatten() {
        findings.extend(private(folder, 0o700, "state-mode", facts.uid()));
    }
    findings.extend(private(&database, 0o600, "database-mode", facts.uid()));
    findings.extend(private(&keys, 0o600, "keys-mode", facts.uid()));
    findings.extend(in_version_control(state));
    findings.extend(room(state));
    findings
}

/// Each process has its own folder in it; that nobody else can put one there is what counts of the folder itself.
fn apart(state: &Path, keys: &Path, database: &Path, gateway: u32) -> Vec<Finding> {
    let mut findings: Vec<Finding> = private(state, 0o755, "state-mode", 0).into_iter().collect();
    let whose = |folder: &Path| fs::metadata(folder).ok().map(|facts| facts.uid());
    let egress = keys.parent().and_then(whose).unwrap_or(0);
    for (file, id, owner) in [(database, "database-mode", gateway), (keys, "keys-mode", egress)] {
        findings.extend(file.parent().and_then(|folder| private(folder, 0o700, "state-mode", owner)));
        findings.extend(private(file, 0o600, id, owner));
    }
    findings.extend(room(state));
    findings
}

/// In the appliance the state folder is root's, and each process has one of its own in it: the gateway's owner.
fn own_folders(state: u32, database: &Path) -> Option<u32> {
    let gateway = fs::metadata(database.parent()?).ok()?.uid();
    (state == 0 && gateway != 0).then_some(gateway)
}

/// What is there must be open to its owner alone. What is not there is no finding.
fn private(path: &Path, mode: u32, id: &'static str, owner: u32) -> Option<Finding> {
    let facts = fs::metadata(path).ok()?;
    let open = facts.mode() & 0o777 & !mode;
    if open & 0o077 != 0 {
        let what = format!("{} has mode {:o}", path.display(), facts.mode() & 0o777);
        return Some(Finding::new(
            Severity::Error,
            id,
            what,
            WHY_PRIVATE,
            format!("chmod {mode:o} {}", path.display()),
        ));
    }
    if facts.uid() != owner {
        let what = format!("{} belongs to uid {}, its folder to uid {owner}", path.display(), facts.uid());
        let why = "the process that needs it cannot open it";
        return Some(Finding::new(
            Severity::Error,
            id,
            what,
            why,
            format!("chown {owner} {}", path.display()),
        ));
    }
    None
}

/// Keys below a work tree are one `git add` away from being published.
fn in_version_control(state: &Path) -> Option<Finding> {
    let tree = state.ancestors().find(|folder| folder.join(".git").exists())?;
    Some(Finding::new(
        Severity::Warning,
        "state-in-version-control",
        format!(
            "the state folder {} is inside the version-controlled folder {}",
            state.display(),
            tree.display()
        ),
        "the key file could be committed and published",
        format!("mv {} elsewhere, and name it with --state", state.display()),
    ))
}

fn room(state: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(state).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let severity = match free {
        0..NO_ROOM => Severity::Error,
        NO_ROOM..LITTLE_ROOM => Severity::Warning,
        _ => return None,
    };
    Some(Finding::new(
        severity,
        "disk",
        format!("{} MiB are free on the disk of {}", free >> 20, state.display()),
        "a message is accepted only once it is on the disk; on a full disk Telegram is told to try later",
        "free some room",
    ))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{in_version_control, look, private};
    use crate::command::place::Place;

    fn ids(place: &Place) -> Vec<&'static str> {
        // Whose it is and how much room there is differ between the machines that run this test.
        let elsewhere = ["state-root", "disk"];
        look(place).into_iter().map(|finding| finding.id).filter(|id| !elsewhere.contains(id)).collect()
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[test]
    fn open_folders_and_keys_are_found_and_the_mend_mends_them() {
        let dir = tempfile::tempdir().expect("dir");
        let place = Place::new(Some(dir.path()), None).expect("place");
        chmod(dir.path(), 0o700);
        fs::create_dir(dir.path().join("egress")).expect("folder");
        chmod(&dir.path().join("egress"), 0o700);
        fs::write(place.keys(), "").expect("keys");
        chmod(&place.keys(), 0o600);
        assert_eq!(ids(&place), [""; 0]);
        chmod(&place.keys(), 0o640);
        chmod(dir.path(), 0o755);
        assert_eq!(ids(&place), ["state-mode", "keys-mode"]);
        let finding = private(&place.keys(), 0o600, "keys-mode", 0).expect("found");
        assert!(finding.mend.starts_with("chmod 600 "), "{finding:?}");
    }

    #[test]
    fn a_state_folder_in_a_work_tree_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let state = dir.path().join("a/state");
        fs::create_dir_all(&state).expect("folder");
        assert_eq!(in_version_control(&state), None);
        fs::create_dir(dir.path().join(".git")).expect("folder");
        assert!(in_version_control(&state).is_some());
    }

    #[test]
    fn a_missing_folder_is_one_finding() {
        let place = Place::new(Some(Path::new("/nonexistent/openclaw")), None).expect("place");
        assert_eq!(ids(&place), ["state-missing"]);
    }
}
