//! The skill `read-documents`: one task on standard input, one answer on standard output. Runs in a jail and sees the
//! documents under `/files/documents` and the attachment that a call names; never writes, never opens a connection, never shows a path of the machine.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use openclaw_wire::runner::{Answer, Task};
use serde::Deserialize;

mod folder;
mod list;
mod read;
mod search;
mod document;
mod text;
mod pdf;
mod docx;

use folder::Folder;

/// Where the jail shows the folder that the manifest names as `~/documents`.
const DOCUMENTS: &str = "/files/documents";
/// Arguments are a path or some words; more is a mistake.
const MAX_TASK: u64 = 64 << 10;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| broken()));
    let mut bytes = Vec::new();
    let task = io::stdin()
        .take(MAX_TASK)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_slice::<Task>(&bytes).map_err(|error| error.to_string()));
    let answer = match task {
        Ok(task) => answer(&task, &Folder::new(Path::new(DOCUMENTS))),
        Err(error) => Answer::Error(format!("the task cannot be read: {error}")),
    };
    say(&answer);
    ExitCode::SUCCESS
}

/// A hostile file has tripped a parser. Where panics abort (release), this is the last chance to say a sentence;
/// otherwise the thread that panicked is joined and becomes an error (`pdf::deep`).
fn broken() {
    if cfg!(panic = "abort") {
        say(&Answer::Error("the document is broken in a way that cannot be read".into()));
        #[allow(
            clippy::disallowed_methods,
            reason = "the next step would be SIGABRT, which drops nothing either"
        )]
        std::process::exit(0);
    }
}

fn say(answer: &Answer) {
    let line = serde_json::to_vec(answer).expect("text is always JSON");
    // If nobody reads, nobody is to be told.
    let _unheard = io::stdout().lock().write_all(&line);
}

/// What the tool says. Every failure is words for the model.
fn answer(task: &Task, folder: &Folder) -> Answer {
    let result = match task.tool.as_str() {
        "list_documents" => arguments(task).and_then(|wanted| list::list(folder, &wanted)),
        "read_document" => arguments(task).and_then(|wanted| read::read(folder, &wanted)),
        "search_documents" => arguments(task).and_then(|wanted| search::search(folder, &wanted)),
        other => Err(format!("there is no tool {other:?}")),
    };
    match result {
        Ok(text) => Answer::Text(text),
        Err(error) => Answer::Error(error),
    }
}

fn arguments<'a, T: Deserialize<'a>>(task: &'a Task) -> Result<T, String> {
    T::deserialize(&task.arguments).map_err(|error| format!("the arguments of {}: {error}", task.tool))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::runner::{Answer, Task};
    use serde_json::{Value, json};

    use super::{Folder, answer};

    fn ask(folder: &Folder, tool: &str, arguments: Value) -> Result<String, String> {
        match answer(&Task { tool: tool.into(), arguments }, folder) {
            Answer::Text(text) => Ok(text),
            Answer::Error(text) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_three_tools_and_their_mistakes() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("letters")).expect("folder");
        std::fs::write(dir.path().join("letters/one.md"), "# Dear\nThe rent is 900 euro.\n").expect("file");
        let folder = Folder::new(dir.path());
        assert!(ask(&folder, "list_documents", json!({})).expect("lists").contains("letters/"));
        let listed = ask(&folder, "list_documents", json!({ "folder": "letters" })).expect("lists");
        assert!(listed.contains("letters/one.md"), "{listed}");
        let text = ask(&folder, "read_document", json!({ "path": "letters/one.md" })).expect("reads");
        assert!(text.contains("The rent is 900 euro."), "{text}");
        let found = ask(&folder, "search_documents", json!({ "query": "RENT is" })).expect("searches");
        assert!(found.contains("letters/one.md, line 2"), "{found}");
        for (tool, arguments, part) in [
            ("read_document", json!({ "path": "none.txt" }), "there is no document none.txt"),
            ("read_document", json!({ "path": "../x" }), "must lie inside"),
            ("read_document", json!({ "path": "/etc/passwd" }), "must lie inside"),
            ("read_document", json!({ "path": "letters" }), "is a folder"),
            ("read_document", json!({}), "missing field `path`"),
            ("read_document", json!({ "path": "letters/one.md", "mode": "rw" }), "unknown field"),
            ("list_documents", json!({ "folder": "letters/one.md" }), "is not a folder"),
            ("delete_document", json!({}), "there is no tool"),
        ] {
            let error = ask(&folder, tool, arguments).expect_err(tool);
            assert!(error.contains(part), "{tool}: {error}");
            assert!(!error.contains(dir.path().to_str().expect("text")), "a path of the machine: {error}");
        }
    }

    #[test]
    fn the_manifest_and_the_frontmatter_are_in_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = folder.join("skill.toml");
        let text = std::fs::read_to_string(&path).expect("skill.toml");
        let manifest = openclaw_wire::skill::parse(&text, &path).expect("a good manifest");
        let tools: Vec<_> = manifest.tool.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(tools, ["list_documents", "read_document", "search_documents"]);
        assert_eq!(manifest.permissions.read[0].inside(), std::path::Path::new(super::DOCUMENTS));
        assert!(manifest.permissions.write.is_empty());
        // agentskills.io/specification: six keys, the name is the folder's.
        let skill = std::fs::read_to_string(folder.join("SKILL.md")).expect("SKILL.md");
        let front =
            skill.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("frontmatter").0;
        let keys = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];
        for line in front.lines().filter(|line| !line.starts_with(' ')) {
            let key = line.split_once(':').expect("key: value").0;
            assert!(keys.contains(&key), "{key}");
        }
        assert!(front.contains("name: read-documents"));
    }
}
