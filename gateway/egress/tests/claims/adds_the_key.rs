//! The key is added here and is seen by the far end alone; of the gateway's headers only named ones go on.

use crate::{
    far::Far,
    program::{KEY, Setup, TOKEN},
};

const LOUD: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "b-1"),
    ("accept", "text/event-stream"),
    ("x-api-key", "forged"),
    ("authorization", "Bearer forged"),
    ("proxy-authorization", "Basic forged"),
    ("cookie", "forged=1"),
    ("user-agent", "forged"),
    ("x-forwarded-for", "192.0.2.7"),
    ("via", "1.1 forged"),
    ("referer", "http://forged"),
    ("accept-encoding", "gzip"),
    ("te", "trailers"),
    ("expect", "100-continue"),
];

/// Incident 58: the key is bound to the address of its row; nothing in a request changes either.
#[test]
fn an_anthropic_request_gets_its_key_and_nothing_else() {
    let far = Far::fixed("200 OK", "content-type: application/json\r\n", "{\"id\":1}");
    let egress = Setup::model(&far.url()).start();
    // Without `expect`, which makes a client wait; it has its own case below.
    let answer = egress.open().call("POST", "/r/model/m/v1/messages", &LOUD[..LOUD.len() - 1], b"{\"a\":1}");
    assert_eq!((answer.status, answer.text()), (200, "{\"id\":1}"));

    let seen = far.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line(), "POST /v1/messages HTTP/1.1");
    assert_eq!(seen[0].header("x-api-key"), Some(KEY));
    assert_eq!(seen[0].header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen[0].header("anthropic-beta"), Some("b-1"));
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
    assert_eq!(seen[0].header("user-agent"), Some("openclaw"));
    assert_eq!(seen[0].header("content-length"), Some("7"), "a small body leaves in one piece");
    assert_eq!(seen[0].text(), "{\"a\":1}");
    assert!(!seen[0].head.contains("forged") && !seen[0].head.contains("192.0.2.7"), "{}", seen[0].head);
    assert_eq!(seen[0].header("accept-encoding"), None);
    let names =
        seen[0].head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    let all = [
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-api-key",
    ];
    assert_eq!(names, all, "nothing that tells one installation from another");

    let all = format!("{answer:?} {}", egress.stop().log());
    assert!(!all.contains(KEY), "{all}");
}

#[test]
fn an_openai_server_gets_a_bearer_token_or_nothing() {
    let far = Far::fixed("200 OK", "", "{}");
    let keys = format!("OPENAI_BASE_URL={}/v1\n", far.url());
    let egress = Setup::new().keys(&format!("{keys}OPENAI_API_KEY={KEY}\n")).start();
    assert_eq!(egress.call("POST", "/r/model/openai/chat/completions", "{}").status, 200);
    drop(egress);
    let egress = Setup::new().environment(&keys).start();
    assert_eq!(egress.status().models[0].model, "default");
    assert_eq!(egress.call("POST", "/r/model/local/chat/completions", "{}").status, 200);
    let seen = far.seen();
    assert_eq!(seen[0].line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen[1].header("authorization"), None);
}

#[test]
fn a_bot_call_and_a_file_get_the_token_in_their_path() {
    let far = Far::fixed("200 OK", "content-type: application/json\r\n", "{\"ok\":true}");
    let egress = Setup::bot(&far.url(), "poll").start();
    assert_eq!(egress.call("POST", "/r/telegram/b/sendMessage", "{\"chat_id\":1}").text(), "{\"ok\":true}");
    assert_eq!(egress.call("GET", "/r/telegram/b/file/documents/file_1.pdf", "").status, 200);
    let lines: Vec<_> = far.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(
        lines,
        [
            format!("POST /bot{TOKEN}/sendMessage HTTP/1.1"),
            format!("GET /file/bot{TOKEN}/documents/file_1.pdf HTTP/1.1")
        ]
    );
    assert!(!egress.stop().log().contains(&TOKEN[7..]));
}

#[test]
fn only_named_headers_come_back() {
    let far = Far::fixed(
        "429 Too Many Requests",
        "content-type: application/json\r\nretry-after: 7\r\nretry-after-ms: 7000\r\nx-should-retry: true\r\n\
         anthropic-ratelimit-tokens-remaining: 1\r\nx-ratelimit-limit-requests: 2\r\nrequest-id: r1\r\n\
         set-cookie: a=b\r\nserver: s\r\nlocation: http://elsewhere.test\r\nx-openclaw-refused: not_allowed\r\n\
         x-ratelimit-echo: test-key-not-real-a1b2c3\r\n",
        "{}",
    );
    let egress = Setup::model(&far.url()).start();
    let answer = egress.ask("{}");
    assert_eq!(answer.status, 429);
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "anthropic-ratelimit-tokens-remaining",
            "content-length",
            "content-type",
            "request-id",
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-limit-requests",
            "x-should-retry",
        ]
    );
}

#[test]
fn one_connection_carries_many_requests() {
    let far = Far::fixed("200 OK", "", "{}");
    let egress = Setup::model(&far.url()).start();
    let mut connection = egress.open();
    for _ in 0..5 {
        assert_eq!(connection.call("POST", "/r/model/m/v1/messages", &[], b"{}").status, 200);
    }
    assert_eq!(far.seen().len(), 5);
}
