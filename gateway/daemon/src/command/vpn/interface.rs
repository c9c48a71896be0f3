//! The interface itself, by the system's own tools: ip(8) and wg(8). Root alone can change it. The key goes to `wg` by standard
//! input, and its form of configuration has nothing that would be executed.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use openclaw_wire::facts::FACTS;
use rustix::process::geteuid;

use super::book::Book;
use crate::command::{fault::Fault, place::Place};

/// Where Debian and NixOS have the tools.
const PLACES: &str = ":/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// Whether the interface is there. Everybody may ask.
pub fn is_there() -> bool {
    ip(&["link", "show", "dev", &FACTS.vpn.interface]).is_ok()
}

/// Makes the interface what the book says, makes it at all if it is not there, and takes out whoever is no longer in the book.
pub fn bring_up(book: &Book, place: &Place) -> Result<(), Fault> {
    let name = FACTS.vpn.interface.as_str();
    if !geteuid().is_root() {
        return Err(Fault::new(
            format!("bring up {name}: only root can"),
            format!("sudo {}", command(place)),
        ));
    }
    if !is_there() {
        ip(&["link", "add", "dev", name, "type", "wireguard"]).map_err(|said| {
            Fault::new(
                format!("make the interface {name}: {said}"),
                "modprobe wireguard; in a container the host has to do this, or run `wireguard-go` there",
            )
        })?;
    }
    configure(book)?;
    let own = format!("{}/{}", FACTS.vpn.address, FACTS.vpn.network.prefix_len());
    ip(&["address", "replace", &own, "dev", name])
        .and_then(|()| ip(&["link", "set", "up", "dev", name]))
        .map_err(|said| Fault::new(format!("set up the interface {name}: {said}"), "look at `ip address`"))
}

/// Only keys and peers of an interface that is there. Sessions of peers that stay are not disturbed.
pub fn configure(book: &Book) -> Result<(), Fault> {
    let name = FACTS.vpn.interface.as_str();
    let text = book.for_wg();
    wg(&["syncconf", name, "/dev/stdin"], text.as_bytes()).map(drop).map_err(|said| {
        Fault::new(
            format!("configure the interface {name}: {said}"),
            "install wireguard-tools, which has wg(8)",
        )
    })
}

/// Takes the interface away; one that is not there is no error.
pub fn take_down() -> Result<(), Fault> {
    let name = FACTS.vpn.interface.as_str();
    match is_there() {
        false => Ok(()),
        true => ip(&["link", "delete", "dev", name]).map_err(|said| {
            Fault::new(format!("take the interface {name} away: {said}"), "as root: openclaw vpn down")
        }),
    }
}

/// The command that brings it up, for messages.
pub fn command(place: &Place) -> String {
    format!("openclaw vpn up --state {}", place.state.display())
}

/// What the kernel knows of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its last handshake, in seconds since 1970-01-01 UTC; 0 for never.
    pub handshake: u64,
    /// Bytes from it.
    pub received: u64,
    /// Bytes to it.
    pub sent: u64,
}

/// By public key; `None` when it can't be seen: not up, or not root.
pub fn seen() -> Option<Vec<(String, Seen)>> {
    let said = wg(&["show", &FACTS.vpn.interface, "dump"], b"").ok()?;
    Some(dump(&said))
}

/// `wg show INTERFACE dump`: the first line is the interface's own (with its private key), each other one a peer's: key, preshared
/// key, endpoint, allowed addresses, handshake, received, sent, keepalive, with tabs between.
fn dump(text: &str) -> Vec<(String, Seen)> {
    let peer = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some((
            fields.first()?.to_string(),
            Seen { handshake: number(4)?, received: number(5)?, sent: number(6)? },
        ))
    };
    text.lines().skip(1).filter_map(peer).collect()
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(arguments), b"").map(drop)
}

fn wg(arguments: &[&str], input: &[u8]) -> Result<String, String> {
    run(Command::new("wg").args(arguments), input)
}

fn run(command: &mut Command, input: &[u8]) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    // A unit may be started with less than where these tools are.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}{PLACES}"));
    let mut run = || -> std::io::Result<Output> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends without reading says why on its standard error.
            let _ended = stdin.write_all(input);
        }
        child.wait_with_output()
    };
    let said = run().map_err(|error| format!("{program} can't be started: {error}"))?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        false => Err(format!("{program} said: {}", String::from_utf8_lossy(&said.stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, dump};

    #[test]
    fn a_dump_is_read_without_its_first_line() {
        let text = "private\tpublic\t51820\toff\n\
                    key1=\t(none)\t192.0.2.2:1\t10.77.0.2/32\t1790000000\t7\t8\toff\n\
                    key2=\t(none)\t(none)\t10.77.0.3/32\t0\t0\t0\toff\n";
        let seen = Seen { handshake: 1_790_000_000, received: 7, sent: 8 };
        assert_eq!(dump(text), [("key1=".into(), seen), ("key2=".into(), Seen::default())]);
    }
}
