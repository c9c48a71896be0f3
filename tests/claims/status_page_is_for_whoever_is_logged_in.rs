//! The status page says nothing to whoever has no token, wherever he comes from and whatever he asks.

use std::{fs, net::Ipv4Addr, os::unix::fs::MetadataExt};

use openclaw_tests::{
    gateway::{Gateway, Setup},
    page::{Page, header, token},
};
use openclaw_wire::facts::FACTS;

async fn start() -> (Gateway, Page) {
    let mut setup = Setup::new();
    let page = Page::switch_on(&mut setup);
    (Gateway::start(setup).await, page)
}

/// Each thing that can be asked, and some that can't.
const ASKED: [(&str, &str); 14] = [
    ("GET", "/"),
    ("GET", "/metrics"),
    ("GET", "/drill"),
    ("POST", "/drill"),
    ("POST", "/logout"),
    ("GET", "/login"),
    ("GET", "/status"),
    ("GET", "/config"),
    ("POST", "/config/apply"),
    ("GET", "/.env"),
    ("GET", "/../../etc/passwd"),
    ("DELETE", "/"),
    ("GET", "/?token=x&gatewayUrl=ws://evil.example"),
    ("GET", "/favicon.ico"),
];

/// Nobody gets anything but the page to log in: the same bytes, without a word about this machine (incidents 35, 47).
#[tokio::test]
async fn everybody_else_gets_one_and_the_same_answer() {
    let (gateway, page) = start().await;
    let first = page.ask("GET", "/", &[], "").await;
    assert_eq!(first.status, 401);
    assert!(first.body.contains("Log in"), "{}", first.body);
    for part in [env!("CARGO_PKG_VERSION"), "OpenClaw", "openclaw:", "rehearsal"] {
        assert!(!first.body.contains(part) && !first.head.contains(part), "{part} in {first:?}");
    }
    let without_date =
        |head: &str| head.lines().filter(|line| !line.starts_with("date:")).collect::<String>();
    for (method, path) in ASKED {
        for headers in [[("Cookie", "openclaw=x")].as_slice(), &[("Authorization", "Bearer x")], &[]] {
            // A wrong token is counted; from another address for each, so that none is locked out.
            let from = Ipv4Addr::new(127, 0, 1, path.len() as u8);
            let answer = page.ask_from(from, method, path, headers, "").await;
            assert_eq!((answer.status, &answer.body), (401, &first.body), "{method} {path} {headers:?}");
            assert_eq!(without_date(&answer.head), without_date(&first.head), "{method} {path}");
        }
    }

    // With a token they differ: what was refused is there.
    let cookie = page.log_in(&token(&gateway, &[]).await).await.expect("logged in");
    let seen = page.look(&cookie).await;
    assert_eq!(seen.status, 200);
    for part in ["Queue", "Spend", "Checklist", "Confinement", "Drill", "landlock-fs"] {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
    assert_eq!(page.ask("GET", "/config", &[("Cookie", &cookie)], "").await.status, 404);
    assert_eq!(page.ask("DELETE", "/", &[("Cookie", &cookie)], "").await.status, 405);
}

/// No web socket opens, with or without a token (incident 42).
#[tokio::test]
async fn there_is_no_web_socket() {
    let (gateway, page) = start().await;
    let cookie = page.log_in(&token(&gateway, &[]).await).await.expect("logged in");
    for path in ["/", "/ws", "/metrics"] {
        let upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(page.ask("GET", path, &upgrade, "").await.status, 401, "{path}");
        let known = [&upgrade[..], &[("Cookie", cookie.as_str())]].concat();
        let answer = page.ask("GET", path, &known, "").await;
        assert!(matches!(answer.status, 200 | 404), "{path}: {answer:?}");
    }
}

/// A thousand wrong tokens from loopback: after a few nothing from there is looked at, the right one neither; from another
/// address it is (incident 41). No header about an address changes that (incident 39).
#[tokio::test]
async fn guessing_is_locked_out_on_loopback_too() {
    let (gateway, page) = start().await;
    let right = token(&gateway, &[]).await;
    // 256 bits as base64url without padding.
    assert_eq!(right.len(), 43);
    let cookie = page.log_in(&right).await.expect("the right one, before");
    let mut seen = [0, 0];
    for number in 0..1000 {
        let forged = format!("10.0.0.{}", number % 250);
        let bearer = format!("Bearer wrong-{number}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("X-Forwarded-For", &forged),
            ("X-Real-IP", &forged),
            ("Forwarded", "for=127.0.0.1"),
        ];
        match page.ask("GET", "/metrics", &headers, "").await.status {
            401 => seen[0] += 1,
            429 => seen[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen, [10, 990]);
    let answer = page.post("/login", "", &right).await;
    assert_eq!(answer.status, 429, "the right one from there");
    assert!(header(&answer, "retry-after").is_some());
    let bearer = format!("Bearer {right}");
    let from = Ipv4Addr::new(127, 0, 0, 2);
    let answer = page.ask_from(from, "GET", "/metrics", &[("Authorization", &bearer)], "").await;
    assert_eq!(answer.status, 200, "from elsewhere");
    assert_eq!(page.look(&cookie).await.status, 200, "whoever is logged in stays so");
}

/// A new token makes the old one wrong at once, on connections that stand as well, and ends what was begun by it (incident
/// 43).
#[tokio::test]
async fn a_new_token_ends_the_old_one() {
    let (gateway, page) = start().await;
    let old = token(&gateway, &[]).await;
    let cookie = page.log_in(&old).await.expect("logged in");
    let mut stands = openclaw_tests::http::connect(page.0).await;
    let head = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {cookie}\r\n\r\n", page.0);
    let mut again = async || {
        use tokio::io::AsyncWriteExt;
        stands.write_all(head.as_bytes()).await.expect("it stands");
        openclaw_tests::http::read(&mut stands).await.status
    };
    assert_eq!(again().await, 200);
    let new = token(&gateway, &[]).await;
    assert_eq!(again().await, 401, "on a connection that stands");
    assert_eq!(page.look(&cookie).await.status, 401, "on a new one");
    assert_eq!(page.log_in(&old).await, None);
    assert!(page.log_in(&new).await.is_some());
}

/// What was revoked stays so: with the old cookie, after a restart, and with the database of before (incident 44). The file
/// that says so is private from its first byte on (incident 49).
#[tokio::test]
async fn a_revoked_token_does_not_come_back() {
    let (mut gateway, page) = start().await;
    let revoked = token(&gateway, &[]).await;
    let cookie = page.log_in(&revoked).await.expect("logged in");
    let file = gateway.state().join(&FACTS.state.page_tokens);
    let facts = fs::metadata(&file).expect("there");
    assert_eq!(facts.mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).expect("reads").contains(&revoked), "only its digest is kept");
    gateway.stop().await;
    let database = gateway.state().join(&FACTS.state.database);
    let copy = fs::read(&database).expect("a copy");
    gateway.start_again().await;
    assert!(page.log_in(&revoked).await.is_some(), "it outlives a restart");
    gateway.ask(&["admin", "revoke"]).await;
    for what in ["at once", "after a restart", "with the database of before"] {
        assert_eq!(page.look(&cookie).await.status, 401, "{what}");
        assert_eq!(page.log_in(&revoked).await, None, "{what}");
        gateway.stop().await;
        if what == "after a restart" {
            for suffix in ["-wal", "-shm"] {
                let _there = fs::remove_file(format!("{}{suffix}", database.display()));
            }
            fs::write(&database, &copy).expect("put back");
        }
        gateway.start_again().await;
    }
}

/// What a token is good for stands with its digest; no wish of the sender's widens it (incidents 38, 51).
#[tokio::test]
async fn a_token_for_metrics_is_good_for_metrics() {
    let (gateway, page) = start().await;
    let metrics = format!("Bearer {}", token(&gateway, &["--metrics"]).await);
    let operator = format!("Bearer {}", token(&gateway, &[]).await);
    let origin = page.origin();
    for (method, path, with_metrics, with_operator) in [
        ("GET", "/metrics", 200, 200),
        ("GET", "/", 403, 200),
        // Without a cookie of our own page nothing changes, whatever the token.
        ("POST", "/drill", 403, 403),
        ("POST", "/logout", 403, 403),
    ] {
        for (bearer, expected) in [(&metrics, with_metrics), (&operator, with_operator)] {
            let wishes = [
                ("Authorization", bearer.as_str()),
                ("X-Page", "own"),
                ("Origin", origin.as_str()),
                ("X-Scope", "operator"),
                ("X-Role", "admin"),
                ("X-Forwarded-User", "root"),
            ];
            let answer = page.ask(method, &format!("{path}?scope=operator&role=owner"), &wishes, "").await;
            assert_eq!(answer.status, expected, "{method} {path}");
        }
    }
    assert_eq!(page.log_in(metrics.trim_start_matches("Bearer ")).await, None, "it does not log in");
    let answer = page.ask("GET", "/metrics", &[("Authorization", &metrics)], "").await;
    assert!(
        header(&answer, "content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    for line in ["openclaw_inbox_waiting 0.0", "openclaw_skills_on 1.0", "# EOF"] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in {}", answer.body);
    }
}
