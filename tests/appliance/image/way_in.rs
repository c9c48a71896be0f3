//! The operator's way in from outside: by what the console showed at the first boot, over WireGuard alone.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use openclaw_wire::facts::FACTS;

use super::machine::{FAR, Machine};
use crate::{inside::Inside as _, tree::run, wireguard::Inside};

/// Status page and SSH, before the VPN and over it; shut out at once when the device is removed.
pub fn is_the_vpn_alone(machine: &Machine, login: &Path) {
    let (vpn, port, ssh) = (FACTS.vpn.address, FACTS.admin.port, FACTS.ssh.port);
    let shown = machine.run("cat /run/issue.d/60-openclaw-vpn.issue");
    let whole = shown.find("[Interface]").zip(shown.find("PersistentKeepalive"));
    let (from, last) = whole.unwrap_or_else(|| panic!("the console shows no configuration: {shown}"));
    let to = shown[last..].find('\n').map_or(shown.len(), |end| last + end + 1);
    let config = &shown[from..to];
    assert!(config.contains(&format!("{FAR}:{}", FACTS.vpn.port)), "the endpoint that was given: {config}");

    // By its interface's device, which udev saw.
    machine.run("systemctl is-active openclaw-vpn.service openclaw-page-vpn.socket");
    // A device on the same network that has a route to the VPN's address (the weak host).
    let at = format!("{vpn}:{port}");
    machine.network.ip(&format!("route add {vpn}/32 via {FAR}"));
    for address in [vpn.to_string(), FAR.to_owned()] {
        for port in [port, ssh] {
            let address = format!("{address}:{port}");
            assert!(!machine.network.connects(&address), "{address} from outside the VPN");
        }
    }
    machine.network.ip(&format!("route del {vpn}/32 via {FAR}"));

    let device = Inside::new(&machine.network);
    let file = login.with_file_name("wg-peer.conf");
    fs::write(&file, config).expect("write");
    run(Command::new("chmod").arg("600").arg(&file));
    device.run(&["wg-quick", "up", file.to_str().expect("text")]);
    assert_eq!(page(machine, &at), Some(401), "the page over the VPN");
    let words = [
        "ssh",
        "-i",
        login.to_str().expect("text"),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "ConnectTimeout=60",
        &format!("root@{vpn}"),
        "openclaw status",
    ];
    let (code, said) = device.tries(&words, "");
    assert_eq!(code, 0, "SSH over the VPN: {said}");
    machine.run("openclaw vpn remove-peer phone");
    assert!(!machine.network.connects(&at), "removed");
    device.run(&["wg-quick", "down", file.to_str().expect("text")]);
}

/// What the page answers; `None` when nobody answers.
fn page(machine: &Machine, address: &str) -> Option<u16> {
    let address: SocketAddr = address.parse().expect("an address");
    machine.network.within(0, move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(30)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    })
}
