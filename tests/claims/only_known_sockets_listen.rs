//! Every listening socket is on a list; a new one fails the test.

use openclaw_tests::{
    gateway::{Process, Role, listening},
    page::Page,
    world::World,
};

/// The webhook on loopback, two sockets for the operator, and nothing else (incidents 16, 18).
#[tokio::test]
#[ignore = "needs root: it looks at other processes' descriptors"]
async fn the_list_of_listening_sockets() {
    let world = World::webhook(|_| {}).await;
    let mut all = vec![Process(world.gateway.supervisor())];
    for role in Role::ALL {
        all.push(world.gateway.living(role).await);
    }
    let state = world.gateway.state().display().to_string();
    let port = world.gateway.setup().port();
    let expected = [
        format!("tcp 0100007F:{port:04X}"),
        format!("unix {state}/egress/operator.sock"),
        format!("unix {state}/gateway/admin.sock"),
    ];
    assert_eq!(listening(&all), expected);
}

/// The status page, when it is switched on: on loopback here, in a port of its own (incident 50).
#[tokio::test]
#[ignore = "needs root: it looks at other processes' descriptors"]
async fn the_status_page_adds_one_on_loopback() {
    let mut port = 0;
    let world = World::polling(|setup| port = Page::switch_on(setup).0).await;
    let mut all = vec![Process(world.gateway.supervisor())];
    for role in Role::ALL {
        all.push(world.gateway.living(role).await);
    }
    let sockets = listening(&all);
    let on_tcp: Vec<_> = sockets.iter().filter(|socket| !socket.starts_with("unix ")).collect();
    assert_eq!(on_tcp, [&format!("tcp 0100007F:{port:04X}")]);
}

/// With polling there is no TCP socket at all.
#[tokio::test]
#[ignore = "needs root: it looks at other processes' descriptors"]
async fn polling_needs_no_port() {
    let world = World::polling(|_| {}).await;
    let mut all = vec![Process(world.gateway.supervisor())];
    for role in Role::ALL {
        all.push(world.gateway.living(role).await);
    }
    assert!(listening(&all).iter().all(|socket| socket.starts_with("unix ")), "{:?}", listening(&all));
}
