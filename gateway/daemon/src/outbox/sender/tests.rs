//! The sender against a scripted Bot API and a real database.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use openclaw_wire::id::{BotName, ChatId};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{Event, Limits, Sender};
use crate::{
    outbox::{
        file::{self, Carried, Opening},
        live::Tempo,
        markup::markdown,
        pace::{Pace, Rate},
        rows::{self, MIGRATION, Outgoing, REPEAT_MARK},
    },
    store::Store,
    telegram::method::{Answer, BotApi, Delivery, InlineKeyboard, Lost, Posting, SentAs, Upload},
};

/// What the far end does with a call.
enum Reply {
    Says(u16, Value),
    Lost(Delivery),
    /// Never answers.
    Hangs,
}

fn fails(code: u16, description: &str) -> Reply {
    Reply::Says(code, json!({"ok": false, "error_code": code, "description": description}))
}

#[derive(Default)]
struct Script {
    /// Method and body, in order.
    calls: Mutex<Vec<(&'static str, Value)>>,
    /// Answers to the next calls; after them everything succeeds.
    replies: Mutex<VecDeque<Reply>>,
    called: Notify,
}

impl BotApi for Script {
    fn post<'a>(&'a self, _: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a> {
        self.called(method, serde_json::from_slice(&body).expect("json"))
    }

    fn upload<'a>(&'a self, _: &'a BotName, upload: Upload) -> Posting<'a> {
        let Upload { sent_as, fields, name, mut file, .. } = upload;
        let mut bytes = String::new();
        std::io::Read::read_to_string(&mut file, &mut bytes).expect("the file");
        let mut call = json!({ "name": name, "file": bytes });
        fields.into_iter().for_each(|(name, value)| call[name] = value.into());
        self.called(sent_as.method(), call)
    }
}

impl Script {
    fn called<'a>(&'a self, method: &'static str, call: Value) -> Posting<'a> {
        let mut calls = self.calls.lock().expect("lock");
        calls.push((method, call));
        let number = 100 + calls.len();
        drop(calls);
        let reply = self.replies.lock().expect("lock").pop_front();
        self.called.notify_one();
        Box::pin(async move {
            // Others get their turn between the call and its answer.
            tokio::task::yield_now().await;
            match reply {
                None => {
                    let body = json!({"ok": true, "result": {"message_id": number}}).to_string().into();
                    Ok(Answer { status: 200, body, ..Answer::default() })
                }
                Some(Reply::Says(status, body)) => {
                    Ok(Answer { status, body: body.to_string().into(), ..Answer::default() })
                }
                Some(Reply::Lost(delivery)) => Err(Lost { delivery, message: "lost".into() }),
                Some(Reply::Hangs) => std::future::pending().await,
            }
        })
    }
}

impl Script {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), ..Self::default() })
    }

    fn methods(&self) -> Vec<&'static str> {
        self.calls.lock().expect("lock").iter().map(|call| call.0).collect()
    }

    fn texts(&self) -> Vec<String> {
        let calls = self.calls.lock().expect("lock");
        calls.iter().map(|call| call.1["text"].as_str().expect("text").to_owned()).collect()
    }

    fn call(&self, at: usize) -> (&'static str, Value) {
        self.calls.lock().expect("lock")[at].clone()
    }

    async fn until_called(&self, times: usize) {
        while self.calls.lock().expect("lock").len() < times {
            self.called.notified().await;
        }
    }
}

fn limits() -> Limits {
    let fast = Rate { every: Duration::from_micros(1), burst: 1000 };
    Limits {
        pace: Pace { bot: fast, private: fast, group: fast },
        in_flight: 8,
        attempts: 5,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(4),
        call: Duration::from_secs(30),
        tempo: Tempo::default(),
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    sender: Sender,
    events: mpsc::Receiver<Event>,
}

fn bot() -> BotName {
    "main".parse().expect("name")
}

fn message(chat: i64, text: &str) -> Outgoing {
    Outgoing {
        bot: bot(),
        chat: ChatId(chat),
        topic: None,
        answers: Some(1),
        text: markdown(text, &|_| true),
        reply_to: None,
        buttons: None,
        edit: None,
        repeat: false,
    }
}

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("db"), &[MIGRATION, file::MIGRATION]).expect("open")
}

