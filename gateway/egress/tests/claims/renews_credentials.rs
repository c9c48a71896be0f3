//! Keys as systemd credentials are a copy from when the unit was started: a restart renews them. Nobody who asks meanwhile is
//! turned away, because the socket is systemd's and stays, and what is under way ends with the key that it began with.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
};

use rustix::process::Signal;

use crate::{
    far::{self, Far},
    program::{Connection, Setup, chmod},
};

const KEYS: [&str; 4] = [
    "test-credential-not-real-0",
    "test-credential-not-real-1",
    "test-credential-not-real-2",
    "test-credential-not-real-3",
];
const PATH: &str = "/r/model/m/v1/messages";

/// As systemd makes the folder anew at each start of the unit.
fn credential(folder: &Path, key: &str) {
    let file = folder.join("MODEL_KEY");
    let _ = fs::remove_file(&file);
    fs::write(&file, format!("{key}\n")).expect("write");
    chmod(&file, 0o400);
}

/// A request; the last one on its connection, or not.
fn send(stream: &mut UnixStream, last: bool) -> std::io::Result<()> {
    let more = if last { "connection: close\r\n" } else { "" };
    let request = format!("POST {PATH} HTTP/1.1\r\nhost: egress\r\n{more}content-length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes())
}

/// The status of its answer, whose body is two bytes; nothing where none came.
fn status(stream: &mut UnixStream) -> Option<u16> {
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while !answer.ends_with(b"\r\n\r\n{}") {
        match stream.read(&mut part).ok()? {
            0 => return None,
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    std::str::from_utf8(&answer).ok()?.split(' ').nth(1)?.parse().ok()
}

fn hold(wait: &Mutex<Receiver<()>>, to: &mut std::net::TcpStream) {
    let _ = to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    far::chunk(to, b"begins");
    wait.lock().expect("lock").recv().expect("let go");
    far::chunk(to, b"ends");
    far::chunk(to, b"");
}

#[test]
fn a_restart_renews_them_without_a_request_lost() {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let far = Far::start(move |seen, to| match seen.text().contains("hold") {
        true => hold(&wait, to),
        false => far::reply(to, "200 OK", "", b"{}"),
    });
    let setup = Setup::model(&far.url()).keys("");
    let credentials = setup.state().join("credentials");
    fs::create_dir(&credentials).expect("folder");
    chmod(&credentials, 0o700);
    credential(&credentials, KEYS[0]);
    let path = setup.state().join("gateway.sock");
    let listener = UnixListener::bind(&path).expect("systemd's socket");
    let variable = credentials.display().to_string();
    let mut egress = setup.variable("CREDENTIALS_DIRECTORY", &variable).start_on(&path, &listener);

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let egress = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = UnixStream::connect(&path).expect("systemd listens");
                    send(&mut stream, true).expect("sent");
                    let answer = status(&mut stream);
                    if answer != Some(200) {
                        // Else the others would wait for this one.
                        stop.store(true, Ordering::Relaxed);
                        panic!("{answer:?} after {asked:?}");
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let more = |count: usize| {
            let now = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < now + count && !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        for key in &KEYS[1..] {
            more(50);
            let mut under_way = Connection::new(UnixStream::connect(&path).expect("connects"));
            under_way.request("POST", PATH, &[], b"hold");
            under_way.head();
            assert_eq!(under_way.chunk(), b"begins");
            credential(&credentials, key);
            egress.child().signal(Signal::TERM).expect("signal");
            go.send(()).expect("goes on");
            assert_eq!(under_way.chunk(), b"ends");
            assert_eq!(under_way.chunk(), b"");
            let (status, setup) = egress.end();
            assert!(status.success(), "{status}: {}", setup.log());
            egress = setup.start_on(&path, &listener);
            more(50);
        }
        stop.store(true, Ordering::Relaxed);
        egress
    });

    let used: Vec<String> =
        far.seen().iter().map(|seen| seen.header("x-api-key").expect("a key").to_owned()).collect();
    let mut order = used.clone();
    order.dedup();
    assert_eq!(order, KEYS, "no request with a key after it was renewed");
    assert_eq!(used.len(), asked.into_inner() + KEYS.len() - 1, "none was sent twice");
    let setup = egress.stop();
    assert!(KEYS.iter().all(|key| !setup.log().contains(key)));
}

/// A request that is in its socket when the stop comes is answered, on a connection that stands as on a fresh one.
#[test]
fn what_was_sent_before_a_stop_is_answered() {
    let far = Far::fixed("200 OK", "", "{}");
    let mut setup = Setup::model(&far.url());
    let path = setup.state().join("gateway.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    for _ in 0..20 {
        let egress = setup.start_on(&path, &listener);
        let mut standing = UnixStream::connect(&path).expect("connects");
        send(&mut standing, false).expect("sent");
        assert_eq!(status(&mut standing), Some(200));
        // It stands still while both come, so that it hears of both at once.
        egress.child().signal(Signal::STOP).expect("signal");
        let mut fresh = UnixStream::connect(&path).expect("connects");
        [&mut standing, &mut fresh].into_iter().for_each(|stream| send(stream, false).expect("sent"));
        egress.child().signal(Signal::TERM).expect("signal");
        egress.child().signal(Signal::CONT).expect("signal");
        assert_eq!(status(&mut standing), Some(200), "{}", egress.setup().log());
        let (ended, back) = egress.end();
        assert!(ended.success(), "{}", back.log());
        let egress = back.start_on(&path, &listener);
        assert_eq!(status(&mut fresh), Some(200), "by that one or by the next");
        // It is there, and takes an orderly stop.
        egress.status();
        setup = egress.stop();
    }
}
