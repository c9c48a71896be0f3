//! Starting a program and being started: descriptors by name, another user, and death with the parent.
//! Each case runs this program again, because what is taken over can be taken once.

#![allow(clippy::unwrap_used)] // a test may

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use openclaw_confine::{
    Evidence, Inherited, Profile, Role, enforce, namespaces, process,
    spawn::{Identity, Start},
};
use rustix::{
    mount::UnmountFlags,
    pipe::{PipeFlags, pipe, pipe_with},
    process::WaitOptions,
};

fn itself(act: &str) -> Start {
    Start::new(std::env::current_exe().unwrap()).arg(act)
}

/// Starts it, and returns what it printed and whether it succeeded.
fn output(start: Start) -> (String, bool) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut child = start.standard(1, write).spawn().unwrap();
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap().success())
}

fn open() -> Vec<i32> {
    let numbers = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut numbers: Vec<i32> =
        numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort();
    // The listing itself.
    numbers.retain(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    numbers
}

/// In the child: takes over and tells.
fn take() {
    println!("before {:?}", open());
    let mut inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => {
            println!("error {error}");
            return;
        }
    };
    println!("after {:?}", open());
    let text = |fd: Option<OwnedFd>| {
        let mut text = String::new();
        fd.map(|fd| File::from(fd).read_to_string(&mut text).unwrap());
        text
    };
    println!("second={} first={}", text(inherited.take_fd("second")), text(inherited.take_fd("first")));
    println!("again {:?} left {:?}", inherited.take_fd("first").is_some(), inherited.left().len());
    drop(inherited);
    println!("end {:?}", open());
    println!("twice {}", Inherited::take().is_err());
}

fn file(folder: &Path, text: &str) -> OwnedFd {
    let path = folder.join(text);
    fs::write(&path, text).unwrap();
    File::open(path).unwrap().into()
}

