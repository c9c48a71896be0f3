//! The jail, attacked from inside by a probe through the real runner: each act works outside, and in the jail it fails
//! with the exact errno or a typed reason. Everything runs as the user who tests and, if that is root, as an ordinary user
//! as well.

#![allow(unsafe_code, clippy::unwrap_used)] // the probe makes the raw calls that must be refused; a test may unwrap

mod probe;
mod rig;

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use openclaw_confine::spawn::Identity;
use openclaw_wire::runner::{Failure, Outcome};
use rig::{OUTPUT, Rig, answer, finished, outside, skill};
use serde_json::{Value, json};

fn files(rig: &Rig) {
    assert_eq!(rig.ask(json!({ "act": "read", "path": "/files/documents/note.txt" }))["ok"], "a note");
    assert_eq!(rig.ask(json!({ "act": "list", "path": "/files" }))["ok"], json!(["documents", "out"]));
    let written = json!({ "act": "write", "path": "/files/out/new.txt" });
    assert_eq!(rig.ask(written)["ok"], "written");
    assert_eq!(fs::read_to_string(rig.path("home/out/new.txt")).unwrap(), "written by the probe");
    rig.ask(json!({ "act": "remove", "path": "/files/out/new.txt" }));
    assert!(!rig.path("home/out/new.txt").exists());

    // The read grant: outside it can be written to.
    let note = rig.path("home/documents/note.txt");
    assert_eq!(outside(json!({ "act": "append", "path": note }))["ok"], "opened");
    let refused = |act: &str, path: &str| rig.errno(json!({ "act": act, "path": path }));
    for act in ["write", "append", "remove"] {
        let errno = refused(act, "/files/documents/note.txt");
        assert!([libc::EROFS, libc::EACCES].contains(&errno), "{act}: {errno}");
    }
    assert_eq!(fs::read_to_string(&note).unwrap(), "a note");

    // Outside the grants: what is readable outside does not exist inside.
    for path in [rig.path("home/secret/key.txt"), "/etc/passwd".into(), "/proc/self/status".into()] {
        assert!(outside(json!({ "act": "read", "path": path }))["ok"].is_string(), "{path:?}");
        assert_eq!(rig.errno(json!({ "act": "read", "path": path })), libc::ENOENT, "{path:?}");
    }
    for path in ["/files/documents/../../../etc/passwd", "/files/documents/../secret/key.txt"] {
        assert_eq!(refused("read", path), libc::ENOENT, "{path}");
    }
    // Links in a granted folder that point out of it.
    for name in ["absolute", "relative", "proc"] {
        let target = rig.path("home/documents").join(name);
        if name != "proc" {
            assert_eq!(outside(json!({ "act": "read", "path": target }))["ok"], "test-key-not-real");
        }
        assert_eq!(refused("read", &format!("/files/documents/{name}")), libc::ENOENT, "{name}");
    }
    // A link made by the skill is followed by nobody: not by it, and a later call mounts the folder, not the link.
    rig.ask(json!({ "act": "link", "path": "/files/out/link", "to": "/etc/passwd" }));
    assert!(refused("read", "/files/out/link") != 0);
    let _made = fs::remove_file(rig.path("home/out/link"));

    let roots = rig.ask(json!({ "act": "walk", "path": "/" }));
    for gone in ["proc", "sys", "run", "home", "root", "var", "boot", "opt", "srv", "work"] {
        if gone != "proc" {
            assert!(!roots.as_array().unwrap().contains(&json!(gone)), "{roots}");
        }
    }
    assert_eq!(rig.errno(json!({ "act": "list", "path": "/" })), libc::EACCES);
    for path in ["/skill/new", "/skill/bin/probe", "/new", "/dev/new", "/files/new"] {
        let errno = refused("write", path);
        assert!([libc::EROFS, libc::EACCES].contains(&errno), "{path}: {errno}");
    }
    assert_eq!(rig.ask(json!({ "act": "write", "path": "/tmp/x" }))["ok"], "written");
    // Devices without effect, and no others.
    assert_eq!(rig.ask(json!({ "act": "write", "path": "/dev/null" }))["ok"], "written");
    assert_eq!(rig.errno(json!({ "act": "write", "path": "/dev/full" })), libc::ENOSPC);
    for device in ["mem", "kmsg", "tty", "vda", "fuse", "net/tun", "shm"] {
        assert_eq!(refused("read", &format!("/dev/{device}")), libc::ENOENT);
    }
}

