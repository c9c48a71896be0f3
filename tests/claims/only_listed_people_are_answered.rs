//! Who may speak is decided by numeric ids alone; the default is nobody.

use openclaw_tests::world::{OWNER, World};
use serde_json::{Value, json};

/// A stranger gets no turn, whatever he is called; the owner does, whatever she is called (incidents 20, 21).
#[tokio::test]
async fn names_say_nothing() {
    let world = World::polling(|_| {}).await;
    world.anna.renamed("Somebody Else", "nobody").says("hello");
    assert_eq!(world.anna.hears().await.text, "You said: hello");
    let stranger = world.bot.person(4242, "Mallory");
    stranger.says("hello from a stranger");
    stranger.renamed("Anna", "main_owner").says("I am Anna");
    stranger.renamed("1001", "1001").says("my name is the owner's number");
    world.anna.says("again");
    assert_eq!(world.anna.hears().await.text, "You said: again");
    let asked = world.model.requests();
    assert!(asked.iter().all(|request| !request.body.to_string().contains("stranger")));
    assert_eq!(asked.len(), 2, "no model call for the stranger");
}

/// Somebody on the list is answered; an empty list is nobody (incident 24).
#[tokio::test]
async fn people_on_the_list_are_answered() {
    let world = World::polling(|setup| {
        setup.section("access", "people = [1002]");
    })
    .await;
    let (bert, carl) = (world.bot.person(1002, "Bert"), world.bot.person(1003, "Carl"));
    carl.says("hi from Carl");
    bert.says("hi from Bert");
    assert_eq!(bert.hears().await.text, "You said: hi from Bert");
    let said: Vec<String> = carl.unseen().into_iter().map(|sent| sent.text).collect();
    assert!(said.iter().all(|text| !text.contains("You said")), "{said:?}");
    assert_eq!(world.model.requests().len(), 1);
}

/// One person's words are in nobody else's request (incident 31).
#[tokio::test]
async fn conversations_are_not_shared() {
    let world = World::polling(|setup| {
        setup.section("access", "people = [1002]");
    })
    .await;
    let bert = world.bot.person(1002, "Bert");
    bert.says("BERTS-WORDS");
    bert.hears().await;
    bert.says("and again");
    bert.hears().await;
    let own = world.model.requests().pop().expect("asked").body.to_string();
    assert!(own.contains("BERTS-WORDS"), "his own conversation goes on");
    world.anna.says("what did Bert say?");
    world.anna.hears().await;
    let hers = world.model.requests().pop().expect("asked").body.to_string();
    assert!(!hers.contains("BERTS-WORDS"));
}

/// Updates without a person behind them start no turn: no sender, a chat as sender, a bot, an unknown chat type, a
/// channel post, a reaction, an inline query (incidents 25, 26, 27, 28).
#[tokio::test]
async fn nobody_in_particular_is_not_somebody() {
    let world = World::polling(|_| {}).await;
    let chat = json!({"id": OWNER, "type": "private", "first_name": "Anna"});
    let anna = json!({"id": OWNER, "is_bot": false, "first_name": "Anna"});
    let message = |more: Value| {
        let mut message = json!({"message_id": 900, "date": 1, "chat": chat, "text": "odd words"});
        for (key, value) in more.as_object().expect("an object") {
            message[key] = value.clone();
        }
        message
    };
    let odd = [
        ("message", message(json!({}))),
        (
            "message",
            message(json!({"from": anna, "sender_chat": {"id": -100, "type": "channel", "title": "c"}})),
        ),
        ("message", message(json!({"from": {"id": OWNER, "is_bot": true, "first_name": "Anna"}}))),
        ("message", message(json!({"from": anna, "chat": {"id": OWNER, "type": "confidential"}}))),
        ("message", message(json!({"from": anna, "chat": {"id": 4242, "type": "private"}}))),
        ("channel_post", message(json!({"chat": {"id": -1001, "type": "channel", "title": "c"}}))),
        (
            "message_reaction",
            json!({"chat": chat, "message_id": 1, "user": anna, "date": 1, "old_reaction": [], "new_reaction": []}),
        ),
        ("inline_query", json!({"id": "1", "from": anna, "query": "odd words", "offset": ""})),
    ];
    for (kind, body) in odd {
        world.bot.malformed_update(OWNER, kind, body);
    }
    world.anna.says("a good one");
    assert_eq!(world.anna.hears().await.text, "You said: a good one");
    world.bot.all_delivered().await;
    assert!(world.model.requests().iter().all(|request| !request.body.to_string().contains("odd words")));
    assert_eq!(world.gateway.status().await.queues.dead_letters, 0, "they are refused, not failed");
}

/// Pairing: a code from the operator's command, once, makes its sender the owner (incidents 22, 30, 45).
#[tokio::test]
async fn pairing_takes_the_operators_code_once() {
    let (telegram, model) =
        (openclaw_tests::telegram::Telegram::start().await, openclaw_tests::model::Model::start().await);
    let mut setup = openclaw_tests::gateway::Setup::new();
    setup.model(&model, openclaw_tests::model::Wire::Anthropic);
    let bot =
        setup.bot(&telegram, "main", openclaw_tests::gateway::TOKEN, openclaw_wire::config::Updates::Poll);
    let gateway = openclaw_tests::gateway::Gateway::start(setup).await;
    let (dora, mallory) = (bot.person(7001, "Dora"), bot.person(7002, "Mallory"));
    dora.says("not yet an owner");
    mallory.says("/start WRONGCODE2");
    let paired: Value = serde_json::from_str(&gateway.ask(&["pair", "--json"]).await).expect("JSON");
    let code = paired["code"].as_str().expect("a code").to_owned();
    dora.says(&format!("/start {code}"));
    dora.hears().await;
    mallory.says(&format!("/start {code}"));
    dora.says("now I am");
    dora.hears_of("You said: now I am").await;
    mallory.says("and I am not");
    dora.says("last");
    dora.hears_of("You said: last").await;
    assert!(model.requests().iter().all(|request| !request.body.to_string().contains("and I am not")));
    drop(gateway);
}
