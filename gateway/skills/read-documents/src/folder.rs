//! The documents folder: every path that comes in or goes out is relative to it.
//! Never leaves it, by `..`, by an absolute path or by a link (in the jail there is nothing else to reach).

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use openclaw_wire::file::FileName;

/// Deepest nesting and most entries that are walked; a home folder given by mistake must not eat the time limit.
const DEEPEST: usize = 16;
const MOST: usize = 20_000;

/// The root of all documents.
pub struct Folder(PathBuf);

/// A file or folder in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, `/` between names.
    pub path: String,
    /// Bytes; 0 for a folder.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
}

impl Folder {
    /// At this place.
    pub fn new(root: &Path) -> Self {
        Self(root.into())
    }

    /// The place of a path that the model named: in the folder, or an attachment of the conversation.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        if FileName::at(path).is_some() {
            return Ok(path.into());
        }
        let relative = Path::new(path.trim_start_matches("./"));
        let inside =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        match inside && !path.contains('\0') {
            true => Ok(self.0.join(relative)),
            false => Err(format!(
                "{path}: a path must lie inside the documents folder, like `letters/one.md`, or be an attachment's, like `/attached/7.pdf`"
            )),
        }
    }

    /// What is directly in a folder, folders first, by name.
    pub fn entries(&self, folder: &str) -> Result<Vec<Entry>, String> {
        let place = self.resolve(folder)?;
        let shown = if folder.is_empty() { "the documents folder" } else { folder };
        let read = fs::read_dir(&place).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no folder {shown}"),
            std::io::ErrorKind::NotADirectory => format!("{shown} is not a folder"),
            other => format!("{shown} cannot be listed: {other}"),
        })?;
        let mut entries: Vec<Entry> = read.flatten().filter_map(|entry| self.entry(&entry.path())).collect();
        entries.sort_by(|a, b| b.folder.cmp(&a.folder).then_with(|| a.path.cmp(&b.path)));
        Ok(entries)
    }

    /// All files below the root, and whether that is all of them.
    pub fn files(&self) -> (Vec<Entry>, bool) {
        let mut files = Vec::new();
        let mut open = vec![(String::new(), 0)];
        let mut seen = 0;
        let mut all = true;
        while let Some((folder, depth)) = open.pop() {
            for entry in self.entries(&folder).unwrap_or_default() {
                seen += 1;
                match entry.folder {
                    _ if seen > MOST => all = false,
                    true if depth >= DEEPEST => all = false,
                    true => open.push((entry.path, depth + 1)),
                    false => files.push(entry),
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        (files, all)
    }

    /// Hidden names, links, devices and names that are not UTF-8 are not documents.
    fn entry(&self, place: &Path) -> Option<Entry> {
        let data = fs::symlink_metadata(place).ok()?;
        let path = place.strip_prefix(&self.0).ok()?.to_str()?.to_owned();
        let hidden = place.file_name()?.to_str()?.starts_with('.');
        let odd = path.chars().any(char::is_control);
        match (data.is_dir(), data.is_file()) {
            _ if hidden || odd => None,
            (true, _) => Some(Entry { path, size: 0, folder: true }),
            (_, true) => Some(Entry { path, size: data.len(), folder: false }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Folder;

    #[test]
    fn only_plain_visible_things_inside_are_documents() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("b/c")).expect("folder");
        for name in ["a.txt", "b/c/d.txt", ".hidden", "odd\nname"] {
            std::fs::write(at(name), "x").expect("file");
        }
        std::os::unix::fs::symlink("/etc/passwd", at("link")).expect("link");
        std::os::unix::fs::symlink("/etc", at("b/away")).expect("link");
        let folder = Folder::new(dir.path());
        let (files, all) = folder.files();
        let paths: Vec<_> = files.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!((paths, all), (vec!["a.txt", "b/c/d.txt"], true));
        let top: Vec<_> = folder.entries("").expect("lists").into_iter().map(|entry| entry.path).collect();
        assert_eq!(top, ["b", "a.txt"]);
        assert_eq!(folder.resolve("/attached/7.pdf"), Ok("/attached/7.pdf".into()));
        for bad in
            ["..", "../x", "b/../../x", "/etc/passwd", "b/\0", "/attached/x/7.pdf", "/attached/../7.pdf"]
        {
            assert!(folder.resolve(bad).is_err(), "{bad:?}");
        }
    }
}
