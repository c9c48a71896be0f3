//! The life of jails: when one is refused, what stays of it, what ends it, and when there can be none.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use openclaw_wire::{
    frame,
    runner::{Failure, Outcome, Reply},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    rig::{Rig, Setup},
    runtimes,
};

pub fn the_status_tells_all(rig: &Rig) {
    let (report, off) = rig.status();
    assert_eq!(off, None);
    let layers = report["layers"].as_array().unwrap();
    for name in
        ["seccomp", "hidden", "landlock-tcp", "jail: landlock-fs", "jail: seccomp", "jail: capabilities"]
    {
        let layer = layers
            .iter()
            .find(|layer| layer["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {report}"));
        assert_eq!(layer["complete"], true, "{layer}");
    }
}

/// The runner's own view: the files of the others are there outside, and closed to it.
pub fn the_others_are_hidden(rig: &Rig) {
    let keys = rig.path("state/egress/.env");
    assert!(fs::read_to_string(&keys).unwrap().contains("test-key-not-real"));
    if !rustix::process::geteuid().is_root() {
        // The runner is not dumpable, so only root can look through its eyes; `hidden` in its report was tried by it.
        return;
    }
    let seen = |path: &Path| format!("/proc/{}/root{}", rig.pid(), path.display());
    assert!(fs::metadata(seen(&rig.path("home/documents/note.txt"))).is_ok());
    assert_eq!(fs::metadata(seen(&keys)).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

pub fn refusals(rig: &Rig) {
    let refused = |outcome: Result<_, Outcome>| match outcome {
        Err(Outcome::Failed { reason: Failure::Refused, detail }) => detail,
        other => panic!("{other:?}"),
    };
    let arguments = json!({ "act": "echo", "value": 1 });
    assert!(refused(rig.begin("unknown", arguments.clone())).contains("no skill unknown"));
    assert!(refused(rig.begin_with("probe", arguments.clone(), "0".repeat(64))).contains("have changed"));
    // The manifest names a folder that is not there, and a folder that is a link.
    for (skill, part) in
        [("missing", "does not exist"), ("linked", "symbolic link"), ("state", "may not be given")]
    {
        match rig.call_skill(skill, arguments.clone()) {
            Outcome::Failed { reason: Failure::NoJail | Failure::Refused, detail } => {
                assert!(detail.contains(part), "{skill}: {detail}");
                assert!(!detail.contains(rig.folder.path().to_str().unwrap()), "a host path: {detail}");
            }
            other => panic!("{skill}: {other:?}"),
        }
    }
    // A script is no program.
    match rig.call_skill("script", arguments) {
        Outcome::Failed { reason: Failure::NoJail, detail } => {
            assert!(detail.contains("not a program"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
}

/// What a skill writes is in no log of the runner, whichever way it writes it (incidents 111 and 113).
pub fn words_stay_out_of_logs(rig: &Rig) {
    assert!(rig.failure(json!({ "act": "fail" })).1.contains("no such document"));
    rig.ask(json!({ "act": "echo", "value": "test-key-not-real" }));
    let log = fs::read_to_string(rig.path("log")).unwrap();
    assert!(log.contains("skill=probe ended=\"Crashed\""), "{log}");
    assert!(!log.contains("no such document") && !log.contains("test-key-not-real"), "{log}");
}

/// A byte, a file more or a mode: it is not the approved skill any more (incident 100).
pub fn changed_skills_do_not_run(rig: &Rig) {
    assert_eq!(
        rig.call_skill("changing", json!({ "act": "echo", "value": 1 })),
        rig.call(json!({ "act": "echo", "value": 1 }))
    );
    let folder = rig.path("skills/changing");
    let words = fs::read_to_string(folder.join("SKILL.md")).unwrap();
    for (change, back) in [("add", "remove"), ("word", "words"), ("mode", "unmode")] {
        let act = |what: &str| match what {
            "add" => fs::write(folder.join("more"), "x").unwrap(),
            "remove" => fs::remove_file(folder.join("more")).unwrap(),
            "word" => fs::write(folder.join("SKILL.md"), format!("{words} ")).unwrap(),
            "words" => fs::write(folder.join("SKILL.md"), &words).unwrap(),
            "mode" => {
                fs::set_permissions(folder.join("SKILL.md"), fs::Permissions::from_mode(0o755)).unwrap()
            }
            _ => fs::set_permissions(folder.join("SKILL.md"), fs::Permissions::from_mode(0o644)).unwrap(),
        };
        act(change);
        match rig.call_skill("changing", json!({ "act": "echo", "value": 1 })) {
            Outcome::Failed { reason: Failure::Refused, detail } => {
                assert!(detail.contains("have changed"), "{detail}")
            }
            other => panic!("{change}: {other:?}"),
        }
        act(back);
    }
    assert!(matches!(rig.call_skill("changing", json!({ "act": "echo", "value": 1 })), Outcome::Output(_)));
}

pub fn nothing_stays(rig: &Rig) {
    assert_eq!(rig.ask(json!({ "act": "orphan" })), "left one behind");
    assert_eq!(jails(rig), 0);
}

pub fn cancelled(rig: &Rig) {
    let stream = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    assert!(jails(rig) > 0, "the jail's processes are seen while it runs");
    drop(stream);
    let end = Instant::now() + Duration::from_secs(10);
    while jails(rig) > 0 {
        assert!(Instant::now() < end, "the jail outlived its connection");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many of something, from the environment: the default is for every day, the whole number for before a release.
pub fn count(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Hundreds of calls (`OPENCLAW_CALLS`), many at once: no process, descriptor, mount or file is left, and no call gets another's answer.
pub fn many_calls(rig: &Rig) {
    // In the runner's namespace, and not the machine's, which come and go with what else happens on it.
    let points = |pid: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        text.lines().filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect()
    };
    let mounts = || &points(&rig.pid().to_string()) - &points("self");
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", rig.pid())).map_or(0, Iterator::count);
    assert_eq!(rig.status().1, None, "it serves, and has made what it makes at its start");
    let before = (mounts(), files_below(rig.folder.path()), descriptors());
    let calls = count("OPENCLAW_CALLS", 300);
    std::thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || {
                for round in 0..calls / 6 {
                    let value = json!(worker * 1000 + round);
                    match round % 10 {
                        3 => drop(rig.begin("probe", json!({ "act": "sleep" })).unwrap()),
                        5 => assert_eq!(rig.failure(json!({ "act": "fail" })).0, Failure::Crashed),
                        7 => assert_eq!(
                            rig.failure(json!({ "act": "call", "number": libc::SYS_ptrace })).0,
                            Failure::Forbidden
                        ),
                        1 => assert_eq!(rig.ask(json!({ "act": "echo", "value": value })), value),
                        _ => assert_eq!(runtimes::said(rig, "in-shell", "this")["args"], "shell a b"),
                    }
                }
            });
        }
    });
    let end = Instant::now() + Duration::from_secs(20);
    // The one that waits has no child.
    let left = || tree(zygote(rig)).len();
    while (left(), threads_of(rig.pid())) != (1, 1) {
        assert!(Instant::now() < end, "{} processes, {} threads", left(), threads_of(rig.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = (mounts(), files_below(rig.folder.path()), descriptors());
    assert_eq!((before.0, before.1), (after.0, after.1));
    // The connection of the call before this case may just have been closing.
    assert!(after.2 <= before.2, "{} descriptors, {} before", after.2, before.2);
    // The runner itself is as it was (incident 80).
    assert_eq!(rig.ask(json!({ "act": "read", "path": "/files/documents/note.txt" }))["ok"], "a note");
    assert_eq!(rig.status().1, None);
}

/// When the runner dies, every jail dies with it.
pub fn the_runner_is_killed(setup: Setup) {
    let mut rig = Rig::start(setup, |_| ());
    let stream = rig.begin("probe", json!({ "act": "spin_many" })).unwrap();
    let all = tree(rig.pid());
    assert!(all.len() >= 3, "zygote, first, skill: {all:?}");
    rig.kill();
    all_end(&all);
    drop(stream);
}

/// One jail is made ahead. It serves one call and no other, and when it has ended calls go on without it.
pub fn one_waits_and_serves_one_call(setup: Setup) {
    let rig = Rig::start(setup, |_| ());
    // A jail that waits has no child: what it runs is one.
    let jails_of = |wanted: &dyn Fn(&[u32]) -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let below = tree(zygote(&rig));
            if wanted(&below) {
                return below;
            }
            assert!(Instant::now() < end, "{below:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    assert_eq!(rig.ask(json!({ "act": "echo", "value": 1 })), 1);
    let first = jails_of(&|below| below.len() == 1 && tree(below[0]).is_empty())[0];
    let one = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    let used = tree(first);
    assert_eq!(used.len(), 1, "the skill is a child of the one that waited");
    let two = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    assert_eq!(tree(first), used, "the second call is in another jail");
    let busy = |below: &[u32]| below.iter().filter(|pid| !tree(**pid).is_empty()).count() == 2;
    let mut ran = jails_of(&busy);
    ran.retain(|pid| *pid == first || used.contains(pid) || !tree(*pid).is_empty());
    drop((one, two));
    let next = jails_of(&|below| below.len() == 1 && !ran.contains(&below[0]))[0];
    kill_process(Pid::from_raw(next as i32).unwrap(), Signal::KILL).unwrap();
    all_end(&[next]);
    assert_eq!(rig.ask(json!({ "act": "echo", "value": 2 })), 2);
    let last = jails_of(&|below| below.len() == 1 && below[0] != next)[0];
    assert!(!ran.contains(&last));
}

/// The jail that was made ahead is no older than the machine's mounts: what is mounted on a granted folder is what the next call
/// sees, and what was unmounted is let go at once.
pub fn a_mount_is_seen_at_once(setup: Setup) {
    if !rustix::process::geteuid().is_root() {
        println!("    NOT CHECKED: only root mounts something");
        return;
    }
    // Shared, as systemd makes the root of a machine, so that the runner's namespace hears of it.
    let rig = Rig::start(setup, |root| mount(&["--bind", "--make-shared"], root, root));
    let documents = rig.path("home/documents");
    let read = || rig.ask(json!({ "act": "read", "path": "/files/documents/note.txt" }));
    for round in 0..3 {
        assert_eq!(read()["ok"], "a note", "{round}");
        assert!(waits(&rig), "one is made ahead");
        mount(&["-t", "tmpfs", "-o", "mode=755", "none"], Path::new(""), &documents);
        fs::write(documents.join("note.txt"), "mounted").unwrap();
        fs::set_permissions(documents.join("note.txt"), PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(read()["ok"], "mounted", "{round}");
        assert!(waits(&rig), "one is made ahead");
        let disk = fs::metadata(&documents).unwrap().dev();
        let disk = format!(" {}:{} ", rustix::fs::major(disk), rustix::fs::minor(disk));
        let first = tree(zygote(&rig))[0];
        let holds = |pid: u32| mounted(pid).contains(&disk);
        assert!(holds(first), "the one that waits has it too");
        umount(&[], &documents);
        let end = Instant::now() + Duration::from_secs(10);
        while tree(zygote(&rig)).into_iter().any(holds) {
            assert!(Instant::now() < end, "a jail that nobody uses keeps the disk");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // The runner's log is open there.
    umount(&["--lazy"], rig.folder.path());
}

/// Device numbers and mount points, as a process sees them.
fn mounted(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default()
}

/// Whether a jail waits for a call, after some time.
fn waits(rig: &Rig) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let below = tree(zygote(rig));
        if below.len() == 1 && tree(below[0]).is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn mount(options: &[&str], what: &Path, on: &Path) {
    let what = (!what.as_os_str().is_empty()).then_some(what);
    let status = Command::new("/bin/mount").args(options).args(what).arg(on).status().unwrap();
    assert!(status.success());
}

fn umount(options: &[&str], path: &Path) {
    assert!(Command::new("/bin/umount").args(options).arg(path).status().unwrap().success());
}

/// Every jail dies with the zygote too, and the runner does not stay without one.
pub fn the_zygote_is_killed(setup: Setup) {
    let rig = Rig::start(setup, |_| ());
    let stream = rig.begin("probe", json!({ "act": "spin_many" })).unwrap();
    let all = tree(rig.pid());
    kill_process(Pid::from_raw(zygote(&rig) as i32).unwrap(), Signal::KILL).unwrap();
    all_end(&all);
    // The runner may still have said so, or have ended.
    let said = frame::read(&stream).unwrap();
    assert!(matches!(said, None | Some(Reply::Finished(Outcome::Failed { .. }))), "{said:?}");
    let log = rig.refuses_to_start();
    assert!(log.contains("skill-jail has ended"), "{log}");
}

fn all_end(all: &[u32]) {
    // One that nobody has waited for yet is no process any more.
    let lives = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while all.iter().any(lives) {
        assert!(Instant::now() < end, "a process of the jail outlived its parents");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where the kernel lacks one of the three, no skill runs, and the reason with its mend is there to be read (incident 77).
pub fn a_missing_layer_turns_skills_off(setup: Setup) {
    for (call, errno, word) in [
        (libc::SYS_unshare, libc::EPERM, "namespaces"),
        (libc::SYS_landlock_create_ruleset, libc::ENOSYS, "Landlock"),
        (libc::SYS_seccomp, libc::EINVAL, "seccomp"),
    ] {
        let rig = Rig::start(Setup { without: Some((call, errno)), ..setup }, |_| ());
        let (_, off) = rig.status();
        let off = off.unwrap_or_else(|| panic!("skills run without {word}"));
        assert!(off.contains(word) || off.contains("user namespace"), "{word}: {off}");
        assert!(off.contains("mend"), "{word}: {off}");
        let (reason, detail) = rig.failure(json!({ "act": "echo", "value": 1 }));
        assert_eq!(reason, Failure::NoJail);
        assert!(detail.contains("skills are off"), "{detail}");
    }
}

/// Production: the runner does not start with less than it asks for.
pub fn production(setup: Setup) {
    let setup = Setup { production: true, ..setup };
    let without = Some((libc::SYS_landlock_create_ruleset, libc::ENOSYS));
    let log = Rig::start(Setup { without, ..setup }, |_| ()).refuses_to_start();
    assert!(log.contains("landlock-tcp") && log.contains("mend:"), "{log}");
    let rig = Rig::start(setup, |_| ());
    assert_eq!(rig.status().1, None);
    assert_eq!(rig.ask(json!({ "act": "echo", "value": 1 })), 1);
}

/// How many processes the jails of calls have, zombies included; one may wait for a call, and is not counted.
pub fn jails(rig: &Rig) -> usize {
    tree(zygote(rig)).len().saturating_sub(1)
}

/// The runner's one child.
pub fn zygote(rig: &Rig) -> u32 {
    match children(rig.pid())[..] {
        [one] => one,
        ref other => panic!("not one child: {other:?}"),
    }
}

/// Of a process with one thread, or of the first thread.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// All processes below this one.
pub fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let mut text = String::new();
            fs::File::open(entry.path().join("stat")).ok()?.read_to_string(&mut text).ok()?;
            let parent = text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(pid) = open.pop() {
        let children = parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child);
        found.extend(children.clone());
        open.extend(children);
    }
    found
}

fn threads_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// Everything below a folder, by name.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        }
    }
    found.sort();
    found
}
