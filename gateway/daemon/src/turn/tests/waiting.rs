//! Turns that wait: for Telegram to introduce the bot, for the owner, and for their turn in a crash loop.

use super::*;

#[tokio::test]
async fn what_names_a_bot_waits_until_telegram_has_introduced_it() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start_with(dir.path(), "concurrent = 1").await;
    let group = |id: i64, chat: i64, text: &str, kind: &str| {
        let mut update = message(id, OWNER, text);
        update["message"]["chat"] = json!({ "id": chat, "type": "supergroup" });
        let length = text.split(' ').next().map(str::len);
        update["message"]["entities"] = json!([{ "type": kind, "offset": 0, "length": length }]);
        update
    };
    world.accept(&message(1, OWNER, "call send {}")).await;
    world.until("a question", |world| world.telegram.texts().len() == 1).await;
    world.accept(&message(2, OWNER, "/stop@us_bot")).await;
    world.accept(&message(3, 20, "/help@us_bot")).await;
    world.accept(&message(4, 20, "/help@other_bot")).await;
    world.accept(&group(5, -7, "@us_bot hello", "mention")).await;
    world.accept(&group(6, -8, "@us_bot hello", "mention")).await;
    world.until("the unlisted group is refused", |world| world.inbox() == (5, 0)).await;
    assert_eq!(world.telegram.texts().len(), 1, "nothing is taken for something else");
    world.engine.set_identity(bot(), BotIdentity { id: UserId(99), username: "us_bot".into() });
    world.until("all is dealt with", |world| world.inbox() == (0, 0)).await;
    world.until("all is said", |world| world.telegram.texts().len() == 5).await;
    let texts = world.telegram.texts();
    let says = |part: &str| texts.iter().filter(|text| text.contains(part)).count();
    assert_eq!(
        (says("Stopped."), says("/help –"), says("@us_bot hello"), says("/help@other_bot")),
        (1, 1, 1, 1)
    );
}

#[tokio::test]
async fn a_turn_that_waits_for_the_owner_keeps_nobody_from_running() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start_with(dir.path(), "concurrent = 1").await;
    world.accept(&message(1, OWNER, "call send {}")).await;
    world.until("a question", |world| world.telegram.texts().len() == 1).await;
    world.accept(&message(2, 20, "meanwhile")).await;
    world.until("another's answer", |world| world.telegram.texts().len() == 2).await;
    assert!(world.telegram.texts()[1].contains("meanwhile"));
    let yes = world.telegram.sent("sendMessage")[0]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        .clone();
    world.accept(&press(3, OWNER, &yes)).await;
    world.until("its end", |world| world.inbox() == (0, 0)).await;
    assert_eq!(world.runs.load(Ordering::Relaxed), 1);
    let seats = |world: &World| world.engine.turns.available_permits();
    world.until("its seat is free again", |world| seats(world) > 0).await;
    assert_eq!(seats(&world), 1, "once");
}

#[test]
fn a_question_that_was_given_up_right_before_a_crash_is_a_no_at_the_next_start() {
    let dir = tempfile::tempdir().expect("dir");
    process(async {
        let world = World::start(dir.path()).await;
        world.accept(&message(1, OWNER, "call send {}")).await;
        world.until("a question", |world| world.telegram.texts().len() == 1).await;
        let sent = |world: &World| world.engine.store.read(outbox::rows::depth).expect("depth").0 == 0;
        world.until("sent", sent).await;
    });
    process(async {
        let world = World::start(dir.path()).await;
        world.engine.recover().await.expect("recover");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.inbox(), (1, 0), "while the question is open it waits");
        let give_up = |tx: &rusqlite::Transaction<'_>| {
            tx.execute("UPDATE outbox SET state = 'dead', problem = 'the chat is gone'", [])
        };
        assert_eq!(world.engine.store.write(give_up).await.expect("given up"), 1);
    });
    process(async {
        let world = World::start(dir.path()).await;
        world.engine.recover().await.expect("recover");
        world.until("it goes on", |world| world.inbox() == (0, 0)).await;
        let why = |world: &World| world.telegram.texts().iter().any(|text| text.contains("the chat is gone"));
        world.until("the refusal is told", why).await;
        assert_eq!(world.runs.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn in_a_crash_loop_a_turn_is_counted_while_it_runs_and_not_while_it_waits_for_the_owner() {
    let dir = tempfile::tempdir().expect("dir");
    let tries = |world: &World| world.engine.store.read(inbox::waiting).expect("read")[0].tries;
    process(async {
        let world = World::start(dir.path()).await;
        let update = message(1, OWNER, "call send {}").to_string();
        let store = move |tx: &rusqlite::Transaction<'_>| {
            inbox::accept(tx, &lane(), 1, update.as_bytes(), now())?;
            (0..5).try_for_each(|_| inbox::starts::begin(tx).map(drop))
        };
        world.engine.store.write(store).await.expect("stored");
    });
    for asked in [1, 0, 0] {
        process(async {
            let world = World::start(dir.path()).await;
            world.engine.recover().await.expect("recover");
            let seats = |world: &World| world.engine.turns.available_permits() == 1;
            world.until("it waits for the owner", |world| seats(world) && tries(world) == 0).await;
            if asked == 1 {
                world.until("a question", |world| world.telegram.texts().len() == asked).await;
                let sent =
                    |world: &World| world.engine.store.read(outbox::rows::depth).expect("depth").0 == 0;
                world.until("sent", sent).await;
            }
        });
    }
    process(async {
        let world = World::start(dir.path()).await;
        let hold = world.engine.begin(Some(1)).await.expect("begin").expect("careful: the only seat");
        assert!(world.engine.may_run(&lane(), 1).await && world.engine.may_run(&lane(), 1).await);
        assert_eq!((tries(&world), world.inbox()), (2, (1, 0)));
        assert!(!world.engine.may_run(&lane(), 1).await, "the third time it is given up");
        assert_eq!(world.inbox(), (0, 1));
        drop(hold);
        world.until("many at once again", |world| world.engine.turns.available_permits() == 64).await;
        let unfinished = world.engine.store.read(inbox::starts::unfinished).expect("read");
        assert_eq!(unfinished, 0);
    });
}
