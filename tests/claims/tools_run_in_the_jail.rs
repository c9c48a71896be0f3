//! A tool call runs the skill's program in its jail, and its output goes back to the model as data.

use openclaw_tests::{
    model::{Step, Wire},
    world::World,
};
use serde_json::json;

/// `read-documents` lists and reads the declared folder and nothing else.
#[tokio::test]
async fn documents_are_listed_and_read() {
    let world = World::polling(|setup| {
        setup.file("documents/notes.txt", b"the cellar key is under the blue pot");
        setup.file("private/diary.txt", b"DIARY-CANARY");
    })
    .await;
    world.model.on("#list", [Step::call("list_documents", json!({})), Step::say("listed")]);
    world.model.on("#read", [Step::call("read_document", json!({"path": "notes.txt"})), Step::say("read")]);
    world.model.on(
        "#out",
        [
            Step::calls(&[
                ("read_document", json!({"path": "../private/diary.txt"})),
                ("read_document", json!({"path": "/etc/passwd"})),
            ]),
            Step::say("tried"),
        ],
    );
    for (mark, answer) in [("#list", "listed"), ("#read", "read"), ("#out", "tried")] {
        world.anna.says(mark);
        assert_eq!(world.anna.hears().await.text, answer);
    }
    let results: Vec<String> =
        world.model.requests().iter().filter_map(|request| result(&request.body)).collect();
    assert!(results[0].contains("notes.txt"), "{results:?}");
    assert!(results[1].contains("under the blue pot"), "{results:?}");
    assert!(!results[2].contains("DIARY-CANARY") && !results[2].contains("root:"), "{results:?}");
}

/// The jail has no network, no other files, no other programs, no environment.
#[tokio::test]
async fn the_jail_reaches_nothing() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    world.model.on("#reach", [Step::call("reach", json!({})), Step::say("tried")]);
    world.anna.says("#reach");
    assert_eq!(world.anna.hears().await.text, "tried");
    let report = world.model.requests().iter().find_map(|request| result(&request.body)).expect("a result");
    for attempt in
        ["loopback", "metadata service", "unix socket", "password file", "another program", "write elsewhere"]
    {
        let line = report.split("\\n").find(|line| line.contains(&format!("{attempt}:")));
        let line = line.unwrap_or_else(|| panic!("no line about {attempt}: {report}"));
        assert!(!line.contains("reached"), "{line}");
    }
    assert!(!report.contains("KEY") && !report.contains("TOKEN") && !report.contains("HOME="), "{report}");
}

/// Folders that the configuration names are loaded besides the bundled ones.
#[tokio::test]
async fn further_folders_of_skills_are_loaded() {
    let folder = openclaw_tests::gateway::dist().join("test-skills");
    let world = World::polling(|setup| {
        setup.section("skills", &format!("folders = [\"{}\"]", folder.display()));
        setup.file("counter/lines", b"a\n");
    })
    .await;
    let mut skills: Vec<String> =
        world.gateway.status().await.skills.iter().map(|skill| skill.id.to_string()).collect();
    skills.sort();
    for skill in ["counter", "echo", "notes", "prober", "read-documents", "weather"] {
        assert!(skills.iter().any(|known| known == skill), "{skill}: {skills:?}");
    }
}

/// A failing tool is told to the model, and the turn goes on; two calls at once are both answered.
#[tokio::test]
async fn failures_and_parallel_calls_are_answered() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"a\nb\n");
    })
    .await;
    world.model.on(
        "#both",
        [Step::calls(&[("look", json!({})), ("fail", json!({"say": "oops"}))]), Step::say("seen")],
    );
    world.anna.says("#both");
    assert_eq!(world.anna.hears().await.text, "seen");
    let body = world.model.requests().pop().expect("asked").body.to_string();
    assert!(body.contains("2 lines") && body.contains("oops"), "{body}");
}

/// Over the other protocol too.
#[tokio::test]
async fn tools_work_over_the_other_protocol() {
    use openclaw_tests::{gateway::*, model::Model, telegram::Telegram};
    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let mut setup = Setup::new();
    setup.model(&model, Wire::Openai).file("documents/a.txt", b"OPENAI-DOCUMENT");
    setup.section("access", "owners = [1001]");
    let bot = setup.bot(&telegram, "main", TOKEN, openclaw_wire::config::Updates::Poll);
    let gateway = Gateway::start(setup).await;
    let anna = bot.person(1001, "Anna");
    model.on("#read", [Step::call("read_document", json!({"path": "a.txt"})), Step::say("read")]);
    anna.says("#read");
    assert_eq!(anna.hears().await.text, "read");
    assert!(model.requests().pop().expect("asked").body.to_string().contains("OPENAI-DOCUMENT"));
    drop(gateway);
}

/// The last tool results in a request, as text.
fn result(body: &serde_json::Value) -> Option<String> {
    let last = body["messages"].as_array()?.last()?;
    let blocks = last["content"].as_array()?;
    let results: Vec<String> = blocks
        .iter()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| block["content"].to_string())
        .collect();
    (!results.is_empty()).then(|| results.join("\n"))
}