fn descriptors_arrive_by_name(folder: &Path) {
    let start = itself("take")
        .fd("first", file(folder, "one"))
        .fd("second", file(folder, "two"))
        .fd("other", file(folder, "three"));
    let (text, good) = output(start);
    assert!(good, "{text}");
    for part in [
        "after [0, 1, 2, 3, 4, 5]",
        "second=two first=one",
        "again false left 1",
        "end [0, 1, 2]",
        "twice true",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

/// A shell hands over one descriptor more than it announces.
fn what_was_not_announced_is_closed(folder: &Path) {
    let program = std::env::current_exe().unwrap();
    let script = |announcement: &str| {
        let script = format!(
            "exec 3<{0}/one 9<{0}/one; {announcement} exec {1} take",
            folder.display(),
            program.display()
        );
        output(Start::new("/bin/sh").arg("-c").arg(script)).0
    };
    fs::write(folder.join("one"), "one").unwrap();
    let text = script("LISTEN_FDS=1 LISTEN_FDNAMES=first");
    assert!(text.contains("before [0, 1, 2, 3, 9]") && text.contains("after [0, 1, 2, 3]"), "{text}");
    assert!(text.contains("first=one"), "{text}");
    // Announced to another process: nothing is ours, and all of it is closed.
    let text = script("LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=first");
    assert!(text.contains("after [0, 1, 2]"), "{text}");
    // More announced than there is.
    let text = script("LISTEN_FDS=2 LISTEN_FDNAMES=first:second");
    assert!(text.contains("error") && text.contains("descriptor 4 (second), which is not open"), "{text}");
}

/// In the child: who it is.
fn who() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines = status
        .lines()
        .filter(|line| ["Uid:", "Gid:", "Groups:", "SigIgn:", "SigBlk:"].iter().any(|p| line.starts_with(p)));
    println!("{}", lines.collect::<Vec<_>>().join("\n").replace('\t', " "));
}

fn another_user_has_no_way_back(_: &Path) {
    if !rustix::process::geteuid().is_root() {
        let refused = itself("who").identity(Some(Identity { uid: 12345, gid: 12345 })).spawn();
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    // Where this program is, somebody else may not look: a copy is opened here and executed there.
    let program = File::open(std::env::current_exe().unwrap()).unwrap();
    let start = Start::opened(program.into(), "who").arg("who");
    let (text, good) = output(start.identity(Some(Identity { uid: 12345, gid: 12346 })));
    assert!(good, "{text}");
    for line in ["Uid: 12345 12345 12345 12345", "Gid: 12346 12346 12346 12346", "Groups: 12346"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

/// In the child: starts a grandchild, tells its number, and ends.
fn middle() {
    let (_read, write) = pipe().unwrap();
    let child = Start::new("/bin/sleep").arg("600").standard(1, write).spawn().unwrap();
    println!("{}", child.id());
    // Until the test has seen it alive.
    let mut line = String::new();
    let _closed = std::io::stdin().read_line(&mut line);
}

fn nothing_outlives_its_parent(_: &Path) {
    let ((read, write), (wait, go)) =
        (pipe_with(PipeFlags::CLOEXEC).unwrap(), pipe_with(PipeFlags::CLOEXEC).unwrap());
    let mut child = itself("middle").standard(0, wait).standard(1, write).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(File::from(read)).read_line(&mut line).unwrap();
    // Its grandchild may have become a zombie of some other parent, so look at its state, not for its name.
    let alive = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", line.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    };
    assert!(alive());
    drop(go);
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while alive() {
        assert!(Instant::now() < end, "the grandchild outlived its parent");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// In the child: closes a folder to itself, locks down, and tells what it sees and what still holds.
fn hide() {
    let folder = PathBuf::from(std::env::args().nth(2).unwrap());
    println!("before {:?}", fs::read_to_string(folder.join("keys/file")).ok());
    namespaces::hide(&[folder.join("keys"), folder.join("absent")]).unwrap();
    let profile =
        Profile { process: "test", role: Role::Runner, connect: Some(Vec::new()), ..Profile::default() };
    println!("complete {}", enforce(&profile).unwrap().complete());
    println!("after {:?}", fs::read_dir(folder.join("keys")).map(|_| ()).map_err(|error| error.kind()));
    println!("beside {:?}", fs::read_to_string(folder.join("beside")).ok());
    println!("death {:?}", rustix::process::parent_process_death_signal().unwrap());
    println!("uid {}", rustix::process::geteuid().as_raw());
    // No way to take the cover off, not even in a namespace further in.
    println!("uncover {:?}", rustix::mount::unmount(folder.join("keys"), UnmountFlags::DETACH).err());
    let mut evidence = Evidence::open().unwrap();
    if let Some((child, _)) = process::fork_into(namespaces::JAIL, &mut evidence).unwrap() {
        rustix::process::waitpid(Some(child), WaitOptions::empty()).unwrap();
    } else {
        let further = rustix::mount::unmount(folder.join("keys"), UnmountFlags::DETACH).err();
        println!("further in {further:?}");
    }
}

fn a_hidden_folder_stays_hidden(folder: &Path) {
    fs::create_dir(folder.join("keys")).unwrap();
    for name in ["keys/file", "beside"] {
        fs::write(folder.join(name), "x").unwrap();
    }
    let (text, good) = output(itself("hide").arg(folder));
    assert!(good, "{text}");
    for line in [
        "before Some(\"x\")",
        "complete true",
        "after Err(PermissionDenied)",
        "beside Some(\"x\")",
        "death Some(\"Signal::KILL\")",
        "uid 1000",
        "uncover Some(Os { code: 1,",
        // A mount that came along from a namespace further out is locked (mount_namespaces(7)).
        "further in Some(Os { code: 22,",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

type Case = (&'static str, fn(&Path));

const CASES: &[Case] = &[
    ("a_hidden_folder_stays_hidden", a_hidden_folder_stays_hidden),
    ("descriptors_arrive_by_name", descriptors_arrive_by_name),
    ("what_was_not_announced_is_closed", what_was_not_announced_is_closed),
    ("another_user_has_no_way_back", another_user_has_no_way_back),
    ("nothing_outlives_its_parent", nothing_outlives_its_parent),
];

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("take") => return take(),
        Some("who") => return who(),
        Some("middle") => return middle(),
        Some("hide") => return hide(),
        _ => {}
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, run) in CASES {
        run(folder.path());
        println!("test {name} ... ok");
    }
}
