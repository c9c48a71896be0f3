//! The digest of a skill's folder: what an approval is bound to. Refuses whatever could mean two things.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use blake3::Hasher;

use super::SkillError;

/// Most files and folders of a skill: room for an interpreted one with its packages.
pub const MAX_FILES: usize = 8192;
/// Most bytes of all of them.
pub const MAX_BYTES: u64 = 64 << 20;

/// BLAKE3 over the folder: each file's relative path, whether it is executable, its length and its bytes, in order of
/// path. Every start hashes all programs of skills, and BLAKE3 needs a tenth of the time of SHA-256 for that. Symlinks,
/// devices and sockets are refused, and so are folders beyond [`MAX_FILES`] and [`MAX_BYTES`].
pub fn digest(folder: &Path) -> Result<String, SkillError> {
    let mut files = Vec::new();
    let mut seen = 0;
    list(folder, folder, &mut files, &mut seen)?;
    files.sort();
    let mut hash = Hasher::new();
    let mut total = 0;
    for relative in &files {
        let path = folder.join(relative);
        let broken = |message: String| SkillError::Read { path: path.clone(), message };
        let mut file = File::open(&path).map_err(|e| broken(e.to_string()))?;
        let data = file.metadata().map_err(|e| broken(e.to_string()))?;
        total += data.len();
        if total > MAX_BYTES {
            return Err(broken(format!("the skill is larger than {MAX_BYTES} bytes")));
        }
        let mut bytes = Vec::with_capacity(data.len() as usize);
        file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| broken(e.to_string()))?;
        let name = relative.to_str().ok_or_else(|| broken("its name is not UTF-8".into()))?;
        hash.update(&(name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        hash.update(&[u8::from(data.permissions().mode() & 0o111 != 0)]);
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(&bytes);
    }
    Ok(hash.finalize().to_hex().to_string())
}

fn list(root: &Path, folder: &Path, into: &mut Vec<PathBuf>, seen: &mut usize) -> Result<(), SkillError> {
    let broken = |path: &Path, message: String| SkillError::Read { path: path.into(), message };
    for entry in std::fs::read_dir(folder).map_err(|e| broken(folder, e.to_string()))? {
        let entry = entry.map_err(|e| broken(folder, e.to_string()))?;
        let kind = entry.file_type().map_err(|e| broken(&entry.path(), e.to_string()))?;
        *seen += 1;
        if *seen > MAX_FILES {
            return Err(broken(root, format!("more than {MAX_FILES} files and folders")));
        }
        if kind.is_dir() {
            list(root, &entry.path(), into, seen)?;
        } else if kind.is_file() {
            into.push(entry.path().strip_prefix(root).expect("listed below root").to_owned());
        } else {
            return Err(broken(
                &entry.path(),
                "is neither a file nor a folder (links are not allowed in a skill)".into(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_sees_content_names_and_modes_and_refuses_links() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("a");
        std::fs::write(&file, "1").expect("write");
        let first = super::digest(dir.path()).expect("digest");
        std::fs::write(&file, "2").expect("write");
        let second = super::digest(dir.path()).expect("digest");
        std::fs::rename(&file, dir.path().join("b")).expect("rename");
        let third = super::digest(dir.path()).expect("digest");
        assert!(first != second && second != third);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("c")).expect("link");
        assert!(super::digest(dir.path()).is_err());
    }
}
