//! The official SDKs' own request types accept every request that reaches a model, with no field that they don't know.

use openclaw_tests::{
    gateway::{Gateway, Setup, TOKEN},
    model::{Model, Step, Wire},
    peers,
    telegram::Telegram,
    world::OWNER,
};
use openclaw_wire::config::Updates;
use serde_json::{Value, json};
use tokio::process::Command;

/// A conversation with tools, results, errors, other people's words and a summary, over both protocols.
#[tokio::test]
async fn every_request_of_a_conversation() {
    let mut bodies = json!({});
    for (wire, vendor) in [(Wire::Anthropic, "anthropic"), (Wire::Openai, "openai")] {
        bodies[vendor] = Value::Array(conversation(wire).await);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("requests.json");
    std::fs::write(&file, bodies.to_string()).expect("written");
    let mut judge = Command::new(peers::path("venv/bin/python"));
    let done = judge.arg(peers::driver("sdk_types.py")).arg(&file).output().await.expect("python starts");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

async fn conversation(wire: Wire) -> Vec<Value> {
    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let mut setup = Setup::new();
    setup.model(&model, wire).file("documents/a.txt", b"what is written");
    setup
        .section("access", &format!("owners = [{OWNER}]"))
        .section("session", "window = 2048\nsummary = 512");
    let bot = setup.bot(&telegram, "main", TOKEN, Updates::Poll);
    let gateway = Gateway::start(setup).await;
    let anna = bot.person(OWNER, "Anna");
    let read = ("read_document", json!({"path": "a.txt"}));
    model.on("#tools", [Step::calls(&[read, ("no_such_tool", json!({}))]), Step::say("read")]);
    anna.says("hello");
    anna.hears().await;
    anna.says("#tools");
    anna.hears().await;
    anna.forwards("somebody else's words", "Mallory");
    anna.hears().await;
    anna.sends_document("b.pdf", "application/pdf", b"%PDF-", "what is this?");
    anna.hears().await;
    for n in 0..12 {
        anna.says(&format!("message {n}: {}", "words that fill the window ".repeat(12)));
        anna.hears().await;
    }
    drop(gateway);
    let requests = model.requests();
    assert!(requests.len() > 16);
    requests.into_iter().map(|request| request.body).collect()
}
