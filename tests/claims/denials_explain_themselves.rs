//! What a skill tried and may not is told to the model, the owner and the log, with the line of the manifest that would
//! allow it; and a skill that nobody approved is not run, with the command that approves it.

use openclaw_tests::{gateway::dist, model::Step, world::World};
use serde_json::json;

/// A limit that ends a skill is told to the model, the owner and the log of calls, with the line of the
/// manifest that sets it.
#[tokio::test]
async fn a_limit_is_told_with_its_line() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    let spin = Step::call("fail", json!({ "say": "nothing, for ever" }));
    world.model.on("#spin", [spin, Step::say("it span")]);
    world.anna.says("#spin");
    let (one, other) = (world.anna.hears().await.text, world.anna.hears().await.text);
    let both = format!("{one}\n{other}");
    let line = r#"[limits] cpu = "1 s""#;
    assert!(both.contains("it span") && both.contains("skill counter: fail used more CPU time"), "{both}");
    assert!(both.contains(line) && both.contains("raise that limit in its skill.toml"), "{both}");
    assert!(
        world.model.requests().iter().any(|request| request.body.to_string().contains("used more CPU time"))
    );
    let logs = world.gateway.ask(&["skills", "logs", "counter"]).await;
    assert!(logs.contains("failed: cpu"), "{logs}");
}

/// What the kernel kills a skill for is told in words too, with what an owner can do about it; the log of calls has its reason.
#[tokio::test]
async fn a_forbidden_call_of_the_kernel_is_told_in_words() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    let device = Step::call("fail", json!({ "say": "a device" }));
    world.model.on("#device", [device, Step::say("it was killed")]);
    world.anna.says("#device");
    let (one, other) = (world.anna.hears().await.text, world.anna.hears().await.text);
    let both = format!("{one}\n{other}");
    let words = "fail tried something that its jail forbids and was killed for it: it made a system call that no skill may \
                 make and no manifest can allow";
    assert!(both.contains("it was killed") && both.contains(&format!("skill counter: {words}")), "{both}");
    assert!(both.contains("switch it off: `openclaw skills disable counter`"), "{both}");
    assert!(world.model.requests().iter().any(|request| request.body.to_string().contains(words)));
    let logs = world.gateway.ask(&["skills", "logs", "counter"]).await;
    assert!(logs.contains("failed: forbidden"), "{logs}");

    // The owner does so, and the model has no such tool any more.
    world.gateway.ask(&["skills", "disable", "counter"]).await;
    world.model.on("#again", [Step::call("fail", json!({ "say": "a device" })), Step::say("there is none")]);
    world.anna.says("#again");
    assert_eq!(world.anna.hears().await.text, "there is none");
    let last = world.model.requests().pop().expect("asked").body.to_string();
    assert!(last.contains("There is no tool of the name"), "{last}");
}

#[tokio::test]
async fn the_model_the_owner_and_the_log_are_told() {
    let world = World::polling(|setup| {
        setup.test_skills();
    })
    .await;
    let probe = || Step::call("probe", json!({ "act": "fetch", "url": "https://example.com/" }));
    world.model.on("#first", [probe(), Step::say("first done")]);
    world.anna.says("#first");
    assert_eq!(world.anna.hears().await.text, "first done");
    let told =
        |part: &str| world.model.requests().iter().any(|request| request.body.to_string().contains(part));
    assert!(told("nobody has approved the hosts that the skill prober names"), "not approved: not run");
    assert!(told("openclaw skills approve prober"), "the command that approves it");

    let folder = dist().join("test-skills/prober");
    let shown = world.gateway.ask(&["skills", "approve", folder.to_str().expect("a path")]).await;
    assert!(shown.contains("api.internal:443: GET /data"), "{shown}");
    world.model.on("#second", [probe(), Step::say("second done")]);
    world.anna.says("#second");
    let denial = "skill prober tried to reach example.com:443 (not in its manifest)";
    // The owner is told beside the answer, in whichever order.
    let (one, other) = (world.anna.hears().await.text, world.anna.hears().await.text);
    let both = format!("{one}\n{other}");
    assert!(both.contains("second done") && both.contains(denial), "{both}");
    assert!(both.contains(r#"hosts = [{ host = "example.com" }]"#), "{both}");
    assert!(told(denial), "the model is told");
    assert!(world.gateway.log().contains(denial), "the log is told");

    world.model.on("#third", [probe(), Step::say("third done")]);
    world.anna.says("#third");
    assert_eq!(world.anna.hears().await.text, "third done", "the owner is told of one thing once");

    world.gateway.ask(&["skills", "revoke", "prober"]).await;
    let before = world.model.requests().len();
    world.model.on("#fourth", [probe(), Step::say("fourth done")]);
    world.anna.says("#fourth");
    assert_eq!(world.anna.hears().await.text, "fourth done");
    let since = &world.model.requests()[before..];
    assert!(since.iter().any(|request| request.body.to_string().contains("nobody has approved")), "revoked");
}
