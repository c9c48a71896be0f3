//! Each barrier with its positive control: the act works before, and after [`enforce`] it fails with the exact errno, or
//! kills the process that tries. Every case runs in a child of its own: what is given up is gone for good.

#![allow(unsafe_code, clippy::unwrap_used, clippy::disallowed_methods)] // raw calls that must be refused; a test may unwrap

use std::{
    ffi::c_long,
    fs, io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::Command,
};

use openclaw_confine::{Profile, Report, Role, enforce};

/// Runs one case in a fresh, single-threaded process (this program again, as `barriers CASE FOLDER`) and returns what
/// it printed and how it ended.
fn case(name: &str) -> (String, std::process::ExitStatus) {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(std::env::current_exe().unwrap()).arg(name).arg(folder.path()).output().unwrap();
    (
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        output.status,
    )
}

/// A raw call with zero arguments but the given first ones: the filter decides before the kernel looks at them.
fn call(number: c_long, arguments: [usize; 3]) -> io::Result<c_long> {
    // SAFETY: callers pass calls that the filter refuses, or whose null pointers the kernel answers with EFAULT.
    match unsafe {
        libc::syscall(number, arguments[0], arguments[1], arguments[2], 0_usize, 0_usize, 0_usize)
    } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn lock(role: Role, folder: &Path) -> Report {
    let report = enforce(&Profile {
        process: "test",
        role,
        read: vec![folder.join("read")],
        write: vec![folder.join("write")],
        connect: if role == Role::Egress { None } else { Some(Vec::new()) },
        ..Profile::default()
    })
    .unwrap();
    for layer in &report.layers {
        println!("{}: {} ({})", layer.name, layer.enforced, layer.complete);
    }
    report
}

fn files(folder: &Path) {
    let (read, write, other) = (folder.join("read"), folder.join("write"), folder.join("other"));
    for each in [&read, &write, &other] {
        fs::create_dir(each).unwrap();
        fs::write(each.join("f"), "x").unwrap();
    }
    assert!(lock(Role::Gateway, folder).complete());
    assert_eq!(fs::read(read.join("f")).unwrap(), b"x");
    assert_eq!(errno(fs::write(read.join("f"), "y")), Some(libc::EACCES));
    assert_eq!(errno(fs::remove_file(read.join("f"))), Some(libc::EACCES));
    assert_eq!(errno(fs::read(other.join("f"))), Some(libc::EACCES));
    assert_eq!(errno(fs::read("/etc/passwd")), Some(libc::EACCES));
    assert_eq!(errno(fs::read("/proc/self/status")), Some(libc::EACCES));
    // What a database does in its folder.
    fs::write(write.join("new"), "1").unwrap();
    fs::rename(write.join("new"), write.join("newer")).unwrap();
    fs::create_dir(write.join("sub")).unwrap();
    fs::remove_file(write.join("newer")).unwrap();
    fs::OpenOptions::new().write(true).open(write.join("f")).unwrap().set_len(0).unwrap();
    assert!(std::os::unix::fs::symlink("/", write.join("link")).is_err());
}

/// Incident 59: the kernel leaves it no way out.
fn sockets_of_the_gateway(folder: &Path) {
    let listener = UnixListener::bind(folder.join("s")).unwrap();
    UnixStream::connect(folder.join("s")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap();
    let waiting = UnixStream::connect(folder.join("s")).unwrap();
    lock(Role::Gateway, folder);
    assert_eq!(errno(TcpStream::connect(tcp.local_addr().unwrap())), Some(libc::EPERM));
    assert_eq!(errno(TcpListener::bind("127.0.0.1:0")), Some(libc::EPERM));
    assert_eq!(errno(UdpSocket::bind("127.0.0.1:0")), Some(libc::EPERM));
    assert_eq!(errno(UnixStream::connect(folder.join("s"))), Some(libc::EPERM));
    for family in [libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG] {
        assert_eq!(errno(call(libc::SYS_socket, [family as usize, 3, 0])), Some(libc::EPERM), "{family}");
    }
    // What it was handed still serves, and pairs can be made.
    listener.accept().unwrap();
    drop(waiting);
    UnixStream::pair().unwrap();
}

fn sockets_of_egress(folder: &Path) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = UnixListener::bind(folder.join("s")).unwrap();
    lock(Role::Egress, folder);
    TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    assert_eq!(errno(UnixStream::connect(folder.join("s"))), Some(libc::EPERM));
    // The socket is made; binding it is refused, by the filter and by Landlock.
    assert!(matches!(errno(TcpListener::bind("127.0.0.1:0")), Some(libc::EPERM | libc::EACCES)));
    let raw = call(libc::SYS_socket, [libc::AF_INET as usize, libc::SOCK_RAW as usize, 6]);
    assert_eq!(errno(raw), Some(libc::EPERM));
    drop(listener);
}

fn paths_open_unix_sockets_only(folder: &Path) {
    let _listener = UnixListener::bind(folder.join("s")).unwrap();
    let profile = Profile { process: "test", paths: true, connect: Some(Vec::new()), ..Profile::default() };
    assert!(enforce(&profile).unwrap().complete());
    UnixStream::connect(folder.join("s")).unwrap();
    assert_eq!(errno(TcpStream::connect("127.0.0.1:9")), Some(libc::EPERM));
}

fn code_and_processes(folder: &Path) {
    let page = |protection: i32| {
        // SAFETY: a fresh private mapping, never touched.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address) }
    };
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    page(executable).unwrap();
    let plain = page(libc::PROT_READ).unwrap();
    assert!(Command::new("/bin/true").status().unwrap().success());
    lock(Role::Gateway, folder);
    assert_eq!(errno(page(executable)), Some(libc::EPERM));
    assert_eq!(
        errno(call(libc::SYS_mprotect, [plain as usize, 4096, executable as usize])),
        Some(libc::EPERM)
    );
    page(libc::PROT_READ | libc::PROT_WRITE).unwrap();
    assert_eq!(errno(call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0])), Some(libc::EPERM));
    assert_eq!(errno(call(libc::SYS_clone3, [0, 0, 0])), Some(libc::ENOSYS));
    assert_eq!(errno(call(libc::SYS_io_uring_setup, [1, 0, 0])), Some(libc::ENOSYS));
    assert_eq!(errno(call(600, [0, 0, 0])), Some(libc::ENOSYS));
    assert_eq!(errno(call(libc::SYS_kill, [1, 0, 0])), Some(libc::EPERM));
    assert_eq!(errno(call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, 1, 0])), Some(libc::EPERM));
    assert_eq!(errno(call(libc::SYS_seccomp, [0, 0, 0])), Some(libc::EPERM));
    // Threads start and stop as ever.
    std::thread::spawn(|| ()).join().unwrap();
}

