//! 200 means that the update is on the disk. When it can't be, Telegram is told so, and its retry succeeds later.

use std::time::Duration;

use openclaw_tests::{
    disk::{SmallDisk, Unwritable},
    gateway::{Gateway, Setup},
    http::{Post, message},
    model::Model,
    telegram::Telegram,
    world::{OWNER, World},
};
use openclaw_wire::facts::FACTS;

/// A full disk: 5xx with `Retry-After`, no crash; with space again, Telegram's retry is answered (incident 17).
#[tokio::test]
#[ignore = "needs root: it mounts a small disk"]
async fn a_full_disk_refuses_and_recovers() {
    let disk = SmallDisk::new(4096);
    let (telegram, model) = (Telegram::start().await, Model::start().await);
    let (mut setup, bot) = Setup::usual_webhook(&telegram, &model, OWNER);
    setup.state_at(disk.path());
    let gateway = Gateway::start(setup).await;
    gateway.ask(&["webhook", "set"]).await;
    let anna = bot.person(OWNER, "Anna");
    anna.says("before");
    assert_eq!(anna.hears().await.text, "You said: before");

    disk.fill();
    let secret = bot.webhook().and_then(|(_, secret)| secret).expect("registered");
    let port = gateway.setup().port();
    let mut refused = None;
    for n in 0..200 {
        // What is in the log's last page may still fit; a few kilobytes do not.
        let post =
            Post::new(port, &secret, &message(9_000_000 + n, OWNER, &format!("{n} {}", "full ".repeat(800))));
        let answer = post.send().await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a full disk refuses");
    assert!((500..600).contains(&refused.status), "{refused:?}");
    assert!(refused.head.to_lowercase().contains("retry-after:"), "{refused:?}");
    anna.says("while it was full");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(bot.pending() > 0, "Telegram keeps it");
    disk.free();
    anna.hears_of("You said: while it was full").await;
    bot.all_delivered().await;
    drop(gateway);
}

/// A disk that can't be written: 5xx, then recovery, without a restart.
#[tokio::test]
#[ignore = "needs root: it makes files immutable"]
async fn a_read_only_disk_refuses_and_recovers() {
    let world = World::webhook(|_| {}).await;
    world.anna.says("before");
    assert_eq!(world.anna.hears().await.text, "You said: before");
    let database = world.gateway.state().join(&FACTS.state.database);
    let files = ["", "-wal"].map(|suffix| format!("{}{suffix}", database.display()).into());
    let post =
        Post::new(world.gateway.setup().port(), &world.secret(), &message(9_000_000, OWNER, "read-only"));
    let frozen = Unwritable::new(&files);
    let answer = post.send().await;
    assert!((500..600).contains(&answer.status), "{answer:?}");
    assert_eq!(answer.body, "");
    drop(frozen);
    assert_eq!(post.send().await.status, 200);
    world.anna.hears_of("You said: read-only").await;
}
