//! What changes something is asked first, with everything that it would do, and runs once if the owner says so.

use openclaw_tests::{model::Step, telegram::Sent, world::World};
use serde_json::json;

async fn world() -> World {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
        setup.section("access", "people = [1002]");
    })
    .await;
    world.model.on("#count", [Step::call("count", json!({"word": "pineapple"})), Step::say("turn over")]);
    world
}

fn counted(world: &World) -> usize {
    let path = world.gateway.setup().home().join("counter/lines");
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

async fn question(world: &World) -> Sent {
    let question = world.anna.hears().await;
    assert!(!question.buttons().is_empty(), "a keyboard: {}", question.text);
    question
}

/// Yes runs it once; the button works once; the full arguments were shown (incidents 87, 89, 125).
#[tokio::test]
async fn yes_runs_it_once() {
    let world = world().await;
    world.anna.says("#count");
    let asked = question(&world).await;
    assert!(asked.text.contains("count") && asked.text.contains("pineapple"), "{}", asked.text);
    assert_eq!(counted(&world), 0, "nothing before the answer");
    let yes = asked.buttons()[0].clone();
    let first = world.anna.presses(&asked, &yes);
    world.anna.callback_answer(&first).await;
    world.anna.hears_of("turn over").await;
    assert_eq!(counted(&world), 1);
    let again = world.anna.presses_data(&asked, &data(&asked, 0));
    world.anna.callback_answer(&again).await;
    assert_eq!(counted(&world), 1, "single use");
}

/// No runs nothing, and the turn goes on with the refusal.
#[tokio::test]
async fn no_runs_nothing() {
    let world = world().await;
    world.anna.says("#count");
    let asked = question(&world).await;
    let no = asked.buttons().last().cloned().expect("a second button");
    world.anna.presses(&asked, &no);
    world.anna.hears_of("turn over").await;
    assert_eq!(counted(&world), 0);
}

/// Another's press, in another chat or with made-up data, does nothing (incidents 27, 87).
#[tokio::test]
async fn only_the_owner_can_press() {
    let world = world().await;
    world.anna.says("#count");
    let asked = question(&world).await;
    for id in [1002, 4242] {
        let other = world.bot.person(id, "Other");
        other.presses_data(&asked, &data(&asked, 0));
    }
    for made_up in ["", "yes", "approve:1", "0"] {
        world.anna.presses_data(&asked, made_up);
    }
    world.bot.all_delivered().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(counted(&world), 0);
    let yes = asked.buttons()[0].clone();
    world.anna.presses(&asked, &yes);
    world.anna.hears_of("turn over").await;
    assert_eq!(counted(&world), 1, "the owner's own press still works");
}

/// The question survives a crash: the button works after a restart.
#[tokio::test]
async fn a_question_survives_a_restart() {
    let mut world = world().await;
    world.anna.says("#count");
    let asked = question(&world).await;
    world.gateway.kill_all().await;
    world.gateway.start_again().await;
    let latest = world.anna.unseen().pop().filter(|sent| !sent.buttons().is_empty()).unwrap_or(asked);
    let yes = latest.buttons()[0].clone();
    world.anna.presses(&latest, &yes);
    world.anna.hears_of("turn over").await;
    assert_eq!(counted(&world), 1);
}

/// Another's turn asks the owner, not the one who wrote; nobody to ask is a denial (incident 88).
#[tokio::test]
async fn with_nobody_to_ask_it_is_denied() {
    let (telegram, model) =
        (openclaw_tests::telegram::Telegram::start().await, openclaw_tests::model::Model::start().await);
    let mut setup = openclaw_tests::gateway::Setup::new();
    setup.model(&model, openclaw_tests::model::Wire::Anthropic).test_skills().file("counter/lines", b"");
    setup.section("access", "people = [1002]");
    let bot =
        setup.bot(&telegram, "main", openclaw_tests::gateway::TOKEN, openclaw_wire::config::Updates::Poll);
    let gateway = openclaw_tests::gateway::Gateway::start(setup).await;
    model.on("#count", [Step::call("count", json!({"word": "x"})), Step::say("turn over")]);
    let bert = bot.person(1002, "Bert");
    bert.says("#count");
    let answer = bert.hears().await;
    assert_eq!((answer.text.as_str(), answer.buttons()), ("turn over", vec![]));
    let path = gateway.setup().home().join("counter/lines");
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), "");
    let told = model.requests().pop().expect("asked").body.to_string();
    assert!(told.contains("approval"), "the model is told why: {told}");
}

/// An owner whom Telegram does not let the bot write to can't be asked: denied at once, with the reason.
#[tokio::test]
async fn an_owner_who_never_started_the_bot_is_not_waited_for() {
    let world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
        setup.replace("owners = [1001]", "owners = [4711]\npeople = [1001]");
    })
    .await;
    world.model.on("#count", [Step::call("count", json!({"word": "x"})), Step::say("turn over")]);
    world.anna.says("#count");
    let asked = std::time::Instant::now();
    assert_eq!(world.anna.hears().await.text, "turn over");
    assert!(asked.elapsed().as_secs() < 300, "long before the question expires: {:?}", asked.elapsed());
    assert_eq!(counted(&world), 0);
    let told = world.model.requests().pop().expect("asked").body.to_string();
    assert!(
        told.contains("could not be asked") && told.contains("never started"),
        "the model is told why: {told}"
    );
    assert!(world.gateway.log().contains("the owner can't be asked"), "and the log");
}

fn data(sent: &Sent, button: usize) -> String {
    let rows = sent.message["reply_markup"]["inline_keyboard"].as_array();
    let mut buttons = rows.into_iter().flatten().flat_map(|row| row.as_array().into_iter().flatten());
    buttons.nth(button).and_then(|button| button["callback_data"].as_str()).expect("callback data").to_owned()
}
