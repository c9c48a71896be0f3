//! Turns with everything real but the far ends: the Bot API, egress (which knows no model, so that the rehearsal model
//! answers) and the runner are scripted here.

mod waiting;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use openclaw_wire::{
    door::{self, Door, Entry},
    frame,
    id::{BotName, ChatId, UserId},
    runner::{Answer, Outcome, Reply},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{
    egress::Egress,
    ingress::{Inbox, Incoming, Verified},
    outbox::sender::{Limits, Sender},
    session,
    telegram::method::{self, Posting},
};

const OWNER: i64 = 10;
const SKILL: &str = "program = \"x\"\n[[tool]]\nname = \"send\"\ndescription = \"d\"\neffect = \"send\"\n\
    arguments = { type = \"object\" }\n";

/// Keeps what is called; everything succeeds.
#[derive(Default)]
struct Telegram(Mutex<Vec<(&'static str, Value)>>);

impl BotApi for Telegram {
    fn post<'a>(&'a self, _: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a> {
        let mut calls = self.0.lock().expect("lock");
        calls.push((method, serde_json::from_slice(&body).expect("json")));
        let result = if method == "sendMessage" { json!({ "message_id": calls.len() }) } else { json!(true) };
        let body = json!({ "ok": true, "result": result }).to_string().into();
        Box::pin(async move { Ok(method::Answer { status: 200, body, ..Default::default() }) })
    }

    fn upload<'a>(&'a self, _: &'a BotName, _: method::Upload) -> Posting<'a> {
        unreachable!("no skill here makes a file")
    }
}

impl Telegram {
    fn sent(&self, of: &str) -> Vec<Value> {
        let calls = self.0.lock().expect("lock");
        calls.iter().filter(|(method, _)| *method == of).map(|(_, body)| body.clone()).collect()
    }

    fn texts(&self) -> Vec<String> {
        let text = |body: Value| body["text"].as_str().expect("text").to_owned();
        self.sent("sendMessage").into_iter().map(text).collect()
    }
}

/// One process: ends with its runtime, as if it were killed.
struct World {
    telegram: Arc<Telegram>,
    engine: Arc<Engine>,
    /// Calls that the runner was given.
    runs: Arc<AtomicUsize>,
}

impl World {
    async fn start(dir: &Path) -> Self {
        Self::start_with(dir, "tries = 2").await
    }

    /// With these lines of section `[turn]`.
    async fn start_with(dir: &Path, turn: &str) -> Self {
        let store = Store::open(&dir.join("db"), &super::MIGRATIONS).expect("store");
        std::fs::create_dir_all(dir.join("skills/s")).expect("folder");
        std::fs::write(dir.join("skills/s/skill.toml"), SKILL).expect("skill");
        let telegram = Arc::new(Telegram::default());
        let (events, _) = mpsc::channel(1);
        let shelf = Shelf::open(&dir.join("files")).expect("files");
        let opening = Arc::new(|_: &outbox::file::Carried| Err(std::io::ErrorKind::NotFound.into()));
        let sender = Sender::start(store.clone(), telegram.clone(), opening, Limits::default(), events);
        let runs = Arc::new(AtomicUsize::new(0));
        let config = format!(
            "[access]\nowners = [{OWNER}]\npeople = [20]\n[[access.group]]\nchat = -7\npeople = [{OWNER}]\n[turn]\n{turn}\n"
        );
        let parts = Parts {
            config: Config::parse(&config, Path::new("t")).expect("config"),
            sender: sender.await.expect("sender"),
            store,
            api: telegram.clone(),
            catalog: Catalog::load(&[dir.join("skills")], &[]),
            executor: Executor::new(runner(runs.clone()), Egress::new(egress())),
            models: Models::new(Egress::new(egress())),
            egress: Egress::new(egress()),
            shelf,
        };
        let engine = Engine::new(parts, CancellationToken::new()).expect("engine");
        Self { telegram, engine, runs }
    }

    async fn accept(&self, update: &Value) {
        self.engine.accept(vec![verified(update)]).await.expect("accepted");
    }

    /// Fails after 20 s.
    async fn until(&self, what: &str, test: impl Fn(&Self) -> bool) {
        for _ in 0..4000 {
            if test(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never happened: {what}; sent: {:?}", self.telegram.texts());
    }

    /// Messages that wait in the inbox, and dead letters.
    fn inbox(&self) -> (u64, u64) {
        self.engine.store.read(inbox::depth).expect("read")
    }
}

/// What egress says of itself: no model, no bot.
fn egress() -> Door {
    serve(|mut stream| {
        let mut byte = [0];
        let mut head = Vec::new();
        while stream.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                let body = json!({ "confinement": {}, "models": [], "bots": [] }).to_string();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).expect("write");
            }
        }
    })
}

fn runner(runs: Arc<AtomicUsize>) -> Door {
    serve(move |mut stream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("length");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).expect("body");
        runs.fetch_add(1, Ordering::Relaxed);
        let answer = serde_json::to_string(&Answer::Text("it is done".into())).expect("json");
        let reply = frame::encode(&Reply::Finished(Outcome::Output(answer))).expect("frame");
        stream.write_all(&reply).expect("write");
    })
}