impl Bench {
    async fn new(api: &Arc<Script>) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let store = open(&dir);
        Self::on(dir, store, api).await
    }

    async fn on(dir: tempfile::TempDir, store: Store, api: &Arc<Script>) -> Self {
        let (tell, events) = mpsc::channel(100);
        let path = dir.path().join("1.png");
        let opening: Opening = Arc::new(move |_| std::fs::File::open(&path));
        let sender = Sender::start(store.clone(), api.clone(), opening, limits(), tell).await.expect("start");
        Self { _dir: dir, store, sender, events }
    }

    async fn say(&self, message: Outgoing) -> Vec<i64> {
        let (bot, chat) = (message.bot.clone(), message.chat);
        let ids = self.store.write(move |t| rows::enqueue(t, &message, super::now())).await.expect("write");
        self.sender.wake(&bot, chat);
        ids
    }

    /// Waits until nothing waits to be sent; the deadline only bounds a hang.
    async fn settled(&self) {
        let done = async {
            while self.store.read(rows::depth).expect("read").0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), done).await.expect("everything is sent or given up");
    }

    fn state(&self, id: i64) -> String {
        let query = "SELECT state FROM outbox WHERE id = ?1";
        self.store.read(|db| db.query_row(query, [id], |row| row.get(0))).expect("row")
    }
}

