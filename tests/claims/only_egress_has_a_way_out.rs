//! One process opens connections to others, and no other has what that takes (incident 59).

use std::fs;

use openclaw_tests::{
    gateway::{Process, Role, descendants_of},
    linked::linked,
    model::Step,
    world::World,
};
use serde_json::json;

/// Crates with which a program makes requests over TLS.
const CLIENTS: [&str; 9] = [
    "hyper-rustls",
    "rustls",
    "tokio-rustls",
    "reqwest",
    "ureq",
    "curl",
    "native-tls",
    "openssl",
    "tokio-tungstenite",
];

/// TCP connections of a process that stand.
fn connections(process: Process) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", process.0)).into_iter().flatten().flatten();
    let links = open.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned()));
    let inodes: Vec<String> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{}/net/{name}", process.0)));
    let lines: Vec<String> = tables
        .into_iter()
        .flatten()
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let words = |line: &String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // State 01 is ESTABLISHED.
    let stands = |words: &Vec<String>| words[3] == "01" && inodes.contains(&words[9]);
    lines.iter().map(words).filter(stands).count()
}

/// While a conversation goes on and a skill runs, egress holds connections, and nobody else a single one.
#[tokio::test]
#[ignore = "needs root: it looks at the descriptors of others"]
async fn incident_59_nobody_else_holds_a_connection() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    let look = Step::call("look", json!({ "milliseconds": 3000 }));
    world.model.on("#look", [look, Step::say("looked")]);
    world.anna.says("#look");
    let runner = world.gateway.living(Role::Runner).await;
    let mut most = 0;
    while world.anna.unseen().is_empty() {
        let egress = world.gateway.living(Role::Egress).await;
        most = most.max(connections(egress));
        let mut others = vec![world.gateway.living(Role::Gateway).await, runner];
        others.extend(descendants_of(runner.0));
        for other in others {
            assert_eq!(connections(other), 0, "{}", other.program());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(most > 0, "the control: egress asks Telegram and the model");
}

/// No other program is linked with anything that could make such a request; the lint and the filter of each process
/// (`gateway/confine/tests/barriers.rs`) are besides.
#[test]
fn incident_59_no_other_program_links_a_client() {
    let clients = |package: &str| -> Vec<String> {
        let linked = linked(package);
        assert!(linked.len() > 10, "{package}: {linked:?}");
        linked.into_iter().filter(|name| CLIENTS.contains(&name.as_str())).collect()
    };
    assert!(clients("openclaw-egress").contains(&"hyper-rustls".to_owned()), "the control");
    for package in ["openclaw", "openclaw-runner", "openclaw-mcp", "skill-fetch-page", "skill-web-search"] {
        assert_eq!(clients(package), Vec::<String>::new(), "{package}");
    }
}
