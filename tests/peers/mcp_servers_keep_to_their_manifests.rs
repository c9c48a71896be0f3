//! MCP servers that nobody here wrote, unchanged, out of the registries: they run in the jail, work, and get no further than
//! their manifests say.

use std::{fs, path::Path};

use openclaw_tests::{
    broker::{Broker, Far, Seen, Setup},
    peers,
};
use openclaw_wire::runner::{Answer, Outcome};
use serde_json::{Value, json};

const LIMITS: &str =
    "[limits]\nmemory = \"1 GiB\"\ncpu = \"60 s\"\nwall = \"120 s\"\nprocesses = 64\nfiles = 512\n";

/// A server on Node: the file of its package, its arguments, its permissions.
fn node(setup: Setup, skill: &str, file: &str, arguments: &[&str], permissions: &str) -> Setup {
    let node = Path::new("/usr/bin/node");
    assert!(node.exists(), "node is missing. Debian/Ubuntu: apt-get install nodejs");
    let modules = peers::path("node_modules").canonicalize().expect("a path");
    let runtime = format!("[skills.runtime.node]\npath = \"{}\"\nfolders = [{modules:?}]\n", node.display());
    let entry = peers::path(&format!("node_modules/{file}")).canonicalize().expect("a path");
    let args: Vec<_> =
        std::iter::once(entry.to_str().expect("text")).chain(arguments.iter().copied()).collect();
    server(setup.config(&runtime), skill, "mcp_server.mjs", "node", &args, permissions)
}

/// A server in Python: its module, its arguments, its permissions.
fn python(setup: Setup, skill: &str, module: &str, arguments: &[&str], permissions: &str) -> Setup {
    let python = Path::new("/usr/bin/python3");
    assert!(python.exists(), "python3 is missing. Debian/Ubuntu: apt-get install python3");
    let lib = fs::read_dir(peers::path("venv/lib")).expect("a Python").flatten().next().expect("a Python");
    let packages = lib.path().join("site-packages").canonicalize().expect("a path");
    assert!(packages.join(module).exists(), "{module} is not installed. Run: tests/peers/install mcp");
    let runtime =
        format!("[skills.runtime.python]\npath = \"{}\"\nfolders = [{packages:?}]\n", python.display());
    let mut args = vec![packages.to_str().expect("text"), module];
    args.extend(arguments);
    server(setup.config(&runtime), skill, "mcp_server.py", "python", &args, permissions)
}

fn server(setup: Setup, skill: &str, file: &str, runtime: &str, args: &[&str], permissions: &str) -> Setup {
    let manifest = format!(
        "program = \"{file}\"\nruntime = \"{runtime}\"\nargs = {}\nmcp = true\n[permissions]\n{permissions}\n{LIMITS}",
        json!(args)
    );
    let setup = setup.skill_with(skill, &manifest);
    fs::copy(peers::driver(file), setup.path("skills").join(skill).join(file)).expect("copy");
    setup
}

fn call(broker: &Broker, skill: &str, tool: &str, arguments: Value) -> Answer {
    match broker.served(skill, tool, arguments).0 {
        Outcome::Output(text) => serde_json::from_str(&text).expect("an answer"),
        failed => panic!("{skill} {tool}: {failed:?}\n{}", broker.log()),
    }
}

