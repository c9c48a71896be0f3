//! A turn does not grow with the age of its conversation.

use openclaw_tests::{gateway::Role, model::Step, telegram::Person, world::World};

/// Turns; the promise is about 10,000 (`TURNS=10000`), the quick run shows the same law on fewer.
fn turns() -> usize {
    std::env::var("TURNS").ok().and_then(|n| n.parse().ok()).unwrap_or(600)
}

/// Turns that are compared.
const SAMPLE: usize = 60;

/// A chat of this many turns beside one of 100 (the window is full by then), turn about, so that what else runs on the
/// machine hits both alike: bytes to the model and CPU time of the gateway are within 10 %, by the middle of many, and
/// the operator's instructions are still there word for word.
#[tokio::test]
async fn bytes_and_cpu_per_turn_stay_flat() {
    let world = World::polling(|setup| {
        setup.section("telegram", "per_second = 1000\nper_chat_minute = 100000");
        setup.section("session", "window = 8192\ninstructions = \"Pinned: answer like a pirate.\"");
        setup.section("access", "people = [1002]");
    })
    .await;
    let words = "A reply of ordinary length, so that the conversation grows by both sides.";
    world.model.on("please", [Step::say(words)]);
    let gateway = world.gateway.living(Role::Gateway).await;
    let (old, young) = (&world.anna, &world.bot.person(1002, "Bert"));
    let mut number = 0;
    let mut turn = async |person: &Person| {
        number += 1;
        let before = gateway.cpu_microseconds();
        person.says(&format!("question number {number:06}, please answer it as always"));
        person.hears().await;
        let bytes = world.model.take_requests().iter().map(|request| request.bytes).max().expect("asked");
        (bytes as u64, gateway.cpu_microseconds() - before)
    };
    for _ in 0..100 {
        turn(young).await;
    }
    for _ in 0..turns() - SAMPLE {
        turn(old).await;
    }
    let mut pairs = Vec::new();
    for _ in 0..SAMPLE {
        pairs.push([turn(young).await, turn(old).await]);
    }
    let middle = |pick: fn(&[(u64, u64); 2]) -> u64| {
        let mut all: Vec<u64> = pairs.iter().map(pick).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let bytes = (middle(|pair| pair[0].0), middle(|pair| pair[1].0));
    let cpu = (middle(|pair| pair[0].1), middle(|pair| pair[1].1));
    eprintln!("young, then old: bytes {bytes:?}, CPU {cpu:?} us for a turn");
    assert!(bytes.1 as f64 <= bytes.0 as f64 * 1.1, "bytes: {bytes:?}");
    assert!(cpu.1 as f64 <= cpu.0 as f64 * 1.1, "CPU: {cpu:?} us");
    old.says("who are you?");
    old.hears().await;
    let request = world.model.requests().pop().expect("asked");
    assert!(request.body["system"].to_string().contains("answer like a pirate"), "instructions survive");
}