#[tokio::test]
async fn a_message_is_sent_with_everything_it_carries() {
    let api = Script::new([]);
    let bench = Bench::new(&api).await;
    let full = Outgoing {
        topic: Some(7),
        reply_to: Some(9),
        buttons: Some(InlineKeyboard::default()),
        ..message(-5, "**hi** [a](https://e.org)")
    };
    let ids = bench.say(full).await;
    bench.settled().await;
    let expected = json!({"chat_id": -5, "message_thread_id": 7, "parse_mode": "HTML",
        "text": "<b>hi</b> <a href=\"https://e.org\">a</a>", "link_preview_options": {"is_disabled": true},
        "reply_parameters": {"message_id": 9, "allow_sending_without_reply": true},
        "reply_markup": {"inline_keyboard": []}});
    assert_eq!(api.call(0), ("sendMessage", expected));
    assert_eq!(bench.store.read(|db| rows::message_id(db, ids[0])).expect("read"), Some(101));
    bench.say(Outgoing { edit: Some(101), ..message(-5, "bye") }).await;
    bench.settled().await;
    let expected = json!({"chat_id": -5, "message_id": 101, "text": "bye", "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true}});
    assert_eq!(api.call(1), ("editMessageText", expected));
}

#[tokio::test]
async fn each_chat_keeps_its_order_whatever_fails() {
    let mut replies = Vec::new();
    for at in 0..400 {
        replies.push(match at % 7 {
            0 => fails(500, "Internal Server Error"),
            3 => Reply::Lost(Delivery::No),
            _ => Reply::Says(200, json!({"ok": true, "result": {"message_id": at}})),
        });
    }
    let api = Script::new(replies);
    let bench = Bench::new(&api).await;
    for number in 0..20 {
        for chat in 1..=10 {
            bench.say(message(chat, &format!("{number:02}"))).await;
        }
    }
    bench.settled().await;
    for chat in 1..=10 {
        let calls = api.calls.lock().expect("lock");
        let mut texts: Vec<_> =
            calls.iter().filter(|c| c.1["chat_id"] == chat).map(|c| c.1["text"].clone()).collect();
        texts.dedup(); // tries of the same row
        let expected: Vec<_> = (0..20).map(|number| json!(format!("{number:02}"))).collect();
        assert_eq!(texts, expected, "chat {chat}");
    }
}

#[tokio::test]
async fn a_long_answer_arrives_in_order_and_whole() {
    let api = Script::new([]);
    let bench = Bench::new(&api).await;
    let text: String = (0..2_500).map(|n| format!("{n} ")).collect();
    assert_eq!(bench.say(message(5, &text)).await.len(), 3);
    bench.settled().await;
    assert_eq!(api.texts().concat(), text.trim_end());
}

#[tokio::test]
async fn refused_markup_goes_out_as_plain_text() {
    let api = Script::new([fails(400, "Bad Request: can't parse entities: Can't find end tag")]);
    let bench = Bench::new(&api).await;
    bench.say(message(5, "**b** [l](https://e.org) <x>")).await;
    bench.settled().await;
    assert_eq!(api.texts()[1], "b l (https://e.org) <x>");
    assert!(api.call(1).1.get("parse_mode").is_none());
}

#[tokio::test]
async fn too_long_a_part_goes_out_in_pieces() {
    let api = Script::new([fails(400, "Bad Request: message is too long")]);
    let bench = Bench::new(&api).await;
    let text = "word ".repeat(700);
    bench
        .say(Outgoing { reply_to: Some(3), buttons: Some(InlineKeyboard::default()), ..message(5, &text) })
        .await;
    bench.settled().await;
    assert_eq!(api.texts()[1..].concat(), text.trim_end());
    let pieces: Vec<_> = (1..api.texts().len()).map(|at| api.call(at).1).collect();
    assert!(pieces.len() > 2);
    assert!(pieces[0].get("reply_parameters").is_some() && pieces[1].get("reply_parameters").is_none());
    assert!(
        pieces[0].get("reply_markup").is_none() && pieces.last().expect("last").get("reply_markup").is_some()
    );
}

#[tokio::test]
async fn small_refusals_are_mended() {
    let api = Script::new([
        fails(400, "Bad Request: message thread not found"),
        Reply::Says(200, json!({"ok": true, "result": {"message_id": 1}})),
        fails(400, "Bad Request: message is not modified: same"),
        fails(400, "Bad Request: message to edit not found"),
    ]);
    let bench = Bench::new(&api).await;
    bench.say(Outgoing { topic: Some(4), ..message(-5, "a") }).await;
    let same = bench.say(Outgoing { edit: Some(66), ..message(-5, "b") }).await;
    bench.say(Outgoing { edit: Some(67), ..message(-5, "c") }).await;
    bench.settled().await;
    assert_eq!(api.texts(), ["a", "a", "b", "c", "c"]);
    assert!(
        api.call(0).1.get("message_thread_id").is_some() && api.call(1).1.get("message_thread_id").is_none()
    );
    assert_eq!(bench.state(same[0]), "sent");
    assert_eq!((api.call(3).0, api.call(4).0), ("editMessageText", "sendMessage"));
}

#[tokio::test]
async fn too_many_requests_wait_and_are_not_marked() {
    let wait = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1",
        "parameters": {"retry_after": 1}});
    let api = Script::new([Reply::Says(429, wait)]);
    let bench = Bench::new(&api).await;
    let asked = tokio::time::Instant::now();
    bench.say(message(5, "a")).await;
    bench.say(message(6, "other")).await;
    bench.settled().await;
    assert!(asked.elapsed() >= Duration::from_secs(1), "Telegram's wait is a lower bound");
    assert_eq!(api.texts(), ["a", "other", "a"], "another chat does not wait");
}

#[tokio::test]
async fn only_an_unknown_delivery_is_marked() {
    let api = Script::new([Reply::Lost(Delivery::No), fails(502, "x"), Reply::Lost(Delivery::Unknown)]);
    let bench = Bench::new(&api).await;
    bench.say(message(5, "**a**")).await;
    bench.settled().await;
    let marked = format!("{REPEAT_MARK}<b>a</b>");
    assert_eq!(api.texts(), ["<b>a</b>", "<b>a</b>", "<b>a</b>", marked.as_str()]);
}

