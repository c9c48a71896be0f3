//! Under systemd the doors are paths: only the owner of a path gets in, by the kernel's word, whatever the path's mode.

use std::os::unix::net::{UnixListener, UnixStream};

use crate::program::{Connection, Setup, chmod};

#[test]
#[ignore = "needs root: it gives a socket to another user"]
fn only_the_owner_of_a_door_gets_in() {
    assert!(rustix::process::geteuid().is_root(), "this test gives a socket to another user: run it as root");
    for (owner, gets_in) in [(0, true), (65_534, false)] {
        let setup = Setup::new();
        let path = setup.state().join("gateway.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        // As open as it can be: the check must hold alone.
        chmod(&path, 0o666);
        std::os::unix::fs::chown(&path, Some(owner), None).expect("chown");
        let egress = setup.start_with(listener.into());
        let mut connection = Connection::new(UnixStream::connect(&path).expect("connects"));
        connection.request("GET", "/status", &[], b"");
        let answer = String::from_utf8_lossy(&connection.rest_of_one()).into_owned();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), gets_in, "owner {owner}: {answer}");
        if !gets_in {
            assert!(egress.setup().log().contains("refused a connection of another user"));
        }
    }
}
