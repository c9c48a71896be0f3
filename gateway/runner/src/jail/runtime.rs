//! An interpreter of the operator's list: its program, its folders and the system's libraries, read-only and under their own
//! paths, because interpreters find their parts by path. Mounts nothing that the operator did not name.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use openclaw_runner::spec::Runtime;

use crate::{libraries, root, tree};

/// Mounts it, with what `client` needs besides, and returns the paths that code may come from.
pub fn mount(runtime: &Runtime, client: Option<&Path>, base: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut mounted: Vec<PathBuf> = Vec::new();
    let mut folders: Vec<&PathBuf> = runtime.folders.iter().collect();
    // Outer folders first: what is below one is there with it.
    folders.sort();
    for folder in folders {
        if !covered(&mounted, folder) {
            tree::system(folder, &root::folder(base, folder)?)?;
            mounted.push(folder.clone());
        }
    }
    let programs: Vec<&Path> = std::iter::once(runtime.program.as_path()).chain(client).collect();
    mounted.extend(libraries::mount(&programs, base, &mounted)?);
    if !covered(&mounted, &runtime.program) {
        tree::system(&runtime.program, &root::file(base, &runtime.program)?)?;
        mounted.push(runtime.program.clone());
    }
    // `/usr/bin/python3` is a link to `python3.11`, and a program may want to start its interpreter again.
    if runtime.name != runtime.program && !covered(&mounted, &runtime.name) {
        let link = root::below(base, &runtime.name);
        root::folder(base, runtime.name.parent().unwrap_or(Path::new("/")))?;
        match std::os::unix::fs::symlink(&runtime.program, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("link {}", runtime.name.display()));
            }
            _ => {}
        }
    }
    Ok(mounted)
}

fn covered(mounted: &[PathBuf], path: &Path) -> bool {
    mounted.iter().any(|top| path.starts_with(top))
}
