//! The skill that tries to get out. One act for each call, named in the arguments; the answer says what happened.
//! The same program runs outside a jail too, to show that the act works there.

use std::{
    ffi::CString,
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// Reads the task, acts, answers with `{"text": ...}`: a value in JSON.
pub fn main() {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).unwrap();
    let task: Value = serde_json::from_str(&text).unwrap();
    let arguments = &task["arguments"];
    let said = act(arguments["act"].as_str().unwrap_or_default(), arguments);
    println!("{}", json!({ "text": said.to_string() }));
}

fn act(act: &str, arguments: &Value) -> Value {
    let path = arguments["path"].as_str().unwrap_or_default();
    let number = |name: &str| arguments[name].as_i64().unwrap_or_default();
    match act {
        "echo" => arguments["value"].clone(),
        "read" => told(fs::read_to_string(path)),
        "write" => told(fs::write(path, "written by the probe").map(|()| "written")),
        "append" => told(fs::OpenOptions::new().append(true).open(path).map(|_| "opened")),
        "remove" => told(fs::remove_file(path).map(|()| "removed")),
        "link" => told(
            std::os::unix::fs::symlink(arguments["to"].as_str().unwrap_or_default(), path).map(|()| "linked"),
        ),
        "list" => told(fs::read_dir(path).map(|entries| {
            let mut names: Vec<_> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        })),
        "walk" => json!(walk(path)),
        "socket" => told(call(libc::SYS_socket, [number("family"), number("kind"), 0, 0])),
        "pair" => told(UnixStream::pair().map(|_| "made")),
        "connect" => told(TcpStream::connect(path).map(|_| "connected")),
        "connect_unix" => told(UnixStream::connect(path).map(|_| "connected")),
        "resolve" => told((path, 80).to_socket_addrs().map(|_| "resolved")),
        "call" => told(call(number("number"), [0, 0, 0, 0])),
        "clone" => told(call(libc::SYS_clone, [number("flags"), 0, 0, 0])),
        "environment" => json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>()),
        "descriptors" => json!((0..1024).filter(|fd| open(*fd)).collect::<Vec<_>>()),
        "self" => myself(),
        "execute" => told(Command::new(path).output().map(|output| output.status.code())),
        "again" => told(again()),
        "kill_first" => told(call(libc::SYS_kill, [1, libc::SIGKILL.into(), 0, 0])),
        "signal" => told(call(libc::SYS_kill, [number("pid"), 0, 0, 0])),
        "kill_all" => told(call(libc::SYS_kill, [-1, libc::SIGKILL.into(), 0, 0])),
        "raise_limits" => raise_limits(),
        "writable_code" => writable_code(),
        "fail" => {
            eprintln!("no such document");
            exit(3)
        }
        "abort" => std::process::abort(),
        "sleep" => {
            thread::sleep(Duration::from_secs(600));
            Value::Null
        }
        "stubborn" => {
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXCPU] {
                // SAFETY: ignoring a signal installs no handler.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            loop {
                thread::sleep(Duration::from_secs(600));
            }
        }
        "fill_out" => fill_out(number("each")),
        "open_many" => {
            let open: Vec<_> = (0..5000).map_while(|_| fs::File::open("/dev/null").ok()).collect();
            json!(open.len())
        }
        "spin" => loop {
            std::hint::black_box(0);
        },
        "spin_many" => {
            fork_children(3);
            loop {
                std::hint::black_box(0);
            }
        }
        "flood" => loop {
            let mut out = io::stdout();
            if out.write_all(&[b'x'; 4096]).is_err() {
                exit(1)
            }
        },
        "flood_errors" => {
            for _ in 0..1000 {
                eprint!("{}", "e".repeat(1000));
            }
            eprintln!("the end");
            exit(1)
        }
        "memory" => hog(false),
        "memory_shared" => hog(true),
        "memory_at_once" => {
            let all = vec![1_u8; 10 << 30];
            json!(all.iter().map(|byte| u64::from(*byte)).sum::<u64>())
        }
        "fill_tmp" => fill_tmp(),
        // Half of its memory in files, which belong to no process, and then this much besides.
        "memory_and_files" => {
            let filled = fill_tmp();
            touch((number("mib") as usize) << 20);
            filled
        }
        "fork_bomb" => loop {
            fork_children(1);
        },
        "fork_few" => json!(fork_children(number("count"))),
        "threads" => json!(threads(number("count"))),
        "orphan" => {
            // A grandchild that keeps the pipes open, in a session of its own.
            if fork() == 0 {
                // SAFETY: no arguments.
                unsafe { libc::setsid() };
                fork_children(1);
                loop {
                    thread::sleep(Duration::from_secs(600));
                }
            }
            json!("left one behind")
        }
        other => json!({ "error": format!("the probe knows no {other}") }),
    }
}

fn told<T: serde::Serialize>(result: io::Result<T>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "errno": error.raw_os_error(), "error": error.to_string() }),
    }
}

