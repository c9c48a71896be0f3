//! Keys and tokens are in egress and nowhere else: not in the gateway's memory, no log, no database, no environment, no
//! command line.

use std::{fs, path::Path};

use openclaw_tests::{
    gateway::{Process, Role, contains},
    model::{Act, Step},
    page::{Page, token},
    telegram::{Fault, Refusal, Trouble},
    world::World,
};
use openclaw_wire::facts::FACTS;

const MODEL_KEY: &str = "canary-model-key-7f3a-not-real";
const TOKEN: &str = openclaw_tests::gateway::TOKEN;
/// Planted into a message, so that the search is known to find what is there.
const CONTROL: &str = "control-canary-5d21";

/// Keys of servers that can't be reached: one has no address, one speaks no TLS.
const UNREACHED: [(&str, &str); 2] =
    [("DNS_KEY", "canary-unreached-dns-not-real"), ("TLS_KEY", "canary-unreached-tls-not-real")];

/// Messages through all kinds of trouble: Telegram refuses, breaks off, sends rubbish; a model refuses the key, the next has no
/// address, the last no TLS.
async fn world_with_trouble() -> World {
    let world = World::webhook(|setup| {
        let plain = setup.config();
        let plain = plain.split("http://").nth(1).and_then(|rest| rest.split(['"', '/']).next());
        let urls = ["nowhere.invalid", plain.expect("a server")].map(|host| format!("https://{host}/v1"));
        for ((name, key), url) in UNREACHED.iter().zip(urls) {
            setup.key(name, key);
            let model = name.to_lowercase().replace('_', "-");
            setup.tables(&format!(
                "[[model]]\nname = \"{model}\"\napi = \"openai\"\nmodel = \"x\"\nurl = \"{url}\"\nkey = \"{name}\"\nprivate = true"
            ));
        }
        setup.tables("[[price]]\nmodel = \"x\"\ninput = 0\noutput = 0");
        setup.environment("OPENAI_API_KEY", "canary-environment-key-not-real");
        setup.set_key("MODEL_KEY_1", MODEL_KEY);
        setup.section("log", "level = \"debug\"");
    })
    .await;
    let send = |trouble| Fault { method: Some("sendMessage"), times: 1, trouble };
    world.telegram.fault(send(Trouble::Refuse(Refusal::new(500, "Internal Server Error"))));
    world.telegram.fault(send(Trouble::Cut));
    world.telegram.fault(send(Trouble::Garbage(502)));
    world.model.on("#unauthorized", [Step(vec![Act::Status(401, "authentication_error", None)])]);
    world.anna.says(&format!("hello {CONTROL}"));
    world.anna.hears().await;
    world.anna.says("#unauthorized");
    world.anna.hears().await;
    let log = world.gateway.log();
    for word in ["look up nowhere.invalid", "connect to 127.0.0.1"] {
        assert!(log.contains(word), "{word} was asked in vain: {log}");
    }
    world
}

fn secrets(world: &World) -> Vec<String> {
    vec![MODEL_KEY.into(), TOKEN.into(), "canary-environment-key-not-real".into(), world.secret()]
}

/// Those of servers that were never reached, too.
fn all_secrets(world: &World) -> Vec<String> {
    secrets(world).into_iter().chain(UNREACHED.map(|(_, key)| key.to_owned())).collect()
}

/// The gateway's memory, read as root while it serves, holds no secret; egress's does, and the gateway's holds the
/// control canary (incident 109).
#[tokio::test]
#[ignore = "needs root: it reads another process's memory"]
async fn the_gateways_memory_holds_no_secret() {
    assert!(rustix::process::geteuid().is_root(), "this test reads another process's memory: run it as root");
    let world = world_with_trouble().await;
    let secrets = secrets(&world);
    let needles: Vec<&str> = secrets.iter().map(String::as_str).chain([CONTROL]).collect();
    // A turn that hangs keeps the message in memory while it is searched.
    world.model.on("#hang", [Step(vec![Act::Hang])]);
    let before = world.model.requests().len();
    world.anna.says(&format!("#hang {CONTROL}"));
    world.model.asked(before + 1).await;
    let gateway = world.gateway.living(Role::Gateway).await.memory_holds(&needles);
    assert_eq!(
        gateway,
        [false, false, false, false, true],
        "in the order {:?}",
        ["key", "token", "environment", "webhook", "control"]
    );
    let runner = world.gateway.living(Role::Runner).await.memory_holds(&needles);
    assert_eq!(runner[..4], [false; 4]);
    let supervisor = Process(world.gateway.supervisor()).memory_holds(&needles);
    assert_eq!(supervisor[..2], [false; 2], "the supervisor reads no key file");
    let egress = world.gateway.living(Role::Egress).await.memory_holds(&needles);
    assert!(egress[0] && egress[1], "egress holds the key and the token: the search works there too");
}

