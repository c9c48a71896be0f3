//! What is shown while a turn runs, against a scripted Bot API. Times are only ever lower bounds.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use openclaw_wire::id::{BotName, ChatId};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{Growing, Live, Tempo};
use crate::{
    outbox::{
        MIGRATION, Outgoing, enqueue,
        rich::Rich,
        sender::{Limits, Sender},
        shown::{self, Shown},
    },
    store::Store,
    telegram::method::{Answer, BotApi, Posting},
};

#[derive(Default)]
struct Script {
    calls: Mutex<Vec<(&'static str, Value)>>,
    replies: Mutex<VecDeque<(u16, Value)>>,
    called: Notify,
}

impl BotApi for Script {
    fn post<'a>(&'a self, _: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a> {
        self.calls.lock().expect("lock").push((method, serde_json::from_slice(&body).expect("json")));
        let reply = self.replies.lock().expect("lock").pop_front();
        self.called.notify_one();
        let (status, body) = reply.unwrap_or((200, json!({"ok": true, "result": {"message_id": 44}})));
        Box::pin(async move { Ok(Answer { status, body: body.to_string().into(), ..Answer::default() }) })
    }

    fn upload<'a>(&'a self, _: &'a BotName, _: crate::telegram::method::Upload) -> Posting<'a> {
        unreachable!("nothing that grows is a file")
    }
}

impl Script {
    fn methods(&self) -> Vec<&'static str> {
        self.calls.lock().expect("lock").iter().map(|call| call.0).collect()
    }

