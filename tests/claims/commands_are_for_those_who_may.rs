//! Each command × {owner, listed person, stranger} has an expected result (incidents 29, 126).

use openclaw_tests::world::World;

/// The table. A command that the appliance announces and that has no row here fails the test.
const TABLE: [(&str, bool, bool); 9] = [
    ("start", true, true),
    ("help", true, true),
    ("new", true, true),
    ("stop", true, true),
    ("status", true, true),
    ("usage", true, true),
    ("privacy", true, true),
    ("model", true, false),
    ("freeze", true, false),
];

/// Strangers get no command at all; `/model` and `/freeze` are the owner's.
#[tokio::test]
async fn every_command_has_its_people() {
    let world = World::polling(|setup| {
        setup.section("access", "people = [1002]");
    })
    .await;
    let (bert, mallory) = (world.bot.person(1002, "Bert"), world.bot.person(4242, "Mallory"));
    let announced = world.bot.commands();
    for command in announced.as_array().into_iter().flatten() {
        let name = command["command"].as_str().expect("a command has a name");
        assert!(TABLE.iter().any(|(known, ..)| *known == name), "no row for /{name}");
    }
    for (name, owner, person) in TABLE.iter().filter(|(name, ..)| *name != "freeze") {
        world.anna.says(&format!("/{name}"));
        let answer = world.anna.hears().await;
        assert!(*owner && !answer.text.is_empty());
        bert.says(&format!("/{name}"));
        let answered = bert.hears().await.text;
        let refused = answered.contains("Only the owner can do that");
        assert_eq!(!refused, *person, "/{name} for a person: {answered}");
        mallory.says(&format!("/{name}"));
    }
    assert_eq!(world.model.requests().len(), 0, "no command is a turn");
    world.anna.says("/model no-such-model");
    assert!(!world.anna.hears().await.text.is_empty());
    bert.says("/freeze");
    bert.hears().await;
    world.anna.says("not frozen");
    assert_eq!(world.anna.hears().await.text, "You said: not frozen");
    world.anna.says("/freeze");
    world.anna.hears().await;
    world.anna.says("frozen now");
    world.bot.all_delivered().await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(world.model.requests().iter().all(|request| !request.body.to_string().contains("frozen now")));
}

/// A group id where a user id belongs, or a user's name, never becomes a right (incident 23): see the configuration.
#[tokio::test]
async fn new_forgets_and_the_conversation_goes_on() {
    let world = World::polling(|_| {}).await;
    world.anna.says("remember pineapple");
    world.anna.hears().await;
    world.anna.says("what did I say?");
    world.anna.hears().await;
    let with = world.model.requests().pop().expect("asked").body.to_string();
    assert!(with.contains("pineapple"), "the conversation is remembered");
    world.anna.says("/new");
    world.anna.hears().await;
    world.anna.says("and now?");
    world.anna.hears().await;
    let without = world.model.requests().pop().expect("asked").body.to_string();
    assert!(!without.contains("pineapple"), "and forgotten");
}