fn serve(answer: impl Fn(UnixStream) + Send + Sync + 'static) -> Door {
    let (near, far) = door::pair().expect("a pair");
    let (entry, answer) = (Entry::Pair(far), Arc::new(answer));
    thread::spawn(move || {
        while let Ok(stream) = entry.accept() {
            let answer = answer.clone();
            thread::spawn(move || answer(stream));
        }
    });
    Door::Pair(near)
}

fn message(id: i64, from: i64, text: &str) -> Value {
    json!({ "update_id": id, "message": { "message_id": id, "date": 1, "text": text,
        "chat": { "id": from, "type": "private" }, "from": { "id": from, "is_bot": false } } })
}

fn picture(id: i64, caption: &str) -> Value {
    let mut update = message(id, OWNER, "");
    let message = update["message"].as_object_mut().expect("object");
    message.remove("text");
    message.extend(
        json!({ "media_group_id": "g", "photo": [], "caption": caption })
            .as_object()
            .cloned()
            .expect("object"),
    );
    update
}

fn press(id: i64, from: i64, data: &Value) -> Value {
    json!({ "update_id": id, "callback_query": { "id": "1", "from": { "id": from, "is_bot": false }, "data": data,
        "message": { "message_id": 1, "chat": { "id": from, "type": "private" } } } })
}

fn bot() -> BotName {
    "main".parse().expect("name")
}

fn lane() -> Lane {
    Lane { bot: bot(), chat: ChatId(OWNER), topic: 0 }
}

fn item(row: i64, update: &Value) -> Item {
    let text = update.to_string();
    Item { row, update: Update::parse(text.as_bytes()).expect("update"), bytes: text.len() }
}

fn verified(update: &Value) -> Verified<Incoming> {
    let body = Bytes::from(update.to_string());
    Verified::for_tests(Incoming { bot: bot(), update: Update::parse(&body).expect("update"), body })
}

/// Each part runs in a process of its own: what it leaves is what a kill leaves.
fn process<T>(part: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("runtime");
    let result = runtime.block_on(part);
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

#[tokio::test]
async fn a_sender_who_hangs_up_while_it_is_stored_does_not_keep_a_message_from_its_lane() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start(dir.path()).await;
    let (go, going) = std::sync::mpsc::channel::<()>();
    let (held, mut holding) = tokio::sync::mpsc::channel(1);
    let store = world.engine.store.clone();
    let slow = tokio::spawn(async move {
        let hold = move |_: &rusqlite::Transaction<'_>| {
            let _ = held.try_send(());
            going.recv().expect("go");
            Ok(())
        };
        store.write(hold).await
    });
    holding.recv().await.expect("the writer is held");
    let update = message(1, OWNER, "hello");
    tokio::select! {
        biased;
        _ = world.engine.accept(vec![verified(&update)]) => panic!("the writer is held"),
        () = tokio::task::yield_now() => {} // Hangs up: the future is dropped.
    }
    go.send(()).expect("go");
    slow.await.expect("task").expect("write");
    world.until("an answer", |world| world.telegram.texts().len() == 1).await;
    world.accept(&update).await;
    assert_eq!(world.inbox(), (0, 0));
}