fn network(rig: &Rig) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(outside(json!({ "act": "connect", "path": address }))["ok"], "connected");
    assert_eq!(rig.errno(json!({ "act": "connect", "path": address })), libc::EPERM);
    let path = rig.path("home/out/socket");
    let _unix = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(outside(json!({ "act": "connect_unix", "path": path }))["ok"], "connected");
    assert_eq!(rig.errno(json!({ "act": "connect_unix", "path": "/files/out/socket" })), libc::EPERM);
    for (family, kind) in [
        (libc::AF_INET, libc::SOCK_STREAM),
        (libc::AF_INET, libc::SOCK_DGRAM),
        (libc::AF_INET6, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_DGRAM),
        (libc::AF_NETLINK, libc::SOCK_RAW),
        (libc::AF_PACKET, libc::SOCK_RAW),
        (libc::AF_VSOCK, libc::SOCK_STREAM),
        (libc::AF_ALG, libc::SOCK_SEQPACKET),
    ] {
        let socket = json!({ "act": "socket", "family": family, "kind": kind });
        if [libc::AF_INET, libc::AF_UNIX, libc::AF_NETLINK].contains(&family) {
            assert!(outside(socket.clone())["ok"].is_i64(), "{family}");
        }
        assert_eq!(rig.errno(socket), libc::EPERM, "{family} {kind}");
    }
    assert_eq!(rig.ask(json!({ "act": "pair" }))["ok"], "made");
    assert_eq!(outside(json!({ "act": "resolve", "path": "localhost" }))["ok"], "resolved");
    assert!(rig.ask(json!({ "act": "resolve", "path": "localhost" }))["error"].is_string());
}

/// What every jail refuses by killing (incident 78), with the word that the user reads.
fn forbidden_calls(rig: &Rig) {
    for number in [
        libc::SYS_ptrace,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_kexec_load,
        libc::SYS_process_vm_readv,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_pivot_root,
        libc::SYS_open_tree,
        libc::SYS_mknodat,
    ] {
        let call = json!({ "act": "call", "number": number });
        assert!(outside(call.clone()).is_object(), "outside the call returns, with a value or an error");
        assert_eq!(rig.failure(call).0, Failure::Forbidden, "{number}");
    }
    for (number, errno) in [
        (libc::SYS_io_uring_setup, libc::ENOSYS),
        (libc::SYS_clone3, libc::ENOSYS),
        (libc::SYS_memfd_create, libc::EPERM),
        (libc::SYS_shmget, libc::EPERM),
        (libc::SYS_personality, libc::EPERM),
        (libc::SYS_landlock_create_ruleset, libc::ENOSYS),
        (libc::SYS_capset, libc::EPERM),
        (libc::SYS_setgroups, libc::EPERM),
    ] {
        assert_eq!(rig.errno(json!({ "act": "call", "number": number })), errno, "{number}");
    }
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWNET] {
        let flags = flag | libc::SIGCHLD;
        assert_eq!(rig.errno(json!({ "act": "clone", "flags": flags })), libc::EPERM);
    }
}

fn a_clean_start(rig: &Rig) {
    assert_eq!(outside(json!({ "act": "environment" }))["CANARY"], "in the environment");
    let environment = rig.ask(json!({ "act": "environment" }));
    assert_eq!(environment, json!({ "PATH": "/skill/bin", "HOME": "/tmp", "LANG": "C.UTF-8" }));
    assert_eq!(rig.ask(json!({ "act": "descriptors" })), json!([0, 1, 2]));
    let myself = rig.ask(json!({ "act": "self" }));
    assert_eq!(myself["pid"], 2);
    assert_eq!(myself["parent"], 1);
    assert_eq!(myself["uid"], 1000);
    assert_eq!(myself["host"], "jail");
    assert_eq!(myself["capabilities"], json!([[0, 0, 0], [0, 0, 0]]));
    assert_eq!(rig.ask(json!({ "act": "raise_limits" })), "-1 -1 -1 -1 -1");
}

fn programs(rig: &Rig) {
    assert_eq!(outside(json!({ "act": "execute", "path": "/bin/true" }))["ok"], 0);
    assert_eq!(rig.errno(json!({ "act": "execute", "path": "/bin/true" })), libc::ENOENT);
    assert_eq!(rig.errno(json!({ "act": "writable_code" })), libc::EACCES);
    // Its own program again: a child has the same jail.
    let again = rig.ask(json!({ "act": "again" }));
    assert!(again["ok"].as_str().unwrap().contains("Operation not permitted"), "{again}");
}

