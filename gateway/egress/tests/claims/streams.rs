//! Answers go on chunk by chunk, requests too; when the gateway goes away, so does the request.

use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
};

use crate::{far, far::Far, program::Setup};

const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn the_first_event_arrives_before_the_second_is_sent() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let far = Far::start(move |_, to| {
        let _ = to.write_all(EVENTS);
        for event in [b"data: 1\n\n", b"data: 2\n\n"] {
            far::chunk(to, event);
            // Nothing more is sent until the test has the event.
            let _ = wait.lock().expect("lock").recv();
        }
        far::chunk(to, b"");
    });
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
    let head = connection.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(connection.chunk(), b"data: 1\n\n");
    go.send(()).expect("go on");
    assert_eq!(connection.chunk(), b"data: 2\n\n");
    go.send(()).expect("go on");
    assert_eq!(connection.chunk(), b"");
}

#[test]
fn a_large_request_and_a_large_answer_arrive_whole() {
    let far = Far::start(|seen, to| far::reply(to, "200 OK", "", &seen.body));
    let egress = Setup::model(&far.url()).start();
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let answer = egress.open().call("POST", "/r/model/m/v1/messages", &[], &body);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[test]
fn a_chunked_request_goes_on_as_it_comes() {
    let far = Far::start(|seen, to| far::reply(to, "200 OK", "", &seen.body));
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    connection.send(b"POST /r/model/m/v1/messages HTTP/1.1\r\nhost: e\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        connection.send(b"5\r\nhello\r\n");
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(connection.answer().text(), "hellohellohello");
}

#[test]
fn an_answer_cut_short_is_seen_as_cut_short() {
    let far = Far::start(|_, to| {
        let _ = to.write_all(EVENTS);
        far::chunk(to, b"data: 1\n\n");
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
    connection.head();
    assert_eq!(connection.chunk(), b"data: 1\n\n");
    assert_eq!(connection.rest(), b"", "no closing chunk: the gateway must not take it for whole");
}

#[test]
fn when_the_gateway_hangs_up_the_far_end_is_left() {
    for started in [false, true] {
        let (gone, wait) = mpsc::channel::<()>();
        let (arrived, arrival) = mpsc::channel::<()>();
        let senders = Mutex::new((arrived, gone));
        let far = Far::start(move |_, to| {
            let senders = senders.lock().expect("lock");
            if started {
                let _ = to.write_all(EVENTS);
                far::chunk(to, b"data: 1\n\n");
            }
            let _ = senders.0.send(());
            // Ends when egress has closed the connection.
            let _ = to.read_to_end(&mut Vec::new());
            let _ = senders.1.send(());
        });
        let egress = Setup::model(&far.url()).start();
        let mut connection = egress.open();
        connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
        arrival.recv().expect("the request arrived");
        if started {
            connection.head();
            connection.chunk();
        }
        drop(connection);
        wait.recv().expect("the far end's connection was closed");
    }
}
