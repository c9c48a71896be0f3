//! Nothing that one side sends makes egress keep more than a bound of it.

use std::{
    io::Write,
    sync::{Barrier, Mutex, mpsc},
};

use openclaw_wire::egress::RefusalKind;

use crate::{
    far::{self, Far},
    program::Setup,
};

#[test]
fn a_request_over_32_mib_is_refused() {
    let far = Far::start(|seen, to| far::reply(to, "200 OK", "", seen.body.len().to_string().as_bytes()));
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    connection.send(b"POST /r/model/m/v1/messages HTTP/1.1\r\nhost: e\r\ncontent-length: 33554433\r\n\r\n");
    assert_eq!(connection.answer().status, 400, "announced: refused before a byte of it is read");
    assert!(far.seen().is_empty());

    let mut connection = egress.open();
    connection.send(b"POST /r/model/m/v1/messages HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\n");
    let piece = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    for _ in 0..32 {
        connection.send(&piece);
    }
    connection.send(b"1\r\nx\r\n");
    connection.answer().refused(RefusalKind::BadRequest);
    assert!(far.seen().is_empty(), "the far end got no whole request");
}

#[test]
fn huge_headers_of_the_far_end_are_an_error() {
    for (count, length) in [(1, 2 << 20), (1000, 10)] {
        let far = Far::start(move |_, to| {
            let header = format!("x-a: {}\r\n", "y".repeat(length));
            let _ = to.write_all(format!("HTTP/1.1 200 OK\r\n{}\r\n", header.repeat(count)).as_bytes());
        });
        Setup::model(&far.url()).start().ask("{}").refused(RefusalKind::NoAnswer);
    }
}

#[test]
fn huge_headers_of_the_gateway_are_refused_and_the_next_one_is_served() {
    let far = Far::fixed("200 OK", "", "{}");
    let egress = Setup::model(&far.url()).start();
    let long = "y".repeat(128 << 10);
    let mut connection = egress.open();
    connection.request("POST", "/r/model/m/v1/messages", &[("x-a", &long)], b"{}");
    assert_eq!(connection.head().status, 431);
    assert!(far.seen().is_empty());
    assert_eq!(egress.ask("{}").status, 200);
}

#[test]
fn answers_that_are_not_http_are_errors() {
    for nonsense in
        ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"]
    {
        let far = Far::start(move |_, to| {
            let _ = to.write_all(nonsense.as_bytes());
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
        Setup::model(&far.url()).start().ask("{}").refused(RefusalKind::NoAnswer);
    }
}

#[test]
fn a_burst_is_served_and_leaves_few_idle_connections() {
    let all_there = Barrier::new(100);
    let far = Far::start(move |_, to| {
        // No answer before all have asked, so that there are 100 connections.
        all_there.wait();
        far::reply(to, "200 OK", "", b"{}");
    });
    let egress = Setup::model(&far.url()).start();
    let mut connections: Vec<_> = (0..100).map(|_| egress.open()).collect();
    for connection in &mut connections {
        connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
    }
    for connection in &mut connections {
        assert_eq!(connection.answer().status, 200);
    }
    assert_eq!(far.most_open(), 100);
    far.wait_until_open(|open| open <= 8);
}

#[test]
fn a_silent_far_end_holds_up_nobody_else() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let far = Far::start(move |seen, to| {
        if seen.body == b"slow" {
            let _ = wait.lock().expect("lock").recv();
        }
        far::reply(to, "200 OK", "", &seen.body);
    });
    let egress = Setup::model(&far.url()).start();
    let mut slow = egress.open();
    slow.request("POST", "/r/model/m/v1/messages", &[], b"slow");
    for _ in 0..20 {
        assert_eq!(egress.ask("fast").text(), "fast");
    }
    go.send(()).expect("go on");
    assert_eq!(slow.answer().text(), "slow");
}
