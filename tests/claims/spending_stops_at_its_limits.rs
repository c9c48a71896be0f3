//! What models cost is counted, told, and stops at the operator's limits; the owner hears of it once and can raise a limit
//! with a tap, up to the operator's ceiling.

use std::time::{Duration, Instant};

use openclaw_tests::{
    gateway::{Gateway, Role, Setup},
    model::{Act, Model, Part, Step, Wire},
    page::{Page, token},
    telegram::{Fault, Person, Refusal, Telegram, Trouble},
    world::World,
};
use serde_json::Value;

/// Each call costs ten cents.
const PRICE: &str = "[[price]]\nmodel = \"scripted-m1\"\ninput = 0\noutput = 0\ncall = 0.1";

fn spend(setup: &mut Setup, lines: &str) {
    setup.tables(PRICE);
    setup.section("spend", lines);
}

/// `openclaw usage --json`.
async fn report(gateway: &Gateway) -> Value {
    serde_json::from_str(&gateway.ask(&["usage", "--json"]).await).expect("JSON")
}

/// Counted calls are told by model, chat and key, with those that failed, in the chat and in the terminal.
#[tokio::test]
async fn what_was_spent_is_told() {
    let world = World::polling(|setup| {
        spend(setup, "chat_day = 2");
        setup.section("access", "people = [1002]");
    })
    .await;
    let bert = world.bot.person(1002, "Bert");
    world.anna.says("one");
    world.anna.hears_of("You said: one").await;
    bert.says("two");
    bert.hears_of("You said: two").await;
    world.model.on("#bad", [Step(vec![Act::Status(400, "invalid_request_error", None)])]);
    bert.says("#bad");
    bert.hears().await;
    world.model.on("#cut", [Step(vec![Act::Cut(vec![Part::Text("half".into())]), Act::say("whole")])]);
    bert.says("#cut");
    bert.hears_of("whole").await;

    bert.says("/usage");
    let told = bert.hears_of("Today").await.text;
    assert!(told.contains("$0.30, 4 calls, 1 of them failed, 1 broke off"), "{told}");
    assert!(
        told.contains("scripted-m1") && told.contains("$0.30 of $2.00") && !told.contains("1001"),
        "{told}"
    );
    world.anna.says("/usage");
    let told = world.anna.hears_of("Today").await.text;
    for part in ["$0.40, 5 calls", "chat main/1002: $0.30", "chat main/1001: $0.10", "key MODEL_KEY_1: $0.40"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    world.anna.says("/status");
    let told = world.anna.hears_of("Running").await.text;
    assert!(told.contains("Spent: today $0.40 of $5.00, this month $0.40 of $50.00."), "{told}");
    let all = world.gateway.ask(&["usage"]).await;
    assert!(all.contains("all together, month: $0.40 of $50.00"), "{all}");
    assert!(world.gateway.ask(&["status"]).await.contains("$0.40 of $5.00"));
    let json = report(&world.gateway).await;
    assert_eq!(
        (json["today"]["total"]["cost"].as_str(), json["today"]["total"]["calls"].as_u64()),
        (Some("0.40"), Some(5))
    );
}

/// At the limit nothing is sent and the chat is told so in a sentence; the owner hears it once, and one tap of his, and
/// nobody else's, raises the limit by a step, to the operator's ceiling and no further.
#[tokio::test]
async fn at_a_limit_calls_stop_until_the_owner_raises_it() {
    let world = World::polling(|setup| {
        spend(setup, "day = 0.4\nceiling = 2");
        setup.section("access", "people = [1002]");
    })
    .await;
    let bert = world.bot.person(1002, "Bert");
    for word in ["one", "two", "three", "four"] {
        world.anna.says(word);
        world.anna.hears_of(&format!("You said: {word}")).await;
    }
    let near = world.anna.reads("80 % of").await;
    assert!(near.text.contains("$0.40 of $0.40") && near.buttons().is_empty(), "{}", near.text);
    bert.says("five");
    let told = bert.hears().await;
    let text = &told.text;
    assert!(text.contains("spending limit is reached") && text.contains("owner can raise it"), "{text}");
    assert_eq!(world.model.requests().len(), 4, "nothing was sent");
    let reached = world.anna.reads("Reached: the day's spending limit").await;
    let label = reached.buttons()[0].clone();
    assert_eq!(label, "Raise to $0.60 for this day");

    let data = &reached.message["reply_markup"]["inline_keyboard"][0][0]["callback_data"];
    let press = bert.presses_data(&told, data.as_str().expect("callback data"));
    assert!(bert.callback_answer(&press).await.contains("Only the owner"));
    bert.says("still five");
    bert.hears_of("spending limit is reached").await;
    let press = world.anna.presses(&reached, &label);
    assert_eq!(world.anna.callback_answer(&press).await, "The limit is $0.60 now.");
    let press = world.anna.presses(&reached, &label);
    assert_eq!(
        world.anna.callback_answer(&press).await,
        "The limit is $0.60 now.",
        "a second tap changes nothing"
    );
    for word in ["six", "seven"] {
        bert.says(word);
        bert.hears_of(&format!("You said: {word}")).await;
    }
    bert.says("eight");
    bert.hears_of("spending limit is reached").await;
    let again = world.anna.reads("until you raise it").await;
    let again = if again.id == reached.id { world.anna.reads("$0.60 of $0.60").await } else { again };
    let label = again.buttons()[0].clone();
    let press = world.anna.presses(&again, &label);
    assert_eq!(world.anna.callback_answer(&press).await, "The limit is $0.80 now.");
    for word in ["nine", "ten"] {
        bert.says(word);
        bert.hears_of(&format!("You said: {word}")).await;
    }
    bert.says("eleven");
    bert.hears_of("spending limit is reached").await;
    let last = world.anna.reads("only the operator can raise it further").await;
    assert!(last.buttons().is_empty());
    assert_eq!(world.model.requests().len(), 8);
    assert_eq!(world.anna.history().iter().filter(|sent| sent.text.contains("80 %")).count(), 1);
    assert_eq!(report(&world.gateway).await["today"]["total"]["cost"], "0.80");
}

/// From four fifths on a limit is marked on the page and in the status: that over all, and that of one chat. The others are not.
#[tokio::test]
async fn four_fifths_are_marked_on_the_page() {
    let mut page = None;
    let world = World::polling(|setup| {
        page = Some(Page::switch_on(setup));
        spend(setup, "day = 0.8\nmonth = 50\nkey_day = \"none\"\nchat_day = 0.5");
        setup.section("access", "people = [1002]");
    })
    .await;
    let page = page.expect("switched on");
    let cookie = page.log_in(&token(&world.gateway, &[]).await).await.expect("logged in");
    let marked = async || -> Vec<String> {
        let seen = page.look(&cookie).await.body;
        let marked = seen.split("<div class=\"cap near\">").skip(1);
        let name = |rest: &str| {
            rest.split("<span>").nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned)
        };
        marked.filter_map(name).collect()
    };
    let says = async |person: &Person, count: usize| {
        for word in 0..count {
            person.says(&format!("word {word}"));
            person.hears_of(&format!("You said: word {word}")).await;
        }
    };
    let bert = world.bot.person(1002, "Bert");
    says(&world.anna, 3).await;
    says(&bert, 1).await;
    assert_eq!(marked().await, [""; 0]);
    says(&world.anna, 1).await;
    assert_eq!(marked().await, ["today, chat main/1001"]);
    let status = world.gateway.ask(&["status"]).await;
    assert!(
        status.contains("chat main/1001: $0.40 of $0.50 (!)") && !status.contains("main/1002"),
        "{status}"
    );
    says(&bert, 2).await;
    assert_eq!(marked().await, ["today, all together", "today, chat main/1001"]);
}

