//! The libraries of dynamically linked programs: the machine's own, read-only. A static program gets none.
//! Reads no more of a program than its headers, and believes nothing in them but the loader's name.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use openclaw_confine::mounts::Without;

use crate::{root, tree};

/// Where distributions keep them. `/nix/store` only for a program from there.
pub const FOLDERS: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
const NIX: &str = "/nix/store";
/// Tells the loader where a library is; without it the loader looks into its default folders.
const CACHE: &str = "/etc/ld.so.cache";

/// Mounts what the programs need, and returns the folders that code may come from. What is below one of `there` is
/// mounted already.
pub fn mount(programs: &[&Path], base: &Path, there: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut loaders = Vec::new();
    for program in programs {
        let file = File::open(program).context("open the skill's program")?;
        loaders.extend(loader(&file).context("read the skill's program")?);
    }
    if loaders.is_empty() {
        return Ok(Vec::new());
    }
    let mut folders: Vec<&str> = FOLDERS.to_vec();
    if loaders.iter().any(|loader| loader.starts_with(NIX)) {
        folders.push(NIX);
    }
    let mut mounted = Vec::new();
    for folder in
        folders.into_iter().filter(|folder| !there.iter().any(|top| Path::new(folder).starts_with(top)))
    {
        let (path, target) = (Path::new(folder), root::below(base, Path::new(folder)));
        let Ok(data) = fs::symlink_metadata(path) else { continue };
        if data.is_symlink() {
            // `/lib -> usr/lib`, as merged distributions have it.
            std::os::unix::fs::symlink(fs::read_link(path)?, &target)
                .with_context(|| format!("link {folder}"))?;
        } else {
            fs::create_dir_all(&target).with_context(|| format!("make {folder}"))?;
            tree::mount(path, &target, Without { write: true, execute: false, devices: true })
                .with_context(|| format!("mount {folder}"))?;
        }
        mounted.push(path.into());
    }
    if Path::new(CACHE).is_file() {
        let target = root::file(base, Path::new(CACHE))?;
        tree::mount(Path::new(CACHE), &target, Without { write: true, execute: true, devices: true })
            .with_context(|| format!("mount {CACHE}"))?;
    }
    Ok(mounted)
}

/// The loader that an ELF program names (`PT_INTERP`, elf(5)); `None` for a static one.
fn loader(file: &File) -> anyhow::Result<Option<PathBuf>> {
    const PT_INTERP: u32 = 3;
    let mut head = [0; 64];
    match file.read_exact_at(&mut head, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => bail!("it is too short for a program"),
        other => other?,
    }
    // 64-bit, little endian: what this runner is compiled for.
    if head[..6] != [0x7f, b'E', b'L', b'F', 2, 1] {
        bail!(
            "it is not a program (ELF, 64 bit); mend: a script names its interpreter with `runtime` in skill.toml"
        );
    }
    let short = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of a fixed array"))
    };
    let (table, size, count) = (long(&head, 32), short(&head, 54), short(&head, 56));
    if size < 56 {
        bail!("its program headers are {size} bytes each");
    }
    for number in 0..u64::from(count) {
        let mut entry = [0; 56];
        let at =
            table.checked_add(number * u64::from(size)).context("its program headers are out of range")?;
        file.read_exact_at(&mut entry, at).context("its program headers are cut off")?;
        if u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) != PT_INTERP {
            continue;
        }
        // PATH_MAX bounds what the kernel accepts.
        let length = long(&entry, 32).min(4096) as usize;
        let mut name = vec![0; length];
        file.read_exact_at(&mut name, long(&entry, 8)).context("its loader's name is cut off")?;
        name.retain(|byte| *byte != 0);
        return Ok(Some(PathBuf::from(String::from_utf8(name).context("its loader's name is not UTF-8")?)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::loader;

    fn read(bytes: &[u8]) -> anyhow::Result<Option<std::path::PathBuf>> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("writes");
        loader(&file)
    }

    #[test]
    fn this_test_names_its_loader_and_nonsense_is_refused() {
        let program = std::fs::read(std::env::current_exe().expect("exe")).expect("reads");
        let found = read(&program).expect("an ELF program");
        assert!(found.is_none_or(|path| path.to_string_lossy().contains("ld-")));
        assert!(read(b"#!/bin/sh\n").is_err());
        assert!(read(&[b'x'; 100]).is_err());
        // Headers that point anywhere: an error, never a panic.
        for at in 24..64 {
            let mut broken = program[..4096.min(program.len())].to_vec();
            broken[at] ^= 0xff;
            let _any = read(&broken);
        }
    }
}
