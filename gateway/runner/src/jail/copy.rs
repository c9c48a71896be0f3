//! The skill's own folder: copied into the jail's memory, and the copy compared with the approved digest. So what runs is
//! what was approved, whatever happens to the folder meanwhile. Follows no link, opens no device, waits for no pipe.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context as _, bail};
use openclaw_runner::spec::Skill;
// What is larger has no digest.
use openclaw_wire::skill::{MAX_BYTES, MAX_FILES};
use rustix::fs::OFlags;

use crate::first::Trouble;

/// Copies the folder and checks the copy.
pub fn verified(skill: &Skill, target: &Path) -> Result<(), Trouble> {
    let mut left = Left { files: MAX_FILES, bytes: MAX_BYTES };
    folder(&skill.folder, target, &mut left).context("copy the skill's folder")?;
    match openclaw_wire::skill::digest(target) {
        Ok(digest) if digest == skill.digest => Ok(()),
        Ok(_) => Err(Trouble::Changed),
        Err(error) => Err(Trouble::Other(anyhow::anyhow!("digest the copy: {error}"))),
    }
}

struct Left {
    files: usize,
    bytes: u64,
}

fn folder(from: &Path, to: &Path, left: &mut Left) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).context("list a folder")? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let target = to.join(&name);
        if left.files == 0 {
            bail!("more than {MAX_FILES} files");
        }
        left.files -= 1;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            folder(&entry.path(), &target, left)?;
        } else if kind.is_file() {
            file(&entry.path(), &target, left).with_context(|| format!("copy {}", name.to_string_lossy()))?;
        } else {
            bail!("{} is neither a file nor a folder", name.to_string_lossy());
        }
    }
    Ok(())
}

fn file(from: &Path, to: &Path, left: &mut Left) -> anyhow::Result<()> {
    // What was a plain file when it was listed may be a link or a pipe now.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let source = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(from)?;
    let data = source.metadata()?;
    if !data.is_file() {
        bail!("is no plain file any more");
    }
    let executable = data.permissions().mode() & 0o111 != 0;
    let mut target = File::create_new(to)?;
    let copied = io::copy(&mut source.take(left.bytes + 1), &mut target)?;
    left.bytes = left.bytes.checked_sub(copied).with_context(|| format!("more than {MAX_BYTES} bytes"))?;
    target.set_permissions(fs::Permissions::from_mode(if executable { 0o555 } else { 0o444 }))?;
    Ok(())
}
