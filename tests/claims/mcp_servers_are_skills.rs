//! An MCP server is a skill like any other: in its jail, with its manifest's rights and effects, in either era of the
//! protocol; and a hostile one gets no further than a hostile skill.

use openclaw_tests::{
    broker::{Broker, Setup},
    gateway::dist,
    model::Step,
    world::World,
};
use openclaw_wire::runner::{Answer, Failure, Outcome};
use serde_json::json;

const LIMITS: &str = "[limits]\ncpu = \"3 s\"\nwall = \"15 s\"\n";

fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Output(text) => serde_json::from_str(text).expect("an answer"),
        failed => panic!("{failed:?}"),
    }
}

fn names(broker: &Broker, skill: &str) -> Vec<String> {
    broker.tools(skill).into_iter().map(|tool| tool.name).collect()
}

/// 2025-11-25 and 2026-07-28, to a server that nobody's SDK made.
#[test]
fn servers_of_both_eras_are_spoken_to() {
    let broker = Setup::new().server("old", "old", LIMITS).server("new", "new", LIMITS).start();
    for skill in ["old", "new"] {
        assert_eq!(names(&broker, skill), ["say", "look"], "{skill}");
        let say = |word: &str| answer(&broker.served(skill, "say", json!({ "word": word })).0);
        assert_eq!(say("hello"), Answer::Text("said hello".into()), "{skill}");
        assert_eq!(say("no"), Answer::Error("I will not".into()), "{skill}");
    }
}

/// What a server sees is what its manifest opens; while it is asked for its tools it can write nowhere.
#[test]
fn a_server_keeps_to_its_manifest() {
    let rights = format!("[permissions]\nwrite = [\"~/mark\"]\n{LIMITS}");
    let setup = Setup::new().server("files", "old", &rights).server("none", "old", LIMITS);
    std::fs::create_dir(setup.path("home/mark")).expect("a folder");
    let written = setup.path("home/mark/written");
    let broker = setup.start();
    assert_eq!(names(&broker, "files").len(), 2);
    assert!(!written.exists());
    for (skill, writes) in [("files", true), ("none", false)] {
        let Answer::Text(seen) = answer(&broker.served(skill, "look", json!({})).0) else {
            panic!("{skill}")
        };
        for (what, open) in [
            ("/etc/passwd", false),
            ("/proc/self", false),
            ("/skill/skill.toml", true),
            ("/mcp/client", true),
            ("write /files/mark", writes),
            ("write /mcp/client", false),
            ("connect", false),
        ] {
            assert!(seen.contains(&format!("(\"{what}\", {open})")), "{skill}: {what}: {seen}");
        }
    }
    assert!(written.exists());
}

/// Endless output, endless lists, silence, a crash, a call of the kernel that no skill may make: each ends within the limits, with its reason.
#[test]
fn hostile_servers_are_ended_with_a_reason() {
    let kinds = ["flood", "silent", "endless", "many", "crash", "device", "hang", "long", "asks"];
    let setup = kinds.iter().fold(Setup::new(), |setup, kind| setup.server(kind, kind, LIMITS));
    let broker = setup.start();
    let failed = |outcome: Outcome| match outcome {
        Outcome::Failed { reason, detail } => (reason, detail),
        Outcome::Output(text) => panic!("{text:.200}"),
    };
    let (reason, detail) = failed(broker.look("flood"));
    assert!([Failure::Cpu, Failure::Time, Failure::Memory].contains(&reason), "{reason:?} {detail}");
    assert_eq!(failed(broker.look("silent")).0, Failure::Time);
    for (kind, part) in [("endless", "more than 32 pages"), ("many", "more than 128 tools")] {
        let (reason, detail) = failed(broker.look(kind));
        assert!(reason == Failure::Crashed && detail.contains(part), "{kind}: {reason:?} {detail}");
    }
    let say = |kind: &str| broker.served(kind, "say", json!({ "word": "so" })).0;
    let (reason, detail) = failed(say("crash"));
    assert!(reason == Failure::Crashed && detail.contains("it fell over so"), "{reason:?} {detail}");
    let (reason, detail) = failed(say("device"));
    assert!(reason == Failure::Forbidden && detail.contains("no skill may make"), "{reason:?} {detail}");
    assert_eq!(failed(say("hang")).0, Failure::Time);
    assert_eq!(failed(say("long")).0, Failure::Output);
    assert_eq!(answer(&say("asks")), Answer::Text("asked".into()), "it gets no answer, and goes on");
}

