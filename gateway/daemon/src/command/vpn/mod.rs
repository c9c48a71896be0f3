//! `openclaw vpn`: WireGuard, the operator's way in. Who may come stands in one file of the state folder, whose owner is whoever
//! ran `init`; root puts it in force. A peer's private key is made here, shown once, and kept nowhere.

mod book;
mod client;
mod endpoint;
mod interface;
mod key;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Subcommand;
use openclaw_wire::facts::FACTS;
use rustix::process::geteuid;
use serde_json::json;
use zeroize::Zeroizing;

use self::{
    book::{Book, Peer, Shelf},
    key::{Private, Public},
};
use super::{fault::Fault, place::Place, status::table};

/// Longest name of a peer.
const NAME: usize = 32;

/// What to do about the VPN.
#[derive(Subcommand)]
pub enum VpnVerb {
    /// Make this machine's keys; a second time it only changes the endpoint
    Init {
        /// Where peers reach this machine: HOST or HOST:PORT [default: its public address, if it has one]
        #[arg(long, value_name = "HOST", value_parser = endpoint::parse)]
        endpoint: Option<String>,
    },
    /// Let a device in; its configuration is shown once, as text and as a QR code
    AddPeer {
        /// What to call it: a-z, 0-9 and '-'
        #[arg(value_parser = name)]
        name: String,
        /// The device has made its key itself, and this is its public half
        #[arg(long, value_name = "KEY")]
        public_key: Option<Public>,
    },
    /// Shut a device out, at once
    RemovePeer {
        /// As `list` shows it
        name: String,
    },
    /// The devices that may come, and when each was last there
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// As root: put it in force; makes the interface if it is not there
    Up,
    /// As root: take the interface away
    Down,
}

fn name(text: &str) -> Result<String, String> {
    let good = (1..=NAME).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!("a name is 1 to {NAME} characters of a-z, 0-9 and '-'")),
    }
}

/// Carries it out.
pub fn vpn(verb: &VpnVerb, place: &Place) -> anyhow::Result<()> {
    match verb {
        VpnVerb::Init { endpoint } => init(endpoint.clone(), place),
        VpnVerb::AddPeer { name, public_key } => add(name, public_key.clone(), place),
        VpnVerb::RemovePeer { name } => remove(name, place),
        VpnVerb::List { json } => list(*json, place),
        VpnVerb::Up => Ok(interface::bring_up(&book::read(place)?, place)?),
        VpnVerb::Down => Ok(interface::take_down()?),
    }
}

fn init(endpoint: Option<String>, place: &Place) -> anyhow::Result<()> {
    let shelf = Shelf::open(place)?;
    let (mut book, made) = match shelf.read()? {
        Some(book) => (book, false),
        None => (Book { private_key: Private::new()?, endpoint: None, peers: Vec::new() }, true),
    };
    let guessed = endpoint::guess();
    book.endpoint = endpoint.or(book.endpoint.take()).or(guessed.clone().ok());
    shelf.write(&book)?;
    println!(
        "{} {}\npublic key: {}",
        if made { "made the keys of this machine:" } else { "the keys of this machine stay:" },
        book::path(place).display(),
        book.private_key.public()?
    );
    match (&book.endpoint, guessed) {
        (Some(endpoint), _) => {
            println!("peers reach it at {endpoint} (UDP); another place: openclaw vpn init --endpoint HOST");
        }
        (None, Err(why)) => println!(
            "where peers reach it is not known: {why}.\n  mend: openclaw vpn init --endpoint HOST, where HOST is what the \
             outside calls it; a router has to pass UDP port {} on to this machine",
            FACTS.vpn.port
        ),
        (None, Ok(_)) => {}
    }
    println!("next: openclaw vpn add-peer NAME, then {}", up(place));
    Ok(())
}

/// What puts it in force. In the appliance a unit does, and at each start of the machine.
fn up(place: &Place) -> String {
    match place.state == FACTS.install.state && std::path::Path::new(UNIT).exists() {
        true => "systemctl start openclaw-vpn.service".into(),
        false => format!("as root {}", interface::command(place)),
    }
}

/// The unit of the appliance.
const UNIT: &str = "/usr/lib/systemd/system/openclaw-vpn.service";

