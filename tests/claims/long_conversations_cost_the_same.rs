//! A turn does not grow with the age of its conversation.

use openclaw_tests::{gateway::Role, model::Step, world::World};

/// Turns; the promise is about 10,000 (`TURNS=10000`), the quick run shows the same law on fewer.
fn turns() -> usize {
    std::env::var("TURNS").ok().and_then(|n| n.parse().ok()).unwrap_or(600)
}

/// Bytes to the model and CPU time of the gateway at the end are within 10 % of those at turn 100 (the window is full by
/// then), and the operator's instructions are still there word for word.
#[tokio::test]
async fn bytes_and_cpu_per_turn_stay_flat() {
    let world = World::polling(|setup| {
        setup.section("telegram", "per_second = 1000\nper_chat_minute = 100000");
        setup.section("session", "window = 8192\ninstructions = \"Pinned: answer like a pirate.\"");
    })
    .await;
    world.model.on(
        "please",
        [Step::say("A reply of ordinary length, so that the conversation grows by both sides.")],
    );
    let gateway = world.gateway.living(Role::Gateway).await;
    let (mut early, mut late) = ((0, 0), (0, 0));
    let last = turns();
    let sample = 50;
    for turn in 0..last {
        let measured = match turn {
            n if (100..100 + sample).contains(&n) => Some(&mut early),
            n if n >= last - sample => Some(&mut late),
            _ => None,
        };
        let before = if measured.is_some() { gateway.cpu_microseconds() } else { 0 };
        world.anna.says(&format!("question number {turn:06}, please answer it as always"));
        world.anna.hears().await;
        if let Some((bytes, cpu)) = measured {
            *bytes +=
                world.model.take_requests().iter().map(|request| request.bytes as u64).max().expect("asked");
            *cpu += gateway.cpu_microseconds() - before;
        } else if turn == last - sample - 1 || turn == 99 || turn % 100 == 50 {
            world.model.take_requests();
        }
    }
    eprintln!(
        "bytes {} then {}, CPU {} us then {} us per turn",
        early.0 / sample as u64,
        late.0 / sample as u64,
        early.1 / sample as u64,
        late.1 / sample as u64
    );
    assert!(late.0 as f64 <= early.0 as f64 * 1.1, "bytes: {} then {}", early.0, late.0);
    assert!(late.1 as f64 <= early.1 as f64 * 1.1, "CPU: {} then {} us", early.1, late.1);
    world.anna.says("who are you?");
    world.anna.hears().await;
    let request = world.model.requests().pop().expect("asked");
    assert!(request.body["system"].to_string().contains("answer like a pirate"), "instructions survive");
}