/// No log, database, environment or command line holds a secret, after every kind of trouble (incidents 109, 111).
#[tokio::test]
#[ignore = "needs root: it reads other processes' environments"]
async fn no_file_and_no_proc_entry_holds_a_secret() {
    let mut world = world_with_trouble().await;
    let secrets = all_secrets(&world);
    let mut all = vec![Process(world.gateway.supervisor())];
    for role in Role::ALL {
        all.push(world.gateway.living(role).await);
    }
    for process in &all {
        for file in ["environ", "cmdline", "comm", "status"] {
            let content = process.file(file);
            for secret in &secrets {
                assert!(!contains(&content, secret.as_bytes()), "{}: {file}", process.program());
            }
            if file == "environ" {
                assert!(!contains(&content, b"KEY") && !contains(&content, b"HOME"), "{}", process.program());
            }
        }
    }
    assert!(world.gateway.log().len() > 100, "there is a log to search");
    for secret in &secrets {
        assert!(!world.gateway.log().contains(secret.as_str()), "in the log");
    }
    for arguments in
        [&["status", "--json"][..], &["doctor", "--json"], &["webhook", "info"], &["config", "show"]]
    {
        let done = world.gateway.command(arguments, "").await;
        let said = [done.stdout, done.stderr].concat();
        assert!(secrets.iter().all(|secret| !contains(&said, secret.as_bytes())), "{arguments:?}");
    }
    world.gateway.stop().await;
    let keys = world.gateway.state().join(&FACTS.state.egress);
    let found = search(world.gateway.state(), &secrets, &keys);
    assert_eq!(found, [""; 0]);
    assert!(
        !search(world.gateway.state(), &[CONTROL.into()], &keys).is_empty(),
        "the search finds what is there"
    );
    assert!(!search(&keys, &secrets, Path::new("/")).is_empty(), "the secrets are in egress's own folder");
}

/// The gateway leaves no core dump, whoever asks for one, and its memory is nobody's of the same user.
#[tokio::test]
async fn a_crash_leaves_no_core() {
    let world = world_with_trouble().await;
    for role in Role::ALL {
        let process = world.gateway.living(role).await;
        let limits = String::from_utf8_lossy(&process.file("limits")).into_owned();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{role:?}: {core}");
        // The kernel gives the files of a process that is not dumpable to root.
        let owner = std::os::unix::fs::MetadataExt::uid(
            &fs::metadata(format!("/proc/{}/mem", process.0)).expect("there"),
        );
        assert_eq!(owner, 0, "{role:?} is dumpable");
    }
}

/// The model and the bot never see each other's key, and no key goes into a request's body.
#[tokio::test]
async fn no_request_carries_anothers_key() {
    let world = world_with_trouble().await;
    for request in world.model.requests() {
        let everything = format!("{:?}", request);
        assert!(!everything.contains(TOKEN) && !everything.contains(&world.secret()));
        assert!(!request.body.to_string().contains(MODEL_KEY));
    }
    for call in world.telegram.calls() {
        let everything = format!("{:?}", call.parameters);
        assert!(!everything.contains(MODEL_KEY) && !everything.contains(TOKEN), "{}", call.method);
    }
}

/// The key file must be private: otherwise nothing starts, and the command that mends it is printed.
#[tokio::test]
async fn an_open_key_file_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = world_with_trouble().await;
    world.gateway.stop().await;
    let keys = world.gateway.state().join(&FACTS.state.keys);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).expect("chmod");
    let mut again = world.gateway.setup().command(&["run"]).spawn().expect("starts");
    let ended = tokio::time::timeout(openclaw_tests::gateway::PATIENCE, again.wait()).await;
    assert!(!ended.expect("it refuses").expect("waited").success());
    let log = world.gateway.log();
    assert!(log.contains("chmod 600"), "the mending command is named: {log}");
}

