//! The gate over real connections: what it answers, what it stores, and when it hangs up.

#![expect(clippy::disallowed_methods, reason = "the tests are the senders")]

mod timing;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use openclaw_wire::config::From;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ingress::{Digest, NotStored};

const UPDATE: &str = r#"{"update_id":1,"my_chat_member":{"chat":{"id":1,"type":"private"}}}"#;
const MOST: usize = 1000;

/// Counts what is accepted; the disk may be full.
#[derive(Default)]
struct Stored(Mutex<(usize, bool)>);

impl Inbox for Arc<Stored> {
    async fn accept(&self, batch: Vec<Verified<Incoming>>) -> Result<(), NotStored> {
        let mut state = self.0.lock().expect("lock");
        match state.1 {
            true => Err(NotStored("full".into())),
            false => {
                state.0 += batch.len();
                Ok(())
            }
        }
    }
}

struct World {
    address: SocketAddr,
    stored: Arc<Stored>,
    secrets: Arc<Secrets>,
}

impl World {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let address = listener.local_addr().expect("address");
        let (stored, secrets) = (Arc::<Stored>::default(), Arc::<Secrets>::default());
        let digest = Digest::new(Sha256::digest("test-secret").into());
        secrets.set(HashMap::from([("main".parse().expect("name"), digest.into())]));
        let source = Source { from: From::Tunnel, ranges: FACTS.telegram.ranges.clone(), users: Vec::new() };
        // Short: two cases wait until it is over.
        let gate = Gate::new(source, secrets.clone(), MOST, Duration::from_millis(500));
        let inbox = Arc::new(stored.clone());
        tokio::spawn(serve(Listener::Tcp(listener), Arc::new(gate), inbox, CancellationToken::new()));
        Self { address, stored, secrets }
    }

    /// Sends this and keeps the connection open; gives all that comes until the gate closes it.
    async fn until_closed(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("send");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset behind the answer is as closed as an end.
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the gate closes it");
        String::from_utf8(answer).expect("text")
    }

    fn stored(&self) -> usize {
        std::mem::take(&mut self.stored.0.lock().expect("lock").0)
    }
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.").skip(1).map(|one| &one[2..5]).collect()
}

/// A request with these lines between its first one and its body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /telegram/main HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}")
}

#[tokio::test]
async fn each_request_gets_its_status_an_empty_body_and_what_is_refused_is_not_stored() {
    let world = World::start();
    let right = "CF-Connecting-IP: 149.154.160.1\r\nX-Telegram-Bot-Api-Secret-Token: test-secret\r\n";
    // Each wrong secret from an address of its own, so that this is not about throttling.
    let mut number = 1;
    let mut wrong = || {
        number += 1;
        format!("CF-Connecting-IP: 149.154.160.{number}\r\nX-Telegram-Bot-Api-Secret-Token: no\r\n")
    };
    let length = format!("Content-Length: {}\r\n", UPDATE.len());
    let close = "Connection: close\r\n";
    let good = post(&format!("{right}{length}"), UPDATE);
    let chunked = |size: usize| format!("{size:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(size));
    let cases: Vec<(&str, String, &[&str], usize)> = vec![
        ("good", post(&format!("{right}{length}{close}"), UPDATE), &["200"], 1),
        ("an old protocol", good.replace("HTTP/1.1", "HTTP/1.0"), &["200"], 1),
        (
            "two, the second with a wrong secret, and one behind it that is never looked at",
            format!("{good}{}{good}", post(&format!("{}{length}", wrong()), UPDATE)),
            &["200", "401"],
            1,
        ),
        ("no secret", post(&format!("CF-Connecting-IP: 149.154.161.1\r\n{length}"), UPDATE), &["401"], 0),
        ("every line twice", post(&format!("{right}{right}{length}"), UPDATE), &["403"], 0),
        (
            "two secrets, the right one first",
            post(&format!("{right}X-Telegram-Bot-Api-Secret-Token: no\r\n{length}"), UPDATE),
            &["401"],
            0,
        ),
        ("another bot", good.replace("/main", "/other"), &["401"], 0),
        ("another source", good.replace("149.154.160.1", "1.1.1.1"), &["403"], 0),
        ("another method", good.replace("POST", "PUT"), &["405"], 0),
        ("a wrong secret and no JSON", post(&format!("{}Content-Length: 1\r\n", wrong()), "{"), &["401"], 0),
        (
            "a wrong secret and a body that never comes",
            post(&format!("{}Content-Length: 1073741824\r\n", wrong()), ""),
            &["401"],
            0,
        ),
        (
            "a wrong secret that asks whether to go on",
            post(&format!("{}{length}Expect: 100-continue\r\n", wrong()), ""),
            &["401"],
            0,
        ),
        (
            "too large by its own word",
            post(&format!("{right}Content-Length: {}\r\n", MOST + 1), ""),
            &["413"],
            0,
        ),
        (
            "too large in pieces",
            post(&format!("{right}Transfer-Encoding: chunked\r\n"), &chunked(MOST + 1)),
            &["413"],
            0,
        ),
        ("no JSON", post(&format!("{right}Content-Length: 1\r\n"), "{"), &["400"], 0),
        ("a body that stops half way", post(&format!("{right}{length}"), &UPDATE[..9]), &["408"], 0),
        ("a head that stops half way", good[..40].into(), &[], 0),
        ("a head without end", format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD)), &["431"], 0),
        ("two lengths", post(&format!("{right}{length}Content-Length: 1\r\n"), UPDATE), &["400"], 0),
        ("no HTTP", "nonsense\r\n\r\n".into(), &["400"], 0),
        ("kept open and then silent", good.clone(), &["200"], 1),
    ];
    for (name, request, expected, stored) in cases {
        let answer = world.until_closed(&request).await;
        // A head that never ends may be answered or just closed.
        if !(expected == ["431"] && answer.is_empty()) {
            assert_eq!(statuses(&answer), expected, "{name}: {answer}");
        }
        assert!(answer.is_empty() || answer.ends_with("\r\n\r\n"), "{name}: a body: {answer}");
        assert_eq!(world.stored(), stored, "{name}");
    }

    world.stored.0.lock().expect("lock").1 = true;
    let answer = world.until_closed(&good).await.to_lowercase();
    assert!(statuses(&answer.to_uppercase()) == ["503"] && answer.contains("retry-after: 2"), "{answer}");
    // A blank secret is never right, even if egress should tell the digest of one; without any digest we are not ready.
    world.stored.0.lock().expect("lock").1 = false;
    let empty = Digest::new(Sha256::digest("").into());
    world.secrets.set(HashMap::from([("main".parse().expect("name"), empty.into())]));
    let blank = good.replace("test-secret", "");
    assert_eq!(statuses(&world.until_closed(&blank).await), ["401"]);
    world.secrets.set(HashMap::new());
    assert_eq!(statuses(&world.until_closed(&good).await), ["503"]);
    assert_eq!(world.stored(), 0);
}

#[tokio::test]
async fn thousands_that_say_nothing_keep_nobody_out() {
    let world = World::start();
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(world.address).await.expect("connect"));
    }
    let right = "CF-Connecting-IP: 149.154.160.1\r\nX-Telegram-Bot-Api-Secret-Token: test-secret\r\nConnection: close\r\n";
    let good = post(&format!("{right}Content-Length: {}\r\n", UPDATE.len()), UPDATE);
    assert_eq!(statuses(&world.until_closed(&good).await), ["200"]);
    assert_eq!(world.stored(), 1);
}