#[tokio::test]
async fn a_group_that_became_a_supergroup_is_followed() {
    let moved = json!({"ok": false, "error_code": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -100_500}});
    let api = Script::new([Reply::Says(400, moved)]);
    let mut bench = Bench::new(&api).await;
    bench.say(message(-5, &"word ".repeat(1_000))).await;
    bench.settled().await;
    let chats: Vec<_> = (0..3).map(|at| api.call(at).1["chat_id"].clone()).collect();
    assert_eq!(chats, [json!(-5), json!(-100_500), json!(-100_500)]);
    let event = bench.events.recv().await;
    assert_eq!(event, Some(Event::Migrated { bot: bot(), from: ChatId(-5), to: ChatId(-100_500) }));
}

#[tokio::test]
async fn a_chat_that_is_gone_is_given_up_whole_and_told_once() {
    let api = Script::new([fails(403, "Forbidden: bot was blocked by the user")]);
    let mut bench = Bench::new(&api).await;
    let ids = bench.say(message(5, &"word ".repeat(2_000))).await;
    bench.settled().await;
    match bench.events.recv().await {
        Some(Event::Dead { rows, problem, answers, .. }) => {
            assert_eq!((rows, answers), (ids.clone(), Some(1)));
            assert!(problem.contains("blocked"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(api.texts().len(), 1, "no further try");
    assert_eq!(bench.store.read(|db| rows::dead(db, 9)).expect("read").len(), ids.len());
    // The person is back: a new message goes out.
    bench.say(message(5, "again")).await;
    bench.settled().await;
    assert_eq!(api.texts().last().map(String::as_str), Some("again"));
}

#[tokio::test]
async fn what_fails_for_good_goes_to_the_dead_letters_and_the_chat_goes_on() {
    let api = Script::new(
        [fails(400, "Bad Request: something new")].into_iter().chain((0..5).map(|_| fails(500, "down"))),
    );
    let mut bench = Bench::new(&api).await;
    let refused = bench.say(message(5, "a")).await;
    let exhausted = bench.say(message(5, "b")).await;
    let fine = bench.say(message(5, "c")).await;
    bench.settled().await;
    for (ids, part) in [(refused, "something new"), (exhausted, "Telegram failed (500)")] {
        match bench.events.recv().await {
            Some(Event::Dead { rows, problem, .. }) => {
                assert_eq!(rows, ids);
                assert!(problem.contains(part), "{problem}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.state(ids[0]), "dead");
    }
    assert_eq!(bench.state(fine[0]), "sent");
    let list = bench.store.read(|db| rows::dead(db, 9)).expect("read");
    assert_eq!(list.iter().map(|dead| dead.attempts).collect::<Vec<_>>(), [5, 1]);
}

#[tokio::test]
async fn a_refused_token_pauses_its_bot_and_is_told_once() {
    let api = Script::new((0..4).map(|_| fails(401, "Unauthorized")));
    let mut bench = Bench::new(&api).await;
    let ids = bench.say(message(5, "a")).await;
    bench.settled().await;
    assert_eq!(bench.state(ids[0]), "sent", "nothing is lost");
    assert_eq!(bench.events.recv().await, Some(Event::Paused { bot: bot() }));
    assert_eq!(bench.events.recv().await, Some(Event::Resumed { bot: bot() }));
    assert!(api.texts().iter().all(|text| text == "a"), "and nothing is marked");
}

/// The crash falls between the call and its record: the far end has the message, the database does not know.
#[test]
fn after_a_crash_only_what_was_under_way_is_marked_as_possibly_repeated() {
    let dir = tempfile::tempdir().expect("dir");
    let api = Script::new([Reply::Says(200, json!({"ok": true, "result": {"message_id": 1}})), Reply::Hangs]);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
    };
    let first = runtime();
    let store = open(&dir);
    let dir = first.block_on(async {
        let bench = Bench::on(dir, store, &api).await;
        for text in ["recorded", "under way", "waiting"] {
            bench.say(message(5, text)).await;
        }
        api.until_called(2).await;
        bench._dir
    });
    // Everything in memory is gone without a last word.
    first.shutdown_background();

    let api = Script::new([]);
    runtime().block_on(async {
        let store = open(&dir);
        let bench = Bench::on(dir, store, &api).await;
        bench.settled().await;
        bench.sender.stop(Duration::from_secs(10)).await;
    });
    assert_eq!(api.texts(), [format!("{REPEAT_MARK}under way"), "waiting".to_owned()]);
}

#[tokio::test]
async fn an_orderly_stop_leaves_nothing_to_mark() {
    let wait = json!({"ok": false, "error_code": 429, "parameters": {"retry_after": 1}});
    let api = Script::new([Reply::Says(429, wait)]);
    let bench = Bench::new(&api).await;
    bench.say(message(5, "a")).await;
    api.until_called(1).await;
    bench.sender.stop(Duration::from_secs(10)).await;
    let Bench { _dir: dir, store, .. } = bench;
    let api = Script::new([]);
    let bench = Bench::on(dir, store, &api).await;
    bench.settled().await;
    assert_eq!(api.texts(), ["a"]);
}

fn picture(chat: i64) -> file::Outgoing {
    let file = Carried {
        session: 1,
        name: openclaw_wire::file::FileName::new(1, "png").expect("name"),
        size: 7,
        digest: String::new(),
        shown: "pot.png".into(),
        media: "image/png".into(),
        sent_as: SentAs::Photo,
    };
    file::Outgoing { bot: bot(), chat: ChatId(chat), topic: Some(4), answers: Some(1), id: 77, file }
}

impl Bench {
    async fn show(&self, message: file::Outgoing) {
        std::fs::write(self._dir.path().join("1.png"), "picture").expect("file");
        let (bot, chat) = (message.bot.clone(), message.chat);
        self.store.write(move |t| file::enqueue(t, &message, super::now())).await.expect("write");
        self.sender.wake(&bot, chat);
    }

    fn held(&self) -> Vec<i64> {
        self.store.read(file::held).expect("held")
    }
}

/// A file keeps its place behind the text before it, through 429, and is sent as a document when it is not what it seemed.
#[tokio::test]
async fn files_keep_their_place_and_their_pace() {
    let flood = json!({"ok": false, "error_code": 429, "description": "x", "parameters": {"retry_after": 0}});
    let api = Script::new([
        Reply::Says(429, flood.clone()),
        Reply::Says(200, json!({"ok": true, "result": {"message_id": 1}})),
        Reply::Says(429, flood),
        fails(400, "Bad Request: message thread not found"),
        fails(400, "Bad Request: PHOTO_INVALID_DIMENSIONS"),
    ]);
    let bench = Bench::new(&api).await;
    bench.say(message(-5, "before")).await;
    bench.show(picture(-5)).await;
    assert_eq!(bench.held(), [77], "until it is sent nobody deletes it");
    bench.say(message(-5, "after")).await;
    bench.settled().await;
    let photo = "sendPhoto";
    let expected = ["sendMessage", "sendMessage", photo, photo, photo, "sendDocument", "sendMessage"];
    assert_eq!(api.methods(), expected);
    let sent = api.call(5).1;
    assert_eq!(sent, json!({ "name": "pot.png", "file": "picture", "chat_id": "-5" }));
    assert!(bench.held().is_empty());
}

/// What may have arrived goes out again with the mark that text has; what is gone is a dead letter.
#[tokio::test]
async fn files_that_may_have_arrived_are_marked_and_lost_ones_are_told() {
    let api = Script::new([Reply::Lost(Delivery::Unknown)]);
    let mut bench = Bench::new(&api).await;
    bench.show(picture(5)).await;
    bench.settled().await;
    assert_eq!(api.call(0).1["caption"], Value::Null);
    assert_eq!(api.call(1).1["caption"], "↻ possibly repeated");
    std::fs::remove_file(bench._dir.path().join("1.png")).expect("removed");
    let lost = picture(5);
    bench.store.write(move |t| file::enqueue(t, &lost, super::now())).await.expect("write");
    bench.sender.wake(&bot(), ChatId(5));
    let Some(Event::Dead { problem, .. }) = bench.events.recv().await else { panic!("no dead letter") };
    assert!(problem.contains("can't be read any more"), "{problem}");
    assert_eq!(bench.held(), [77], "somebody may put it back and send it again");
}