#[tokio::test]
async fn of_many_senders_on_one_thread_each_is_told_what_became_of_its_own_update() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start(dir.path()).await;
    let (hatch, tell) = Hatch::new(Arc::clone(&world.engine));
    tokio::spawn(tell);
    let send = |id: i64| hatch.accept(vec![verified(&message(id, 5, "no one"))]);
    let stored = futures_util::future::join_all((1..=100).map(send)).await;
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    let rows = |world: &World| {
        world
            .engine
            .store
            .read(|db| db.query_row("SELECT count(*) FROM inbox", [], |row| row.get::<_, i64>(0)))
    };
    assert_eq!(rows(&world).expect("count"), 100);
    // From here on one more row is refused.
    let full = "CREATE TRIGGER full BEFORE INSERT ON inbox WHEN new.update_id = 102
                BEGIN SELECT RAISE(FAIL, 'refused'); END";
    world.engine.store.write(move |tx| tx.execute_batch(full)).await.expect("trigger");
    let (before, refused, after) = tokio::join!(send(101), send(102), send(103));
    assert!(before.is_ok() && after.is_ok(), "{before:?} {after:?}");
    assert!(refused.expect_err("refused").0.contains("refused"));
    assert_eq!(rows(&world).expect("count"), 102);
}

#[test]
fn what_waits_at_a_crash_is_answered_in_order_and_once() {
    let dir = tempfile::tempdir().expect("dir");
    process(async {
        let world = World::start(dir.path()).await;
        let updates =
            [message(1, OWNER, "one"), picture(2, "two"), picture(3, ""), message(4, OWNER, "four")];
        let stored = move |tx: &rusqlite::Transaction<'_>| {
            updates.iter().zip(1..).try_for_each(|(update, id)| {
                inbox::accept(tx, &lane(), id, update.to_string().as_bytes(), now()).map(drop)
            })
        };
        world.engine.store.write(stored).await.expect("stored, and not routed");
    });
    process(async {
        let world = World::start(dir.path()).await;
        assert_eq!(world.engine.recover().await.expect("recover"), 4);
        world.until("all answered", |world| world.inbox() == (0, 0)).await;
        world.until("three answers", |world| world.telegram.texts().len() == 3).await;
        let texts = world.telegram.texts();
        assert!(texts[0].contains("“one”"), "{texts:?}");
        assert!(texts[1].contains("“two”"), "one album, one answer: {texts:?}");
        assert!(texts[2].contains("“four”"), "{texts:?}");
    });
    process(async {
        let world = World::start(dir.path()).await;
        assert_eq!(world.engine.recover().await.expect("recover"), 0);
    });
}

#[tokio::test]
async fn a_turn_that_cannot_be_stored_comes_again_whole_and_is_given_up_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start(dir.path()).await;
    let engine = &world.engine;
    let updates = [picture(1, "a"), picture(2, ""), message(3, OWNER, "behind")];
    for (update, id) in updates.iter().zip(1..) {
        let body = update.to_string();
        let store =
            move |tx: &rusqlite::Transaction<'_>| inbox::accept(tx, &lane(), id, body.as_bytes(), now());
        let row = engine.store.write(store).await.expect("stored").expect("new");
        let _ = engine.lanes.push(&lane(), item(row, update)); // Nobody works it off but this test.
    }
    let take = || {
        let (first, stop) = engine.lanes.next(&lane()).expect("first");
        let more = engine.lanes.take_while(&lane(), |item| item.row == 2);
        (std::iter::once(first).chain(more).collect::<Vec<_>>(), stop)
    };
    let rows = |items: &[Item]| items.iter().map(|item| item.row).collect::<Vec<_>>();

    let (items, stop) = take();
    recover::failed(engine, &lane(), items, &stop).await;
    let (items, stop) = take();
    assert_eq!(rows(&items), [1, 2], "again, whole");
    recover::failed(engine, &lane(), items, &stop).await;
    assert_eq!(world.inbox(), (2, 1), "the limit is two tries");
    world
        .until("the owner is told", |world| world.telegram.texts().iter().any(|t| t.contains("dead letter")))
        .await;
    let (items, stop) = take();
    assert_eq!(rows(&items), [2], "the album's other picture is not given up with it");
    stop.cancel();
    recover::failed(engine, &lane(), items, &stop).await;
    assert_eq!(world.inbox(), (1, 1), "the chat was stopped: it does not come again");
    assert_eq!(engine.lanes.next(&lane()).expect("behind").0.row, 3);
}