    fn of(&self, method: &str) -> Vec<Value> {
        let calls = self.calls.lock().expect("lock");
        calls.iter().filter(|call| call.0 == method).map(|call| call.1.clone()).collect()
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        let wait = async {
            while !done(self) {
                self.called.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it is shown");
    }
}

const LONG: Duration = Duration::from_secs(3600);

fn quick() -> Tempo {
    Tempo {
        typing_after: LONG,
        typing_every: Duration::from_millis(2),
        text_after: Duration::from_millis(2),
        draft_every: Duration::from_millis(2),
        draft_again: LONG,
        edit_every: Duration::from_millis(2),
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    sender: Sender,
    api: Arc<Script>,
}

async fn bench(tempo: Tempo, replies: impl IntoIterator<Item = (u16, Value)>) -> Bench {
    let dir = tempfile::tempdir().expect("dir");
    let store = Store::open(&dir.path().join("db"), &[MIGRATION, shown::MIGRATION]).expect("open");
    let api = Arc::new(Script { replies: Mutex::new(replies.into_iter().collect()), ..Script::default() });
    let limits = Limits { tempo, ..Limits::default() };
    let no_files = Arc::new(|_: &crate::outbox::file::Carried| Err(std::io::ErrorKind::NotFound.into()));
    let sender =
        Sender::start(store.clone(), api.clone(), no_files, limits, mpsc::channel(9).0).await.expect("start");
    Bench { _dir: dir, store, sender, api }
}

impl Bench {
    fn live(&self, chat: i64) -> Live {
        self.live_after(chat, Shown::No)
    }

    fn live_after(&self, chat: i64, shown: Shown) -> Live {
        let links = Arc::new(|_: &str| true);
        let growing = Growing { answers: 3, topic: None, reply_to: Some(7), shown, links };
        self.sender.live("main".parse().expect("name"), ChatId(chat), growing)
    }

    fn recorded(&self) -> Shown {
        self.store.read(|db| shown::find(db, 3)).expect("read")
    }
}

fn refused(text: &str) -> (u16, Value) {
    (400, json!({"ok": false, "error_code": 400, "description": text}))
}

#[tokio::test]
async fn typing_repeats_and_ends_with_the_turn() {
    let bench =
        bench(Tempo { typing_after: Duration::from_millis(1), text_after: LONG, ..quick() }, []).await;
    let live = bench.live(5);
    bench.api.until(|api| api.methods().len() >= 3).await;
    assert_eq!(bench.api.of("sendChatAction")[0], json!({"chat_id": 5, "action": "typing"}));
    assert_eq!(live.finish().await, Shown::No);
    let after = bench.api.methods().len();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(bench.api.methods().len(), after, "nothing after the end");
}

#[tokio::test]
async fn a_short_turn_shows_nothing() {
    let bench = bench(Tempo::default(), []).await;
    let live = bench.live(5);
    live.text("done");
    assert_eq!(live.finish().await, Shown::No);
    drop(bench.live(6));
    assert!(bench.api.methods().is_empty());
}

#[tokio::test]
async fn a_private_chat_sees_a_growing_draft() {
    let bench = bench(quick(), []).await;
    let live = bench.live(5);
    live.text("**one");
    bench.api.until(|api| api.methods().len() == 1).await;
    live.text("** two");
    bench.api.until(|api| api.methods().len() == 2).await;
    live.text(&"x".repeat(10_000));
    bench.api.until(|api| api.methods().len() == 3).await;
    let id = live.draft_id();
    assert_eq!(live.finish().await, Shown::No, "there is nothing to edit");
    let drafts = bench.api.of("sendMessageDraft");
    assert_ne!(id, 0);
    assert_eq!(
        drafts[0],
        json!({"chat_id": 5, "draft_id": id, "text": "**one …", "parse_mode": "HTML", "can_stop": true})
    );
    assert_eq!(drafts[1]["text"], "<b>one</b> two …");
    let tail = drafts[2]["text"].as_str().expect("text");
    assert!(tail.starts_with('x') && tail.len() < 4096, "of a long text the end is shown");
    assert_eq!(drafts[2]["draft_id"], id);
}

#[tokio::test]
async fn refused_drafts_are_not_tried_again_in_this_turn() {
    let bench = bench(quick(), [refused("Bad Request: method is not allowed")]).await;
    let live = bench.live(5);
    live.text("one");
    bench.api.until(|api| !api.methods().is_empty()).await;
    live.text("two");
    tokio::time::sleep(Duration::from_millis(30)).await;
    live.finish().await;
    assert_eq!(bench.api.methods().len(), 1);
    let next = bench.live(5);
    next.text("three");
    bench.api.until(|api| api.methods().len() == 2).await;
}

#[tokio::test]
async fn a_group_sees_a_message_that_is_edited_and_handed_over() {
    let same = refused("Bad Request: message is not modified: x");
    let first = (200, json!({"ok": true, "result": {"message_id": 44}}));
    let bench = bench(quick(), [first, same]).await;
    let live = bench.live(-5);
    live.text("one");
    bench.api.until(|api| api.methods().len() == 1).await;
    live.text(" two");
    bench.api.until(|api| api.methods().len() == 2).await;
    live.text(" three");
    bench.api.until(|api| api.methods().len() == 3).await;
    live.text(" four: the pace of a group keeps room for the answer itself");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((live.finish().await, bench.recorded()), (Shown::As(44), Shown::As(44)));
    assert_eq!(bench.api.methods(), ["sendMessage", "editMessageText", "editMessageText"]);
    let sent = &bench.api.of("sendMessage")[0];
    assert_eq!((&sent["text"], &sent["reply_parameters"]["message_id"]), (&json!("one …"), &json!(7)));
    let edits = bench.api.of("editMessageText");
    assert_eq!((&edits[0]["text"], &edits[0]["message_id"]), (&json!("one two …"), &json!(44)));
    assert_eq!(edits[1]["text"], "one two three …");
}

#[tokio::test]
async fn the_growing_answer_does_not_overtake_what_was_said_before() {
    let hold = (429, json!({"ok": false, "error_code": 429, "parameters": {"retry_after": 1}}));
    let bench = bench(quick(), [hold]).await;
    let before = Outgoing {
        bot: "main".parse().expect("name"),
        chat: ChatId(-5),
        topic: None,
        answers: None,
        text: Rich::plain("before"),
        reply_to: None,
        buttons: None,
        edit: None,
        repeat: false,
    };
    bench.store.write(move |t| enqueue(t, &before, 1)).await.expect("write");
    bench.sender.wake(&"main".parse().expect("name"), ChatId(-5));
    bench.api.until(|api| api.methods().len() == 1).await;
    let live = bench.live(-5);
    live.text("after");
    bench.api.until(|api| api.methods().len() == 3).await;
    let texts: Vec<_> = bench.api.of("sendMessage").iter().map(|call| call["text"].clone()).collect();
    assert_eq!(texts, ["before", "before", "after …"]);
    live.finish().await;
}

#[tokio::test]
async fn what_a_crash_left_in_the_chat_is_edited_and_what_may_be_there_gets_no_second_beside_it() {
    let bench = bench(quick(), []).await;
    let live = bench.live_after(-5, Shown::As(44));
    live.text("anew");
    bench.api.until(|api| !api.methods().is_empty()).await;
    assert_eq!((live.finish().await, bench.api.methods()), (Shown::As(44), vec!["editMessageText"]));
    let live = bench.live_after(-5, Shown::Perhaps);
    live.text("anew");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!((live.finish().await, bench.api.methods().len()), (Shown::Perhaps, 1), "nothing was shown");
}

#[tokio::test]
async fn a_first_message_is_recorded_before_its_call_and_taken_back_when_it_surely_failed() {
    let lost = (502, json!("a proxy's page"));
    let bench = bench(quick(), [lost, refused("Bad Request: not enough rights")]).await;
    let live = bench.live(-5);
    live.text("one");
    bench.api.until(|api| api.methods().len() == 1).await;
    assert_eq!((live.finish().await, bench.recorded()), (Shown::Perhaps, Shown::Perhaps));
    let live = bench.live(-5);
    live.text("one");
    bench.api.until(|api| api.methods().len() == 2).await;
    assert_eq!((live.finish().await, bench.recorded()), (Shown::No, Shown::No));
}
