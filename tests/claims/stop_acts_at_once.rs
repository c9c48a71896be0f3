//! `/stop` and `/freeze` act while everything else is busy (incident 120).

use std::time::{Duration, Instant};

use openclaw_tests::{
    model::{Act, Step},
    world::World,
};
use serde_json::json;

/// A stop that takes longer than this is not "at once". The promise is one second; builds share the machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A model that never answers, in every turn that may run: `/stop` frees its chat.
#[tokio::test]
async fn under_full_load() {
    let people: Vec<i64> = (2001..2065).collect();
    let world = World::polling(|setup| {
        setup.section("access", &format!("people = {people:?}"));
    })
    .await;
    world.model.on("#hang", [Step(vec![Act::Hang])]);
    let others: Vec<_> = people.iter().map(|id| world.bot.person(*id, "P")).collect();
    for other in &others {
        other.says("#hang");
    }
    world.anna.says("#hang");
    world.model.asked(64).await;
    world.anna.says("queued behind it");
    let asked = Instant::now();
    world.anna.says("/stop");
    world.anna.hears().await;
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    others[0].says("/stop");
    others[0].hears().await;
    assert!(asked.elapsed() < 2 * AT_ONCE, "{:?}", asked.elapsed());
}

/// A running skill is killed with the turn.
#[tokio::test]
async fn a_running_skill_is_killed() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    world.model.on("#wait", [Step::call("look", json!({"milliseconds": 10000})), Step::say("never")]);
    world.anna.says("#wait");
    let runner = world.gateway.living(openclaw_tests::gateway::Role::Runner).await;
    let started = Instant::now();
    while !jail_runs(runner.0) {
        assert!(started.elapsed() < Duration::from_secs(30), "the skill runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = Instant::now();
    world.anna.says("/stop");
    world.anna.hears().await;
    while jail_runs(runner.0) {
        assert!(asked.elapsed() < AT_ONCE, "the skill still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.anna.says("next");
    assert_eq!(world.anna.hears_of("You said").await.text, "You said: next");
}

/// What had an effect and was stopped half way may have happened: chat and model are told, and nothing runs it again.
#[tokio::test]
async fn a_stopped_effect_is_not_forgotten() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    let call = Step::call("count", json!({"word": "half", "milliseconds": 10000}));
    world.model.on("#count", [call, Step::say("never")]);
    world.anna.says("#count");
    let asked = world.anna.hears().await;
    world.anna.presses(&asked, &asked.buttons()[0]);
    let counter = world.gateway.setup().home().join("counter/lines");
    let lines = || std::fs::read_to_string(&counter).unwrap_or_default().lines().count();
    let started = Instant::now();
    while lines() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the call starts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.anna.says("/stop");
    assert!(world.anna.hears_of("may have happened").await.text.contains("count was stopped"));
    world.anna.says("next");
    assert_eq!(world.anna.hears_of("You said").await.text, "You said: next");
    let told = world.model.requests().pop().expect("asked").body.to_string();
    assert!(told.contains("It may have happened."), "{told}");
    assert_eq!(lines(), 1);
    assert_eq!(
        world.gateway.count("SELECT count(*) FROM call WHERE stopped IS NOT NULL AND finished IS NULL"),
        1
    );
}

fn jail_runs(runner: u32) -> bool {
    openclaw_tests::gateway::descendants_of(runner)
        .iter()
        .any(|process| process.program().contains("test-counter"))
}

/// `/freeze` stops every chat.
#[tokio::test]
async fn freeze_stops_everything() {
    let world = World::polling(|setup| {
        setup.section("access", "people = [1002]");
    })
    .await;
    world.model.on("#hang", [Step(vec![Act::Hang])]);
    let bert = world.bot.person(1002, "Bert");
    bert.says("#hang");
    world.model.asked(1).await;
    world.anna.says("/freeze");
    world.anna.hears().await;
    let deadline = Instant::now() + AT_ONCE;
    while world.gateway.status().await.queues.running_turns > 0 {
        assert!(Instant::now() < deadline, "a turn still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = world.model.requests().len();
    bert.says("are you there?");
    world.bot.all_delivered().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.model.requests().len(), before, "nothing is asked while frozen");
}
