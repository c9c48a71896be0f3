//! `list_documents`: names and sizes of one folder.

use serde::Deserialize;

use crate::folder::Folder;

/// Most entries of one answer.
const MOST: usize = 500;

/// Arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    folder: Option<String>,
}

/// One line for each entry.
pub fn list(folder: &Folder, wanted: &Wanted) -> Result<String, String> {
    let name = wanted.folder.as_deref().unwrap_or("").trim_matches('/');
    let name = if name == "." { "" } else { name };
    let entries = folder.entries(name)?;
    if entries.is_empty() {
        return Ok("There are no documents here.".into());
    }
    let mut text = String::new();
    for entry in entries.iter().take(MOST) {
        match entry.folder {
            true => text += &format!("{}/\n", entry.path),
            false => text += &format!("{} ({})\n", entry.path, size(entry.size)),
        }
    }
    if entries.len() > MOST {
        text += &format!("[cut: {} more; list a folder, or search]\n", entries.len() - MOST);
    }
    Ok(text)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Folder, MOST, Wanted, list};

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        for number in 0..MOST + 3 {
            std::fs::write(dir.path().join(format!("{number:04}.txt")), "x").expect("file");
        }
        let text = list(&Folder::new(dir.path()), &Wanted { folder: None }).expect("lists");
        assert_eq!(text.lines().count(), MOST + 1);
        assert!(text.ends_with("[cut: 3 more; list a folder, or search]\n"));
        let empty = tempfile::tempdir().expect("dir");
        assert!(
            list(&Folder::new(empty.path()), &Wanted { folder: None })
                .expect("lists")
                .contains("no documents")
        );
    }
}
