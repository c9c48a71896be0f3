//! Keys are exchanged while egress serves: the new one is tried first, what is under way ends with the old one, and what
//! does not work changes nothing.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use openclaw_wire::egress::{Changed, KeyList, RefusalKind, Tried};

use crate::{
    far::{self, Far, Seen},
    program::{Egress, KEY, Setup, TOKEN, chmod},
};

const NEW: &str = "test-key-not-real-the-new-one";

/// A provider that knows some keys. Calls whose body says `hold` wait until they are let go.
struct Provider {
    far: Far,
    known: Arc<Mutex<Vec<&'static str>>>,
    go: Sender<()>,
}

impl Provider {
    fn start(known: &[&'static str]) -> Self {
        let known = Arc::new(Mutex::new(known.to_vec()));
        let (go, wait) = channel();
        let (keys, wait) = (known.clone(), Mutex::new(wait));
        let far = Far::start(move |seen, to| answer(seen, to, &keys, &wait));
        Self { far, known, go }
    }

    fn knows(&self, keys: &[&'static str]) {
        *self.known.lock().expect("lock") = keys.to_vec();
    }

    /// The keys of the calls (not of the tries), in order.
    fn keys(&self) -> Vec<String> {
        let calls = self.far.seen().into_iter().filter(|seen| seen.line().starts_with("POST"));
        calls.map(|seen| seen.header("x-api-key").expect("a key").to_owned()).collect()
    }

    fn tries(&self) -> usize {
        self.far.seen().iter().filter(|seen| seen.line().starts_with("GET /v1/models")).count()
    }
}

fn answer(seen: &Seen, to: &mut TcpStream, known: &Mutex<Vec<&'static str>>, wait: &Mutex<Receiver<()>>) {
    let key = seen.header("x-api-key").unwrap_or_default();
    let good = known.lock().expect("lock").contains(&key);
    match (good, seen.text().contains("hold")) {
        (false, _) => far::reply(to, "401 Unauthorized", "", b"{}"),
        (true, true) => {
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            far::chunk(to, b"begins");
            wait.lock().expect("lock").recv().expect("let go");
            far::chunk(to, b"ends");
            far::chunk(to, b"");
        }
        (true, false) => far::reply(to, "200 OK", "", b"{}"),
    }
}

fn list(egress: &Egress) -> KeyList {
    serde_json::from_slice(&egress.command("GET", "/keys", "").body).expect("a list")
}

/// Waits until the list is as wanted.
fn until(egress: &Egress, what: &str, wanted: impl Fn(&KeyList) -> bool) -> KeyList {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let list = list(egress);
        if wanted(&list) {
            return list;
        }
        assert!(Instant::now() < deadline, "{what}: {list:?}\n{}", egress.setup().log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn changed(egress: &Egress, path: &str, body: &str) -> Changed {
    let answer = egress.command("POST", path, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("a change")
}

#[test]
fn a_key_is_exchanged_while_a_request_goes_on_with_the_old_one() {
    let provider = Provider::start(&[KEY, NEW]);
    let egress = Setup::model(&provider.far.url()).start();
    let mut under_way = egress.open();
    under_way.request("POST", "/r/model/m/v1/messages", &[], b"hold");
    under_way.head();
    assert_eq!(under_way.chunk(), b"begins");

    let change = changed(&egress, "/keys/MODEL_KEY/rotate", NEW);
    assert!(change.tried.iter().all(|tried| tried.good), "{change:?}");
    assert_eq!((change.tried[0].route.as_str(), provider.tries()), ("model m", 1));
    assert_eq!((change.retired.requests, change.retired.safe_to_revoke), (1, false));
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(provider.keys(), [KEY, NEW], "the next request has the new one");

    provider.go.send(()).expect("goes on");
    assert_eq!(under_way.chunk(), b"ends", "the request under way was not disturbed");
    assert_eq!(under_way.chunk(), b"");
    let list = until(&egress, "out of use", |list| list.retired.iter().all(|retired| retired.safe_to_revoke));
    assert_eq!(list.retired.len(), 1);
    assert!(list.retired[0].last_used.is_some(), "{list:?}");
    assert_eq!(list.keys[0].used_by, ["model m"]);
    assert_eq!(fs::read_to_string(egress.setup().key_file()).expect("keys"), format!("MODEL_KEY={NEW}\n"));

    let setup = egress.stop();
    let log = setup.log();
    assert!(!log.contains(KEY) && !log.contains(NEW), "{log}");
    setup.start().ask("{}");
    assert_eq!(provider.keys().last().map(String::as_str), Some(NEW), "and after a restart");
}

#[test]
fn a_new_key_that_is_refused_or_can_not_be_tried_changes_nothing() {
    let provider = Provider::start(&[KEY]);
    let egress = Setup::model(&provider.far.url()).start();
    let refusal = egress.command("POST", "/keys/MODEL_KEY/rotate", NEW).refused(RefusalKind::BadRequest);
    assert!(
        refusal.message.contains("refused (401)") && refusal.mend.contains("still in use"),
        "{refusal:?}"
    );
    for (path, body, part) in [
        ("/keys/MODEL_KEY/rotate/force", NEW, "refused (401)"),
        ("/keys/MODEL_KEY/rotate", KEY, "as it is"),
        ("/keys/MODEL_KEY/rotate", "two words", "one word"),
        ("/keys/MODEL_KEY/rotate", "", "one word"),
        ("/keys/MODEL_KEY/add", NEW, "already"),
        ("/keys/OTHER/rotate", NEW, "no key OTHER"),
        ("/keys/OTHER/retire", "", "no key OTHER"),
        ("/keys/odd-name/add", NEW, "A-Z"),
    ] {
        let refusal = egress.command("POST", path, body).refused(RefusalKind::BadRequest);
        assert!(refusal.message.contains(part), "{path}: {refusal:?}");
        assert!(!format!("{refusal:?}").contains(NEW), "{refusal:?}");
    }
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(provider.keys(), [KEY]);
    assert_eq!(fs::read_to_string(egress.setup().key_file()).expect("keys"), format!("MODEL_KEY={KEY}\n"));
    assert!(list(&egress).retired.is_empty());
}

#[test]
fn a_key_that_can_not_be_tried_is_taken_only_by_force() {
    let egress = Setup::model("http://127.0.0.1:9").start();
    let refusal = egress.command("POST", "/keys/MODEL_KEY/rotate", NEW).refused(RefusalKind::BadRequest);
    assert!(refusal.mend.contains("--force"), "{refusal:?}");
    changed(&egress, "/keys/MODEL_KEY/rotate/force", NEW);
    assert!(fs::read_to_string(egress.setup().key_file()).expect("keys").contains(NEW));
}

#[test]
fn a_key_is_added_and_retired() {
    let provider = Provider::start(&[KEY]);
    let setup = Setup::model(&provider.far.url());
    fs::write(setup.key_file(), "# my keys\nUNUSED=1\n").expect("write");
    let egress = setup.start();
    let problem = egress.status().models[0].problem.clone().expect("no key");
    assert!(problem.contains("MODEL_KEY is not there"), "{problem}");
    egress.ask("{}").refused(RefusalKind::NoKey);

    let change = changed(&egress, "/keys/MODEL_KEY/add", KEY);
    assert!(change.retired.names.is_empty() && change.tried[0].good, "{change:?}");
    assert_eq!(egress.status().models[0].problem, None);
    assert_eq!(egress.ask("{}").status, 200);
    let text = fs::read_to_string(egress.setup().key_file()).expect("keys");
    assert_eq!(text, format!("# my keys\nUNUSED=1\nMODEL_KEY={KEY}\n"), "comments stay");

    changed(&egress, "/keys/MODEL_KEY/retire", "");
    egress.ask("{}").refused(RefusalKind::NoKey);
    assert!(!fs::read_to_string(egress.setup().key_file()).expect("keys").contains(KEY));
    until(&egress, "out of use", |list| list.retired.iter().all(|retired| retired.safe_to_revoke));
}

/// Incident 44: a retired key is out of use on connections that stand, after a restart, and when the key file of before is put
/// back. The operator's own order brings it back, and nothing else.
#[test]
fn a_retired_key_stays_retired() {
    let provider = Provider::start(&[KEY]);
    let egress = Setup::model(&provider.far.url()).start();
    let backup = fs::read(egress.setup().key_file()).expect("the key file");
    let mut session = egress.open();
    let path = "/r/model/m/v1/messages";
    assert_eq!(session.call("POST", path, &[], b"{}").status, 200);
    changed(&egress, "/keys/MODEL_KEY/retire", "");
    session.call("POST", path, &[], b"{}").refused(RefusalKind::NoKey);

    let restore = |file: &std::path::Path| {
        fs::write(file, &backup).expect("restored");
        chmod(file, 0o600);
    };
    restore(&egress.setup().key_file());
    let retired =
        |list: &KeyList| list.problem.as_ref().is_some_and(|said| said.contains("MODEL_KEY was retired"));
    until(&egress, "noticed", retired);
    egress.ask("{}").refused(RefusalKind::NoKey);
    let (setup, said) = egress.stop().start_refused();
    assert!(said.contains("MODEL_KEY was retired") && said.contains("openclaw keys add MODEL_KEY"), "{said}");
    assert_eq!(provider.keys(), [KEY], "it was used once");

    let egress = setup.keys("").start();
    egress.ask("{}").refused(RefusalKind::NoKey);
    changed(&egress, "/keys/MODEL_KEY/add", KEY);
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(egress.stop().start().ask("{}").status, 200);
}

#[test]
fn an_edit_of_the_key_file_is_noticed() {
    let provider = Provider::start(&[KEY, NEW]);
    let egress = Setup::model(&provider.far.url()).start();
    egress.status();
    // As editors do: another file in the place of the old one.
    let half = egress.setup().state().join("egress/.env.editor");
    fs::write(&half, format!("# by hand\nMODEL_KEY={NEW}\n")).expect("write");
    chmod(&half, 0o600);
    fs::rename(&half, egress.setup().key_file()).expect("rename");
    until(&egress, "taken over", |list| list.retired.iter().any(|retired| retired.safe_to_revoke));
    assert_eq!(provider.tries(), 1, "tried before it took over");
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(provider.keys(), [NEW]);
}

#[test]
fn a_slip_of_the_editor_stops_nothing() {
    let provider = Provider::start(&[KEY]);
    let egress = Setup::model(&provider.far.url()).start();
    egress.status();
    let slips = [
        (format!("MODEL_KEY={NEW}\n"), 0o600, "refused (401)"),
        (format!("MODEL_KEY = two {NEW}\n"), 0o600, "blanks"),
        (format!("MODEL_KEY={KEY}\n"), 0o644, "wider than 0600"),
    ];
    for (text, mode, part) in slips {
        fs::write(egress.setup().key_file(), text).expect("write");
        chmod(&egress.setup().key_file(), mode);
        let has = |list: &KeyList| list.problem.as_ref().is_some_and(|problem| problem.contains(part));
        let list = until(&egress, part, has);
        assert!(!format!("{list:?}").contains(NEW), "{list:?}");
        assert_eq!(egress.ask("{}").status, 200, "{part}: the key of before serves");
    }
    fs::remove_file(egress.setup().key_file()).expect("removed");
    until(&egress, "gone", |list| list.problem.as_ref().is_some_and(|problem| problem.contains("is gone")));
    assert_eq!(egress.ask("{}").status, 200);

    provider.knows(&[KEY, NEW]);
    fs::write(egress.setup().key_file(), format!("MODEL_KEY={NEW}\n")).expect("write");
    chmod(&egress.setup().key_file(), 0o600);
    until(&egress, "mended", |list| list.problem.is_none() && !list.retired.is_empty());
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(provider.keys().last().map(String::as_str), Some(NEW));
}

#[test]
fn only_keys_of_the_file_are_changed_here() {
    let provider = Provider::start(&[KEY, NEW]);
    let egress = Setup::model(&provider.far.url()).environment(&format!("MODEL_KEY={KEY}\n")).start();
    let refusal = egress.command("POST", "/keys/MODEL_KEY/rotate", NEW).refused(RefusalKind::BadRequest);
    assert!(refusal.message.contains("environment"), "{refusal:?}");
    assert_eq!(list(&egress).keys[0].source, "environment");
}

#[test]
fn two_keys_serve_side_by_side() {
    let provider = Provider::start(&[NEW]);
    let setup = Setup::new().config(&format!(
        "[[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nkey = \"FIRST\"\nspare_keys = [\"SECOND\"]\nurl = \"{}\"\nprivate = true\n",
        provider.far.url()
    ));
    let egress = setup.keys(&format!("FIRST={KEY}\nSECOND={NEW}\n")).start();
    assert_eq!(egress.ask("{\"a\":1}").status, 200, "the first is refused, the second answers");
    assert_eq!(egress.ask("{}").status, 200);
    assert_eq!(provider.keys(), [KEY, NEW, NEW], "the first is put aside");
    let bodies: Vec<_> = provider.far.seen().iter().map(Seen::text).collect();
    assert_eq!(bodies, ["{\"a\":1}", "{\"a\":1}", "{}"]);
    let info = list(&egress).keys;
    assert!(info[0].aside_until.is_some() && info[1].aside_until.is_none(), "{info:?}");
    provider.knows(&[]);
    assert_eq!(egress.ask("{}").status, 401, "when all are refused the server's word is passed on");
}

#[test]
fn a_busy_key_is_put_aside_for_as_long_as_the_server_says() {
    let far = Far::start(|seen, to| match seen.header("x-api-key") {
        Some(KEY) => far::reply(to, "429 Too Many Requests", "retry-after: 1\r\n", b"{}"),
        _ => far::reply(to, "200 OK", "", b"{}"),
    });
    let setup = Setup::model(&far.url()).config("spare_keys = [\"SPARE\"]\n");
    let egress = setup.keys(&format!("MODEL_KEY={KEY}\nSPARE={NEW}\n")).start();
    assert_eq!(egress.ask("{}").status, 200);
    let until = list(&egress).keys[0].aside_until.expect("put aside");
    assert_eq!(far.seen().len(), 2);
    while std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs()
        <= until
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(egress.ask("{}").status, 200);
    let keys: Vec<_> =
        far.seen().iter().filter_map(|seen| seen.header("x-api-key").map(str::to_owned)).collect();
    assert_eq!(keys, [KEY, NEW, KEY, NEW], "afterwards the first is asked again");
}

#[test]
fn a_key_is_tested_without_cost() {
    let provider = Provider::start(&[KEY]);
    let egress = Setup::model(&provider.far.url()).start();
    let tried = egress.command("POST", "/keys/MODEL_KEY/test", "");
    let tried: Vec<Tried> = serde_json::from_slice(&tried.body).expect("a list");
    let [Tried { route, good: true, said }] = &tried[..] else { panic!("{tried:?}") };
    assert_eq!((route.as_str(), said.as_str()), ("model m", "the list of models: it works"));
    let refused = Provider::start(&[]);
    let egress = Setup::model(&refused.far.url()).start();
    assert!(egress.command("POST", "/keys/MODEL_KEY/test", "").text().contains("refused (401)"));
    assert_eq!((provider.keys().len(), refused.keys().len()), (0, 0));
}

#[test]
fn a_bots_token_is_exchanged() {
    let far = Far::start(|seen, to| {
        let known = seen.line().contains(TOKEN) || seen.line().contains("/bot123456:test-token-the-new-one/");
        let body = if known { r#"{"ok":true,"result":{}}"# } else { r#"{"ok":false}"# };
        far::reply(to, if known { "200 OK" } else { "401 Unauthorized" }, "", body.as_bytes());
    });
    let egress = Setup::bot(&far.url(), "poll").start();
    egress.command("POST", "/keys/BOT_TOKEN/rotate", "123456:unknown").refused(RefusalKind::BadRequest);
    let odd = egress.command("POST", "/keys/BOT_TOKEN/rotate", "no-token-at-all").refused(RefusalKind::NoKey);
    assert!(odd.message.contains("does not have the form"), "{odd:?}");
    let change = changed(&egress, "/keys/BOT_TOKEN/rotate", "123456:test-token-the-new-one");
    assert_eq!(change.tried[0].said, "getMe: it works");
    assert_eq!(egress.call("POST", "/r/telegram/b/getMe", "").status, 200);
    assert!(far.seen().last().expect("called").line().contains("the-new-one"));
}

/// Each profile has keys of its own.
#[test]
fn a_key_that_was_seen_under_one_profile_is_refused_under_the_other() {
    let egress = Setup::new().keys(&format!("ANTHROPIC_API_KEY={KEY}\n")).start();
    egress.status();
    let setup = egress.stop();
    let info = setup.replace("level = \"debug\"", "level = \"info\"").top("profile = \"production\"\n");
    let (setup, said) = info.start_refused();
    assert!(said.contains("ANTHROPIC_API_KEY was used under the profile development"), "{said}");
    let seen = fs::read_to_string(setup.state().join("egress/seen-keys")).expect("the list");
    assert!(!seen.contains(KEY) && seen.contains("development "), "{seen}");
    // Back under its own profile it is welcome.
    let setup = setup.replace("profile = \"production\"", "profile = \"development\"");
    assert_eq!(setup.start().status().models.len(), 1);
}
