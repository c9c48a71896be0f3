//! Dead addresses, silent servers, hosts that are down, many requests at once: each costs as much as it must and no more.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use openclaw_wire::egress::RefusalKind;

use crate::{
    authority::Authority,
    far::{self, Far},
    program::{KEY, Setup},
};

/// Many requests at once are one connection, where the server speaks HTTP/2.
#[test]
fn requests_share_one_connection_over_http_2() {
    const MANY: usize = 50;
    let authority = Authority::new();
    let server = authority.modern(MANY);
    let egress =
        Setup::model(&format!("https://localhost:{}", server.port)).config(&authority.trusted()).start();
    assert_eq!(egress.ask("first").text(), "first");
    // The server answers none of them before all are there.
    let mut connections: Vec<_> = (0..MANY).map(|_| egress.open()).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.request("POST", "/r/model/m/v1/messages", &[], number.to_string().as_bytes());
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text()), (200, number.to_string().as_str()));
    }
    assert_eq!(server.counts(), [1, MANY + 1], "connections and requests");
}

/// Listens and takes nothing, with no room for another connection: one to it neither comes about nor fails.
struct BlackHole {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("bound");
        rustix::net::listen(&listener, 0).expect("no room");
        let wait = Duration::from_millis(300);
        let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, wait).ok());
        let waiting = waiting.collect();
        Self { _listener: listener, _waiting: waiting }
    }
}

/// A name with dead addresses and a good one leads to the good one; with dead ones alone it is given up.
#[test]
#[ignore = "needs root: the program gets names of its own"]
fn a_dead_address_of_a_name_is_left_for_the_next() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a file: run it as root");
    // All have the same port, which another test may have on 127.0.0.1.
    let far = Far::start_at(([127, 0, 7, 4], 0).into(), |_, to| far::reply(to, "200 OK", "", b"{}"));
    let port = far.port();
    let _dead = [1, 2, 3].map(|last| BlackHole::at(([127, 0, 7, last], port).into()));
    let lines = |name: &str, last: &[u8]| -> String {
        last.iter().map(|last| format!("127.0.7.{last} {name}\n")).collect()
    };
    let hosts = lines("mixed.test", &[1, 2, 3, 4]) + &lines("dead.test", &[1, 2]);
    let model = |name: &str| Setup::model(&format!("http://{name}:{port}")).hosts(&hosts).start();
    let refusal = model("dead.test").ask("{}").refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains("it took too long"), "{refusal:?}");
    let egress = model("mixed.test");
    for _ in 0..3 {
        assert_eq!(egress.ask("{}").status, 200, "{}", egress.setup().log());
    }
    assert_eq!(far.seen().len(), 3);
}

/// A server that takes the connection and never answers the handshake is given up, and gets nothing.
#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("address").port();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("tcp");
        let mut bytes = Vec::new();
        let _ended = std::io::Read::read_to_end(&mut tcp, &mut bytes);
        tell.send(bytes).expect("told");
    });
    let egress = Setup::model(&format!("https://127.0.0.1:{port}")).start();
    let refusal = egress.ask("{}").refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains("it took too long"), "{refusal:?}");
    let bytes = told.recv().expect("the connection was closed");
    assert!(!String::from_utf8_lossy(&bytes).contains(KEY) && bytes.first() == Some(&0x16), "a ClientHello");
}

/// After failures in a row a host is asked nothing for a while; when it is there again, it is asked again.
#[test]
fn a_host_that_is_down_is_left_alone_for_a_while() {
    // Nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let other = Far::fixed("200 OK", "", "{}");
    let another = format!(
        "[[model]]\nname = \"other\"\napi = \"anthropic\"\nmodel = \"x\"\nurl = \"{}\"\nprivate = true\n",
        other.url()
    );
    let egress = Setup::model(&format!("http://{address}")).config(&another).start();
    let message = || egress.ask("{}").refused(RefusalKind::Unreachable).message;
    for _ in 0..5 {
        assert!(message().contains("refused"), "each of them was tried");
    }
    assert!(message().contains("several times in a row"), "and this one was not");
    assert_eq!(egress.call("POST", "/r/model/other/v1/messages", "{}").status, 200, "others are served");

    let far = Far::start_at(address, |_, to| far::reply(to, "200 OK", "", b"{}"));
    let mut tries = 0;
    while egress.ask("{}").status != 200 {
        tries += 1;
        assert!(tries < 600, "it is never asked again");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((egress.ask("{}").status, far.seen().len()), (200, 2));
}
