//! The operator's word for what no program on this machine sees: which check, when, and what was said. In a file of the state
//! folder, replaced as a whole. It counts for half a year.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use openclaw_wire::{facts::FACTS, whole};

use crate::{
    audit::{checks, world::Attested},
    command::{fault::Fault, place::Place},
};

/// Longest note, in characters.
const NOTE: usize = 500;

fn path(place: &Place) -> PathBuf {
    place.state.join(&FACTS.state.attested)
}

/// All words, by check.
pub fn read(place: &Place) -> anyhow::Result<BTreeMap<String, Attested>> {
    let path = path(place);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .with_context(|| format!("read {}\n  mend: remove it and attest again", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        // Whoever may not read it can't count on it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Writes a word down; `None` takes it back.
pub fn write(place: &Place, id: &str, note: Option<&str>) -> anyhow::Result<()> {
    let check = checks::all().find(|check| check.id == id).ok_or_else(|| {
        Fault::new(format!("there is no check {id:?}"), "openclaw security audit --list names all")
    })?;
    let mut all = read(place)?;
    match note {
        Some(note) => {
            if !check.attestable {
                let what = format!("attest {id}: the audit looks at it itself");
                return Err(Fault::new(what, "mend what it names; a word changes nothing there").into());
            }
            let note: String = note.chars().filter(|c| !c.is_control()).take(NOTE).collect();
            if note.trim().is_empty() {
                return Err(Fault::new(
                    format!("attest {id}: without a word"),
                    "add --note \"what you did\"",
                )
                .into());
            }
            let at = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?.as_secs();
            all.insert(id.to_owned(), Attested { at: i64::try_from(at)?, note });
        }
        None => {
            all.remove(id);
        }
    }
    let path = path(place);
    replace(&path, &toml::to_string(&all).context("encode the words")?, 0o600)
        .with_context(|| format!("write {}", path.display()))
}

/// A file of the state folder whole or not at all, for whoever owns its folder.
pub fn replace(path: &std::path::Path, text: &str, mode: u32) -> io::Result<()> {
    let owner = match fs::symlink_metadata(path) {
        Ok(before) => before,
        Err(_) => fs::metadata(path.parent().unwrap_or("/".as_ref()))?,
    };
    let owner = rustix::process::geteuid().is_root().then(|| (owner.uid(), owner.gid()));
    whole::replace(path, text.as_bytes(), mode, owner)
}
