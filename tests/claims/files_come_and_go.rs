//! What people send along comes in as files of the conversation, and what skills make goes out as such: whole or not at all,
//! once, in order, over a crash too.

use std::{path::PathBuf, time::Duration};

use openclaw_tests::{
    gateway::Role,
    model::{Request, Step},
    telegram::{Fault, Refusal, Trouble},
    world::World,
};
use serde_json::{Value, json};

async fn world(more: &str) -> World {
    World::polling(|setup| {
        setup.test_skills().section("files", more);
        setup.section("access", "people = [1002]\n[[access.group]]\nchat = -500\npeople = [1001]");
    })
    .await
}

/// The files on the disk, as `<conversation>/<name>`.
fn on_disk(world: &World) -> Vec<String> {
    let root = world.gateway.state().join("gateway/files");
    let entries = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut all: Vec<String> = entries(root.clone())
        .flat_map(|folder| entries(folder.path()))
        .map(|file| file.path().strip_prefix(&root).expect("below").display().to_string())
        .collect();
    all.sort();
    all
}

fn rows(world: &World) -> i64 {
    world.gateway.count("SELECT count(*) FROM file")
}

/// All that the model was told in a request, without what came before the last words of the user.
fn told(request: &Request) -> String {
    let messages = request.body["messages"].as_array().cloned().unwrap_or_default();
    let begins = |message: &Value| message["role"] == "user" && !message.to_string().contains("tool_result");
    let last = messages.iter().rposition(begins).unwrap_or(0);
    messages[last..].iter().map(Value::to_string).collect()
}

/// What the tool of the last call said.
fn said(world: &World) -> Value {
    let body = world.model.requests().pop().expect("asked").body;
    let content = body["messages"].as_array().expect("messages").last().expect("one")["content"].clone();
    let text = content[0]["content"][0]["text"].as_str().or(content[0]["content"].as_str());
    let text = text.unwrap_or_else(|| panic!("no result: {content}"));
    let json =
        text.lines().find(|line| line.starts_with(['{', '"', '['])).unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(json).expect("what the maker said")
}