fn add(name: &str, public_key: Option<Public>, place: &Place) -> anyhow::Result<()> {
    let shelf = Shelf::open(place)?;
    let mut book = book::read(place)?;
    if book.peers.iter().any(|peer| peer.name == name) {
        return Err(Fault::new(
            format!("let {name} in: there is a peer of that name"),
            format!("choose another name, or shut that one out: openclaw vpn remove-peer {name}"),
        )
        .into());
    }
    let Some(endpoint) = book.endpoint.clone() else {
        return Err(Fault::new(
            format!("let {name} in: where it reaches this machine is not known"),
            "openclaw vpn init --endpoint HOST",
        )
        .into());
    };
    let own = book.private_key.public()?;
    let private = if public_key.is_some() { None } else { Some(Private::new()?) };
    let public_key = match (&private, public_key) {
        (Some(private), _) => private.public()?,
        (None, Some(public)) => public,
        (None, None) => unreachable!("a key is made or given"),
    };
    if public_key == own || book.peers.iter().any(|peer| peer.public_key == public_key) {
        return Err(Fault::new(
            format!("let {name} in: its public key is somebody else's"),
            "make a new key on that device",
        )
        .into());
    }
    let address = book.free_address().ok_or_else(|| {
        Fault::new(
            format!("let {name} in: no address of {} is free", FACTS.vpn.network),
            "shut a peer out that is no longer needed: openclaw vpn list",
        )
    })?;
    let peer = Peer { name: name.to_owned(), public_key, address };
    book.peers.push(peer.clone());
    shelf.write(&book)?;
    show(&peer, private.as_ref(), &own, &endpoint)?;
    // Only now: whoever has seen the key can use it.
    match interface::is_there() {
        true if geteuid().is_root() => {
            interface::configure(&book)?;
            println!("{name} may come from now on.");
        }
        _ => println!("{name} may come when this is in force: {}", up(place)),
    }
    Ok(())
}

fn show(peer: &Peer, private: Option<&Private>, own: &Public, endpoint: &str) -> anyhow::Result<()> {
    let text = client::config(peer, private, own, endpoint);
    let image = match private {
        Some(_) => client::qr(&text).context("make a QR code")?,
        None => Zeroizing::new(String::new()),
    };
    println!(
        "The configuration for {}. It is shown this once and kept nowhere.\n\n{}\n{}",
        peer.name, *text, *image
    );
    Ok(())
}

fn remove(name: &str, place: &Place) -> anyhow::Result<()> {
    let shelf = Shelf::open(place)?;
    let mut book = book::read(place)?;
    let before = book.peers.len();
    book.peers.retain(|peer| peer.name != name);
    if book.peers.len() == before {
        return Err(
            Fault::new(format!("shut {name:?} out: there is no such peer"), "openclaw vpn list").into()
        );
    }
    shelf.write(&book)?;
    if interface::is_there() {
        if !geteuid().is_root() {
            return Err(Fault::new(
                format!(
                    "shut {name} out at once: it is out of the file, but the interface that runs still has it"
                ),
                format!("sudo {}", interface::command(place)),
            )
            .into());
        }
        interface::configure(&book)?;
    }
    println!("{name} is out.");
    Ok(())
}

fn list(json: bool, place: &Place) -> anyhow::Result<()> {
    let book = book::read(place)?;
    let seen = interface::seen();
    let of = |peer: &Peer| {
        let all = seen.as_ref()?;
        let key = peer.public_key.to_string();
        Some(all.iter().find(|(other, _)| *other == key).map(|(_, seen)| *seen).unwrap_or_default())
    };
    if json {
        let peers: Vec<_> = book
            .peers
            .iter()
            .map(|peer| {
                let seen = of(peer);
                json!({
                    "name": peer.name, "address": peer.address, "public_key": peer.public_key,
                    "last_handshake": seen.map(|seen| seen.handshake).filter(|at| *at > 0),
                    "received": seen.map(|seen| seen.received), "sent": seen.map(|seen| seen.sent),
                })
            })
            .collect();
        let all = json!({
            "interface": FACTS.vpn.interface, "up": interface::is_there(), "endpoint": book.endpoint,
            "public_key": book.private_key.public()?, "peers": peers,
        });
        println!("{}", serde_json::to_string_pretty(&all).context("encode the peers")?);
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?.as_secs();
    let mut lines = table();
    lines.set_header(["name", "address", "last there", "public key"]);
    for peer in &book.peers {
        let last = match of(peer) {
            None => "not known".to_owned(),
            Some(seen) if seen.handshake == 0 => "never".into(),
            Some(seen) => format!("{} s ago", now.saturating_sub(seen.handshake)),
        };
        lines.add_row([peer.name.clone(), peer.address.to_string(), last, peer.public_key.to_string()]);
    }
    println!("{}", lines.trim_fmt());
    if !interface::is_there() {
        println!("\n{} is not up: {}", FACTS.vpn.interface, up(place));
    } else if seen.is_none() {
        println!("\nWhen each was last there only root can see.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_peers_name_is_a_word() {
        for (text, good) in [
            ("phone", true),
            ("anna-2", true),
            ("", false),
            ("-x", false),
            ("A", false),
            ("a b", false),
            ("a\nb", false),
        ] {
            assert_eq!(super::name(text).is_ok(), good, "{text:?}");
        }
    }
}
