//! A stop lets what is under way finish, and takes nothing new.

use std::{
    io::Write,
    os::unix::net::UnixDatagram,
    sync::{Mutex, mpsc},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    far::{self, Far},
    program::Setup,
};

#[test]
fn an_answer_under_way_is_finished_after_sigterm() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let far = Far::start(move |_, to| {
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        far::chunk(to, b"first\n");
        let _ = wait.lock().expect("lock").recv();
        far::chunk(to, b"second\n");
        far::chunk(to, b"");
    });
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
    connection.head();
    assert_eq!(connection.chunk(), b"first\n");
    egress.child().signal(Signal::TERM).expect("signal");
    // An idle connection is closed by the stop: so the stop has begun.
    let mut idle = egress.open();
    assert_eq!(idle.rest(), b"");
    go.send(()).expect("go on");
    assert_eq!(connection.chunk(), b"second\n");
    assert_eq!(connection.chunk(), b"");
    let (status, setup) = egress.end();
    assert!(status.success(), "{}", setup.log());
}

#[test]
fn it_ends_when_the_gateway_and_its_supervisor_are_gone() {
    let egress = Setup::new().start();
    egress.status();
    let (status, setup) = egress.close_door();
    assert!(status.success(), "{}", setup.log());
}

#[test]
fn systemd_hears_ready_alive_and_stopping() {
    let setup = Setup::new();
    let path = setup.state().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("the notification socket");
    systemd.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
    let egress = setup
        .variable("NOTIFY_SOCKET", path.to_str().expect("text"))
        .variable("WATCHDOG_USEC", "20000")
        .start();
    let hear = || {
        let mut buffer = [0; 256];
        let length = systemd.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1\nSTATUS=0 models, 0 bots");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");
    egress.child().signal(Signal::TERM).expect("signal");
    while hear() != "STOPPING=1" {}
    assert!(egress.end().0.success());
}

#[test]
fn without_a_door_it_does_not_start() {
    let program = env!("CARGO_BIN_EXE_openclaw-egress");
    let out = std::process::Command::new(program).arg("--help").env_clear().output().expect("runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("usage: openclaw-egress"), "{said}");
}
