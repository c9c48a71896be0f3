//! A key that some far end sends back never becomes part of what is remembered (incident 111).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use openclaw_tests::{
    broker::{Far, Seen},
    gateway::dist,
    model::Step,
    world::World,
};
use openclaw_wire::facts::FACTS;
use serde_json::json;

use crate::secrets_stay_where_they_belong::search;

const KEY: &str = "test-key-not-real-0123456789";

fn forms() -> [String; 3] {
    [KEY.into(), STANDARD.encode(KEY), KEY.bytes().map(|byte| format!("{byte:02x}")).collect()]
}

/// Sends back what it was sent, and its key in other forms, in an answer of some length.
fn echo(seen: &Seen) -> (String, String, Vec<u8>) {
    let words = "and so the story goes on. ".repeat(40);
    ("200 OK".into(), String::new(), format!("{}\n{}\n{words}", seen.head, forms().join("\n")).into())
}

/// The prober in a folder of its own, with a key.
fn skill(shelf: &Path) {
    let (from, to) = (dist().join("test-skills/prober"), shelf.join("prober"));
    fs::create_dir_all(to.join("bin")).expect("a folder");
    for name in ["SKILL.md", "bin/test-prober"] {
        fs::copy(from.join(name), to.join(name)).expect("copy");
    }
    let manifest = fs::read_to_string(from.join("skill.toml")).expect("skill.toml");
    let plain = "paths = [\"/data\"] }";
    assert!(manifest.contains(plain));
    let keyed = manifest.replace(plain, "paths = [\"/data\"], secret = \"ECHO_KEY\" }");
    fs::write(to.join("skill.toml"), keyed).expect("write");
}

/// A skill brings the echo into a conversation again and again, until its older half is told in short: the key is in no request to a
/// model, the one for the summary included, in no log and in no file but egress's own.
#[tokio::test]
async fn incident_111_an_echoed_key_is_in_no_transcript_summary_or_log() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let (ca, shelf) = (folder.path().join("ca.pem"), folder.path().join("skills"));
    let far = Far::tls(&["localhost"], &ca, echo);
    skill(&shelf);
    let mut world = World::polling(|setup| {
        setup.section("skills", &format!("folders = [{shelf:?}]"));
        setup.section("skills.private.api", &format!("url = \"{}\"\nca = {ca:?}", far.url()));
        setup.key("ECHO_KEY", KEY);
        setup.section("session", "window = 8192");
    })
    .await;
    world.gateway.ask(&["skills", "approve", shelf.join("prober").to_str().expect("text")]).await;
    let fetch = json!({ "act": "fetch", "url": "https://api.internal/data" });
    world.model.on("#echo", [Step::call("probe", fetch), Step::say("it echoed")]);
    let summary = |world: &World| {
        let asked = |request: &openclaw_tests::model::Request| {
            request.body["system"].to_string().contains("You keep the memory of an assistant")
        };
        world.model.requests().iter().any(asked)
    };
    for round in 0..40 {
        world.anna.says(&format!("#echo {round}"));
        world.anna.hears_of("it echoed").await;
        if summary(&world) {
            break;
        }
    }
    world.gateway.idle().await;
    assert!(summary(&world), "the conversation was told in short");
    let sent = far.seen()[0].header("authorization").map(str::to_owned);
    assert_eq!(
        sent.as_deref(),
        Some(format!("Bearer {KEY}").as_str()),
        "the control: it was sent and sent back"
    );
    let requests = world.model.requests();
    assert!(requests.iter().any(|request| request.body.to_string().contains("the story goes on")));
    for form in forms() {
        assert!(requests.iter().all(|request| !request.body.to_string().contains(&form)), "{form}");
        assert!(!world.gateway.log().contains(&form), "{form}");
        let logs = world.gateway.ask(&["skills", "logs"]).await;
        assert!(!logs.contains(&form), "{logs}");
    }
    world.gateway.stop().await;
    let keys = world.gateway.state().join(&FACTS.state.egress);
    assert_eq!(search(world.gateway.state(), &forms(), &keys), [""; 0]);
    let control = ["the story goes on".to_owned()];
    assert!(!search(world.gateway.state(), &control, &keys).is_empty(), "the search finds what is there");
}
