//! The operator sees what each skill may do, switches it, runs it himself; and a drill that failed turns all of them off.

use openclaw_tests::{gateway::Gateway, model::Step, world::World};
use openclaw_wire::drill::Drill;
use serde_json::{Value, json};

async fn world() -> World {
    let world = World::polling(|setup| {
        setup.file("documents/notes.txt", b"the cellar key is under the blue pot");
    })
    .await;
    world.model.on("#list", [Step::call("list_documents", json!({})), Step::say("listed")]);
    world
}

/// What the model was told of its last call.
fn told(world: &World) -> String {
    world.model.requests().last().map(|request| request.body.to_string()).unwrap_or_default()
}

async fn fails(gateway: &Gateway, arguments: &[&str]) -> String {
    let done = gateway.command(arguments, "").await;
    assert!(!done.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}

/// Off means gone for the model, at once and after a restart; on means back.
#[tokio::test]
async fn a_switch_acts_at_once_and_stays() {
    let mut world = world().await;
    let list = world.gateway.ask(&["skills", "list"]).await;
    assert!(list.contains("read-documents") && list.contains("list_documents"), "{list}");
    let shown = world.gateway.ask(&["skills", "show", "read-documents"]).await;
    for part in ["may read ~/documents.", "no network at all", "256 MiB of memory"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let ran = world.gateway.ask(&["skills", "run", "read-documents", "list_documents"]).await;
    assert!(ran.contains("notes.txt"), "{ran}");
    world.anna.says("#list");
    assert_eq!(world.anna.hears().await.text, "listed");
    assert!(told(&world).contains("notes.txt"));

    world.gateway.ask(&["skills", "disable", "read-documents"]).await;
    for restart in [false, true] {
        if restart {
            world.gateway.stop().await;
            world.gateway.start_again().await;
        }
        world.anna.says("#list");
        assert_eq!(world.anna.hears().await.text, "listed");
        assert!(told(&world).contains("There is no tool of the name"), "{}", told(&world));
        let refused = fails(&world.gateway, &["skills", "run", "read-documents", "list_documents"]).await;
        assert!(refused.contains("no tool"), "{refused}");
    }
    world.gateway.ask(&["skills", "enable", "read-documents"]).await;
    world.gateway.ask(&["skills", "run", "read-documents", "list_documents"]).await;
    let log = world.gateway.ask(&["skills", "logs", "read-documents", "--json"]).await;
    let calls: Vec<Value> = serde_json::from_str(&log).expect("JSON");
    assert_eq!(calls.len(), 3, "two by the operator, one by the model: {log}");
    assert!(calls.iter().all(|call| call["failed"] == false && call["tool"] == "list_documents"), "{log}");
    assert!(!log.contains("notes"), "{log}");
    let unknown = fails(&world.gateway, &["skills", "disable", "nothing"]).await;
    assert!(unknown.contains("no skill nothing"), "{unknown}");
}

/// The command that holds a drill: for people, for programs (`--json`), and by its exit code; what it finds is told to the gateway.
#[tokio::test]
async fn a_drill_is_held_by_the_command() {
    let world = world().await;
    let file = world.gateway.setup().home().join("report");
    let cell = |mark: &str| json!({ "mark": mark, "said": "" });
    let row = |number: u32| {
        let whole = cell(if number == 0 { "open" } else { "held" });
        json!({ "group": "files", "name": format!("probe {number}"), "control": cell("open"), "whole": whole, "without": [] })
    };
    let report = json!({ "barriers": [], "probes": (0..100).map(row).collect::<Vec<_>>(), "problem": null, "took_ms": 1 });
    std::fs::write(&file, report.to_string()).expect("written");
    // A report of a breach: the same words for both readers, and no success.
    let report = file.to_str().expect("text");
    let failed = fails(&world.gateway, &["security", "drill", "--report", report]).await;
    assert!(failed.contains("FAILED:") && failed.contains("files: probe 0"), "{failed}");
    assert!(failed.contains("Skills are off until a drill holds."), "{failed}");
    assert!(
        fails(&world.gateway, &["security", "drill", "--json", "--report", report])
            .await
            .contains("\"probe 0\"")
    );
    assert!(world.gateway.status().await.skills_off.expect("off").contains("files: probe 0"));

    // A real one.
    let held = world.gateway.ask(&["security", "drill", "--json"]).await;
    let held: Drill = serde_json::from_str(&held).expect("one JSON document and nothing else");
    assert_eq!(held.failed(), [""; 0]);
    let proven = held.probes.iter().filter(|row| row.proven()).count();
    assert!(proven >= Drill::LEAST && held.barriers.len() >= 6, "{proven} {:?}", held.barriers);
    for row in &held.probes {
        assert!(row.group == "races" || row.without.len() == held.barriers.len(), "{}", row.name);
    }
    assert_eq!(world.gateway.status().await.skills_off, None, "it is told to the gateway");
    let told = world.anna.hears_of("Skills are off").await;
    assert!(told.text.contains("files: probe 0"), "{}", told.text);
}

/// A drill that failed: nothing runs, the owner is told, also after a restart; one that holds lifts it (incident 77).
#[tokio::test]
async fn a_failed_drill_turns_skills_off() {
    let mut world = world().await;
    let cell = |mark: &str| json!({ "mark": mark, "said": "" });
    let row = |name: &str, whole: &str| json!({ "group": "files", "name": name, "control": cell("open"), "whole": cell(whole), "without": [] });
    let drilled = |first: &str| {
        let others = (1..100).map(|number| row(&format!("probe {number}"), "held"));
        let probes: Vec<_> = std::iter::once(row("read a file", first)).chain(others).collect();
        json!({ "barriers": [], "probes": probes, "problem": null, "took_ms": 1 }).to_string()
    };
    let (status, _) = world.gateway.admin("POST", "/drill", &drilled("open")).await.expect("answers");
    assert_eq!(status, 204);
    let told_owner = world.anna.hears().await.text;
    assert!(told_owner.contains("the drill failed (files: read a file)"), "{told_owner}");
    for restart in [false, true] {
        if restart {
            world.gateway.stop().await;
            world.gateway.start_again().await;
        }
        assert!(world.gateway.status().await.skills_off.expect("off").contains("openclaw security drill"));
        world.anna.says("#list");
        world.anna.hears_of("listed").await;
        assert!(told(&world).contains("Skills are off: the drill failed"), "{}", told(&world));
    }
    let (status, _) = world.gateway.admin("POST", "/drill", &drilled("held")).await.expect("answers");
    assert_eq!(status, 204);
    assert_eq!(world.gateway.status().await.skills_off, None);
    world.anna.says("#list");
    world.anna.hears_of("listed").await;
    assert!(told(&world).contains("notes.txt"));
}