fn limits(rig: &Rig) {
    let failure = |act: &str| rig.failure(json!({ "act": act }));
    for (act, reason) in [
        ("sleep", Failure::Time),
        ("spin", Failure::Cpu),
        ("spin_many", Failure::Cpu),
        ("flood", Failure::Output),
        ("memory", Failure::Memory),
        ("memory_shared", Failure::Memory),
        ("memory_at_once", Failure::Memory),
    ] {
        let (got, detail) = failure(act);
        assert_eq!(got, reason, "{act}: {detail}");
        assert!(!detail.is_empty());
    }
    let filled = rig.ask(json!({ "act": "fill_tmp" }));
    assert_eq!(filled["errno"], libc::ENOSPC, "{filled}");
    assert!(filled["written"].as_u64().unwrap() <= rig::MEMORY / 2);
    // As much as the limit goes through; a task larger than a pipe too.
    let long = "x".repeat(OUTPUT - 4096);
    assert_eq!(rig.ask(json!({ "act": "echo", "value": long })), json!(long));
    let much = "y".repeat(1 << 20);
    assert_eq!(rig.failure(json!({ "act": "echo", "value": much })).0, Failure::Output);
}

fn endings(rig: &Rig) {
    let (reason, detail) = rig.failure(json!({ "act": "fail" }));
    assert_eq!(reason, Failure::Crashed);
    assert!(detail.contains("exit status: 3") && detail.contains("no such document"), "{detail}");
    let (reason, detail) = rig.failure(json!({ "act": "flood_errors" }));
    assert_eq!(reason, Failure::Crashed);
    assert!(detail.len() < 8192 && detail.ends_with("the end"), "{}", detail.len());
    assert_eq!(rig.failure(json!({ "act": "abort" })).0, Failure::Crashed);
    // The first process cannot be killed from inside; everything else of the jail can.
    assert_eq!(rig.ask(json!({ "act": "kill_first" }))["ok"], 0);
    assert_eq!(rig.ask(json!({ "act": "kill_all" }))["errno"], libc::ESRCH);
}

