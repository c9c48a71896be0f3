//! A far end that echoes what it got hands no key to the gateway, however it cuts its answer.

use std::{
    io::Write,
    sync::{Mutex, mpsc},
};

use crate::{
    far,
    far::Far,
    program::{KEY, Setup, TOKEN},
};

#[test]
fn an_echoed_key_is_replaced_and_the_rest_is_not() {
    let far = Far::start(|seen, to| {
        let page = format!(
            "{{\"error\":\"bad key {} in\\n{}\"}}",
            seen.header("x-api-key").expect("key"),
            seen.head
        );
        far::reply(to, "401 Unauthorized", "content-type: application/json\r\n", page.as_bytes());
    });
    let egress = Setup::model(&far.url()).start();
    let answer = egress.ask("{}");
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains(KEY));
    assert!(answer.text().contains(&format!("bad key {} in", "*".repeat(KEY.len()))), "{}", answer.text());
    assert!(answer.text().contains("POST /v1/messages"), "{}", answer.text());
}

#[test]
fn a_key_cut_into_chunks_is_found() {
    for cut in 1..KEY.len() {
        let far = Far::start(move |seen, to| {
            let key = seen.header("x-api-key").expect("key");
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            far::chunk(to, format!("before {}", &key[..cut]).as_bytes());
            far::chunk(to, format!("{} after", &key[cut..]).as_bytes());
            far::chunk(to, b"");
        });
        let egress = Setup::model(&far.url()).start();
        let answer = egress.ask("{}");
        assert_eq!(answer.text(), format!("before {} after", "*".repeat(KEY.len())), "cut at {cut}");
    }
}

/// Over the events of a stream, each of which arrives before the next is sent. What its type is called changes nothing.
#[test]
fn a_key_cut_over_events_shows_its_beginning_at_most() {
    let event = |piece: &str| {
        format!("data: {{\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{piece}\"}}}}\r\n\r\n")
    };
    for (kind, size) in [("text/event-stream", 1), ("text/event-stream", 5), ("application/json", 7)] {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let far = Far::start(move |seen, to| {
            let _ = to.write_all(
                format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n")
                    .as_bytes(),
            );
            for piece in seen.header("x-api-key").expect("key").as_bytes().chunks(size) {
                far::chunk(to, event(std::str::from_utf8(piece).expect("text")).as_bytes());
                let _ = wait.lock().expect("lock").recv();
            }
            far::chunk(to, b"");
        });
        let egress = Setup::model(&far.url()).start();
        let mut connection = egress.open();
        connection.request("POST", "/r/model/m/v1/messages", &[], b"{}");
        connection.head();
        let covered = format!("{}{}", &KEY[..KEY.len() / 4], "*".repeat(KEY.len() - KEY.len() / 4));
        for (piece, echoed) in covered.as_bytes().chunks(size).zip(KEY.as_bytes().chunks(size)) {
            assert_eq!(piece.len(), echoed.len());
            let piece = std::str::from_utf8(piece).expect("text");
            assert_eq!(String::from_utf8_lossy(&connection.chunk()), event(piece), "{kind}");
            go.send(()).expect("go on");
        }
        assert_eq!(connection.chunk(), b"");
    }
}

#[test]
fn a_token_in_an_error_page_is_found_encoded_too() {
    let far = Far::start(|seen, to| {
        let line = seen.line().replacen(':', "%3A", 1);
        far::reply(to, "404 Not Found", "", format!("{} / {line}", seen.line()).as_bytes());
    });
    let egress = Setup::bot(&far.url(), "poll").start();
    let answer = egress.call("POST", "/r/telegram/b/getMe", "");
    assert_eq!(answer.status, 404);
    assert!(!answer.text().contains(&TOKEN[7..]), "{}", answer.text());
    assert_eq!(answer.text().matches("/getMe HTTP/1.1").count(), 2);
}

#[test]
fn a_compressed_answer_is_not_passed_on() {
    use openclaw_wire::egress::RefusalKind;
    let far = Far::fixed("200 OK", "content-encoding: gzip\r\n", "opaque");
    let refusal = Setup::model(&far.url()).start().ask("{}").refused(RefusalKind::NoAnswer);
    assert!(refusal.message.contains("compressed"), "{}", refusal.message);
}

/// Incident 112: a key that found its way into a conversation does not leave with a request, in small and large bodies.
#[test]
fn a_key_in_a_request_is_replaced() {
    let far = Far::fixed("200 OK", "", "{}");
    let egress = Setup::model(&far.url()).start();
    let stars = "*".repeat(KEY.len());
    for filler in [10, 200_000] {
        let words = "words ".repeat(filler / 6);
        let body = format!("{{\"a\":\"{words}{KEY} and more\"}}");
        assert_eq!(egress.ask(&body).status, 200);
        let seen = far.seen().pop().expect("asked");
        assert_eq!(seen.text(), body.replace(KEY, &stars));
        assert_eq!(seen.header("x-api-key"), Some(KEY), "only the header has it");
    }
}
