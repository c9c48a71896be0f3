//! The webhook on a unix socket, as the tunnel uses it: updates arrive, and only the users whom the configuration names
//! are listened to.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use openclaw_tests::{
    gateway::NOBODY,
    http::{Post, message},
    world::{OWNER, World},
};
use rustix::{
    fs::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};

/// A user of the programs' group that is none of ours: it may open the socket file.
const OTHER: u32 = 65_533;

/// Telegram's deliveries come through the socket, and no port is open for them.
#[tokio::test]
async fn updates_arrive_through_the_socket() {
    let (world, path) = World::webhook_socket(|_| {}).await;
    world.anna.says("through the socket");
    assert_eq!(world.anna.hears().await.text, "You said: through the socket");
    world.bot.all_delivered().await;
    let statuses: Vec<_> = world.telegram.attempts().iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses.last(), Some(&Some(200)), "{statuses:?}");
    let wrong = Post::new(0, "wrong-secret-not-real", &message(7, OWNER, "hi"));
    assert_eq!(status(&path, None, &wrong), 401, "the secret is asked for here too");
}

/// The same request from the same place: refused from a user whom nobody named, taken from the named one.
#[tokio::test]
#[ignore = "needs root: it connects as other users"]
async fn only_known_users_are_listened_to() {
    let (world, path) = World::webhook_socket(|setup| {
        setup.replace("peer = \"0\"", "");
    })
    .await;
    let good = |update| Post::new(0, &world.secret(), &message(update, OWNER, "hi"));
    assert_eq!(status(&path, Some(NOBODY), &good(1)), 200, "the programs' own user");
    assert_eq!(status(&path, Some(OTHER), &good(2)), 403, "a user of the same group");
    assert_eq!(status(&path, None, &good(3)), 403, "root, which may open every file");
    let wrong = Post::new(0, "wrong-secret-not-real", &message(4, OWNER, "hi"));
    assert_eq!(status(&path, Some(OTHER), &wrong), 403, "before its secret is looked at");
    assert_eq!(world.gateway.count("SELECT count(*) FROM inbox"), 1);
    let said = world.gateway.log();
    assert!(said.contains("name it as `peer`") && said.contains("65533"), "the operator is told: {said}");

    let (world, path) = World::webhook_socket(|setup| {
        setup.replace("peer = \"0\"", &format!("peer = \"{OTHER}\""));
    })
    .await;
    let good = |update| Post::new(0, &world.secret(), &message(update, OWNER, "hi"));
    assert_eq!(status(&path, Some(OTHER), &good(1)), 200, "the named one");
    assert_eq!(status(&path, Some(NOBODY), &good(2)), 200, "and still our own");
    assert_eq!(status(&path, None, &good(3)), 403);
}

/// Sends a request over a connection that a user made, and gives the status.
fn status(path: &Path, user: Option<u32>, post: &Post) -> u16 {
    let mut post = post.clone();
    post.header("Connection", "close");
    let mut bytes = post.head(post.body.len() as u64).into_bytes();
    bytes.extend(&post.body);
    let path = path.to_owned();
    // Rights belong to a thread; this one ends with them.
    let exchange = thread::spawn(move || {
        if let Some(user) = user {
            let (group, user) = (Gid::from_raw(NOBODY), Uid::from_raw(user));
            set_thread_res_gid(group, group, group).expect("set the group");
            set_thread_res_uid(user, user, user).expect("set the user");
        }
        let mut stream = UnixStream::connect(path).expect("this user may open the socket");
        // The peer may answer and close before everything is sent.
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = exchange.join().expect("the exchange");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}