#[test]
fn a_question_survives_a_restart_and_only_the_owner_answers_it_once() {
    let dir = tempfile::tempdir().expect("dir");
    let yes = process(async {
        let world = World::start(dir.path()).await;
        world.accept(&message(1, OWNER, "call send {}")).await;
        world.until("a question", |world| !world.telegram.texts().is_empty()).await;
        let question = &world.telegram.sent("sendMessage")[0];
        // Recorded as sent: else it is asked again after the restart, with a mark.
        let sent = |world: &World| world.engine.store.read(outbox::rows::depth).expect("depth").0 == 0;
        world.until("sent", sent).await;
        assert_eq!(world.runs.load(Ordering::Relaxed), 0, "nothing runs before the answer");
        question["reply_markup"]["inline_keyboard"][0][0]["callback_data"].clone()
    });
    process(async {
        let world = World::start(dir.path()).await;
        assert_eq!(world.engine.recover().await.expect("recover"), 1);
        let notes = |world: &World| world.telegram.sent("answerCallbackQuery").len();
        world.accept(&press(2, 20, &yes)).await;
        world.until("a refusal", |world| notes(world) == 1).await;
        assert_eq!(world.runs.load(Ordering::Relaxed), 0, "somebody on the list is no owner");
        world.accept(&press(3, OWNER, &yes)).await;
        world
            .until("an answer", |world| world.telegram.texts().iter().any(|t| t.contains("it is done")))
            .await;
        world.accept(&press(4, OWNER, &yes)).await;
        world.until("three notes", |world| notes(world) == 3).await;
        let last = world.telegram.sent("answerCallbackQuery").pop().expect("a note");
        assert_eq!(last["text"], "This question is no longer open.");
        assert_eq!((world.runs.load(Ordering::Relaxed), world.inbox()), (1, (0, 0)));
    });
}

#[tokio::test]
async fn a_stop_takes_the_question_back_and_drops_what_waits() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start(dir.path()).await;
    world.accept(&message(1, OWNER, "call send {}")).await;
    world.until("a question", |world| world.telegram.texts().len() == 1).await;
    world.accept(&message(2, OWNER, "behind")).await;
    world.accept(&message(3, OWNER, "/stop")).await;
    world.until("it says so", |world| world.telegram.texts().len() == 2).await;
    world.until("all is settled", |world| world.inbox() == (0, 0)).await;
    let question = world.telegram.sent("sendMessage")[0].clone();
    let yes = &question["reply_markup"]["inline_keyboard"][0][0]["callback_data"];
    world.accept(&press(4, OWNER, yes)).await;
    world.until("a note", |world| !world.telegram.sent("answerCallbackQuery").is_empty()).await;
    assert_eq!(world.telegram.sent("answerCallbackQuery")[0]["text"], "This question is no longer open.");
    assert_eq!(world.runs.load(Ordering::Relaxed), 0);
    assert_eq!(world.telegram.texts()[1], "Stopped.");
}

#[test]
fn what_is_frozen_stays_frozen_after_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    process(async {
        let world = World::start(dir.path()).await;
        world.accept(&message(1, OWNER, "count 600")).await;
        world.until("it runs", |world| world.engine.depth() == (1, 0)).await;
        world.accept(&message(2, 20, "/freeze")).await;
        world.until("a refusal", |world| world.telegram.texts() == ["Only the owner can do that."]).await;
        assert!(!world.engine.frozen());
        world.accept(&message(3, OWNER, "/freeze")).await;
        world.until("it stops", |world| world.inbox() == (0, 0)).await;
    });
    process(async {
        let world = World::start(dir.path()).await;
        assert!(world.engine.frozen());
        world.accept(&message(4, OWNER, "hello")).await;
        world
            .until("it says so", |world| world.telegram.texts().iter().any(|t| t.contains("is frozen")))
            .await;
        world.engine.unfreeze().await.expect("unfreeze");
        world.accept(&message(5, OWNER, "hello")).await;
        world.until("an answer", |world| world.telegram.texts().iter().any(|t| t.contains("“hello”"))).await;
    });
}

#[tokio::test]
async fn a_stranger_pairs_with_the_code_and_not_by_trying() {
    let dir = tempfile::tempdir().expect("dir");
    let world = World::start(dir.path()).await;
    let code = session::pairing::code().expect("random");
    let offered = code.clone();
    let offer = move |tx: &rusqlite::Transaction<'_>| session::pairing::offer(tx, &offered, now());
    world.engine.store.write(offer).await.expect("offered");
    let start = format!("/start {code}");
    for id in 1..=5 {
        world.accept(&message(id, 30, "/start WRONGCODE2")).await;
    }
    world.accept(&message(6, 30, &start)).await;
    world.until("all refused", |world| world.inbox() == (0, 0)).await;
    assert!(!world.engine.access().is_owner(UserId(30)), "the right code, after too many wrong ones");
    world.accept(&message(7, 40, &start)).await;
    world.until("paired", |world| world.telegram.texts().len() == 1).await;
    assert!(world.engine.access().is_owner(UserId(40)));
}