/// Incident 111: a key that a far end sends back is in no transcript and no summary, is not read again from either, and what
/// can be asked of the programs, or copied of their state, holds none.
#[tokio::test]
async fn a_key_that_comes_back_is_in_no_transcript_and_no_summary() {
    let mut page = None;
    let mut world = World::webhook(|setup| {
        page = Some(Page::switch_on(setup));
        setup.set_key("MODEL_KEY_1", MODEL_KEY);
        setup.section("session", "window = 2048\nsummary = 4096");
        setup.section("telegram", "per_second = 100000\nper_chat_minute = 100000");
        setup.section("log", "level = \"debug\"");
    })
    .await;
    // Cut over the events of a stream, which egress passes on one by one: a fourth of it at most is shown, see `mask`.
    let covered = format!("{}{}", &MODEL_KEY[..7], "*".repeat(MODEL_KEY.len() - 7));
    world.model.on("#leak", [Step::say(format!("Remember: {MODEL_KEY} {CONTROL}"))]);
    world.anna.says("#leak");
    assert_eq!(world.anna.hears().await.text, format!("Remember: {covered} {CONTROL}"));
    // Until that is folded, and read again out of the summary.
    let folded = || world.gateway.count("SELECT count(*) FROM session WHERE summary LIKE '%control-canary%'");
    for number in 0..200 {
        if folded() > 0 {
            break;
        }
        world
            .anna
            .says(&format!("{number}: some words so that the conversation grows longer than its window"));
        world.anna.hears_of(&format!("You said: {number}:")).await;
        world.gateway.idle().await;
    }
    assert_eq!(folded(), 1, "it was folded, with what stood beside the key");
    world.model.take_requests();
    world.anna.says("what do you remember?");
    world.anna.hears_of("what do you remember?").await;
    let prompt = world.model.requests().iter().map(|request| request.body.to_string()).collect::<String>();
    assert!(prompt.contains(CONTROL) && !prompt.contains(MODEL_KEY), "{prompt}");

    let secrets = secrets(&world);
    let cookie = page.expect("on").log_in(&token(&world.gateway, &[]).await).await.expect("logged in");
    let mut said = Vec::new();
    for path in ["/", "/metrics"] {
        let answer = page.expect("on").ask("GET", path, &[("Cookie", &cookie)], "").await;
        assert_eq!(answer.status, 200, "{path}");
        said.push((path.to_owned(), answer.body.into_bytes()));
    }
    for arguments in [
        &["status", "--json"][..],
        &["config", "show"],
        &["keys", "list", "--json"],
        &["usage", "--json"],
        &["privacy", "--json"],
        &["doctor", "--json"],
        &["skills", "list", "--json"],
        &["dead-letters", "list", "--json"],
        &["webhook", "info"],
    ] {
        let done = world.gateway.command(arguments, "").await;
        assert!(!done.stdout.is_empty(), "{arguments:?} says something");
        said.push((arguments.join(" "), [done.stdout, done.stderr].concat()));
    }
    for (what, said) in &said {
        assert!(secrets.iter().all(|secret| !contains(said, secret.as_bytes())), "{what}");
    }
    world.gateway.stop().await;
    assert!(secrets.iter().all(|secret| !world.gateway.log().contains(secret.as_str())), "the log");
    let keys = world.gateway.state().join(&FACTS.state.egress);
    assert_eq!(search(world.gateway.state(), &secrets, &keys), [""; 0]);
    assert!(
        !search(world.gateway.state(), &[covered, CONTROL.into()], &keys).is_empty(),
        "it does find things"
    );
}

