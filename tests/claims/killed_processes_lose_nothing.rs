//! kill -9 of each process, and of all of them, at random moments under load: no accepted message is lost, none is
//! answered twice without the mark, no started call with an effect runs a second time.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use openclaw_tests::{
    gateway::Role,
    model::Step,
    telegram::{Person, Sent},
    world::World,
};
use serde_json::json;

/// Rounds; the promise is shown with `ROUNDS=200`.
fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

/// Each round: messages to several chats, a kill in between; in the end every message has its answer.
#[tokio::test]
async fn under_load() {
    let people: Vec<i64> = (2001..2009).collect();
    let mut world = World::webhook(|setup| {
        setup.section("access", &format!("people = {people:?}"));
        setup.test_skills().file("counter/lines", b"");
        setup.section("turn", "tries = 1000");
        setup.section("telegram", "per_second = 1000\nper_chat_minute = 100000");
    })
    .await;
    world.model.latency(Duration::from_millis(20));
    let people: Vec<Person> = people.iter().map(|id| world.bot.person(*id, "P")).collect();
    let mut said: HashMap<i64, Vec<String>> = HashMap::new();
    let mut random = Random::new();
    let mut pressed = HashSet::new();
    for round in 0..rounds() {
        let (mark, word) = (format!("#effect{round}."), format!("effect{round}"));
        let call = Step::call("count", json!({"word": word, "milliseconds": random.below(150)}));
        world.model.on(&mark, [call, Step::say(format!("effect {round} is over."))]);
        world.anna.says(&mark);
        press_all(&world, &mut pressed);
        for person in &people {
            let word = format!("r{round}p{}", person.id());
            person.says(&word);
            said.entry(person.id()).or_default().push(word);
        }
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        match random.below(4) {
            0 => world.gateway.kill(Role::Gateway),
            1 => world.gateway.kill(Role::Egress),
            2 => world.gateway.kill(Role::Runner),
            _ => {
                world.gateway.kill_all().await;
                world.gateway.start_again().await;
            }
        }
    }
    world.gateway.ready().await;
    for round in 0..rounds() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let over = format!("effect {round} is over.");
        while !world.anna.history().iter().any(|sent| sent.text.contains(&over)) {
            press_all(&world, &mut pressed);
            assert!(Instant::now() < deadline, "round {round}: the owner's turn does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    world.bot.all_delivered().await;
    let counter = world.gateway.setup().home().join("counter/lines");
    let mut effects: Vec<String> =
        std::fs::read_to_string(counter).expect("there").lines().map(str::to_owned).collect();
    let happened = effects.len();
    effects.sort();
    effects.dedup();
    assert_eq!(effects.len(), happened, "an effect happened twice");
    for person in &people {
        for word in &said[&person.id()] {
            person.reads(&format!("You said: {word}")).await;
        }
    }
    let mut repeats = 0;
    for person in &people {
        let history = person.history();
        for word in &said[&person.id()] {
            let answer = format!("You said: {word}");
            let fits = |sent: &&Sent| sent.text.ends_with(&answer);
            let all: Vec<&Sent> = history.iter().filter(fits).collect();
            let unmarked = all.iter().filter(|sent| sent.text == answer).count();
            assert!(unmarked <= 1, "answered twice without the mark: {all:#?}");
            repeats += all.len() - 1;
        }
        let order: Vec<usize> =
            history.iter().filter_map(|sent| position(&said[&person.id()], &sent.text)).collect();
        assert!(order.windows(2).all(|pair| pair[0] <= pair[1]), "out of order: {order:?}");
    }
    eprintln!("{} rounds, {repeats} answers marked as possible repeats, {happened} effects", rounds());
    assert!(happened > 0, "some effects happened");
    assert_eq!(world.gateway.status().await.queues.dead_letters, 0);
}

/// Says yes to every question of the owner's chat that was not answered yet.
fn press_all(world: &World, pressed: &mut HashSet<i64>) {
    for sent in world.anna.history() {
        if !sent.buttons().is_empty() && pressed.insert(sent.id) {
            let yes = sent.buttons()[0].clone();
            world.anna.presses(&sent, &yes);
        }
    }
}

fn position(said: &[String], text: &str) -> Option<usize> {
    said.iter().position(|word| text.ends_with(&format!("You said: {word}")))
}

/// A call with an effect that was started and not finished is not run again; the owner and the model are told.
#[tokio::test]
async fn an_effect_that_was_started_is_not_run_again() {
    let mut world = World::polling(|setup| {
        setup.test_skills().file("counter/lines", b"");
    })
    .await;
    let counter = world.gateway.setup().home().join("counter/lines");
    let lines = || {
        std::fs::read_to_string(&counter).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (round, victim) in [None, Some(Role::Gateway), Some(Role::Runner)].into_iter().enumerate() {
        let (mark, word) = (format!("#effect{round}"), format!("effect-{round}"));
        let call = Step::call("count", json!({"word": word, "milliseconds": 8000}));
        world.model.on(&mark, [call, Step::say(format!("over {round}"))]);
        world.anna.says(&mark);
        let asked = loop {
            let sent = world.anna.hears().await;
            if !sent.buttons().is_empty() {
                break sent;
            }
        };
        let yes = asked.buttons()[0].clone();
        world.anna.presses(&asked, &yes);
        let started = Instant::now();
        while !lines().contains(&word) {
            assert!(started.elapsed() < Duration::from_secs(60), "the call starts");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match victim {
            Some(role) => world.gateway.kill(role),
            None => {
                world.gateway.kill_all().await;
                world.gateway.start_again().await;
            }
        }
        world.anna.hears_of(&format!("over {round}")).await;
        assert_eq!(lines().iter().filter(|line| **line == word).count(), 1, "after {victim:?}");
        let told = world.model.requests().pop().expect("asked").body.to_string();
        assert!(told.contains("may have"), "the model is told that it may have happened: {told}");
    }
}

/// A message that kills the gateway each time goes to the dead letters after some tries; its chat and others go on.
#[tokio::test]
async fn a_poisonous_message_is_given_up() {
    let world = World::polling(|setup| {
        setup.section("turn", "tries = 2");
    })
    .await;
    world.model.on("#poison", [Step(vec![openclaw_tests::model::Act::Hang])]);
    world.anna.says("#poison");
    let mut killed = 0;
    while world.gateway.try_status().await.is_none_or(|status| status.queues.dead_letters == 0) {
        assert!(killed < 20, "it is given up after some tries");
        let before = world.model.requests().len();
        if killed == 0 {
            world.model.asked(1).await;
        }
        world.gateway.kill(Role::Gateway);
        killed += 1;
        let waited = Instant::now();
        while world.model.requests().len() == before && waited.elapsed() < Duration::from_secs(5) {
            if world.gateway.try_status().await.is_some_and(|status| status.queues.dead_letters > 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.anna.says("life goes on");
    assert_eq!(world.anna.hears_of("You said").await.text, "You said: life goes on");
    assert!(world.anna.history().len() >= 2, "and the owner was told of the dead letter");
}

/// In a crash loop only the message that ends the process is given up: others that wait with it, before it and behind
/// it, are answered, and when it is over many turns run at once again.
#[tokio::test]
async fn the_innocent_are_not_given_up_with_a_poisonous_message() {
    let people: Vec<i64> = (2001..2005).collect();
    let world = World::polling(|setup| {
        setup.section("turn", "tries = 2");
        setup.section("access", &format!("people = {people:?}"));
    })
    .await;
    let people: Vec<Person> = people.iter().map(|id| world.bot.person(*id, "P")).collect();
    let hang = || [Step(vec![openclaw_tests::model::Act::Hang])];
    world.model.on("#poison", hang());
    world.model.on("#slow", [Step::say_slowly("this took a while", 8, Duration::from_millis(200))]);
    let (before, behind) = people.split_at(2);
    for person in before {
        person.says("#slow");
    }
    world.bot.all_delivered().await;
    world.anna.says("#poison");
    world.bot.all_delivered().await;
    for person in behind {
        person.says("#slow");
    }
    let deadline = Instant::now() + Duration::from_secs(150);
    let mut killed = 0;
    while world.gateway.try_status().await.is_none_or(|status| status.queues.dead_letters == 0) {
        assert!(Instant::now() < deadline, "it is given up, after {killed} crashes");
        let asked = world.model.take_requests();
        if asked.iter().any(|request| request.body.to_string().contains("#poison")) {
            world.bot.all_delivered().await;
            world.gateway.kill(Role::Gateway);
            killed += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(killed > 3, "{killed}");
    for person in &people {
        assert_eq!(person.hears().await.text, "this took a while");
    }
    world.gateway.idle().await;
    assert_eq!(world.gateway.status().await.queues.dead_letters, 1);
    assert!(world.anna.hears_of("given up").await.text.contains("dead letter"));
    world.model.on("#hang", hang());
    world.model.take_requests();
    let settled = Instant::now();
    while world.gateway.count("SELECT unfinished FROM starts") > 0 {
        assert!(settled.elapsed() < Duration::from_secs(60), "it is over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for person in &people {
        person.says("#hang");
    }
    world.model.asked(people.len()).await;
}

/// A small generator, seeded from the system, so that each run tries other moments.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the system has randomness");
        Self(u64::from_ne_bytes(seed) | 1)
    }

    /// A number below `end`, by xorshift64 (Marsaglia 2003).
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
