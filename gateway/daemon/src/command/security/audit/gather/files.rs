//! The state folder, the programs, the skills. Only metadata is read of what may hold keys or conversations; of egress's list of
//! seen keys their keyed hashes, and of logs whether a line has the form of a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use openclaw_wire::{admin::Status, config::Config, facts::FACTS, ignored::tracked, skill};

use crate::{
    audit::{
        checks::looks_like_a_key,
        world::{Found, Kind, Mount, Seen, Stat, State, Walk, absent, hidden},
    },
    command::{place::Place, skills},
};

/// Files and folders that one walk looks at; a state folder has thousands at most.
const MOST: usize = 50_000;
/// Bytes of a log that are read.
const LOG: u64 = 64 << 20;

/// One file by its path; a link is not followed.
pub fn stat(path: &Path) -> Seen<Stat> {
    match fs::symlink_metadata(path) {
        Ok(data) => Ok(of(path, &data)),
        Err(error) => Err(blind(path, &error)),
    }
}

fn blind(path: &Path, error: &io::Error) -> crate::audit::world::Blind {
    use crate::audit::world::Blind::{Absent, Hidden};
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Absent(format!("there is no {}", path.display()))
        }
        _ => Hidden(format!("{}: {error}; run it as root, or as the account that owns it", path.display())),
    }
}

fn of(path: &Path, data: &Metadata) -> Stat {
    let kind = data.file_type();
    let kind = if kind.is_symlink() {
        Kind::Link
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File
    } else {
        debug_assert!(kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device());
        Kind::Other
    };
    Stat { path: path.into(), kind, mode: data.mode() & 0o7777, uid: data.uid(), modified: data.mtime() }
}

/// Everything in a folder, the folder itself first; links are not followed.
pub fn walk(folder: &Path) -> Seen<Walk> {
    let mut walk = Walk { all: vec![stat(folder)?], unseen: Vec::new() };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            walk.unseen.push(folder);
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            // One that went away in the meantime is nothing to tell of.
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            if walk.all.len() >= MOST {
                walk.unseen.push(path);
                return Ok(walk);
            }
            walk.all.push(of(&path, &data));
            if data.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(walk)
}

/// The state folder and what has a name in it.
pub fn state(place: &Place) -> State {
    let inside = |path: &Path| place.state.join(path);
    let (facts, approved) = (&FACTS.state, FACTS.state.approved.join("approved.toml"));
    let gateway = facts.database.parent().unwrap_or(Path::new("gateway"));
    let keys = place.keys();
    let named: BTreeMap<&'static str, PathBuf> = [
        ("keys", keys.clone()),
        ("config", place.config.clone()),
        ("database", inside(&facts.database)),
        ("vpn", inside(&facts.vpn)),
        ("page-tokens", inside(&facts.page_tokens)),
        ("approved", inside(&approved)),
        ("ledger", inside(&facts.ledger)),
        ("admin-socket", inside(&facts.admin_socket)),
        ("operator-socket", inside(&facts.operator_socket)),
        ("egress", inside(&facts.egress)),
        ("gateway", inside(gateway)),
    ]
    .into();
    let tracked = match stat(&keys) {
        Ok(_) => Ok(tracked(&keys)),
        // It could be made any moment.
        Err(crate::audit::world::Blind::Absent(_)) => Ok(tracked(&keys)),
        Err(blind) => Err(blind),
    };
    State {
        folder: stat(&place.state),
        named: named.into_iter().map(|(name, path)| (name, stat(&path))).collect(),
        walk: walk(&place.state),
        tracked,
        shared_keys: shared(&inside(&facts.egress).join("seen-keys")),
        leaking_logs: logs(&place.state.join("log")),
        programs: programs(),
        mount: mount(&place.state),
    }
}

/// Keyed hashes that stand under both profiles: `profile hash` on each line but the first, which is their key.
fn shared(path: &Path) -> Seen<usize> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return absent("egress has seen no key yet"),
        Err(error) => return Err(blind(path, &error)),
    };
    let under = |profile: &str| -> BTreeSet<&str> {
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(' '));
        lines.filter(|(name, _)| *name == profile).map(|(_, hash)| hash).collect()
    };
    Ok(under("production").intersection(&under("development")).count())
}

fn logs(folder: &Path) -> Seen<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return absent("there is no log folder; the log goes to standard error");
        }
        Err(error) => return Err(blind(folder, &error)),
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let file = File::open(&path).map_err(|error| blind(&path, &error))?;
        let mut lines = BufReader::new(file.take(LOG)).split(b'\n').map_while(Result::ok);
        if lines.any(|line| looks_like_a_key(&String::from_utf8_lossy(&line))) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The programs beside this one, their folder, and all folders above it.
