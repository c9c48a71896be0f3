//! With a user for each process, as the appliance has it, everything passes that has to pass between them (files in and out,
//! granted folders, a way out), and nothing else does.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use openclaw_tests::{
    gateway::{Apart, Role, Setup, dist},
    model::{Model, Step},
    telegram::{Person, Sent, Telegram},
    world::OWNER,
};
use serde_json::json;

/// What this user, with no further group, reads there.
fn reads(user: u32, path: &Path) -> String {
    let read = Command::new("/bin/cat").arg(path).uid(user).gid(user).output().expect("cat starts");
    String::from_utf8_lossy(&[read.stdout, read.stderr].concat()).into_owned()
}

async fn question(anna: &Person) -> Sent {
    loop {
        let heard = anna.hears().await;
        if !heard.buttons().is_empty() {
            return heard;
        }
    }
}

/// A file that came in is handed from the gateway's user to the jail of the runner's as a descriptor, and what a skill made
/// comes back; the runner's user itself can open neither.
#[tokio::test]
#[ignore = "needs root: each process has a user of its own"]
async fn files_pass_between_users_and_nothing_else() {
    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let (mut setup, bot) = Setup::usual(&telegram, &model, OWNER);
    setup.test_skills();
    setup.file("documents/mine.txt", b"the cellar key is under the blue pot");
    setup.file("counter/lines", b"");
    let apart = Apart::start(setup).await;
    let anna = bot.person(OWNER, "Anna");
    for role in Role::ALL {
        let status = std::fs::read_to_string(format!("/proc/{}/status", apart.pid(role))).expect("it runs");
        let user = role.user().to_string();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a line");
        assert!(uid.split_whitespace().all(|each| each == user), "{role:?}: {uid}");
    }
    let told = |part: &str| model.requests().iter().any(|request| request.body.to_string().contains(part));

    // In: from Telegram through egress to the gateway's disk, and from there into a jail.
    let path = json!({ "path": "/attached/1.md" });
    model.on("#read", [Step::call("read_document", path), Step::say("read it")]);
    anna.sends_document("letter.md", "text/markdown", b"The rent is 900 euro.", "#read");
    anna.hears_of("read it").await;
    assert!(told("The rent is 900 euro."));
    let stored = apart.setup().state().join("gateway/files/1/1.md");
    assert_eq!(reads(Role::Gateway.user(), &stored), "The rent is 900 euro.");
    for other in [Role::Runner, Role::Egress] {
        assert!(reads(other.user(), &stored).contains("Permission denied"), "{other:?}");
    }

    // Out: from a jail to the gateway's disk and to Telegram.
    let files = json!({ "files": { "pot.txt": "made under another user" } });
    model.on("#make", [Step::call("make", files), Step::say("made it")]);
    anna.says("#make");
    anna.hears_of("made it").await;
    let sent = anna.hears().await;
    assert_eq!(sent.message["document"]["file_name"], "pot.txt");
    assert_eq!(anna.opens(&sent), b"made under another user");
    let made = apart.setup().state().join("gateway/files/1/2.txt");
    assert_eq!(reads(Role::Gateway.user(), &made), "made under another user");
    assert!(reads(Role::Runner.user(), &made).contains("Permission denied"));

    // Granted folders belong to the operator and are open to the runner's group: read, and written to after a yes.
    model.on("#mine", [Step::call("read_document", json!({ "path": "mine.txt" })), Step::say("read mine")]);
    anna.says("#mine");
    anna.hears_of("read mine").await;
    assert!(told("under the blue pot"));
    model.on("#count", [Step::call("count", json!({ "word": "pineapple" })), Step::say("counted it")]);
    anna.says("#count");
    let asked = question(&anna).await;
    let yes = asked.buttons()[0].clone();
    anna.presses(&asked, &yes);
    anna.hears_of("counted it").await;
    let lines = apart.setup().home().join("counter/lines");
    assert_eq!(std::fs::read_to_string(lines).expect("written"), "pineapple\n");

    // A way out is registered by one user, redeemed by another and judged by the third.
    let folder = dist().join("test-skills/prober").display().to_string();
    let approved = apart.operator(&["skills", "approve", &folder], "").await;
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    let probe = json!({ "act": "fetch", "url": "https://example.com/" });
    model.on("#reach", [Step::call("probe", probe), Step::say("tried it")]);
    anna.says("#reach");
    let (one, other) = (anna.hears().await.text, anna.hears().await.text);
    let denial = "skill prober tried to reach example.com:443 (not in its manifest)";
    assert!(format!("{one}{other}").contains(denial), "{one}\n{other}\n{}", apart.setup().log());

    // The terminal's files too: the operator's, by descriptor, to the gateway's user.
    let mine = apart.setup().home().join("documents/mine.txt");
    let saved = apart.setup().state().with_file_name("saved.txt");
    let examine = json!({ "file": "/attached/1.txt" });
    model.on("#look", [Step::call("examine", examine), Step::say("seen it")]);
    model.on("#more", [Step::call("make", json!({ "files": { "b.txt": "b" } })), Step::say("made more")]);
    let lines = format!("/attach {}\n#look\n#more\n/save 2.txt {}\n", mine.display(), saved.display());
    let chat = apart.operator(&["chat"], &lines).await;
    let said = String::from_utf8_lossy(&[chat.stdout, chat.stderr].concat()).into_owned();
    assert!(said.contains("seen it") && said.contains("made more"), "{said}");
    assert_eq!(std::fs::read_to_string(&saved).expect(&said), "b");
}
