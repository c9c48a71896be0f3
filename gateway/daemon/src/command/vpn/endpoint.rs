//! Where peers reach this machine. What it can know of that itself is whether one of its own addresses is public; behind a
//! home router, in a container or a virtual network nobody on this side knows it, and the operator is asked.

use std::{net::IpAddr, process::Command};

use openclaw_wire::facts::FACTS;
use serde::Deserialize;
use url::Host;

/// `HOST` or `HOST:PORT` as the operator writes it; the port is the VPN's own unless a router maps another one to it.
pub fn parse(text: &str) -> Result<String, String> {
    let wrong = || {
        format!("{text:?} is not HOST or HOST:PORT, like vpn.example.com, 203.0.113.7 or [2001:db8::7]:51820")
    };
    let bare: Option<IpAddr> = text.parse().ok();
    let (host, port) = match (bare, text.rsplit_once(':')) {
        (Some(IpAddr::V6(address)), _) => (format!("[{address}]"), FACTS.vpn.port),
        (None, Some((host, port))) if !text.ends_with(']') => {
            (host.to_owned(), port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
        }
        _ => (text.to_owned(), FACTS.vpn.port),
    };
    let host = Host::parse(&host).map_err(|_| wrong())?;
    Ok(format!("{host}:{port}"))
}

/// The only public address of this machine, or why there is nothing to guess from.
pub fn guess() -> Result<String, String> {
    let addresses = own_addresses().ok_or("this machine's addresses can't be listed (ip(8) of iproute2)")?;
    match addresses.iter().find(|address| is_public(address)) {
        Some(address) => parse(&address.to_string()),
        None if addresses.is_empty() => Err("this machine has no address but loopback".into()),
        None => {
            let list: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            Err(format!(
                "this machine's own addresses ({}) are private, as behind a router or in a container",
                list.join(", ")
            ))
        }
    }
}

fn is_public(address: &IpAddr) -> bool {
    let firewall = &FACTS.firewall;
    match address {
        IpAddr::V4(_) => !firewall.not_public.iter().any(|range| range.contains(address)),
        IpAddr::V6(_) => {
            firewall.public6.contains(address)
                && !firewall.not_public6.iter().any(|range| range.contains(address))
        }
    }
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    local: Option<IpAddr>,
}

/// IPv4 first: more networks of travellers have it.
fn own_addresses() -> Option<Vec<IpAddr>> {
    let said =
        Command::new("ip").args(["-json", "address", "show", "up", "scope", "global"]).output().ok()?;
    let links: Vec<Link> = serde_json::from_slice(&said.stdout).ok()?;
    let mut all: Vec<IpAddr> =
        links.into_iter().flat_map(|link| link.addr_info).filter_map(|info| info.local).collect();
    all.retain(|address| !FACTS.vpn.network.contains(address));
    all.sort_by_key(IpAddr::is_ipv6);
    Some(all)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_endpoint_has_a_host_and_a_port() {
        for (text, expected) in [
            ("vpn.example.com", "vpn.example.com:51820"),
            ("vpn.example.com:443", "vpn.example.com:443"),
            ("203.0.113.7", "203.0.113.7:51820"),
            ("2001:db8::7", "[2001:db8::7]:51820"),
            ("[2001:db8::7]", "[2001:db8::7]:51820"),
            ("[2001:db8::7]:9", "[2001:db8::7]:9"),
        ] {
            assert_eq!(super::parse(text).as_deref(), Ok(expected));
        }
        for text in ["", ":1", "a b", "host:0", "host:99999", "https://host", "[::1", "host\nPostUp = x"] {
            assert!(super::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_an_address_that_everybody_can_reach_is_a_guess() {
        for (address, public) in [
            ("8.8.4.4", true),
            ("192.168.1.2", false),
            ("172.17.0.2", false),
            ("100.64.1.1", false),
            ("fd00::1", false),
            ("2606:4700::1", true),
        ] {
            assert_eq!(super::is_public(&address.parse().expect("address")), public, "{address}");
        }
    }
}
