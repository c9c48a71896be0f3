//! An update is processed once, however often it is delivered, and whatever happens between.

use openclaw_tests::{
    gateway::{Gateway, Setup},
    http::{Post, message},
    model::Model,
    telegram::Telegram,
    world::{OWNER, World},
};
use openclaw_wire::config::Updates;

/// Accepted, killed, started again, delivered again: 200, and no second answer (incidents 11, 13).
#[tokio::test]
async fn a_repeated_update_after_a_crash_is_not_answered_again() {
    let mut world = World::webhook(|_| {}).await;
    let secret = world.secret();
    let mut post = Post::new(world.gateway.setup().port(), &secret, &message(77, OWNER, "once"));
    assert_eq!(post.send().await.status, 200);
    assert_eq!(world.anna.hears().await.text, "You said: once");
    world.gateway.idle().await;
    world.gateway.kill_all().await;
    world.gateway.start_again().await;
    assert_eq!(post.deliver().await.status, 200);
    // The same update, encoded differently: other order, spaces, escapes.
    post.body =
        format!(" {} ", message(77, OWNER, "once").to_string().replace("once", "\\u006fnce")).into_bytes();
    post.header("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(post.send().await.status, 200);
    world.anna.says("next");
    assert_eq!(world.anna.hears().await.text, "You said: next", "and nothing in between");
    let once = world.model.requests().iter().filter(|r| r.body.to_string().contains("once")).count();
    let calls = world.model.requests().len();
    assert_eq!(calls, 2, "one model call for each message ({once} requests carry the first)");
}

/// The same update id at two bots, and the same message id in two chats, are different messages (incident 12).
#[tokio::test]
async fn the_same_numbers_elsewhere_are_other_messages() {
    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let (mut setup, main) = Setup::usual_webhook(&telegram, &model, OWNER);
    let other = setup.bot(&telegram, "other", "220201543:AAother-token-not-real", Updates::Webhook);
    setup.section("access", "people = [1002]");
    let gateway = Gateway::start(setup).await;
    let (anna, there) = (main.person(OWNER, "Anna"), other.person(OWNER, "Anna"));
    let bert = main.person(1002, "Bert");
    for bot in ["main", "other"] {
        gateway.ask(&["webhook", "set", "--bot", bot]).await;
    }
    let secret =
        |account: &openclaw_tests::telegram::Account| account.webhook().and_then(|(_, s)| s).expect("set");
    let port = gateway.setup().port();
    let mut update = message(5, OWNER, "first");
    assert_eq!(Post::new(port, &secret(&main), &update).send().await.status, 200);
    let mut post = Post::new(port, &secret(&other), &update);
    post.path = "/telegram/other".into();
    assert_eq!(post.send().await.status, 200);
    update = message(6, 1002, "second");
    update["message"]["message_id"] = 5.into();
    assert_eq!(Post::new(port, &secret(&main), &update).send().await.status, 200);
    assert_eq!(anna.hears().await.text, "You said: first");
    assert_eq!(there.hears().await.text, "You said: first");
    assert_eq!(bert.hears().await.text, "You said: second");
    drop(gateway);
}

/// Telegram's retries, when its connection breaks after we stored the update, answer nothing twice.
#[tokio::test]
async fn a_delivery_whose_answer_was_lost_is_answered_once() {
    let world = World::webhook(|_| {}).await;
    let (id, body) = world.anna.says_update("hello");
    world.anna.hears().await;
    world.bot.repeat(id, openclaw_tests::telegram::Queue::Chat(OWNER), "message", body);
    world.bot.all_delivered().await;
    world.anna.says("next");
    assert_eq!(world.anna.hears().await.text, "You said: next");
}
