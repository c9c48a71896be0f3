//! Ways out: files, network, system calls, what is inherited, what can be executed.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use openclaw_wire::runner::{Failure, Outcome};
use serde_json::json;

use crate::{
    life,
    rig::{Rig, answer, outside},
};

pub fn files(rig: &Rig) {
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
        assert!(!roots.as_array().unwrap().contains(&json!(gone)), "{roots}");
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

pub fn network(rig: &Rig) {
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
        // ICMP and whatever else is below TCP.
        (libc::AF_INET, libc::SOCK_RAW),
        (libc::AF_INET6, libc::SOCK_RAW),
        (libc::AF_INET6, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_DGRAM),
        (libc::AF_NETLINK, libc::SOCK_RAW),
        (libc::AF_PACKET, libc::SOCK_RAW),
        (libc::AF_VSOCK, libc::SOCK_STREAM),
        (libc::AF_ALG, libc::SOCK_SEQPACKET),
    ] {
        let socket = json!({ "act": "socket", "family": family, "kind": kind });
        let plain = kind != libc::SOCK_RAW || family == libc::AF_NETLINK;
        if plain && [libc::AF_INET, libc::AF_UNIX, libc::AF_NETLINK].contains(&family) {
            assert!(outside(socket.clone())["ok"].is_i64(), "{family}");
        }
        assert_eq!(rig.errno(socket), libc::EPERM, "{family} {kind}");
    }
    assert_eq!(rig.ask(json!({ "act": "pair" }))["ok"], "made");
    assert_eq!(outside(json!({ "act": "resolve", "path": "localhost" }))["ok"], "resolved");
    assert!(rig.ask(json!({ "act": "resolve", "path": "localhost" }))["error"].is_string());
}

/// What every jail refuses by killing (incident 78), with the word that the user reads.
pub fn forbidden_calls(rig: &Rig) {
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

pub fn a_clean_start(rig: &Rig) {
    assert_eq!(outside(json!({ "act": "environment" }))["CANARY"], "in the environment");
    let environment = rig.ask(json!({ "act": "environment" }));
    let ours = json!({ "PATH": "/skill/bin", "HOME": "/tmp", "LANG": "C.UTF-8" });
    assert_eq!(environment, ours);
    // A `.env` is a file like any other, in the skill's folder (where it is approved with it) or in a granted one.
    for (skill, file) in [("dotenv", "skills/dotenv/.env"), ("probe", "home/documents/.env")] {
        assert!(fs::read_to_string(rig.path(file)).unwrap().contains("LD_PRELOAD="), "{file}");
        let said = rig.call_skill(skill, json!({ "act": "environment" }));
        let Outcome::Output(text) = said else { panic!("{skill}: {said:?}") };
        assert_eq!(answer(&text), ours, "{skill}");
    }
    assert_eq!(rig.ask(json!({ "act": "descriptors" })), json!([0, 1, 2]));
    let myself = rig.ask(json!({ "act": "self" }));
    assert_eq!(myself["pid"], 2);
    assert_eq!(myself["parent"], 1);
    assert_eq!(myself["uid"], 1000);
    assert_eq!(myself["host"], "jail");
    assert_eq!(myself["capabilities"], json!([[0, 0, 0], [0, 0, 0]]));
    assert_eq!(rig.ask(json!({ "act": "raise_limits" })), "-1 -1 -1 -1 -1");
}

pub fn programs(rig: &Rig) {
    assert_eq!(outside(json!({ "act": "execute", "path": "/bin/true" }))["ok"], 0);
    assert_eq!(rig.errno(json!({ "act": "execute", "path": "/bin/true" })), libc::ENOENT);
    assert_eq!(rig.errno(json!({ "act": "writable_code" })), libc::EACCES);
    // Another skill's program is no more there than any other.
    let another = rig.path("skills/in-shell/main");
    assert!(outside(json!({ "act": "read", "path": another }))["ok"].is_string());
    for path in [another.to_str().unwrap(), "/skill/../in-shell/main", "/skills/in-shell/main"] {
        assert_eq!(rig.errno(json!({ "act": "execute", "path": path })), libc::ENOENT, "{path}");
        assert_eq!(rig.errno(json!({ "act": "read", "path": path })), libc::ENOENT, "{path}");
    }
    // Its own program again: a child has the same jail.
    let again = rig.ask(json!({ "act": "again" }));
    assert!(again["ok"].as_str().unwrap().contains("Operation not permitted"), "{again}");
}

/// Two skills at the same time: neither sees, signals or reads the other (incident 82).
pub fn skills_do_not_meet(rig: &Rig) {
    let other = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    let zygote = life::zygote(rig);
    let mut pids = vec![zygote];
    // Without the jail that waits, which has no child and may be used up meanwhile.
    for first in life::children(zygote) {
        let inside = life::tree(first);
        pids.extend(inside.first().map(|_| first));
        pids.extend(inside);
    }
    assert!(pids.len() >= 3, "zygote, first, skill: {pids:?}");
    for pid in pids {
        assert_eq!(outside(json!({ "act": "signal", "pid": pid }))["ok"], 0, "outside {pid} is there");
        // A low number may be its own; those of the host are not.
        if pid > 64 {
            assert_eq!(rig.errno(json!({ "act": "signal", "pid": pid })), libc::ESRCH);
        }
    }
    assert_eq!(rig.ask(json!({ "act": "kill_all" }))["errno"], libc::ESRCH);
    drop(other);
}

/// The environment, memory and arguments of no process of ours can be read from a jail, whatever stands in them (incident 112).
pub fn processes_of_ours_are_closed(rig: &Rig) {
    let zygote = life::zygote(rig);
    for pid in [std::process::id(), rig.pid(), zygote] {
        for file in ["environ", "cmdline", "mem", "maps", "status"] {
            let path = format!("/proc/{pid}/{file}");
            if pid == std::process::id() {
                assert!(fs::File::open(&path).is_ok(), "{path} is there outside");
            }
            assert_eq!(rig.errno(json!({ "act": "read", "path": path })), libc::ENOENT, "{path}");
        }
    }
    for path in ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ"] {
        assert_eq!(rig.errno(json!({ "act": "read", "path": path })), libc::ENOENT, "{path}");
    }
}

