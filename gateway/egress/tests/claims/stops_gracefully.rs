//! A stop lets what is under way finish, and takes nothing new.

use std::{
    io::Write,
    sync::{Mutex, mpsc},
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
fn without_a_door_it_does_not_start() {
    let program = env!("CARGO_BIN_EXE_openclaw-egress");
    let out = std::process::Command::new(program).arg("--help").env_clear().output().expect("runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("usage: openclaw-egress"), "{said}");
}
