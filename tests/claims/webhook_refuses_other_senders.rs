//! Only Telegram's published ranges reach the webhook (incident 19).

use openclaw_tests::{
    http::{Post, message},
    world::{OWNER, World},
};

/// Behind the tunnel the source is `CF-Connecting-IP`, one value, inside the ranges; other headers say nothing.
#[tokio::test]
async fn behind_the_tunnel_the_source_must_be_telegrams() {
    let world = World::webhook(|_| {}).await;
    let good = Post::new(world.gateway.setup().port(), &world.secret(), &message(1, OWNER, "hi"));
    assert_eq!(good.send().await.status, 200);
    for (source, allowed) in [
        ("149.154.160.0", true),
        ("149.154.175.255", true),
        ("91.108.4.0", true),
        ("91.108.7.255", true),
        ("149.154.176.0", false),
        ("149.154.159.255", false),
        ("91.108.8.0", false),
        ("127.0.0.1", false),
        ("203.0.113.1", false),
        ("2001:db8::1", false),
        ("149.154.167.220, 203.0.113.1", false),
        ("149.154.167.220:443", false),
        ("unknown", false),
        ("", false),
    ] {
        let mut post = good.clone();
        post.header("CF-Connecting-IP", source).header("X-Forwarded-For", "149.154.167.220");
        post.header("X-Real-IP", "149.154.167.220").header("Forwarded", "for=149.154.167.220");
        let status = post.send().await.status;
        assert_eq!(status, if allowed { 200 } else { 403 }, "source {source:?}");
    }
    let mut twice = good.clone();
    twice.headers.push(("CF-Connecting-IP".into(), "149.154.167.221".into()));
    assert_eq!(twice.send().await.status, 403, "two sources are none");
}

/// Without a tunnel the peer itself must be in the ranges, and no header changes that.
#[tokio::test]
async fn without_a_tunnel_headers_do_not_make_a_sender() {
    let world = World::webhook(|_| {}).await;
    let port = world.gateway.setup().port();
    let post = Post::new(port, &world.secret(), &message(1, OWNER, "hi"));
    assert_eq!(post.send().await.status, 200, "with the tunnel in front the same request passes");
    let direct = World::webhook(|setup| {
        let tunnel = setup.config().contains("from = \"tunnel\"");
        assert!(tunnel, "the setup's default");
        setup.replace("from = \"tunnel\"", "from = \"direct\"");
    })
    .await;
    let post = Post::new(direct.gateway.setup().port(), &direct.secret(), &message(1, OWNER, "hi"));
    assert_eq!(post.send().await.status, 403, "loopback is not Telegram");
}