/// Incident 98: keys come from egress's own file alone. One in the folder where it was started, in the owner's files or beside a
/// skill is not read, and does not go before the real one.
#[tokio::test]
async fn only_one_file_gives_keys() {
    let planted = "MODEL_KEY_1=planted-key-not-real\nPLANTED_KEY=planted-key-not-real\n";
    let world = World::polling(|setup| {
        setup.set_key("MODEL_KEY_1", MODEL_KEY);
        setup.key("OTHER_KEY", "canary-other-key-not-real");
        let folder = setup.home().join("skills");
        setup.section("skills", &format!("folders = [\"{}\"]", folder.display()));
        // `openclaw run` is started in the owner's home.
        for file in
            [".env", "documents/.env", "skills/.env", "skills/guide/.env", "skills/guide/scripts/.env"]
        {
            setup.file(file, planted.as_bytes());
        }
        setup.file("skills/guide/SKILL.md", b"---\nname: guide\ndescription: d\n---\nWords.\n");
    })
    .await;
    let skills = world.gateway.ask(&["skills", "list"]).await;
    assert!(skills.contains("guide"), "the skill is there: {skills}");
    let names = world.gateway.ask(&["keys", "list"]).await;
    assert!(names.contains("OTHER_KEY") && !names.contains("PLANTED"), "{names}");
    world.anna.says("hello");
    world.anna.hears().await;
    assert!(world.model.requests().iter().all(|request| request.key == MODEL_KEY));
}

/// Files below `folder`, but not below `except`, that hold one of the needles.
pub fn search(folder: &Path, needles: &[String], except: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.starts_with(except) && except != Path::new("/") {
            continue;
        }
        if path.is_dir() {
            found.extend(search(&path, needles, except));
        } else if path.is_file() {
            let content = fs::read(&path).expect("readable");
            if needles.iter().any(|needle| contains(&content, needle.as_bytes())) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Incident 106: the key file is its user's alone, the gateway's rules open nothing of egress's folder to it; and a decoy
/// where thieves look is an alarm when it turns up in what is to leave: told once, also over a restart, and it does not leave.
#[tokio::test]
async fn stolen_files_are_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::webhook(|setup| {
        setup.section("telegram", "per_second = 100000\nper_chat_minute = 100000");
    })
    .await;
    let state = world.gateway.state().to_owned();
    for (path, mode) in [(&FACTS.state.keys, 0o600), (&FACTS.state.egress, 0o700)] {
        let meta = fs::metadata(state.join(path)).expect("there");
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path:?}");
    }
    let report = world.gateway.ask(&["status", "--confinement", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let reports = report.as_array().cloned().unwrap_or_else(|| vec![report.clone()]);
    let gateway = reports.iter().find(|one| one["process"] == "gateway").expect("the gateway's report");
    let rules = gateway["layers"].as_array().expect("layers").iter();
    let rules = rules.clone().find(|layer| layer["name"] == "landlock-fs").expect("of files");
    let asked = rules["asked"].as_str().expect("text");
    assert!(asked.contains("gateway") && !asked.contains("egress"), "{asked}");

    let decoy = state.join("thieves-look-here.env");
    world.gateway.ask(&["keys", "decoy", &decoy.display().to_string()]).await;
    let text = fs::read_to_string(&decoy).expect("the decoy");
    let (_, key) = text.lines().next().expect("a line").split_once('=').expect("a key");
    let heard = async |words: &str| {
        world.anna.says(words);
        world.anna.hears().await.text
    };
    assert_eq!(heard("nothing to see").await, "You said: nothing to see");
    // Somebody read it, and now it is in a conversation.
    let (one, other) = (heard(&format!("what is {key}")).await, world.anna.hears().await.text);
    let (alarm, answer) = if one.starts_with("Alarm") { (one, other) } else { (other, one) };
    assert!(alarm.contains("the decoy, was in a request of the gateway"), "{alarm}");
    assert_eq!(answer, format!("You said: what is {}", "*".repeat(key.len())));
    assert!(world.model.requests().iter().all(|request| !request.body.to_string().contains(key)));
    assert!(!world.gateway.log().contains(key));
    assert!(heard(&format!("again {key}")).await.starts_with("You said: again *"), "told once");

    world.gateway.kill_all().await;
    world.gateway.start_again().await;
    // Two of the same kind in one second are one alarm.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.anna.says(&format!("still {key}"));
    // Egress began anew, so this is another alarm: the decoy is still known.
    // What was answered right before the end may come once more, marked.
    let mut heard = Vec::new();
    let began = |heard: &[String], words: &str| heard.iter().any(|text| text.starts_with(words));
    while !(began(&heard, "Alarm") && began(&heard, "You said: still *")) {
        heard.push(world.anna.hears().await.text);
    }
}