fn scopes(folder: &Path) {
    let parent = std::os::unix::process::parent_id() as usize;
    call(libc::SYS_kill, [parent, 0, 0]).unwrap();
    lock(Role::Runner, folder);
    assert_eq!(errno(call(libc::SYS_kill, [parent, 0, 0])), Some(libc::EPERM));
    // Its own children it may signal.
    let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

fn the_report_is_the_kernels_word(folder: &Path) {
    let report = lock(Role::Gateway, folder);
    assert!(report.complete(), "{report:#?}");
    let names: Vec<_> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
    for name in [
        "descriptors",
        "landlock-fs",
        "landlock-tcp",
        "landlock-scope",
        "rlimits",
        "dumpable",
        "capabilities",
        "no_new_privs",
        "seccomp",
    ] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
}

fn threads_are_noticed(folder: &Path) {
    let (_stop, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || wait.recv());
    let profile = Profile { process: "test", read: vec![folder.into()], ..Profile::default() };
    let error = enforce(&profile).unwrap_err().to_string();
    assert!(error.contains("2 threads"), "{error}");
}

/// Production: as root the bounding set empties and all is in force; as anybody else with a bounding set left, it is an
/// error that says so. Also the role that may not have a full filesystem: asking for all of it is incomplete.
fn production_wants_all(folder: &Path) {
    let everything = Profile {
        process: "test",
        required: true,
        read: vec!["/".into(), folder.into()],
        ..Profile::default()
    };
    let error = enforce(&everything).unwrap_err().to_string();
    assert!(error.contains("landlock-fs") && error.contains("mend:"), "{error}");
}

fn root_keeps_nothing(folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        println!("not root: nothing to lose");
        return;
    }
    let file = folder.join("f");
    fs::write(&file, "x").unwrap();
    fs::create_dir(folder.join("write")).unwrap();
    fs::write(folder.join("write/f"), "x").unwrap();
    // An owner that is not us: only a capability (CAP_DAC_OVERRIDE) opens it.
    for name in ["write/f", "write"] {
        std::os::unix::fs::chown(folder.join(name), Some(65534), Some(65534)).unwrap();
        fs::set_permissions(folder.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    fs::read(folder.join("write/f")).unwrap();
    let profile =
        Profile { process: "test", required: true, write: vec![folder.into()], ..Profile::default() };
    let profile = Profile { connect: Some(Vec::new()), ..profile };
    assert!(enforce(&profile).unwrap().complete());
    fs::read(&file).unwrap();
    assert_eq!(errno(fs::read(folder.join("write/f"))), Some(libc::EACCES));
}

type Case = (&'static str, fn(&Path));

const CASES: &[Case] = &[
    ("files", files),
    ("incident_59_sockets_of_the_gateway", sockets_of_the_gateway),
    ("incident_59_sockets_of_egress", sockets_of_egress),
    ("paths_open_unix_sockets_only", paths_open_unix_sockets_only),
    ("code_and_processes", code_and_processes),
    ("scopes", scopes),
    ("the_report_is_the_kernels_word", the_report_is_the_kernels_word),
    ("threads_are_noticed", threads_are_noticed),
    ("production_wants_all", production_wants_all),
    ("root_keeps_nothing", root_keeps_nothing),
];

/// What kills, in which roles, with arguments that do nothing where the call is allowed.
const DEADLY: &[(&str, c_long, [usize; 3])] = &[
    ("ptrace", libc::SYS_ptrace, [0x4206, 1, 0]),
    ("bpf", libc::SYS_bpf, [0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [0, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [0, 0, 0]),
    ("setns", libc::SYS_setns, [0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0]),
    ("init_module", libc::SYS_init_module, [0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0, 0, 0]),
];
/// The same, but not for the runner, whose children build jails.
const DEADLY_OUTSIDE_THE_RUNNER: &[(&str, c_long, [usize; 3])] = &[
    ("unshare", libc::SYS_unshare, [0, 0, 0]),
    ("mount", libc::SYS_mount, [0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [0, 0, 0]),
    ("chroot", libc::SYS_chroot, [0, 0, 0]),
];
/// Only for those who execute nothing.
const DEADLY_FOR_SERVERS: &[(&str, c_long, [usize; 3])] =
    &[("execve", libc::SYS_execve, [0, 0, 0]), ("execveat", libc::SYS_execveat, [0, 0, 0])];

fn role(name: &str) -> Role {
    match name {
        "gateway" => Role::Gateway,
        "egress" => Role::Egress,
        "runner" => Role::Runner,
        _ => Role::Jail,
    }
}

fn deadly(role: Role) -> impl Iterator<Item = &'static (&'static str, c_long, [usize; 3])> {
    let building = if role == Role::Runner { &[] } else { DEADLY_OUTSIDE_THE_RUNNER };
    let executing = if matches!(role, Role::Gateway | Role::Egress) { DEADLY_FOR_SERVERS } else { &[] };
    DEADLY.iter().chain(building).chain(executing)
}

/// In the child: `deadly:ROLE:CALL` first shows that the call does not kill without the filter.
fn die(what: &str, folder: &Path) {
    let mut parts = what.split(':').skip(1);
    let role = role(parts.next().unwrap());
    let name = parts.next().unwrap();
    let (_, number, arguments) = deadly(role).find(|(each, ..)| *each == name).unwrap();
    let before = call(*number, *arguments);
    println!("before: {before:?}");
    lock(role, folder);
    let after = call(*number, *arguments);
    println!("SURVIVED: {after:?}");
}

fn main() {
    // Own harness: a case needs a process with a single thread, which the standard one is not.
    let mut args = std::env::args().skip(1);
    if let (Some(name), Some(folder)) = (args.next(), args.next()) {
        let folder = Path::new(&folder);
        if folder.is_dir() {
            match CASES.iter().find(|(each, _)| *each == name) {
                Some((_, run)) => run(folder),
                None => die(&name, folder),
            }
            return;
        }
    }
    let mut failed = 0;
    let mut check = |name: &str, good: bool, text: String| {
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
        if !good {
            failed += 1;
            println!("{text}");
        }
    };
    for (name, _) in CASES {
        let (text, status) = case(name);
        check(name, status.success(), text);
    }
    for name in ["gateway", "egress", "runner", "jail"] {
        for (call, ..) in deadly(role(name)) {
            let (text, status) = case(&format!("deadly:{name}:{call}"));
            let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGSYS);
            let good = killed && text.contains("before:") && text.contains("seccomp");
            check(&format!("{call} kills in {name}"), good, text);
        }
    }
    assert_eq!(failed, 0, "{failed} cases failed");
    println!("all cases hold");
}