fn call(number: i64, arguments: [i64; 4]) -> io::Result<i64> {
    let [a, b, c, d] = arguments;
    // SAFETY: null pointers and small numbers; the kernel refuses what it cannot read.
    match unsafe { libc::syscall(number, a, b, c, d, 0_usize, 0_usize) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn open(fd: i32) -> bool {
    // SAFETY: asks for flags only.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

fn fork() -> i32 {
    // SAFETY: the probe has one thread where it forks.
    unsafe { libc::fork() }
}

/// How many could be started; each does nothing for long, or spins if its parent does.
fn fork_children(count: i64) -> i64 {
    let mut made = 0;
    for _ in 0..count {
        match fork() {
            0 => {
                let end = std::time::Instant::now() + Duration::from_secs(600);
                while std::time::Instant::now() < end {
                    std::hint::black_box(0);
                }
                exit(0)
            }
            -1 => {}
            _ => made += 1,
        }
    }
    made
}

fn threads(count: i64) -> usize {
    (0..count)
        .filter_map(|_| thread::Builder::new().spawn(|| thread::sleep(Duration::from_secs(600))).ok())
        .count()
}

fn hog(shared: bool) -> Value {
    let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    loop {
        map(8 << 20, kind);
    }
}

/// Uses this many bytes of memory, and stays a moment.
fn touch(size: usize) {
    map(size, libc::MAP_SHARED);
    thread::sleep(Duration::from_millis(500));
}

fn map(size: usize, kind: i32) {
    // SAFETY: a fresh anonymous mapping of that size.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            kind | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        eprintln!("Cannot allocate memory");
        exit(1);
    }
    // SAFETY: the mapping is `size` bytes long and writable.
    unsafe { std::ptr::write_bytes(address.cast::<u8>(), 1, size) };
}

fn fill_tmp() -> Value {
    let mut file = match fs::File::create("/tmp/big") {
        Ok(file) => file,
        Err(error) => return told::<()>(Err(error)),
    };
    let mut written = 0_u64;
    loop {
        match file.write(&[0; 65536]) {
            Ok(more) => written += more as u64,
            Err(error) => return json!({ "written": written, "errno": error.raw_os_error() }),
        }
    }
}

/// Fills files of this size until something happens.
fn fill_out(each: i64) -> Value {
    for number in 0.. {
        let mut file = fs::File::create(format!("/files/out/fill-{number}")).unwrap();
        for _ in 0..each >> 16 {
            if let Err(error) = file.write_all(&[1; 65536]) {
                return told::<()>(Err(error));
            }
        }
    }
    Value::Null
}

fn again() -> io::Result<String> {
    // Itself once more, as a child: it is in the same jail.
    let mut child = Command::new("/skill/bin/probe")
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .arg0_skill()
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    write!(stdin, "{}", json!({ "arguments": { "act": "socket", "family": libc::AF_INET, "kind": 1 } }))?;
    drop(stdin);
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
}

trait Arg0 {
    fn arg0_skill(&mut self) -> &mut Self;
}

impl Arg0 for Command {
    fn arg0_skill(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::arg0(self, "skill")
    }
}

fn raise_limits() -> Value {
    let mut all = String::new();
    for resource in
        [libc::RLIMIT_DATA, libc::RLIMIT_NPROC, libc::RLIMIT_CPU, libc::RLIMIT_CORE, libc::RLIMIT_NOFILE]
    {
        let more = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the struct outlives the call.
        let result = unsafe { libc::setrlimit(resource, &more) };
        write!(all, "{result} ").unwrap();
    }
    json!(all.trim())
}

/// A file that was written here cannot be executed from here.
fn writable_code() -> Value {
    let copied = fs::copy("/skill/bin/probe", "/tmp/probe").map(drop);
    if let Err(error) = copied {
        return told::<()>(Err(error));
    }
    let _mode = fs::set_permissions("/tmp/probe", std::os::unix::fs::PermissionsExt::from_mode(0o700));
    told(Command::new("/tmp/probe").output().map(|_| "executed"))
}

fn myself() -> Value {
    let mut capabilities = [[0_u32; 3]; 2];
    let header = [0x2008_0522_u32, 0];
    // SAFETY: version 3 of the header (linux/capability.h) reads two data elements.
    let got = unsafe { libc::syscall(libc::SYS_capget, &header, &mut capabilities) };
    let mut name = [0_u8; 64];
    // SAFETY: the buffer is as long as said.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    json!({
        "pid": std::process::id(),
        "parent": std::os::unix::process::parent_id(),
        // SAFETY: no arguments.
        "uid": unsafe { libc::getuid() },
        "capabilities": if got == 0 { json!(capabilities) } else { Value::Null },
        "host": name,
        "folder": std::env::current_dir().ok(),
    })
}

/// Everything that can be stat'ed below a path.
fn walk(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in [
        "bin", "boot", "dev", "etc", "files", "home", "lib", "media", "mnt", "opt", "proc", "root", "run",
        "sbin", "skill", "srv", "sys", "tmp", "usr", "var", "work",
    ] {
        let full = CString::new(format!("{path}{name}")).unwrap();
        // SAFETY: a C string that outlives the call.
        if unsafe { libc::access(full.as_ptr(), libc::F_OK) } == 0 {
            found.push(name.to_owned());
        }
    }
    found
}