fn programs() -> Seen<Vec<Stat>> {
    let Ok(own) = std::env::current_exe() else { return hidden("where this program lies is not known") };
    let folder = own.parent().unwrap_or(Path::new("/"));
    let names = &FACTS.programs;
    let files = [&names.gateway, &names.egress, &names.runner, &names.jail, &names.mcp];
    let files = files.into_iter().map(|name| folder.join(name)).filter(|path| path.exists());
    files.chain(folder.ancestors().map(Path::to_owned)).map(|path| stat(&path)).collect()
}

/// The mount that a path lies on, as /proc/self/mountinfo has it (proc_pid_mountinfo(5)).
pub fn mount(path: &Path) -> Seen<Mount> {
    let real = fs::canonicalize(path).map_err(|error| blind(path, &error))?;
    let Ok(text) = fs::read_to_string("/proc/self/mountinfo") else {
        return hidden("/proc/self/mountinfo can't be read");
    };
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let at = PathBuf::from(left.get(4)?.replace("\\040", " "));
        let options = left.get(5)?.split(',').map(str::to_owned).collect();
        let kind = right.split(' ').next()?.to_owned();
        real.starts_with(&at).then(|| (left[2].to_owned(), Mount { at, kind, options, encrypted: None }))
    };
    // A later one covers an earlier one at the same place.
    let found = text.lines().filter_map(line).max_by_key(|(_, mount)| mount.at.components().count());
    let Some((device, mut mount)) = found else { return hidden("no mount is known for it") };
    mount.encrypted = encrypted(&Path::new("/sys/dev/block").join(device));
    Ok(mount)
}

/// A device-mapper device that is dm-crypt, or lies on one.
fn encrypted(device: &Path) -> Option<bool> {
    if !device.exists() {
        return None;
    }
    let uuid = fs::read_to_string(device.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") && !uuid.starts_with("CRYPT-VERITY") {
        return Some(true);
    }
    let below = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
    Some(below.map(|entry| entry.path()).any(|slave| encrypted(&slave) == Some(true)))
}

/// Skills as `openclaw run` finds them.
pub fn skills(config: &Config, status: Option<&Status>) -> Seen<Vec<Found>> {
    let bundled = skills::bundled();
    let mut all = Vec::new();
    for shelf in skills::shelves(config) {
        let mut folders: Vec<PathBuf> = match fs::read_dir(&shelf) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(blind(&shelf, &error)),
        };
        folders.sort();
        let own = stat(&shelf)?;
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let switched = |status: &Status| {
                let known = status.skills.iter().find(|known| known.id.as_str() == name);
                known
                    .and_then(|known| known.problem.as_ref())
                    .is_some_and(|why| why.starts_with("switched off"))
            };
            let mut files = walk(&folder)?;
            files.all.push(own.clone());
            all.push(Found {
                bundled: bundled.as_deref() == Some(shelf.as_path()),
                off: config.skills.disabled.iter().any(|id| id.as_str() == name)
                    || status.is_some_and(switched),
                skill: skill::load(&folder).map_err(|error| error.to_string()),
                files,
                name,
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{mount, shared, walk};
    use crate::audit::world::{Blind, Kind};

    #[test]
    fn a_folder_is_walked_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("a")).expect("folder");
        fs::write(dir.path().join("a/b"), "").expect("file");
        symlink("/", dir.path().join("out")).expect("link");
        let found = walk(dir.path()).expect("walks");
        assert_eq!(found.all.len(), 4, "{found:?}");
        assert_eq!(found.all.iter().filter(|stat| stat.kind == Kind::Link).count(), 1);
        assert!(matches!(walk(Path::new("/nonexistent/x")), Err(Blind::Absent(_))));
    }

    #[test]
    fn a_key_of_both_profiles_is_counted() {
        let dir = tempfile::tempdir().expect("dir");
        let list = dir.path().join("seen-keys");
        assert!(matches!(shared(&list), Err(Blind::Absent(_))));
        fs::write(&list, "salt\nproduction aa\ndevelopment bb\n").expect("list");
        assert_eq!(shared(&list), Ok(0));
        fs::write(&list, "salt\nproduction aa\ndevelopment bb\ndevelopment aa\n").expect("list");
        assert_eq!(shared(&list), Ok(1));
    }

    #[test]
    fn every_path_lies_on_a_mount() {
        let found = mount(Path::new("/proc/self")).expect("found");
        assert_eq!((found.at.as_path(), found.kind.as_str()), (Path::new("/proc"), "proc"));
    }
}
