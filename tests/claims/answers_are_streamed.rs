//! Answers appear while they are written: as drafts in private chats, as edits in groups.

use std::time::Duration;

use openclaw_tests::{
    model::Step,
    telegram::{Fault, Refusal, Trouble},
    world::{OWNER, World},
};

const TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";

/// Drafts in a private chat grow, and one message ends them. Typing is shown meanwhile.
#[tokio::test]
async fn private_chats_see_drafts() {
    let world = World::polling(|_| {}).await;
    world.model.on("#slow", [Step::say_slowly(TEXT, 12, Duration::from_millis(300))]);
    world.anna.says("#slow");
    let (draft, first) = world.anna.sees_draft().await;
    assert_ne!(draft, 0);
    assert!(TEXT.starts_with(first.trim_end_matches(['…', ' '])) || first.is_empty(), "{first}");
    assert_eq!(world.anna.hears().await.text, TEXT);
    let drafts = world.anna.drafts();
    assert!(drafts.len() > 1, "{drafts:?}");
    assert!(
        drafts.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1.len() <= pair[1].1.len()),
        "{drafts:?}"
    );
    assert!(world.anna.typing() > 0);
    assert_eq!(world.anna.history().len(), 1, "one message in the end");
}

/// Elsewhere one message is edited until it is whole, slowly enough for a group.
#[tokio::test]
async fn groups_see_edits() {
    const GROUP: i64 = -1001234567890;
    let world = World::polling(|setup| {
        setup.tables(&format!("[[access.group]]\nchat = {GROUP}\npeople = [{OWNER}]"));
    })
    .await;
    let here = world.anna.in_group(&world.bot.group(GROUP, "Family"));
    world.model.on("#slow", [Step::say_slowly(TEXT, 24, Duration::from_millis(300))]);
    here.says("@main_bot #slow");
    assert_eq!(here.reads(TEXT).await.text, TEXT);
    assert_eq!(here.history().len(), 1);
    let edits = world.telegram.calls_of("editMessageText");
    assert!(!edits.is_empty());
    assert!(edits.windows(2).all(|pair| pair[1].at.duration_since(pair[0].at) > Duration::from_millis(900)));
    assert!(world.telegram.calls_of("sendMessageDraft").is_empty(), "no drafts in groups");
}

/// Refused drafts (429 or anything else) never cost the answer.
#[tokio::test]
async fn without_drafts_the_answer_comes_all_the_same() {
    let world = World::polling(|_| {}).await;
    world.model.on("#slow", [Step::say_slowly(TEXT, 6, Duration::from_millis(200))]);
    let trouble = Trouble::Refuse(Refusal::flood(30));
    world.telegram.fault(Fault { method: Some("sendMessageDraft"), times: 50, trouble });
    world.anna.says("#slow");
    assert_eq!(world.anna.hears().await.text, TEXT);
    let drafts = world.telegram.calls_of("sendMessageDraft");
    assert!(drafts.len() <= 1, "a 429 with 30 seconds is obeyed, {} drafts were sent", drafts.len());
}

/// Telegram's own stop button ends the turn.
#[tokio::test]
async fn the_stop_button_stops() {
    let world = World::polling(|_| {}).await;
    world.model.on("#slow", [Step::say_slowly(TEXT, 12, Duration::from_secs(5))]);
    world.anna.says("#slow");
    let (draft, _) = world.anna.sees_draft().await;
    world.anna.stops_draft(draft);
    world.anna.says("next");
    assert_eq!(world.anna.hears_of("You said").await.text, "You said: next", "the chat is free at once");
}