/// The fork bomb: stopped at the limit, typed, and everything of it is gone.
fn fork_bomb(rig: &Rig) {
    match rig.call(json!({ "act": "fork_bomb" })) {
        // An ordinary user's forks fail at the limit, and the bomb burns its CPU time. The kernel does not limit root's:
        // the watchdog counts them.
        Outcome::Failed { reason: Failure::Cpu | Failure::Forbidden, .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(jails(rig), 0);
}

/// For an ordinary user the kernel itself says no at the limit.
fn process_limit(rig: &Rig) {
    let made = rig.ask(json!({ "act": "fork_few", "count": 20 })).as_i64().unwrap();
    assert_eq!(made, 7, "eight processes, the skill's first included");
    let made = rig.ask(json!({ "act": "threads", "count": 20 })).as_i64().unwrap();
    assert_eq!(made, 7);
}

fn nothing_stays(rig: &Rig) {
    assert_eq!(rig.ask(json!({ "act": "orphan" })), "left one behind");
    assert_eq!(jails(rig), 0);
}

fn cancelled(rig: &Rig) {
    let stream = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    assert!(jails(rig) > 0, "the jail's processes are seen while it runs");
    drop(stream);
    let end = Instant::now() + Duration::from_secs(10);
    while jails(rig) > 0 {
        assert!(Instant::now() < end, "the jail outlived its connection");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refusals(rig: &Rig) {
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

/// Hundreds of calls, many at once: no process, descriptor, mount or file is left, and no call gets another's answer.
fn many_calls(rig: &Rig) {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = (mounts(), names("/tmp"));
    std::thread::scope(|scope| {
        for worker in 0..6 {
            scope.spawn(move || {
                for round in 0..50 {
                    let value = json!(worker * 1000 + round);
                    match round % 10 {
                        3 => drop(rig.begin("probe", json!({ "act": "sleep" })).unwrap()),
                        5 => assert_eq!(rig.failure(json!({ "act": "fail" })).0, Failure::Crashed),
                        7 => assert_eq!(
                            rig.failure(json!({ "act": "call", "number": libc::SYS_ptrace })).0,
                            Failure::Forbidden
                        ),
                        _ => assert_eq!(rig.ask(json!({ "act": "echo", "value": value })), value),
                    }
                }
            });
        }
    });
    let end = Instant::now() + Duration::from_secs(20);
    while (jails(rig), threads_of(rig.pid())) != (0, 1) {
        assert!(Instant::now() < end, "{} jails, {} threads", jails(rig), threads_of(rig.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = (mounts(), names("/tmp"));
    assert_eq!(before, after);
}

fn the_status_tells_all(rig: &Rig) {
    let (report, off) = rig.status();
    assert_eq!(off, None);
    let layers = report["layers"].as_array().unwrap();
    for name in ["seccomp", "landlock-tcp", "jail: landlock-fs", "jail: seccomp", "jail: capabilities"] {
        let layer = layers
            .iter()
            .find(|layer| layer["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {report}"));
        assert_eq!(layer["complete"], true, "{layer}");
    }
}

/// Processes that descend from the runner, zombies included.
fn jails(rig: &Rig) -> usize {
    let mut found = 0;
    let mut open = vec![rig.pid()];
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
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
    while let Some(pid) = open.pop() {
        for (child, _) in all.iter().filter(|(_, parent)| *parent == pid) {
            found += 1;
            open.push(*child);
        }
    }
    found
}

fn threads_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// What is in a folder, but for other tests' folders.
fn names(folder: &str) -> Vec<String> {
    let names =
        fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("openclaw") || name.contains("skill")).collect()
}

type Case = (&'static str, fn(&Rig));

const CASES: &[Case] = &[
    ("the_status_tells_all", the_status_tells_all),
    ("files", files),
    ("network", network),
    ("forbidden_calls", forbidden_calls),
    ("a_clean_start", a_clean_start),
    ("programs", programs),
    ("limits", limits),
    ("endings", endings),
    ("fork_bomb", fork_bomb),
    ("nothing_stays", nothing_stays),
    ("cancelled", cancelled),
    ("refusals", refusals),
    ("many_calls", many_calls),
];

/// The kernel limits the processes of nobody's root.
const ORDINARY: &[Case] = &[("process_limit", process_limit)];

fn more_skills(root: &std::path::Path) {
    for name in ["missing", "linked", "state", "script"] {
        skill(root, name, "8");
        let manifest = root.join("skills").join(name).join("skill.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let grant = match name {
            "missing" => "~/nowhere",
            "linked" => "~/link",
            "state" => "~/state",
            _ => "~/documents",
        };
        fs::write(&manifest, text.replace("~/documents", grant)).unwrap();
    }
    std::os::unix::fs::symlink("secret", root.join("home/link")).unwrap();
    fs::remove_dir(root.join("state")).unwrap();
    fs::create_dir(root.join("home/state")).unwrap();
    std::os::unix::fs::symlink("home/state", root.join("state")).unwrap();
    fs::write(root.join("skills/script/bin/probe"), "#!/bin/sh\n".repeat(20)).unwrap();
}

fn main() {
    // Own harness: this program is the skill, too.
    if std::env::args().next().as_deref() == Some("skill") {
        return probe::main();
    }
    // Hundreds of calls with few descriptors: a leak of one each would be noticed.
    let few = rustix::process::Rlimit { current: Some(256), maximum: Some(256) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let root = rustix::process::geteuid().is_root();
    let mut users: Vec<(&str, Option<Identity>)> = vec![("invoking user", None)];
    if root {
        users.push(("ordinary user", Some(Identity { uid: 12345, gid: 12345 })));
    }
    let mut failed = 0;
    for (who, identity) in users {
        let rig = Rig::start(identity, "development", more_skills);
        let ordinary = identity.is_some() || !root;
        for (name, run) in CASES.iter().chain(if ordinary { ORDINARY } else { &[] }) {
            if !wanted(name) {
                continue;
            }
            let begun = Instant::now();
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&rig))).is_ok();
            failed += usize::from(!good);
            let word = if good { "ok" } else { "FAILED" };
            println!("test {name} as {who} ... {word} ({} ms)", begun.elapsed().as_millis());
        }
    }
    assert_eq!(failed, 0, "{failed} cases failed");
    let _value: Value = answer(r#"{"text":"1"}"#);
    let _used = finished;
}
