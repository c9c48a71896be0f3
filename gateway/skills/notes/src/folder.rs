//! The folder of notes: `TITLE.md` for each. Follows no link, and replaces a file only by a whole one.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use openclaw_skill_kit::folder::{NOFOLLOW, alone};

/// Longest title, in characters, and longest note, in bytes.
const TITLE: usize = 100;
const NOTE: u64 = 64 << 10;
/// Most notes.
const NOTES: usize = 1000;

/// The folder.
pub struct Folder(PathBuf);

impl Folder {
    /// It must be there.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().into())
    }

    /// Titles in order; with words only those of notes that contain them.
    pub fn list(&self, words: &str) -> Result<String, String> {
        let words = words.to_lowercase();
        let mut titles = self.titles()?;
        titles.retain(|title| {
            let holds = |text: &str| text.to_lowercase().contains(&words);
            holds(title) || self.read(title).is_ok_and(|text| holds(&text))
        });
        titles.sort();
        match (titles.is_empty(), words.is_empty()) {
            (true, true) => Ok("There are no notes.".into()),
            (true, false) => Ok("No note contains these words.".into()),
            _ => Ok(titles.join("\n")),
        }
    }

    /// The text of a note.
    pub fn read(&self, title: &str) -> Result<String, String> {
        let mut bytes = Vec::new();
        OpenOptions::new()
            .read(true)
            .custom_flags(NOFOLLOW)
            .open(self.path(title)?)
            .and_then(|file| file.take(NOTE).read_to_end(&mut bytes))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => format!("there is no note {title:?}"),
                _ => format!("read the note {title:?}: {error}"),
            })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a note, or adds to it.
    pub fn write(&self, title: &str, text: &str, append: bool) -> Result<String, String> {
        let path = self.path(title)?;
        let _alone = self.alone()?;
        let there = path.symlink_metadata().is_ok();
        let text = match append && there {
            true => format!("{}\n{text}", self.read(title)?),
            false => text.to_owned(),
        };
        if text.len() as u64 > NOTE {
            return Err(format!("the note {title:?} would be longer than {NOTE} bytes; begin another one"));
        }
        if !there && self.titles()?.len() >= NOTES {
            return Err(format!("there are {NOTES} notes already; delete some"));
        }
        let new = self.0.join(".new");
        // What an interrupted call left behind.
        let _absent = fs::remove_file(&new);
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, &path)
            });
        written.map_err(|error| format!("write the note {title:?}: {error}"))?;
        Ok(format!("The note {title:?} is written ({} bytes).", text.len()))
    }

    /// Deletes a note.
    pub fn delete(&self, title: &str) -> Result<String, String> {
        let _alone = self.alone()?;
        fs::remove_file(self.path(title)?).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("there is no note {title:?}"),
            _ => format!("delete the note {title:?}: {error}"),
        })?;
        Ok(format!("The note {title:?} is deleted."))
    }

    fn alone(&self) -> Result<fs::File, String> {
        alone(&self.0).map_err(|error| format!("wait for others that write notes: {error}"))
    }

    fn titles(&self) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(&self.0).map_err(|error| format!("list the notes: {error}"))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| Some(name.strip_suffix(".md")?.to_owned()))
            .take(NOTES)
            .collect())
    }

    fn path(&self, title: &str) -> Result<PathBuf, String> {
        let good = (1..=TITLE).contains(&title.chars().count())
            && title.trim() == title
            && !title.starts_with('.')
            && !title.chars().any(|c| c == '/' || c.is_control());
        match good {
            true => Ok(self.0.join(format!("{title}.md"))),
            false => Err(format!(
                "a title has 1 to {TITLE} characters, no slash, and neither a dot nor a space at its beginning: {title:?} is none"
            )),
        }
    }
}