/// Every kind of file: it is on the disk before the model hears of it, under a name of ours, and is told as data.
#[tokio::test]
async fn every_kind_of_attachment_comes_in() {
    let world = world("").await;
    let anna = &world.anna;
    for (at, (kind, more, ending, words)) in [
        ("voice", json!({ "duration": 4, "mime_type": "audio/ogg" }), "ogg", "voice note, audio/ogg"),
        ("audio", json!({ "duration": 9, "file_name": "Song.MP3" }), "mp3", "audio file"),
        ("video", json!({ "duration": 1, "width": 9, "height": 9 }), "mp4", "video, video/mp4"),
        ("video_note", json!({ "duration": 1, "length": 9 }), "mp4", "video note, video/mp4"),
        (
            "animation",
            json!({ "duration": 1, "width": 9, "height": 9, "mime_type": "video/mp4" }),
            "mp4",
            "animation",
        ),
        (
            "sticker",
            json!({ "type": "regular", "width": 9, "height": 9, "is_animated": false, "is_video": true }),
            "webm",
            "sticker",
        ),
        (
            "document",
            json!({ "file_name": "Report 1.PDF", "mime_type": "application/pdf" }),
            "pdf",
            "called \"Report 1.PDF\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = format!("{kind} {}", "x".repeat(2000));
        anna.sends_media(kind, more, bytes.as_bytes(), "");
        anna.hears().await;
        let name = format!("1/{}.{ending}", at + 1);
        let told = told(&world.model.requests().pop().expect("asked"));
        let path = format!("/attached/{}.{ending}", at + 1);
        assert!(told.contains("<untrusted source=\\\"attachments\\\">") && told.contains(&path), "{told}");
        assert!(
            told.contains(words) || told.replace("\\\\\\\"", "\"").replace("\\\"", "\"").contains(words),
            "{words}: {told}"
        );
        let stored = std::fs::read_to_string(world.gateway.state().join("gateway/files").join(&name));
        assert_eq!(stored.expect(&name), bytes);
    }
    anna.sends_photo(b"\xff\xd8\xff photo", "what is that?");
    anna.hears_of("what is that?").await;
    assert_eq!(on_disk(&world).len(), 8);
    // The same file again is no second one, and one that is quoted is known.
    let requests = world.model.requests().len();
    let voice = anna.sends_voice(b"OggS a note", 2);
    anna.hears().await;
    anna.replies(voice, "what did I say?");
    anna.hears_of("what did I say?").await;
    let told = told(&world.model.requests()[requests + 1]);
    assert!(told.contains("/attached/9.ogg") && told.contains("(of the quoted message)"), "{told}");
    assert_eq!((on_disk(&world).len(), rows(&world)), (9, 9));
    let fetched = world.telegram.fetched();
    assert_eq!(fetched.len(), 9, "{fetched:?}");
    // Whoever may not speak sends nothing either.
    let stranger = world.bot.person(6666, "Mallory");
    stranger.sends_document("x.pdf", "application/pdf", b"from a stranger", "");
    world.bot.all_delivered().await;
    world.gateway.idle().await;
    assert_eq!((on_disk(&world).len(), world.telegram.fetched().len()), (9, 9));
}

/// A skill whose manifest says so sees what the call names, and neither the other files of the conversation nor those of
/// others; it can change nothing and has no descriptor of it.
#[tokio::test]
async fn a_skill_sees_only_what_its_call_names() {
    let world = world("").await;
    let ben = world.bot.person(1002, "Ben");
    ben.sends_document("ben.txt", "text/plain", b"BEN-CANARY", "");
    ben.hears().await;
    world.anna.sends_document("one.txt", "text/plain", b"the first", "");
    world.anna.hears().await;
    world.anna.sends_document("two.txt", "text/plain", b"the second", "");
    world.anna.hears().await;
    let two = json!({ "file": "/attached/2.txt" });
    world.model.on("#two", [Step::call("examine", two), Step::say("seen")]);
    world.anna.says("#two");
    world.anna.hears_of("seen").await;
    let seen = said(&world);
    assert_eq!((&seen["names"], &seen["text"]), (&json!(["2.txt"]), &json!("the second")), "{seen}");
    assert_eq!(seen["descriptors"], json!([]), "{seen}");
    for act in ["write", "append", "delete", "beside", "execute"] {
        assert_ne!(seen[act], "done", "{act}: {seen}");
    }
    let both = json!({ "file": "/attached/1.txt", "more": ["/attached/2.txt", "see /attached/2.txt"] });
    world.model.on("#both", [Step::call("examine", both), Step::say("seen")]);
    world.anna.says("#both");
    world.anna.hears_of("seen").await;
    assert_eq!(said(&world)["names"], json!(["1.txt", "2.txt"]));
    // Ben's first file has the same name as Anna's, and there is no third one of hers.
    for (mark, path) in [("#ben", "/attached/3.txt"), ("#odd", "/attached/../2.txt"), ("#none", "")] {
        world.model.on(mark, [Step::call("examine", json!({ "file": path })), Step::say("seen")]);
        world.anna.says(mark);
        world.anna.hears_of("seen").await;
    }
    let all: String = world.model.requests().iter().map(|request| request.body.to_string()).collect();
    assert!(all.contains("There is no file /attached/3.txt in this conversation"), "{all}");
    let anna: Vec<_> =
        world.model.requests().into_iter().filter(|r| r.body.to_string().contains("#")).collect();
    assert!(anna.iter().all(|request| !request.body.to_string().contains("BEN-CANARY")));
    assert_eq!(said(&world)["names"], json!([]), "a call that names none gets none");
}

/// A PDF that came with a message is read where the user's own documents are read.
#[tokio::test]
async fn an_attached_document_is_read() {
    let world = world("").await;
    let path = json!({ "path": "/attached/1.md" });
    world.model.on("#read", [Step::call("read_document", path), Step::say("read it")]);
    world.anna.sends_document("letter.md", "text/markdown", b"The rent is 900 euro.", "#read");
    world.anna.hears_of("read it").await;
    let body = world.model.requests().pop().expect("asked").body.to_string();
    assert!(body.contains("The rent is 900 euro."), "{body}");
}

/// What a skill makes is sent once, behind the text, and stays a file of the conversation.
#[tokio::test]
async fn what_a_skill_makes_goes_out() {
    let world = world("").await;
    let files = json!({ "files": { "pot.png": "no picture", "b.txt": "words", "empty": "" } });
    world.model.on("#make", [Step::call("make", files), Step::say("here they are")]);
    world.anna.says("#make");
    assert_eq!(world.anna.hears().await.text, "here they are");
    let (first, second) = (world.anna.hears().await, world.anna.hears().await);
    let name = |sent: &openclaw_tests::telegram::Sent| sent.message["document"]["file_name"].clone();
    assert_eq!((name(&first), name(&second)), (json!("b.txt"), json!("pot.png")));
    assert_eq!(world.anna.opens(&first), b"words");
    let body = world.model.requests().pop().expect("asked").body.to_string();
    assert!(
        body.contains("Files that it made: /attached/1.txt") && body.contains("/attached/2.png"),
        "{body}"
    );
    world.gateway.idle().await;
    assert_eq!(world.telegram.calls_of("sendDocument").len(), 2);
    let again = json!({ "file": "/attached/1.txt" });
    world.model.on("#again", [Step::call("examine", again), Step::say("still there")]);
    world.anna.says("#again");
    world.anna.hears_of("still there").await;
    assert_eq!(said(&world)["text"], "words");
}

/// Incident 76: links, folders and odd names in what a skill made are not followed and name nothing here (a pipe it can't make:
/// its jail ends it); too much of it is the skill's own end.
#[tokio::test]
async fn a_hostile_skill_hands_out_nothing_else() {
    let world = world("").await;
    world.gateway.idle().await;
    for (mark, act) in [
        ("#links", "links"),
        ("#large", "too much"),
        ("#many", "many"),
        ("#out", "outside"),
        ("#fail", "fail"),
    ] {
        let make =
            json!({ "act": act, "files": if act == "fail" { json!({ "a.txt": "a" }) } else { json!({}) } });
        world.model.on(mark, [Step::call("make", make), Step::say("over")]);
        world.anna.says(mark);
        world.anna.hears_of("over").await;
        world.gateway.idle().await;
        let sent = world.anna.unseen();
        match act {
            "links" => {
                let names: Vec<_> =
                    sent.iter().map(|sent| sent.message["document"]["file_name"].clone()).collect();
                assert_eq!(names, ["etc"], "one odd name, as a word");
                assert_eq!(world.anna.opens(&sent[0]), b"odd");
            }
            "many" => assert_eq!(sent.len(), 8),
            "outside" => assert!(said(&world).as_array().expect("both").iter().all(|act| act != "done")),
            _ => assert!(sent.is_empty(), "{act}: {sent:?}"),
        }
        while !world.anna.unseen().is_empty() {
            world.anna.hears().await;
        }
    }
    assert_eq!(on_disk(&world).len() as i64, rows(&world));
    assert!(on_disk(&world).iter().all(|name| name.starts_with("1/")), "{:?}", on_disk(&world));
}

/// 429 and lost answers are the same to a file as to text: its turn is kept, and what may have arrived is marked.
#[tokio::test]
async fn files_are_as_durable_as_text() {
    let world = world("").await;
    let make = json!({ "files": { "a.txt": "words" } });
    world.model.on("#make", [Step::call("make", make), Step::say("text")]);
    let fault = |trouble| Fault { method: Some("sendDocument"), times: 1, trouble };
    world.telegram.fault(fault(Trouble::Refuse(Refusal::flood(1))));
    world.telegram.fault(fault(Trouble::Cut));
    world.telegram.fault(fault(Trouble::AnswerLost));
    world.anna.says("#make");
    assert_eq!(world.anna.hears().await.text, "text");
    world.anna.says("after");
    let first = world.anna.hears().await;
    let marked = world.anna.hears().await;
    assert_eq!((world.anna.opens(&first), world.anna.opens(&marked)), (b"words".to_vec(), b"words".to_vec()));
    assert_eq!(marked.text, "↻ possibly repeated");
    assert!(world.anna.hears().await.text.contains("after"), "in order");
    assert_eq!(world.gateway.status().await.queues.dead_letters, 0);
}

/// A `read` call that a crash ended runs again, and makes its files once.
#[tokio::test]
async fn a_call_that_runs_again_makes_its_files_once() {
    let mut world = world("").await;
    let make = json!({ "files": { "a.txt": "words" }, "milliseconds": 1500 });
    world.model.on("#make", [Step::call("make", make), Step::say("made once")]);
    world.anna.says("#make");
    world.model.asked(1).await;
    while world.gateway.count("SELECT count(*) FROM call WHERE finished IS NULL") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.gateway.kill_all().await;
    world.gateway.start_again().await;
    world.anna.hears_of("made once").await;
    assert_eq!(world.anna.opens(&world.anna.hears().await), b"words");
    world.gateway.idle().await;
    assert_eq!((rows(&world), on_disk(&world).len()), (1, 1));
    assert_eq!(world.telegram.calls_of("sendDocument").len(), 1);
    // Half a file, one without a row, and a row without its file, as other crashes leave them.
    world.gateway.kill_all().await;
    let folder = world.gateway.state().join("gateway/files");
    std::fs::write(folder.join("1/7.ogg"), "half").expect("write");
    let name = on_disk(&world).into_iter().find(|name| name.ends_with(".txt")).expect("there");
    std::fs::remove_file(folder.join(name)).expect("remove");
    world.gateway.start_again().await;
    assert_eq!((rows(&world), on_disk(&world)), (0, Vec::new()));
}

/// A message whose file was being fetched when everything was killed is taken up again, and its file is there once.
#[tokio::test]
async fn a_fetch_that_a_crash_ended_is_begun_again() {
    let mut world = world("").await;
    world.telegram.fault(Fault { method: Some("file"), times: 1, trouble: Trouble::Stall });
    world.anna.sends_document("a.txt", "text/plain", b"words", "keep this");
    while world.telegram.fetched().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.gateway.kill(Role::Gateway);
    world.gateway.ready().await;
    world.anna.hears_of("keep this").await;
    assert_eq!((rows(&world), on_disk(&world).len()), (1, 1));
}

/// Incident 115: what is larger than it may be is refused by the bytes that came, whatever was told; and who sent nothing else
/// is told why.
#[tokio::test]
async fn a_size_that_lies_is_no_size() {
    let world = world("largest = 100000").await;
    let lie = json!({ "file_name": "a.bin", "file_size": 10 });
    world.anna.sends_media("document", lie.clone(), &[7; 99_999], "");
    world.anna.hears_of("attached").await;
    world.anna.sends_media("document", lie, &[7; 100_001], "");
    let told = world.anna.hears().await.text;
    assert_eq!(told, "I could not take what you sent. document: it is larger than 98 KiB.");
    let honest = json!({ "file_name": "a.bin" });
    world.anna.sends_media("document", honest, &[7; 200_000], "with words");
    world.anna.hears_of("with words").await;
    let told = self::told(&world.model.requests().pop().expect("asked"));
    assert!(told.contains("can't be opened here: document: it is larger than 98 KiB"), "{told}");
    assert_eq!(
        (on_disk(&world).len(), world.telegram.fetched().len()),
        (1, 2),
        "the honest one was not asked for"
    );
}

/// The disk is bounded for each conversation and in all, the oldest go first, and `/new` deletes what is its own.
#[tokio::test]
async fn files_are_bounded_and_new_deletes_them() {
    let world = world("largest = 1000\nper_chat = 2500\ntotal = 4000").await;
    let ben = world.bot.person(1002, "Ben");
    for number in 0..4u8 {
        world.anna.sends_document("a.bin", "", &[number; 1000], "");
        world.anna.hears().await;
    }
    assert_eq!(on_disk(&world), ["1/3.bin", "1/4.bin"]);
    ben.sends_document("b.bin", "", &[9; 1000], "");
    ben.hears().await;
    ben.sends_document("b.bin", "", &[8; 1000], "");
    ben.hears().await;
    assert_eq!(on_disk(&world), ["1/3.bin", "1/4.bin", "2/1.bin", "2/2.bin"]);
    world.bot.group(-500, "Family");
    let group = world.bot.group(-500, "Family");
    world.anna.in_group(&group).sends_document("g.bin", "", &[5; 1000], "@main_bot look");
    world.gateway.idle().await;
    world.anna.says("/new");
    let told = world.anna.hears_of("A new conversation").await.text;
    assert!(told.contains("files are deleted") || told.contains("file is deleted"), "{told}");
    assert!(on_disk(&world).iter().all(|name| !name.starts_with("1/")), "{:?}", on_disk(&world));
    assert_eq!(rows(&world), on_disk(&world).len() as i64);
    assert!(on_disk(&world).contains(&"2/2.bin".to_owned()), "another's stay");
}

/// The owner sees what the sender calls a file, not only the path that we gave it.
#[tokio::test]
async fn the_question_shows_the_real_name() {
    let world = world("").await;
    let send = json!({ "file": "/attached/1.pdf" });
    world.model.on("#send", [Step::call("send", send), Step::say("sent it")]);
    world.anna.sends_document("Tax 2025.pdf", "application/pdf", b"%PDF-1.4", "#send");
    let asked = world.anna.hears().await;
    assert!(
        asked
            .text
            .contains("/attached/1.pdf is: document, application/pdf, 8 bytes, called \"Tax 2025.pdf\""),
        "{}",
        asked.text
    );
    // Other bytes than those that were asked about are not handed over (incident 90).
    std::fs::write(world.gateway.state().join("gateway/files/1/1.pdf"), b"%PDF-1.5").expect("write");
    world.anna.presses(&asked, &asked.buttons()[0]);
    world.anna.hears_of("sent it").await;
    let body = world.model.requests().pop().expect("asked").body.to_string();
    assert!(body.contains("An attachment can't be read"), "{body}");
}

/// The terminal has files too: one in, one out.
#[tokio::test]
async fn the_terminal_attaches_and_saves() {
    let world = world("").await;
    let home = world.gateway.setup().home();
    std::fs::write(home.join("mine.txt"), "from the terminal").expect("write");
    world
        .model
        .on("#look", [Step::call("examine", json!({ "file": "/attached/1.txt" })), Step::say("seen it")]);
    let make = json!({ "files": { "out.txt": "made for the terminal" } });
    world.model.on("#make", [Step::call("make", make), Step::say("made it")]);
    let saved = home.join("documents/saved.txt");
    let lines = format!(
        "/attach {}\n#look\n#make\n/save 2.txt {}\n/save 9.txt {}\n/attach {}\n",
        home.join("mine.txt").display(),
        saved.display(),
        home.join("documents/none.txt").display(),
        home.join("none.txt").display(),
    );
    let done = world.gateway.command(&["chat"], &lines).await;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(out.contains("seen it") && out.contains("made it"), "{out}\n{err}");
    for part in [
        "/attached/1.txt goes with your next message",
        "Files that it made: /attached/2.txt",
        "there is no file \"9.txt\"",
        "none.txt",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(std::fs::read_to_string(&saved).expect("saved"), "made for the terminal");
    let bodies: String = world.model.requests().iter().map(|request| request.body.to_string()).collect();
    assert!(bodies.contains("from the terminal"), "{bodies}");
}
