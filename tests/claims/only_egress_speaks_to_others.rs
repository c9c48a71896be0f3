//! One process opens connections to others. The kernel refuses it to the rest, the lints keep it out of their code, and of what
//! they link no part could.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use openclaw_tests::{
    gateway::{Process, Role, speaking},
    model::Step,
    world::World,
};
use serde_json::Value;

/// Incident 59: with messages on their way, a file to fetch and a model that is still answering, every connection that was
/// opened is egress's.
#[tokio::test]
#[ignore = "needs root: it looks at other processes' descriptors"]
async fn every_connection_is_egresss() {
    let world = World::webhook(|_| {}).await;
    let word = std::time::Duration::from_millis(100);
    world.model.on("#slow", [Step::say_slowly("a long answer ".repeat(20), 200, word)]);
    world.anna.sends_document("a.txt", "text/plain", b"words of a file", "hello");
    world.anna.hears().await;
    world.anna.says("#slow");
    world.anna.sees_draft().await;
    let connections = async |role| speaking(&[world.gateway.living(role).await]);
    assert!(connections(Role::Egress).await.len() >= 2, "to the model and to the Bot API");
    for role in [Role::Gateway, Role::Runner] {
        assert_eq!(connections(role).await, [""; 0], "{role:?}");
    }
    assert_eq!(speaking(&[Process(world.gateway.supervisor())]), [""; 0], "the supervisor");
}

/// Incident 59: the gateway tried, after it had locked itself down, to make such a socket, and the kernel refused.
#[tokio::test]
async fn the_kernel_refuses_it_to_the_gateway() {
    let world = World::polling(|_| {}).await;
    let text = world.gateway.ask(&["status", "--confinement", "--json"]).await;
    let reports: Value = serde_json::from_str(&text).expect("JSON");
    let all: Vec<&Value> = match &reports {
        Value::Array(all) => all.iter().collect(),
        other => other.as_object().expect("reports").values().collect(),
    };
    let gateway = all.iter().find(|report| report["process"] == "gateway").expect("the gateway's");
    let seccomp = gateway["layers"].as_array().expect("layers").iter().find(|one| one["name"] == "seccomp");
    let seccomp = seccomp.expect("the filter");
    assert!(seccomp["complete"] == true, "{seccomp}");
    assert!(seccomp["enforced"].as_str().is_some_and(|said| said.contains("tried")), "{seccomp}");
}

/// What opens a connection, as it stands in the code.
const WAYS_OUT: [&str; 6] = [
    "TcpStream::connect",
    "UdpSocket::bind",
    "TcpSocket::new",
    "UdpSocket::connect",
    "lookup_host",
    "to_socket_addrs",
];
/// Where such words stand outside of tests, and why it is no way out of the gateway.
const KNOWN: [&str; 7] = [
    // The one that dials, and the one that asks for addresses.
    "egress/src/dial/connect.rs",
    "egress/src/names.rs",
    // Shows that the kernel refuses.
    "confine/src/landlock.rs",
    "runner/src/drill/network.rs",
    "runner/src/drill/scene.rs",
    // Inside a jail: the proxy on its own loopback.
    "skills/kit/src/http.rs",
    // The operator's command, which looks at a port of this machine.
    "daemon/src/command/tunnel.rs",
];

/// Incident 59, in the source: nobody else has the words, clippy knows them, and the client that speaks TLS to others is
/// linked by egress alone.
#[test]
fn nobody_else_has_the_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let gateway = root.join("gateway");
    let mut found = BTreeSet::new();
    let mut folders = vec![gateway.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("an entry").path()) {
            match path.is_dir() {
                true if path.file_name().is_some_and(|name| name == "tests") => {}
                true => folders.push(path),
                false if is_code(&path) && has_ways_out(&path) => {
                    found.insert(path.strip_prefix(&gateway).expect("below it").to_path_buf());
                }
                false => {}
            }
        }
    }
    assert_eq!(found, KNOWN.iter().map(PathBuf::from).collect());

    let clippy = fs::read_to_string(root.join("clippy.toml")).expect("clippy.toml");
    for way in ["std::net::TcpStream::connect", "tokio::net::TcpStream::connect", "std::net::UdpSocket::bind"]
    {
        assert!(clippy.contains(&format!("path = \"{way}\"")), "{way}");
    }
    let deny = fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
    assert!(deny.contains("{ crate = \"hyper-rustls\", wrappers = [\"openclaw-egress\"]"));
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs")
}

/// Above its own tests.
fn has_ways_out(path: &Path) -> bool {
    let text = fs::read_to_string(path).expect("readable");
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    WAYS_OUT.iter().any(|way| code.contains(way))
}