/// When one model's key is at its limit the next model answers; a model without a price is never asked, and the owner is
/// told why.
#[tokio::test]
async fn a_model_that_may_not_be_paid_is_passed_over() {
    let (telegram, first) = (Telegram::start().await, Model::start().await);
    let second = Model::start().await;
    let (mut setup, bot) = Setup::usual(&telegram, &first, openclaw_tests::world::OWNER);
    setup.model(&second, Wire::Openai);
    setup.tables(PRICE);
    setup.tables("[[cap]]\nkey = \"MODEL_KEY_1\"\nday = 0.1");
    let gateway = Gateway::start(setup).await;
    let anna = bot.person(openclaw_tests::world::OWNER, "Anna");
    for word in ["one", "two"] {
        anna.says(word);
        anna.hears_of(&format!("You said: {word}")).await;
    }
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    assert_eq!(report(&gateway).await["today"]["total"]["cost"], "0.10");
    drop(gateway);

    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let (mut setup, bot) = Setup::usual(&telegram, &model, openclaw_tests::world::OWNER);
    let config = setup.config().replace(&model.url(), "https://unpriced.example");
    setup.raw(&config);
    let gateway = Gateway::start(setup).await;
    let anna = bot.person(openclaw_tests::world::OWNER, "Anna");
    anna.says("hello");
    anna.reads("`openclaw status` tells the operator why").await;
    let status = gateway.ask(&["status"]).await;
    for part in
        ["the price of the model \"scripted-m1\" at unpriced.example is not known", "[[price]]", "output ="]
    {
        assert!(status.contains(part), "{part} in {status}");
    }
}

