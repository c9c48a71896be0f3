//! `openclaw security audit` looks at the real thing: a fault that somebody planted is found, a dry run changes nothing, `--fix` mends
//! it and says so, and nothing is ever opened wider than it was.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use openclaw_tests::{
    gateway::{Gateway, Setup},
    page::{Page, token},
};
use openclaw_wire::audit::{Audit, Checked, Outcome};

async fn run(setup: &Setup, more: &[&str]) -> (Option<i32>, String, String) {
    let done =
        setup.command(&[&["security", "audit"], more].concat()).output().await.expect("openclaw starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

async fn audit(setup: &Setup, more: &[&str]) -> Audit {
    let (_, out, err) = run(setup, &[&["--json"], more].concat()).await;
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

fn check<'a>(audit: &'a Audit, id: &str) -> &'a Checked {
    audit.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A file of the account that owns the state.
fn put(setup: &Setup, path: &Path, content: &str, mode: u32) {
    let owner = fs::metadata(setup.state()).expect("the state folder").uid();
    let mut folder = path.parent().expect("a folder").to_owned();
    let mut new = Vec::new();
    while !folder.exists() {
        new.push(folder.clone());
        folder = folder.parent().expect("a folder").to_owned();
    }
    for folder in new.iter().rev() {
        fs::create_dir(folder).expect("make a folder");
        chmod(folder, 0o700);
        chown(folder, Some(owner), Some(owner)).expect("chown");
    }
    fs::write(path, content).expect("write");
    chown(path, Some(owner), Some(owner)).expect("chown");
    chmod(path, mode);
}

/// Every mode below a folder.
fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("readable").flatten().map(|entry| entry.path()) {
            let data = fs::symlink_metadata(&path).expect("there");
            all.insert(path.clone(), data.mode() & 0o7777);
            if data.is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

/// On a fresh state folder, while it runs: every check has a word and its reason, and what is ours holds.
#[tokio::test]
async fn a_fresh_start_is_audited_whole() {
    let gateway = Gateway::start(Setup::new()).await;
    let setup = gateway.setup();
    let found = audit(setup, &[]).await;
    assert!(found.checks.len() >= 60, "{}", found.checks.len());
    let points: Vec<_> = found.checks.iter().filter_map(|check| check.point).collect();
    assert_eq!(points, (1..=10).collect::<Vec<_>>());
    for one in &found.checks {
        assert!(!one.evidence.trim().is_empty(), "{one:?}");
        assert!(one.outcome != Outcome::Fail || !one.mend.is_empty(), "{one:?}");
    }
    for id in [
        "process-user",
        "state-private",
        "database-private",
        "config-private",
        "sockets-private",
        "state-no-links",
        "state-one-owner",
        "state-not-writable",
        "config-valid",
        "admin-listen",
        "webhook-listen",
        "access-no-wildcard",
        "spend-limits",
        "confinement-gateway",
        "confinement-egress",
        "kernel-says-filtered",
        "kernel-says-bound",
        "kernel-says-powerless",
        "listeners-ours",
        "commands-clean",
        "skills-vetted",
        "skills-valid",
    ] {
        assert_eq!(check(&found, id).outcome, Outcome::Pass, "{:?}\n{}", check(&found, id), gateway.log());
    }
    for id in ["webhook-sources", "webhook-tls", "tunnel-hidden", "vpn-key-private", "units-users"] {
        assert_eq!(check(&found, id).outcome, Outcome::NotApplicable, "{:?}", check(&found, id));
    }
    // Nobody's word, nobody's look: no pass.
    assert_eq!(check(&found, "backup-recent").outcome, Outcome::Unknown);
    let (code, text, _) = run(setup, &[]).await;
    let failed = found.checks.iter().any(|check| check.outcome == Outcome::Fail);
    assert_eq!(code, Some(if failed { 1 } else { 4 }), "{text}");
    for part in ["The ten points", " 1 pass", "No process of ours runs as root", "Not known", "Passed: "] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Something that is wrong, and whether `--fix` mends it.
struct Fault {
    id: &'static str,
    fixable: bool,
    plant: fn(&mut Setup),
}

fn faults() -> Vec<Fault> {
    let fault = |id, fixable, plant| Fault { id, fixable, plant };
    fn raw(setup: &mut Setup, more: &str) {
        let text = format!("{}{more}", setup.config());
        put(setup, &setup.state().join("openclaw.toml"), &text, 0o600);
    }
    vec![
        fault("key-file-private", true, |setup| chmod(&setup.state().join("egress/.env"), 0o644)),
        fault("key-file-ignored", true, |setup| {
            put(setup, &setup.state().join(".git/HEAD"), "ref: x\n", 0o600)
        }),
        fault("state-private", true, |setup| chmod(setup.state(), 0o755)),
        fault("database-private", true, |setup| {
            put(setup, &setup.state().join("gateway/openclaw.db"), "", 0o644)
        }),
        fault("config-private", true, |setup| chmod(&setup.state().join("openclaw.toml"), 0o666)),
        fault("page-tokens-private", true, |setup| {
            put(setup, &setup.state().join("gateway/page-tokens"), "", 0o640)
        }),
        fault("vpn-key-private", true, |setup| put(setup, &setup.state().join("vpn/vpn.toml"), "", 0o644)),
        fault("approved-private", true, |setup| {
            put(setup, &setup.state().join("egress/approved/approved.toml"), "", 0o664);
        }),
        fault("ledger-private", true, |setup| {
            put(setup, &setup.state().join("egress/ledger/ledger.db"), "", 0o604)
        }),
        fault("state-not-writable", true, |setup| {
            put(setup, &setup.state().join("gateway/files/1.ogg"), "", 0o666)
        }),
        fault("state-no-setuid", true, |setup| put(setup, &setup.state().join("gateway/tool"), "", 0o4700)),
        fault("state-no-links", false, |setup| {
            symlink("/etc/passwd", setup.state().join("egress/link")).expect("a link");
        }),
        fault("skills-not-writable", true, |setup| {
            chmod(&setup.home().join("skills/mine"), 0o777);
        }),
        fault("skills-vetted", false, |setup| {
            let manifest = "program = \"x\"\n[permissions]\nhosts = [{ host = \"api.example.com\" }]\n[[tool]]\nname = \"t\"\n\
                description = \"d\"\neffect = \"fetch\"\narguments = { type = \"object\" }\n";
            put(setup, &setup.home().join("skills/mine/skill.toml"), manifest, 0o644);
        }),
        fault("admin-listen", true, |setup| raw(setup, "[admin]\nlisten = \"0.0.0.0:8788\"\n")),
        fault("webhook-listen", true, |setup| raw(setup, "[webhook]\nlisten = \"[::]:8787\"\n")),
        fault("access-no-wildcard", true, |setup| raw(setup, "[access]\nowners = [\"*\"]\n")),
        fault("log-quiet", true, |setup| {
            let text = format!(
                "profile = \"production\"\n{}[log]\nlevel = \"debug\" # for a while\n",
                setup.config()
            );
            put(setup, &setup.state().join("openclaw.toml"), &text, 0o600);
        }),
        fault("spend-limits", true, |setup| raw(setup, "[spend]\nday = \"none\"\nkey_month = \"none\"\n")),
        fault("spend-chat-skill", true, |setup| raw(setup, "[spend]\nchat_day = \"none\"\n")),
        fault("spend-ceiling", true, |setup| raw(setup, "[spend]\nceiling = 90\n")),
        fault("files-retention", true, |setup| raw(setup, "[files]\ndays = 3650\n")),
        fault("config-valid", false, |setup| raw(setup, "[turn]\nstep = 1\n")),
        fault("config-no-secret", false, |setup| {
            raw(setup, "# 1234567890:Anotarealtokennotarealtokennotareal\n");
        }),
        fault("logs-clean", false, |setup| {
            let line = "sent 1234567890:Anotarealtokennotarealtokennotareal\n";
            put(setup, &setup.state().join("log/openclaw.log"), line, 0o600);
        }),
        fault("models-encrypted", false, |setup| {
            raw(
                setup,
                "[[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"x\"\nurl = \"http://192.168.1.9/v1\"\nprivate = true\n",
            );
        }),
        fault("turn-budgets", false, |setup| raw(setup, "[turn]\nsteps = 100000\n")),
    ]
}

/// A setup with a key, a skill of the operator's, and nothing wrong with either.
fn planted() -> Setup {
    let mut setup = Setup::new();
    setup.key("OPENAI_API_KEY", "test-key-not-real");
    setup.section("skills", &format!("folders = [\"{}\"]", setup.home().join("skills").display()));
    setup.write();
    let words = "---\nname: mine\ndescription: d\n---\n";
    put(&setup, &setup.home().join("skills/mine/SKILL.md"), words, 0o644);
    setup
}

/// Each fault is not there before, found when it is, left alone by a dry run, and mended by `--fix`, which says what it did.
#[tokio::test]
async fn a_planted_fault_is_found_and_mended() {
    for fault in faults() {
        let id = fault.id;
        let mut setup = planted();
        let before = audit(&setup, &[]).await;
        assert_ne!(check(&before, id).outcome, Outcome::Fail, "{id} before: {:?}", check(&before, id));
        (fault.plant)(&mut setup);
        let top = setup.home().parent().expect("the folder of the test").to_owned();
        let spoilt = (modes(&top), fs::read(setup.state().join("openclaw.toml")).expect("there"));

        let found = audit(&setup, &[]).await;
        let one = check(&found, id);
        assert_eq!(one.outcome, Outcome::Fail, "{id}: {one:?}");
        assert_eq!(one.fix.is_empty(), !fault.fixable, "{id}: {one:?}");
        let dry = (modes(&top), fs::read(setup.state().join("openclaw.toml")).expect("there"));
        assert_eq!(spoilt, dry, "{id}: a dry run changes nothing");

        let mended = audit(&setup, &["--fix"]).await;
        let one = check(&mended, id);
        match fault.fixable {
            true => {
                assert_ne!(one.outcome, Outcome::Fail, "{id}: {one:?}");
                assert!(
                    !one.fixed.is_empty() && one.fixed.iter().all(|done| !done.contains("could not")),
                    "{id}: {one:?}"
                );
            }
            false => assert!(one.outcome == Outcome::Fail && one.fixed.is_empty(), "{id}: {one:?}"),
        }
        for (path, mode) in modes(&top) {
            let was = spoilt.0.get(&path).copied();
            // What is new belongs to its owner alone, but for a rule that others may read.
            let most = if path.ends_with(".gitignore") { 0o644 } else { 0o600 };
            assert_eq!(mode & !was.unwrap_or(most), 0, "{id}: {} was {was:?}, is {mode:o}", path.display());
        }
        // A second time there is nothing to do.
        let again = audit(&setup, &["--fix"]).await;
        assert!(!fault.fixable || check(&again, id).fixed.is_empty(), "{id}: {:?}", check(&again, id));
    }
}

/// What was mended in the configuration is all that changed, and with it OpenClaw starts.
#[tokio::test]
async fn what_stood_open_is_closed_and_starts() {
    let mut setup = Setup::new();
    setup.top("# mine\nprofile = \"development\"");
    setup.section("admin", "listen = \"0.0.0.0:8788\" # to try it");
    setup.section("access", "owners = [1001, \"*\"]");
    let (code, said) = Gateway::refuses(&setup).await;
    assert!(code != Some(0) && said.contains("names can change hands"), "it starts with neither: {said}");
    let (_, text, err) = run(&setup, &["--fix"]).await;
    assert!(text.contains("done: ") && text.contains("127.0.0.1:8788"), "{text}\n{err}");
    let config = fs::read_to_string(setup.state().join("openclaw.toml")).expect("there");
    let expected =
        setup.config().replace("0.0.0.0:8788", "127.0.0.1:8788").replace("[1001, \"*\"]", "[1001]");
    assert_eq!(config, expected);
    let checked = setup.command(&["config", "check"]).output().await.expect("openclaw starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// The operator vouches for what nobody sees, and for nothing that was seen.
#[tokio::test]
async fn a_word_is_kept_for_what_no_program_sees() {
    let setup = planted();
    let outcome = async |id: &str| check(&audit(&setup, &[]).await, id).outcome;
    assert_eq!(outcome("backup-recent").await, Outcome::Unknown);
    let (code, _, err) = run(&setup, &["--attest", "backup-recent", "--note", "copied to the safe"]).await;
    assert_eq!(code, Some(0), "{err}");
    let found = audit(&setup, &[]).await;
    let one = check(&found, "backup-recent");
    assert!(one.outcome == Outcome::Attested && one.evidence.contains("copied to the safe"), "{one:?}");
    let mode = fs::metadata(setup.state().join("attested.toml")).expect("kept").mode();
    assert_eq!(mode & 0o777, 0o600);
    for id in ["key-file-private", "no-such-check"] {
        let (code, _, err) = run(&setup, &["--attest", id, "--note", "all is well"]).await;
        assert!(code == Some(1) && err.contains(id), "{err}");
    }
    let (code, ..) = run(&setup, &["--withdraw", "backup-recent"]).await;
    assert_eq!((code, outcome("backup-recent").await), (Some(0), Outcome::Unknown));
}

/// The status page shows the same checks, and what the last audit said of those that the gateway does not see.
#[tokio::test]
async fn the_status_page_shows_the_same_checks() {
    let mut setup = Setup::new();
    let page = Page::switch_on(&mut setup);
    let gateway = Gateway::start(setup).await;
    let cookie = page.log_in(&token(&gateway, &[]).await).await.expect("logged in");
    let list = gateway.ask(&["security", "audit", "--list", "--json"]).await;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).expect("a list");
    let before = page.look(&cookie).await;
    assert!(
        before.body.contains("No audit was held yet") && before.body.contains("further checks"),
        "{}",
        before.body
    );
    for check in &list {
        let (title, id) = (check["title"].as_str().expect("a title"), check["id"].as_str().expect("an id"));
        let shown = html(title);
        assert!(before.body.contains(&shown), "{shown} in {}", before.body);
        assert!(check["point"].is_number() || before.body.contains(&format!("<small>{id}</small>")), "{id}");
    }
    assert!(!before.body.contains("audit, "), "{}", before.body);
    audit(gateway.setup(), &[]).await;
    let after = page.look(&cookie).await;
    for part in ["The last openclaw security audit was", "audit, "] {
        assert!(after.body.contains(part), "{part} in {}", after.body);
    }
}

/// As the page escapes it.
fn html(text: &str) -> String {
    text.replace('&', "&#38;").replace('\'', "&#39;").replace('"', "&#34;")
}
