//! The skill `notes`: text files in the one folder that its manifest lets it write to. A note is there whole or not at all,
//! and no title leads out of the folder.

use std::process::ExitCode;

use openclaw_skill_kit::arguments;
use openclaw_wire::runner::Task;
use serde::Deserialize;

mod folder;

use folder::Folder;

/// Where the jail shows `~/notes`.
const NOTES: &str = "/files/notes";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    words: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    title: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    title: String,
    text: String,
    #[serde(default)]
    append: bool,
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(|task| answer(task, &Folder::new(NOTES)))
}

fn answer(task: &Task, folder: &Folder) -> Result<String, String> {
    match task.tool.as_str() {
        "list_notes" => folder.list(&arguments::<List>(task)?.words),
        "read_note" => folder.read(&arguments::<Named>(task)?.title),
        "write_note" => {
            let wanted: Write = arguments(task)?;
            folder.write(&wanted.title, &wanted.text, wanted.append)
        }
        "delete_note" => folder.delete(&arguments::<Named>(task)?.title),
        other => Err(format!("there is no tool {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::runner::Task;
    use serde_json::{Value, json};

    use super::{Folder, answer};

    #[test]
    fn notes_are_written_found_read_and_deleted() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = Folder::new(dir.path());
        let ask = |tool: &str, arguments: Value| answer(&Task { tool: tool.into(), arguments }, &folder);
        assert_eq!(ask("list_notes", json!({})).expect("lists"), "There are no notes.");
        ask("write_note", json!({ "title": "Shopping", "text": "milk" })).expect("writes");
        ask("write_note", json!({ "title": "Shopping", "text": "bread", "append": true })).expect("appends");
        ask("write_note", json!({ "title": "Ideas, größere", "text": "none" })).expect("writes");
        assert_eq!(ask("read_note", json!({ "title": "Shopping" })).expect("reads"), "milk\nbread");
        assert_eq!(ask("list_notes", json!({})).expect("lists"), "Ideas, größere\nShopping");
        assert_eq!(ask("list_notes", json!({ "words": "BREAD" })).expect("lists"), "Shopping");
        ask("write_note", json!({ "title": "Shopping", "text": "eggs" })).expect("replaces");
        assert_eq!(ask("read_note", json!({ "title": "Shopping" })).expect("reads"), "eggs");
        ask("delete_note", json!({ "title": "Shopping" })).expect("deletes");
        assert!(ask("read_note", json!({ "title": "Shopping" })).expect_err("gone").contains("no note"));
        assert!(ask("list_notes", json!({ "folder": "/" })).is_err(), "an unknown argument");
    }

    #[test]
    fn no_title_leads_out_and_nothing_grows_without_end() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("notes")).expect("folder");
        std::fs::write(dir.path().join("secret.md"), "secret").expect("file");
        std::os::unix::fs::symlink("../secret.md", dir.path().join("notes/link.md")).expect("link");
        let folder = Folder::new(dir.path().join("notes"));
        for title in
            ["../secret", "/etc/passwd", "a/b", "", " ", ".hidden", "a\u{0}b", "a\nb", &"x".repeat(101)]
        {
            assert!(folder.read(title).is_err() && folder.write(title, "x", false).is_err(), "{title:?}");
        }
        assert!(folder.read("link").is_err(), "a link is followed");
        folder.write("link", "mine", false).expect("takes the link's place");
        assert_eq!(std::fs::read_to_string(dir.path().join("secret.md")).expect("there"), "secret");
        let long = "y".repeat(60_000);
        folder.write("long", &long, false).expect("fits");
        assert!(folder.write("long", &long, true).expect_err("too long").contains("longer than"));
        assert_eq!(folder.read("long").expect("reads").len(), 60_000);
    }

    #[test]
    fn the_manifest_is_in_order() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("skill.toml");
        let text = std::fs::read_to_string(&path).expect("skill.toml");
        let manifest = openclaw_wire::skill::parse(&text, &path).expect("a good manifest");
        assert_eq!(manifest.permissions.write[0].inside(), std::path::Path::new(super::NOTES));
        assert!(manifest.permissions.hosts.is_empty() && manifest.permissions.read.is_empty());
    }
}
