//! Answers appear while they are written: as drafts in private chats, as edits in groups.

use std::time::Duration;

use openclaw_tests::{
    gateway::{Role, Setup},
    model::Step,
    telegram::{Fault, Refusal, Trouble},
    world::{OWNER, World},
};

const TEXT: &str = "one two three four five six seven eight nine ten eleven twelve";
const GROUP: i64 = -1001234567890;

/// The owner may speak in a group.
fn group(setup: &mut Setup) {
    setup.tables(&format!("[[access.group]]\nchat = {GROUP}\npeople = [{OWNER}]"));
}

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
    let world = World::polling(group).await;
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

/// A crash while an answer grows leaves one message: the finished answer takes its place.
#[tokio::test]
async fn a_crash_leaves_no_half_answer_in_a_group() {
    let mut world = World::polling(group).await;
    let here = world.anna.in_group(&world.bot.group(GROUP, "Family"));
    for (round, all) in [false, true].into_iter().enumerate() {
        let (mark, text) = (format!("#slow{round}"), format!("round {round}: {TEXT}"));
        world.model.on(&mark, [Step::say_slowly(&text, 24, Duration::from_millis(300))]);
        let edits = world.telegram.calls_of("editMessageText").len();
        here.says(&format!("@main_bot {mark}"));
        // An edit shows that the gateway has recorded what it edits; before that it could not know.
        while world.telegram.calls_of("editMessageText").len() == edits {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let half = here.reads(&format!("round {round}: one")).await;
        assert_ne!(half.text, text, "it still grows");
        match all {
            false => world.gateway.kill(Role::Gateway),
            true => {
                world.gateway.kill_all().await;
                world.gateway.start_again().await;
            }
        }
        let whole = here.reads(&text).await;
        assert_eq!((whole.id, whole.text), (half.id, text), "the same message, without a mark");
        assert_eq!(here.history().len(), round + 1, "and no other: {:?}", here.history());
    }
}

/// Where nobody knows whether the growing answer is in the chat, the finished one is marked.
#[tokio::test]
async fn an_answer_whose_beginning_may_be_there_is_marked() {
    let world = World::polling(group).await;
    let here = world.anna.in_group(&world.bot.group(GROUP, "Family"));
    world.model.on("#slow", [Step::say_slowly(TEXT, 12, Duration::from_millis(300))]);
    world.telegram.fault(Fault { method: Some("sendMessage"), times: 1, trouble: Trouble::AnswerLost });
    here.says("@main_bot #slow");
    let whole = here.reads(TEXT).await;
    assert!(whole.text.starts_with('↻'), "{}", whole.text);
    let all: Vec<_> = here.history().into_iter().map(|sent| sent.text).collect();
    assert!(all.len() == 2 && TEXT.starts_with(all[0].trim_end_matches(['…', ' '])), "{all:?}");
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
