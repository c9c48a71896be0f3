//! Whatever Telegram answers, each message arrives once, in order, or the owner learns why not.

use openclaw_tests::{
    model::Step,
    telegram::{Fault, Refusal, Trouble},
    world::World,
};

/// 429 waits as long as it says; 500, a proxy's page and a cut connection are tried again.
#[tokio::test]
async fn passing_trouble_delays_and_loses_nothing() {
    let world = World::polling(|_| {}).await;
    let send = |times, trouble| Fault { method: Some("sendMessage"), times, trouble };
    for (n, trouble) in [
        Trouble::Refuse(Refusal::flood(1)),
        Trouble::Refuse(Refusal::new(500, "Internal Server Error")),
        Trouble::Garbage(502),
        Trouble::Cut,
    ]
    .into_iter()
    .enumerate()
    {
        let kind = format!("{trouble:?}");
        world.telegram.fault(send(1, trouble));
        world.anna.says(&format!("message {n}"));
        let answer = world.anna.hears().await.text;
        assert!(answer.ends_with(&format!("You said: message {n}")), "after {kind}: {answer}");
    }
    let calls = world.telegram.calls_of("sendMessage");
    let limited = calls.iter().position(|call| call.status == 429).expect("limited once");
    let waited = calls[limited + 1].at.duration_since(calls[limited].at);
    assert!(waited.as_millis() >= 950, "retry_after is obeyed: {waited:?}");
}

/// An answer that was sent and whose receipt was lost: perhaps twice, never silently twice.
#[tokio::test]
async fn a_lost_receipt_is_marked_as_a_possible_repeat() {
    let world = World::polling(|_| {}).await;
    world.telegram.fault(Fault { method: Some("sendMessage"), times: 1, trouble: Trouble::AnswerLost });
    world.anna.says("hello");
    assert_eq!(world.anna.hears().await.text, "You said: hello");
    world.anna.says("next");
    let second = world.anna.hears().await;
    if second.text.contains("You said: hello") {
        assert_ne!(second.text, "You said: hello", "a repeat is marked");
        world.anna.hears_of("You said: next").await;
    }
}

/// Markup that Telegram refuses is sent as plain text.
#[tokio::test]
async fn refused_markup_becomes_plain_text() {
    let world = World::polling(|_| {}).await;
    world.model.on("#bold", [Step::say("this is **important**")]);
    let why = Refusal::bad("can't parse entities: Unsupported start tag \"b\" at byte offset 8");
    world.telegram.fault(Fault { method: Some("sendMessage"), times: 1, trouble: Trouble::Refuse(why) });
    world.anna.says("#bold");
    let answer = world.anna.hears().await;
    assert!(answer.text.contains("important"), "{}", answer.text);
    assert!(answer.message.get("entities").is_none(), "plain");
    assert!(!answer.text.contains("<b>"), "{}", answer.text);
}

/// Somebody who blocked the bot gets no retries; others are served.
#[tokio::test]
async fn a_blocked_chat_is_given_up_and_others_go_on() {
    let world = World::polling(|setup| {
        setup.section("access", "people = [1002]");
    })
    .await;
    let bert = world.bot.person(1002, "Bert");
    bert.says("hello");
    bert.hears().await;
    bert.says("and goodbye");
    bert.blocks_the_bot();
    world.anna.says("hello");
    world.anna.hears_of("You said: hello").await;
    world.bot.all_delivered().await;
    let to_bert = world.telegram.calls_of("sendMessage");
    let refused = to_bert.iter().filter(|call| call.status == 403).count();
    assert!(refused <= 2, "{refused} tries against a closed door");
}

/// Telegram's own rates, switched on: a burst of answers all arrives.
#[tokio::test]
async fn real_rates_are_kept() {
    let world = World::polling(|_| {}).await;
    world.bot.limit_rates();
    for n in 0..8 {
        world.anna.says(&format!("message {n}"));
    }
    for n in 0..8 {
        assert_eq!(world.anna.hears().await.text, format!("You said: message {n}"));
    }
    let refused = world.telegram.calls_of("sendMessage").iter().filter(|call| call.status == 429).count();
    assert!(refused <= 2, "{refused} refusals: the pace is ours, not Telegram's patience");
}
