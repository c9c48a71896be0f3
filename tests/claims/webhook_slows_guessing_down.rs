//! Guessing the secret is slow, and it slows nobody else down.

use openclaw_tests::{
    http::{Post, message},
    world::{OWNER, World},
};

/// After some wrong secrets an address is refused unseen; another address is served (incident 9).
#[tokio::test]
async fn many_wrong_secrets_are_throttled_by_address() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    let mut post = Post::new(port, "guess", &message(1, OWNER, "hi"));
    post.header("CF-Connecting-IP", "149.154.161.7");
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.push(post.send().await.status);
    }
    assert_eq!(seen[0], 401);
    assert_eq!(seen.last(), Some(&429));
    let answer = post.send().await;
    assert!(answer.head.to_lowercase().contains("retry-after:"), "{answer:?}");
    post.header("X-Telegram-Bot-Api-Secret-Token", &world.secret());
    assert_eq!(
        post.send().await.status,
        429,
        "before the comparison: the right secret does not help that address"
    );
    post.header("CF-Connecting-IP", "149.154.161.8");
    assert_eq!(post.send().await.status, 200, "another address is not affected");
}