/// What the model writes is data, whatever it looks like: there is no shell on the way, and no argument of the program
/// (incidents 71, 72 and 86).
pub fn arguments_are_data(rig: &Rig) {
    let hostile = "; touch /files/out/made; $(touch /files/out/made) `id` --compress-program=sh ../../etc/passwd \0 \u{2215}";
    assert_eq!(rig.ask(json!({ "act": "echo", "value": hostile })), json!(hostile));
    let said = crate::runtimes::said(rig, "in-shell", hostile);
    assert_eq!(said["args"], "shell a b");
    assert!(!rig.path("home/out/made").exists());
}

/// A grant's folder changes places with a link, again and again: no byte of the link's target comes out (incident 68).
pub fn a_racing_link_wins_nothing(rig: &Rig) {
    let (folder, link) = (rig.path("home/raced"), rig.path("home/raced-link"));
    let (stop, swaps, wanted) =
        (AtomicBool::new(false), AtomicU64::new(0), life::count("OPENCLAW_SWAPS", 1_000_000));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, &folder, rustix::fs::CWD, &link, exchange)
                    .unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also when a call is not as it should be: else the thread would swap for ever.
        let stopper = Stop(&stop);
        let (mut ran, mut refused) = (0, 0);
        while swaps.load(Ordering::Relaxed) < wanted || ran + refused < 40 {
            match rig.call_skill("raced", json!({ "act": "read", "path": "/files/raced/key.txt" })) {
                Outcome::Output(text) => {
                    assert_eq!(answer(&text)["errno"], libc::ENOENT, "{text}");
                    ran += 1;
                }
                Outcome::Failed { reason: Failure::NoJail, detail } => {
                    assert!(detail.contains("symbolic link"), "{detail}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        drop(stopper);
        let swaps = swaps.load(Ordering::Relaxed);
        println!("    {swaps} swaps: {ran} calls saw the folder, {refused} saw the link");
    });
}

/// Set when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
