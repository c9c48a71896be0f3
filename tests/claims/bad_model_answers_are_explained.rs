//! Whatever a model server sends, the turn ends with readable words, the log has a line without content, and the chat
//! goes on.

use openclaw_tests::{
    model::{Act, Model, Part, Step, Wire},
    world::World,
};
use serde_json::json;

fn text() -> Vec<Part> {
    vec![Part::Text("HALF-ANSWER-CANARY one two three".into())]
}

/// Trouble that lasts: a readable reply, and the next message works.
#[tokio::test]
async fn lasting_trouble_is_told() {
    let world = World::polling(|_| {}).await;
    let cases = [
        ("#truncated", Act::Truncated(text())),
        ("#cut", Act::Cut(text())),
        ("#midstream", Act::ErrorInStream(text())),
        ("#errorin200", Act::ErrorIn200),
        ("#garbage", Act::Garbage),
        ("#unauthorized", Act::Status(401, "authentication_error", None)),
        ("#invalid", Act::Status(400, "invalid_request_error", None)),
        ("#broken", Act::Status(500, "api_error", None)),
    ];
    for (mark, act) in cases {
        world.model.on(mark, [Step(vec![act])]);
        world.anna.says(mark);
        let reply = world.anna.hears().await;
        assert!(reply.text.len() > 20, "{mark}: {:?}", reply.text);
        assert!(!reply.text.contains("You said"), "{mark}: {}", reply.text);
        world.anna.says("still there?");
        assert_eq!(world.anna.hears_of("You said").await.text, "You said: still there?", "after {mark}");
    }
    assert!(!world.gateway.log().contains("CANARY"), "no content in the log");
    assert_eq!(
        world.gateway.status().await.queues.dead_letters,
        0,
        "the user was told: nothing is left over"
    );
}

/// Trouble that passes is retried, as the provider asks, and nobody notices.
#[tokio::test]
async fn passing_trouble_is_retried() {
    let world = World::polling(|_| {}).await;
    for (mark, act) in [
        ("#limited", Act::Status(429, "rate_limit_error", Some(1))),
        ("#overloaded", Act::Status(529, "overloaded_error", Some(1))),
        ("#unavailable", Act::Status(503, "api_error", None)),
        ("#onecut", Act::Truncated(text())),
    ] {
        world.model.on(mark, [Step::say(format!("answer to {mark}")).after([act])]);
        world.anna.says(mark);
        assert_eq!(world.anna.hears().await.text, format!("answer to {mark}"));
    }
}

/// A model that stays down is left for the next one.
#[tokio::test]
async fn the_next_model_takes_over() {
    let second = Model::start().await;
    let world = World::polling(|setup| {
        setup.model(&second, Wire::Openai);
    })
    .await;
    world.model.on("#down", [Step(vec![Act::Status(529, "overloaded_error", Some(0))])]);
    second.on("#down", [Step::say("from the second")]);
    world.anna.says("#down");
    assert!(world.anna.hears().await.text.contains("from the second"));
}

/// Tool calls that make no sense are answered to the model as errors, and the turn goes on.
#[tokio::test]
async fn senseless_tool_calls_are_answered() {
    let world = World::polling(|_| {}).await;
    for (mark, step) in [
        ("#notjson", Step::call_with_garbage("list_documents", "{\"path\": ")),
        ("#notool", Step::call("launch_rocket", json!({"at": "moon"}))),
        ("#wrongtype", Step::call("read_document", json!({"path": 7}))),
        ("#notanobject", Step::call_with_garbage("list_documents", "[1,2]")),
    ] {
        world.model.on(mark, [step, Step::say(format!("went on after {mark}"))]);
        world.anna.says(mark);
        assert_eq!(world.anna.hears().await.text, format!("went on after {mark}"));
    }
}

/// A model that never stops calling tools is stopped by the budget of steps, and the user is told.
#[tokio::test]
async fn a_turn_has_a_budget() {
    let world = World::polling(|setup| {
        setup.section("turn", "steps = 4");
    })
    .await;
    let steps: Vec<Step> = (0..50).map(|_| Step::call("list_documents", json!({}))).collect();
    world.model.on("#forever", steps);
    world.anna.says("#forever");
    let reply = world.anna.hears().await;
    assert!(!reply.text.is_empty());
    assert!(world.model.requests().len() <= 5, "{} calls", world.model.requests().len());
    world.anna.says("still there?");
    assert_eq!(world.anna.hears_of("You said").await.text, "You said: still there?");
}

/// An answer that the provider cut at its token limit is delivered, and marked as cut.
#[tokio::test]
async fn a_full_output_is_delivered() {
    let world = World::polling(|_| {}).await;
    world.model.on("#full", [Step(vec![Act::OutputFull(vec![Part::Text("as far as it got".into())])])]);
    world.anna.says("#full");
    let reply = world.anna.hears().await;
    assert!(reply.text.contains("as far as it got"), "{}", reply.text);
}