/// A tool that is described otherwise than when it was looked at is not called, in either era.
#[test]
fn a_tool_that_changes_is_not_called() {
    let rights = format!("[permissions]\nread = [\"~/mark\"]\n{LIMITS}");
    let setup = ["changing", "new-changing", "vanishing"]
        .iter()
        .fold(Setup::new(), |setup, kind| setup.server(kind, kind, &rights));
    let mark = setup.path("home/mark");
    std::fs::create_dir(&mark).expect("a folder");
    let broker = setup.start();
    for kind in ["changing", "new-changing", "vanishing"] {
        let tools = broker.tools(kind);
        let call = || {
            let definition = tools.iter().find(|tool| tool.name == "say").expect("say").digest();
            answer(&broker.run_tool("1", kind, ("say", Some(definition)), &json!({ "word": "hello" })))
        };
        assert_eq!(call(), Answer::Text("said hello".into()), "{kind}");
        std::fs::write(mark.join("now"), "").expect("a mark");
        assert!(matches!(call(), Answer::Changed(_)), "{kind}");
        std::fs::remove_file(mark.join("now")).expect("a mark");
    }
    let refused = broker.run_tool("1", "changing", ("say", None), &json!({}));
    assert!(matches!(refused, Outcome::Failed { reason: Failure::Refused, .. }), "{refused:?}");
}

/// The tools of `echo`, as soon as it has been asked for them.
async fn known(world: &World) -> Vec<String> {
    for _ in 0..600 {
        let skills = world.gateway.status().await.skills;
        let echo = skills.into_iter().find(|skill| skill.id.as_str() == "echo" && !skill.tools.is_empty());
        if let Some(echo) = echo {
            return echo.tools;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("echo was not asked for its tools\n{}", world.gateway.log());
}

/// The whole way: its tools appear under the skill's name with the manifest's effects, what the manifest does not name is
/// asked for, a change is told to the owner, and the operator's look mends it.
#[tokio::test]
async fn its_tools_reach_the_model_with_the_manifests_effects() {
    let world = World::polling(|setup| {
        setup.test_skills().file("mark/other", b"");
    })
    .await;
    assert_eq!(known(&world).await, ["echo_say", "echo_look"]);
    let folder = dist().join("test-skills/echo").display().to_string();
    let shown = world.gateway.ask(&["skills", "show", &folder]).await;
    assert!(shown.contains("can call echo_say: it only reads."), "{shown}");
    assert!(shown.contains("can call echo_look: it executes something; you are asked."), "{shown}");
    let say = || Step::call("echo_say", json!({ "word": "hello" }));
    world.model.on("#say", [say(), Step::say("it said so")]);
    world.anna.says("#say");
    assert_eq!(world.anna.hears().await.text, "it said so");
    let told =
        |part: &str| world.model.requests().iter().any(|request| request.body.to_string().contains(part));
    assert!(told("said hello") && told("What the MCP server echo says of its own tool"));

    world.model.on("#look", [Step::call("echo_look", json!({})), Step::say("looked")]);
    world.anna.says("#look");
    let asked = world.anna.hears().await;
    assert!(asked.text.contains("echo_look of echo (exec)"), "{}", asked.text);
    let no = asked.buttons().last().cloned().expect("a second button");
    world.anna.presses(&asked, &no);
    world.anna.hears_of("looked").await;

    let mark = world.gateway.setup().home().join("mark/now");
    std::fs::write(&mark, "").expect("a mark");
    world.model.on("#again", [say(), Step::say("it did not")]);
    world.anna.says("#again");
    let (one, other) = (world.anna.hears().await.text, world.anna.hears().await.text);
    let both = format!("{one}\n{other}");
    assert!(
        both.contains("it did not") && both.contains("echo is not what it was when it was looked at"),
        "{both}"
    );
    assert!(told("openclaw skills enable echo"), "the model is told too");

    world.gateway.ask(&["skills", "enable", "echo"]).await;
    world.model.on("#once more", [say(), Step::say("now it did")]);
    assert_eq!(known(&world).await, ["echo_say", "echo_look"]);
    world.anna.says("#once more");
    assert_eq!(world.anna.hears().await.text, "now it did");
    assert!(told("sends all files to the one who asks"), "described as it is now");
}
