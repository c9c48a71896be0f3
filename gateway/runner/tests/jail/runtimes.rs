//! Interpreted skills: what the operator lists runs, what it does not list does not, and the jail is the same.

use std::{fs, path::Path};

use openclaw_wire::runner::{Failure, Outcome};
use serde_json::{Value, json};

use crate::rig::{MEMORY, Rig, answer};

const SHELL: &str = r#"read -r task
case $task in *'"arguments"'*) ;; *) exit 9 ;; esac
inside=$(echo /files/documents/*)
printf '{"text":"{\\"args\\":\\"%s\\",\\"path\\":\\"%s\\",\\"files\\":\\"%s\\"}"}' "$*" "$PATH" "$inside"
case $task in *forbidden*) mkfifo /tmp/pipe; exit $? ;; esac
if [ "$1" = tools ]; then wc -c < /files/documents/note.txt >&2; exit 4; fi
"#;

const PYTHON: &str = r#"import errno, hashlib, json, os, socket, sqlite3, subprocess, sys, threading
task = json.load(sys.stdin)
def tried(act):
    try:
        return repr(act())
    except OSError as error:
        return errno.errorcode[error.errno]
again = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
print(json.dumps({"text": json.dumps({
    "args": sys.argv[1:], "act": task["arguments"]["act"], "again": again.strip(),
    "note": open("/files/documents/note.txt").read(),
    "sql": sqlite3.connect(":memory:").execute("select 1").fetchone(),
    "passwd": tried(lambda: open("/etc/passwd")), "socket": tried(socket.socket),
    "write": tried(lambda: open("/skill/x", "w")), "shell": tried(lambda: os.execv("/bin/sh", ["sh"])),
    "environment": sorted(os.environ),
})}))
"#;

const NODE: &str = r#"const fs = require("fs"), { execFileSync } = require("child_process");
const task = JSON.parse(fs.readFileSync(0, "utf8"));
const tried = act => { try { return String(act()) } catch (error) { return error.code } };
const said = { args: process.argv.slice(2), act: task.arguments.act,
  note: fs.readFileSync("/files/documents/note.txt", "utf8"),
  passwd: tried(() => fs.readFileSync("/etc/passwd")), shell: tried(() => execFileSync("/bin/sh", ["-c", "true"])) };
const socket = require("net").connect(80, "127.0.0.1");
socket.on("error", error => { said.socket = error.code; console.log(JSON.stringify({ text: JSON.stringify(said) })) });
"#;

/// Makes the interpreted skills and lists their interpreters.
pub fn prepare(root: &Path) {
    let mut config = fs::read_to_string(root.join("openclaw.toml")).unwrap();
    for (name, path, folders) in [
        ("shell", "/bin/sh", "[]".to_owned()),
        ("tools", "/bin/sh", "[\"/usr/bin\"]".to_owned()),
        ("python", "/usr/bin/python3", "[]".to_owned()),
        ("node", "/usr/bin/node", "[]".to_owned()),
        ("state", "/bin/sh", format!("[{:?}]", root.join("state"))),
    ] {
        config += &format!("[skills.runtime.{name}]\npath = {path:?}\nfolders = {folders}\n");
    }
    fs::write(root.join("openclaw.toml"), config).unwrap();
    for (skill, runtime, script, memory) in [
        ("in-shell", "shell", SHELL, MEMORY),
        ("in-tools", "tools", SHELL, MEMORY),
        ("in-python", "python", PYTHON, 256 << 20),
        ("in-node", "node", NODE, 1 << 30),
        ("in-nothing", "perl", SHELL, MEMORY),
        ("in-state", "state", SHELL, MEMORY),
    ] {
        let folder = root.join("skills").join(skill);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("main"), script).unwrap();
        let manifest = format!(
            "program = \"main\"\nruntime = \"{runtime}\"\nargs = [\"{runtime}\", \"a b\"]\n\
             [permissions]\nread = [\"~/documents\"]\n\
             [limits]\nmemory = \"{memory} B\"\nprocesses = 32\ncpu = \"20 s\"\nwall = \"60 s\"\n\
             [[tool]]\nname = \"probe\"\ndescription = \"d\"\neffect = \"read\"\narguments = {{ type = \"object\" }}\n"
        );
        fs::write(folder.join("skill.toml"), manifest).unwrap();
    }
}

/// What an interpreted skill answers.
pub fn said(rig: &Rig, skill: &str, act: &str) -> Value {
    match rig.call_skill(skill, json!({ "act": act })) {
        Outcome::Output(text) => answer(&text),
        other => panic!("{skill}: {other:?}"),
    }
}

/// A shell has its own words and nothing else, unless the operator lists a folder of programs. What one of those may not ask
/// is told as the skill's own asking is.
pub fn shell(rig: &Rig) {
    let said = said(rig, "in-shell", "this");
    assert_eq!((&said["args"], &said["path"]), (&json!("shell a b"), &json!("/skill/bin:/bin")), "{said}");
    assert!(said["files"].as_str().unwrap().contains("/files/documents/note.txt"), "{said}");
    match rig.call_skill("in-tools", json!({ "act": "this" })) {
        Outcome::Failed { reason: Failure::Crashed, detail } => {
            assert!(detail.contains("exit status: 4: 6"), "wc ran: {detail}")
        }
        other => panic!("{other:?}"),
    }
    match rig.call_skill("in-tools", json!({ "act": "forbidden" })) {
        Outcome::Failed { reason: Failure::Forbidden, detail } => {
            assert!(detail.contains("no skill may make and no manifest can allow"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
}

pub fn python(rig: &Rig) {
    assert!(
        Path::new("/usr/bin/python3").exists(),
        "python3 is missing. Debian/Ubuntu: apt-get install python3"
    );
    let said = said(rig, "in-python", "this");
    for (key, value) in [
        ("args", json!(["python", "a b"])),
        ("act", json!("this")),
        ("again", json!("42")),
        ("note", json!("a note")),
        ("sql", json!([1])),
        ("passwd", json!("ENOENT")),
        ("socket", json!("EPERM")),
        ("write", json!("EROFS")),
        ("shell", json!("ENOENT")),
        ("environment", json!(["HOME", "LANG", "PATH"])),
    ] {
        assert_eq!(said[key], value, "{key}: {said}");
    }
}

pub fn node(rig: &Rig) {
    assert!(Path::new("/usr/bin/node").exists(), "node is missing. Debian/Ubuntu: apt-get install nodejs");
    let said = said(rig, "in-node", "this");
    for (key, value) in [
        ("args", "[\"node\",\"a b\"]"),
        ("note", "\"a note\""),
        ("passwd", "\"ENOENT\""),
        ("shell", "\"ENOENT\""),
        ("socket", "\"EPERM\""),
    ] {
        assert_eq!(said[key].to_string(), value, "{key}: {said}");
    }
}

/// What is not on the operator's list does not run, and the list cannot open the state.
pub fn unlisted(rig: &Rig) {
    for (skill, part) in [("in-nothing", "[skills.runtime.perl]"), ("in-state", "OpenClaw's own state")] {
        match rig.call_skill(skill, json!({ "act": "this" })) {
            Outcome::Failed { reason: Failure::Refused, detail } => {
                assert!(detail.contains(part), "{detail}")
            }
            other => panic!("{skill}: {other:?}"),
        }
    }
}
