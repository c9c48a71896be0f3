//! The state folder: made on the first run, locked against a second instance, never opened to anybody else.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use openclaw_wire::{config::TEMPLATE, facts::FACTS};
use rustix::fs::{FlockOperation, flock};

use super::account::Account;
use crate::command::{fault::Fault, place::Place};

const WELCOME: &str = "\
This folder belongs to you and to your assistant's skill read-documents: it can list, read and search the text and PDF
files in it. It can change nothing here and can read nothing anywhere else.
";

/// The folder of logs, below the state folder.
const LOG: &str = "log";

/// Held as long as the processes run; the system releases it when the supervisor ends, however it ends.
pub struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

/// As root: makes the state folder for the account that the processes will run as. Nothing below it is touched,
/// because what is in it may belong to that account already.
pub fn give_to(account: &Account, place: &Place) -> Result<(), Fault> {
    let state = &place.state;
    let wrong = |error: io::Error| {
        Fault::new(format!("make the state folder {}: {error}", state.display()), "choose another --state")
    };
    if !state.exists() {
        if let Some(parent) = state.parent() {
            fs::create_dir_all(parent).map_err(wrong)?;
        }
        DirBuilder::new().mode(0o700).create(state).map_err(wrong)?;
        std::os::unix::fs::chown(state, Some(account.uid), Some(account.gid)).map_err(wrong)?;
        eprintln!("made {} for uid {}", state.display(), account.uid);
    }
    let owner = fs::metadata(state).map_err(wrong)?.uid();
    match owner == account.uid {
        true => Ok(()),
        false => Err(Fault::new(
            format!("use the state folder {}: it belongs to uid {owner}", state.display()),
            format!("chown -R {}:{} {}", account.uid, account.gid, state.display()),
        )),
    }
}

/// Makes what is missing and says so; refuses a folder that others can look into.
pub fn prepare(place: &Place) -> Result<Lock, Fault> {
    let state = &place.state;
    let made = !state.exists();
    folder(state, DirBuilder::new().recursive(true).mode(0o700))?;
    let facts = fs::metadata(state).map_err(|error| {
        Fault::new(format!("look at the state folder {}: {error}", state.display()), "choose another --state")
    })?;
    if facts.mode() & 0o077 != 0 {
        return Err(Fault::new(
            format!(
                "use the state folder {}: others may look into it (mode {:o})",
                state.display(),
                facts.mode() & 0o777
            ),
            format!("chmod 700 {}", state.display()),
        ));
    }
    let lock = lock(state)?;
    for file in [&FACTS.state.database, &FACTS.state.keys, &FACTS.state.vpn] {
        let parent = file.parent().expect("the facts name files in folders");
        folder(&state.join(parent), DirBuilder::new().recursive(true).mode(0o700))?;
    }
    if made {
        eprintln!("made the state folder {}", state.display());
    }
    if !place.config.exists() {
        let wrong = |error: io::Error| {
            Fault::new(format!("write {}: {error}", place.config.display()), "choose another --config")
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place.config).map_err(wrong)?;
        file.write_all(TEMPLATE.as_bytes()).map_err(wrong)?;
        eprintln!("wrote {}: every key with its default", place.config.display());
    }
    Ok(lock)
}

/// The folder that the bundled skill reads, with a first file in it. A missing home is not an error: the skill will say
/// that its folder is missing.
pub fn documents(home: &Path) {
    let folder = home.join("documents");
    if folder.exists() {
        return;
    }
    match fs::create_dir(&folder).and_then(|()| fs::write(folder.join("welcome.txt"), WELCOME)) {
        Ok(()) => eprintln!("made {}: the assistant can read what you put there", folder.display()),
        Err(error) => eprintln!("could not make {}: {error}", folder.display()),
    }
}

/// Appends to `<state>/log/openclaw.log`, for a terminal that shows the chat instead. The file of earlier runs is kept once.
pub fn log_file(state: &Path) -> Result<File, Fault> {
    /// Bytes after which the next start begins a new file.
    const LARGE: u64 = 10 << 20;
    let parent = state.join(LOG);
    folder(&parent, DirBuilder::new().recursive(true).mode(0o700))?;
    let path = log_path(state);
    let wrong = |error: io::Error| {
        Fault::new(format!("write the log {}: {error}", path.display()), "start without --chat")
    };
    if fs::metadata(&path).is_ok_and(|facts| facts.len() > LARGE) {
        fs::rename(&path, parent.join("openclaw.log.1")).map_err(wrong)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(wrong)
}

/// Where the log is when the terminal shows the chat.
pub fn log_path(state: &Path) -> PathBuf {
    state.join(LOG).join("openclaw.log")
}

fn folder(path: &Path, builder: &DirBuilder) -> Result<(), Fault> {
    builder.create(path).map_err(|error| {
        Fault::new(format!("make the folder {}: {error}", path.display()), "choose another --state")
    })
}

fn lock(state: &Path) -> Result<Lock, Fault> {
    let path = state.join("lock");
    let wrong = |error: io::Error| {
        Fault::new(format!("lock the state folder by {}: {error}", path.display()), "choose another --state")
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(wrong)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            let _ = file.take(20).read_to_string(&mut holder);
            return Err(Fault::new(
                format!(
                    "use the state folder {}: another openclaw runs on it (pid {})",
                    state.display(),
                    holder.trim()
                ),
                "stop that one, or choose another --state",
            ));
        }
        Err(error) => return Err(wrong(error.into())),
    }
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(wrong)?;
    file.set_len(0).and_then(|()| file.rewind()).map_err(wrong)?;
    writeln!(file, "{}", std::process::id()).map_err(wrong)?;
    Ok(Lock(file))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use openclaw_wire::config::Config;

    use crate::command::place::Place;

    #[test]
    fn a_first_run_makes_everything_private_and_a_second_instance_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let state = dir.path().join("a/state");
        let place = Place::new(Some(&state), None).expect("place");
        let lock = super::prepare(&place).expect("first run");
        for (path, mode) in
            [("", 0o700), ("gateway", 0o700), ("egress", 0o700), ("openclaw.toml", 0o600), ("lock", 0o600)]
        {
            let found = fs::metadata(state.join(path)).expect(path).mode() & 0o777;
            assert_eq!(found, mode, "{path}");
        }
        assert_eq!(Config::read(&place.config).expect("template"), Config::default());
        let error = super::prepare(&place).err().expect("locked").to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(lock);
        fs::write(&place.config, "profile = \"production\"").expect("edit");
        let _again = super::prepare(&place).expect("second run");
        assert_eq!(fs::read_to_string(&place.config).expect("kept"), "profile = \"production\"");
    }

    #[test]
    fn a_folder_that_others_can_look_into_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let place = Place::new(Some(dir.path()), None).expect("place");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let error = super::prepare(&place).err().expect("refused").to_string();
        assert!(error.contains("mend: chmod 700"), "{error}");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("mode");
        super::prepare(&place).expect("mended");
    }
}