fn text(answer: Answer) -> String {
    match answer {
        Answer::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn error(answer: Answer) -> String {
    match answer {
        Answer::Error(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Reads and writes what the manifest grants; what the server's own settings would allow besides is not there.
#[test]
fn filesystem_sees_the_granted_folders_alone() {
    let permissions = "read = [\"~/documents\"]\nwrite = [\"~/out\"]";
    let arguments = ["/files/documents", "/files/out", "/etc"];
    let file = "@modelcontextprotocol/server-filesystem/dist/index.js";
    let setup = node(Setup::new(), "files", file, &arguments, permissions);
    fs::write(setup.path("home/documents/note.txt"), "the blue pot").expect("a file");
    fs::create_dir(setup.path("home/out")).expect("a folder");
    let written = setup.path("home/out/new.txt");
    let broker = setup.start();
    let names: Vec<_> = broker.tools("files").into_iter().map(|tool| tool.name).collect();
    assert!(names.len() >= 10 && names.contains(&"read_text_file".to_owned()), "{names:?}");
    let read = |path: &str| call(&broker, "files", "read_text_file", json!({ "path": path }));
    assert_eq!(text(read("/files/documents/note.txt")), "the blue pot");
    error(read("/etc/passwd"));
    error(read("/proc/self/environ"));
    let write = |path: &str| call(&broker, "files", "write_file", json!({ "path": path, "content": "done" }));
    text(write("/files/out/new.txt"));
    assert_eq!(fs::read_to_string(written).expect("written"), "done");
    let refused = error(write("/files/documents/new.txt"));
    assert!(refused.contains("EROFS") || refused.contains("EACCES"), "{refused}");
}

/// Every kind of result and its own probe for leaks: there is nothing in its environment.
#[test]
fn everything_works_and_finds_nothing_of_ours() {
    let file = "@modelcontextprotocol/server-everything/dist/index.js";
    let setup =
        node(Setup::new(), "everything", file, &["stdio"], "").key("SOME_KEY", "test-key-not-real-1234");
    let broker = setup.start();
    let names: Vec<_> = broker.tools("everything").into_iter().map(|tool| tool.name).collect();
    assert!(names.iter().any(|name| name == "get-env"), "{names:?}");
    assert_eq!(text(call(&broker, "everything", "echo", json!({ "message": "hello" }))), "Echo: hello");
    let environment: Value =
        serde_json::from_str(&text(call(&broker, "everything", "get-env", json!({})))).expect("JSON");
    let names: Vec<_> = environment.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["HOME", "LANG", "PATH"], "{environment}");
    let long = json!({ "duration": 1, "steps": 2 });
    assert!(text(call(&broker, "everything", "trigger-long-running-operation", long)).contains("completed"));
    let picture = text(call(&broker, "everything", "get-tiny-image", json!({})));
    assert!(picture.contains("(a picture, image/png,"), "{picture}");
}

/// A Python server that computes something.
#[test]
fn time_tells_it() {
    let setup = python(Setup::new(), "time", "mcp_server_time", &["--local-timezone", "Europe/Berlin"], "");
    let broker = setup.start();
    let zones =
        json!({ "source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo" });
    let said = text(call(&broker, "time", "convert_time", zones));
    assert!(said.contains("Asia/Tokyo") && said.contains("time_difference"), "{said}");
    error(call(&broker, "time", "get_current_time", json!({ "timezone": "Nowhere/Town" })));
}

/// A Python server with a way out: what its manifest names, by its own HTTP library, and nothing else.
#[test]
fn fetch_reaches_the_named_host_alone() {
    let setup = Setup::new();
    let page = |_: &Seen| {
        let html = "<html><body><article><h1>Pots</h1><p>The blue pot stands in the cellar.</p></article></body></html>";
        ("200 OK".to_owned(), "content-type: text/html\r\n".to_owned(), html.into())
    };
    let far = Far::tls(&["localhost"], &setup.authority(), page);
    let permissions = "hosts = [{ host = \"page.internal\", paths = [\"/page\"] }]";
    let setup = setup.private("page", &far);
    let setup = python(setup, "fetch", "mcp_server_fetch", &["--ignore-robots-txt"], permissions);
    let broker = setup.start();
    broker.approve("fetch");
    let said = text(call(&broker, "fetch", "fetch", json!({ "url": "https://page.internal/page" })));
    assert!(said.contains("The blue pot stands in the cellar"), "{said}");
    for url in ["https://page.internal/other", "https://example.com/"] {
        let (outcome, closed) = broker.served("fetch", "fetch", json!({ "url": url }));
        let Outcome::Output(said) = outcome else { panic!("{url}: {outcome:?}") };
        assert!(matches!(serde_json::from_str(&said), Ok(Answer::Error(_))), "{url}: {said}");
        assert_eq!(closed.denials.len(), 1, "{url}: {closed:?}");
    }
    assert_eq!(far.seen().len(), 1);
}
