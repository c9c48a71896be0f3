//! Who may not speak is refused before a byte of the body is read, and nobody can keep the webhook busy with nothing.

use std::time::Duration;

use openclaw_tests::{
    gateway::Role,
    http::{Post, connect, exchange, message, read},
    world::{OWNER, World},
};
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// A wrong secret with a body of 1 GiB announced: 401 at once, and a thousand of them cost no memory (incident 4).
#[tokio::test]
async fn a_wrong_secret_is_refused_before_the_body() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    let gateway = world.gateway.living(Role::Gateway).await;
    let mut post = Post::new(port, "wrong", &json!({}));
    let one = exchange(port, post.head(1 << 30).as_bytes()).await;
    assert_eq!(one.status, 401, "before a byte of the body was sent");
    let before = gateway.number("status", "VmRSS");
    for n in 0..1000_u32 {
        // Each from another address out of Telegram's range, so that this is not about throttling.
        let (high, low) = (n / 250, n % 250);
        post.header("CF-Connecting-IP", &format!("149.154.16{high}.{low}"));
        assert_eq!(exchange(port, post.head(1 << 30).as_bytes()).await.status, 401);
    }
    let grown = gateway.number("status", "VmRSS").saturating_sub(before);
    assert!(grown < 1024, "grown by {grown} KiB");
}

/// More than the limit, announced or streamed in chunks, is refused with 413 (incident 5).
#[tokio::test]
async fn an_oversized_body_is_refused() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    let mut post = Post::new(port, &world.secret(), &message(1, OWNER, "hi"));
    assert_eq!(post.send().await.status, 200, "a small one is accepted");
    let padding = "x".repeat(262_144);
    post.body = message(2, OWNER, &padding).to_string().into_bytes();
    assert_eq!(post.send().await.status, 413);

    let mut stream = connect(port).await;
    let head = post.head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    stream.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..300 {
        let chunk = format!("400\r\n{}\r\n", "y".repeat(1024));
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(
        read(&mut stream).await.status,
        413,
        "the limit holds for what comes, not for what is announced"
    );
    assert_eq!(world.gateway.count("SELECT count(*) FROM inbox"), 1);
}

/// A body that trickles in is cut off in time, and others are served meanwhile (incident 6).
#[tokio::test]
async fn a_slow_sender_is_cut_off_and_disturbs_nobody() {
    let world = World::webhook(|setup| {
        setup.section("webhook", "read_timeout = 1");
    })
    .await;
    let port = world.gateway.setup().port();
    let post = Post::new(port, &world.secret(), &message(1, OWNER, "slow"));
    let mut slow_body = connect(port).await;
    slow_body.write_all(post.head(10_000).as_bytes()).await.expect("sent");
    let mut slow_head = connect(port).await;
    slow_head.write_all(b"POST /telegram/main HTTP/1.1\r\nHost: ").await.expect("sent");
    let trickle = tokio::spawn(async move {
        let mut open = true;
        for _ in 0..300 {
            open = open && slow_body.write_all(b"{").await.is_ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        read(&mut slow_body).await.status
    });
    for n in 10..20 {
        let quick = Post::new(port, &world.secret(), &message(n, OWNER, "quick")).send().await;
        assert_eq!(quick.status, 200);
    }
    let status = read(&mut slow_head).await.status;
    assert!([0, 408].contains(&status), "a head that never ends is cut off, got {status}");
    let status = trickle.await.expect("joined");
    assert!([0, 408].contains(&status), "a body that never ends is cut off, got {status}");
    assert_eq!(world.gateway.count("SELECT count(*) FROM inbox"), 10);
}

/// Thousands of connections that say nothing keep Telegram out for no second (incident 7).
#[tokio::test]
async fn half_open_connections_do_not_keep_telegram_out() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    // As many as this process may open; each waits in the middle of its head.
    let mut held = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(port).await;
        let _ = stream.write_all(b"POST /telegram/main HTTP/1.1\r\n").await;
        held.push(stream);
    }
    world.anna.says("still there?");
    assert_eq!(world.anna.hears().await.text, "You said: still there?");
    drop(held);
}

/// Malformed JSON with a wrong secret is 401, not 400: the order of the checks (incident 8).
#[tokio::test]
async fn the_secret_is_checked_before_the_json() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    let mut post = Post::new(port, &world.secret(), &json!({}));
    post.body = b"{ not json".to_vec();
    assert_eq!(post.send().await.status, 400, "with the secret it is a bad request");
    post.header("X-Telegram-Bot-Api-Secret-Token", "wrong");
    assert_eq!(post.send().await.status, 401);
}