/// The limit is crossed while nothing can be sent, and in that time egress and gateway, or all, are killed: when Telegram takes
/// messages again there is one alert for each, neither none nor two.
#[tokio::test]
async fn an_alert_that_could_not_be_sent_before_a_kill_comes_once() {
    let people: Vec<i64> = (3001..3004).collect();
    let mut world = World::polling(|setup| {
        spend(setup, "chat_day = 0.5\nday = 50\nkey_day = 50");
        setup.section("access", &format!("people = {people:?}"));
    })
    .await;
    world.anna.says("hello");
    world.anna.hears().await;
    let mut spent = 1;
    for (round, id) in people.iter().enumerate() {
        let person = world.bot.person(*id, "P");
        for word in 0..3 {
            person.says(&format!("word {word}"));
            person.hears_of(&format!("You said: word {word}")).await;
        }
        for method in ["sendMessage", "sendMessageDraft", "editMessageText"] {
            let trouble = Trouble::Refuse(Refusal::new(500, "Internal Server Error"));
            world.telegram.fault(Fault { method: Some(method), times: usize::MAX, trouble });
        }
        person.says("word 3");
        spent += 4;
        // Egress's ledger has it on the disk, and with it the alert.
        let cost = format!("{}.{}0", spent / 10, spent % 10);
        let deadline = Instant::now() + Duration::from_secs(120);
        while report(&world.gateway).await["today"]["total"]["cost"] != cost.as_str() {
            assert!(Instant::now() < deadline, "{cost}: {}", report(&world.gateway).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match round {
            // Before and after the gateway has heard of it.
            0 => {
                world.gateway.kill(Role::Gateway);
                world.gateway.kill(Role::Egress);
            }
            1 => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                world.gateway.kill(Role::Egress);
                world.gateway.kill(Role::Gateway);
            }
            _ => {
                world.gateway.kill_all().await;
                world.gateway.start_again().await;
            }
        }
        world.gateway.ready().await;
        assert!(
            !world.anna.history().iter().any(|sent| sent.text.contains(&id.to_string())),
            "nothing was sent"
        );
        world.telegram.no_fault();
        let alert = world.anna.reads(&format!("chat main/{id}, ")).await.text;
        assert!(alert.contains("80 %") && alert.contains("$0.40 of $0.50"), "{alert}");
    }
    world.gateway.idle().await;
    // Whatever is told twice would be told within this time.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let alerts: Vec<_> = world.anna.history().into_iter().filter(|sent| sent.text.contains("80 %")).collect();
    assert_eq!(alerts.len(), people.len(), "{alerts:#?}");
}

/// Each chat crosses four fifths of its limit, and egress, gateway or all are killed at that moment: the owner hears of
/// each chat exactly once, and more than once only with the mark of a possible repeat.
#[tokio::test]
async fn each_alert_comes_once_whatever_is_killed() {
    let people: Vec<i64> = (3001..3007).collect();
    let mut world = World::polling(|setup| {
        spend(setup, "chat_day = 0.5\nday = 50\nkey_day = 50");
        setup.section("access", &format!("people = {people:?}"));
    })
    .await;
    let people: Vec<Person> = people.iter().map(|id| world.bot.person(*id, "P")).collect();
    world.anna.says("hello");
    world.anna.hears().await;
    for (round, person) in people.iter().enumerate() {
        for word in 0..4 {
            person.says(&format!("word {word}"));
            person.hears_of(&format!("You said: word {word}")).await;
        }
        tokio::time::sleep(Duration::from_millis(round as u64 * 7)).await;
        match round % 3 {
            0 => {
                world.gateway.kill(Role::Egress);
                world.gateway.kill(Role::Gateway);
            }
            1 => {
                world.gateway.kill_all().await;
                world.gateway.start_again().await;
            }
            _ => world.gateway.kill(Role::Egress),
        }
        world.gateway.ready().await;
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    for person in &people {
        let about = format!("chat main/{}, ", person.id());
        let all = || {
            let history = world.anna.history().into_iter();
            history
                .filter(|sent| sent.text.contains("80 %") && sent.text.contains(&about))
                .collect::<Vec<_>>()
        };
        while all().is_empty() {
            assert!(Instant::now() < deadline, "no alert for {about}: {:#?}", world.anna.history());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    world.gateway.idle().await;
    // Whatever is told twice would be told within this time: egress repeats what was not acknowledged at once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for person in &people {
        let about = format!("chat main/{}, ", person.id());
        let history = world.anna.history();
        let all: Vec<_> =
            history.iter().filter(|sent| sent.text.contains("80 %") && sent.text.contains(&about)).collect();
        let unmarked = all.iter().filter(|sent| !sent.text.contains("possibly repeated")).count();
        assert!(unmarked <= 1 && !all.is_empty(), "{all:#?}");
    }
    let spent = report(&world.gateway).await;
    let counted = world.model.requests().len() as f64 / 10.0;
    let ledger: f64 =
        spent["today"]["total"]["cost"].as_str().and_then(|cost| cost.parse().ok()).expect("a cost");
    assert!((ledger - counted).abs() < 1e-9, "the ledger says {ledger}, the provider {counted}");
}
