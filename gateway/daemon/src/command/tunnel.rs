//! `openclaw tunnel check`: is the way from Cloudflare's edge to the webhook there, and does nothing lead around it? Asks
//! cloudflared, the resolver and this machine's own tables; changes nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "the operator's command asks as somebody outside would; the gateway does not"
)]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Subcommand;
use openclaw_confine::spawn::{Identity, Start};
use openclaw_wire::{
    config::{Config, From},
    facts::FACTS,
};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{fault, place::Place, run::account::Account, terminal::clean};

/// Where a machine keeps credentials (systemd.exec(5), ImportCredential=).
const STORES: [&str; 5] = [
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/run/credstore",
    "/run/credstore.encrypted",
    "/run/credentials/@system",
];
/// How long the edge and cloudflared itself may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer of cloudflared that is read, in bytes.
const MOST: u64 = 64 << 10;

/// What to do about the tunnel.
#[derive(Subcommand)]
pub enum TunnelVerb {
    /// Credential, configuration, registration, and what public DNS says; exit code 1 when something is wrong
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Point {
    /// `credential`, `configuration`, `registration`, `public name`, `origin`.
    pub what: &'static str,
    /// `None`: could not be found out.
    pub good: Option<bool>,
    /// What was found.
    pub found: String,
    /// What mends it.
    pub mend: &'static str,
}

/// Carries it out.
pub fn tunnel(verb: &TunnelVerb, place: &Place) -> anyhow::Result<ExitCode> {
    let TunnelVerb::Check { json } = verb;
    let config = Config::read(&place.config)?;
    let points = look(&config);
    match json {
        true => println!("{}", serde_json::to_string(&points).context("encode")?),
        false => points.iter().for_each(|point| println!("{}", clean(&line(point)))),
    }
    // What could not be found out is not right.
    let good = points.iter().all(|point| point.good == Some(true));
    Ok(ExitCode::from(if good { 0 } else { fault::FAILED }))
}

/// Everything that `openclaw tunnel check` looks at.
pub fn look(config: &Config) -> Vec<Point> {
    let mut points = vec![credential(&STORES.map(PathBuf::from)), configuration(), registration()];
    points.extend(public(config));
    points
}

fn line(point: &Point) -> String {
    let word = match point.good {
        Some(true) => "ok",
        Some(false) => "WRONG",
        None => "UNKNOWN",
    };
    let mend =
        if point.good == Some(true) { String::new() } else { format!("\n         mend: {}", point.mend) };
    format!("{word:7}  {}: {}{mend}", point.what, point.found)
}

fn credential(stores: &[PathBuf]) -> Point {
    let names = ["openclaw.tunnel.json", "openclaw.tunnel.token"];
    let all = stores.iter().flat_map(|store| names.map(|name| store.join(name)));
    let there: Vec<_> = all.filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    let (good, found) = match there.as_slice() {
        [] => (false, "none".to_owned()),
        [one] => (true, one.clone()),
        // Either unit would run, and which of them Telegram's deliveries go through would be chance.
        several => (false, format!("more than one: {}", several.join(", "))),
    };
    Point {
        what: "credential",
        good: Some(good),
        found,
        mend: "keep one: systemd-creds encrypt FILE /etc/credstore.encrypted/openclaw.tunnel.json (or .token), mode 600",
    }
}

/// As cloudflared reads it, under the user that it runs as.
fn configuration() -> Point {
    let file = FACTS.install.programs.with_file_name("cloudflared").join("config.yml");
    let judge = || -> anyhow::Result<(bool, String)> {
        let (read, write) = std::io::pipe().context("make a pipe")?;
        let account = Account::find(&FACTS.users.tunnel)?;
        let root = rustix::process::geteuid().is_root();
        let mut child = Start::new(FACTS.install.programs.join("cloudflared"))
            .arg("tunnel")
            .arg("--config")
            .arg(&file)
            .arg("ingress")
            .arg("validate")
            .standard(0, File::open("/dev/null")?.into())
            .standard(1, write.try_clone()?.into())
            .standard(2, write.into())
            .identity(root.then_some(Identity { uid: account.uid, gid: account.gid }))
            .spawn()
            .context("start cloudflared")?;
        let mut said = String::new();
        File::from(std::os::fd::OwnedFd::from(read)).take(MOST).read_to_string(&mut said)?;
        let ended = child.wait().context("wait for cloudflared")?;
        // A key that it does not know is only a warning to it, and then a rule is not what it seems.
        Ok((ended.success() && !said.contains("unused"), said))
    };
    let (good, found) = match judge() {
        Ok((true, _)) => (Some(true), format!("{} is valid", file.display())),
        Ok((false, said)) => (Some(false), said.trim().replace('\n', "; ")),
        Err(error) => (None, format!("{error:#}")),
    };
    Point { what: "configuration", good, found, mend: "reinstall the appliance: its own file is valid" }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    ready_connections: u32,
}

/// cloudflared says on its metrics port how many connections to the edge it holds.
fn registration() -> Point {
    let (good, found) = match ready(FACTS.tunnel.metrics) {
        Ok(0) => (Some(false), "no connection to Cloudflare's edge stands".to_owned()),
        Ok(count) => (Some(true), format!("{count} connections to Cloudflare's edge")),
        Err(error) => {
            (Some(false), format!("cloudflared does not answer at {}: {error:#}", FACTS.tunnel.metrics))
        }
    };
    Point { what: "registration", good, found, mend: "journalctl -u 'openclaw-tunnel*' says why" }
}

fn ready(address: SocketAddr) -> anyhow::Result<u32> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /ready HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.take(MOST).read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("read its answer")?;
    Ok(serde_json::from_str::<Ready>(body).context("read its answer")?.ready_connections)
}

/// The name that Telegram calls: it leads to the edge, and not past the tunnel to this machine.
fn public(config: &Config) -> Vec<Point> {
    let mend = "in Cloudflare's DNS the name is a CNAME of the tunnel (cloudflared tunnel route dns), and no A or AAAA \
                record names this machine";
    let point = |what, good, found| Point { what, good, found, mend };
    if config.webhook.from != From::Tunnel {
        return vec![point("public name", Some(false), "[webhook] from says that there is no tunnel".into())];
    }
    let Some(name) = config.webhook.public_url.as_ref().and_then(name) else {
        let found = "[webhook] public_url is not set, or names an address".to_owned();
        return vec![point("public name", Some(false), found)];
    };
    let addresses: BTreeSet<IpAddr> = match (name.as_str(), 443).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(error) => return vec![point("public name", Some(false), format!("look up {name}: {error}"))],
    };
    let own = own_addresses();
    let named: Vec<_> = addresses.intersection(&own).map(IpAddr::to_string).collect();
    let hidden = match (own.is_empty(), named.is_empty()) {
        (true, _) => point("origin", None, "this machine's own addresses can't be read".into()),
        (false, false) => {
            point("origin", Some(false), format!("public DNS names this machine: {}", named.join(", ")))
        }
        // Behind a router nobody on this machine knows the address that the world sees.
        (false, true) => {
            point("origin", Some(true), format!("no address of this machine's stands under {name}"))
        }
    };
    let answers = addresses.iter().any(|ip| TcpStream::connect_timeout(&(*ip, 443).into(), PATIENCE).is_ok());
    let found = format!("{name} {} on port 443", if answers { "answers" } else { "does not answer" });
    vec![point("public name", Some(answers), found), hidden]
}

fn name(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        _ => None,
    }
}

fn own_addresses() -> BTreeSet<IpAddr> {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    own_v4(&read("/proc/net/fib_trie"))
        .chain(own_v6(&read("/proc/net/if_inet6")))
        .filter(|address| !address.is_loopback())
        .collect()
}

/// The kernel's table of routes: an address is followed by the line that says what it is.
fn own_v4(table: &str) -> impl Iterator<Item = IpAddr> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let found: Vec<IpAddr> = lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("/32 host LOCAL"))
        .filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse::<Ipv4Addr>().ok())
        .map(IpAddr::V4)
        .collect();
    found.into_iter()
}

/// One address in each line, as 32 digits.
fn own_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    let digits = table.lines().filter_map(|line| line.split(' ').next());
    digits.filter_map(|text| Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from_str_radix(text, 16).ok()?))))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read, Write},
        net::TcpListener,
    };

    use openclaw_wire::config::Config;

    #[test]
    fn this_machines_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.168.7.0\n        /24 link UNICAST\n     |-- 192.168.7.1\n        \
                    /32 host LOCAL\n     |-- 192.168.7.255\n        /32 link BROADCAST\n";
        let found: Vec<_> = super::own_v4(trie).map(|address| address.to_string()).collect();
        assert_eq!(found, ["192.168.7.1"]);
        let table = "fe80000000000000b8d3acfffe1b2c3d 02 40 20 80     eth0\n";
        let found: Vec<_> = super::own_v6(table).map(|address| address.to_string()).collect();
        assert_eq!(found, ["fe80::b8d3:acff:fe1b:2c3d"]);
    }

    #[test]
    fn one_credential_is_right_and_none_or_two_are_wrong() {
        let dir = tempfile::tempdir().expect("dir");
        let stores = [dir.path().to_owned()];
        assert_eq!(super::credential(&stores).good, Some(false));
        fs::write(dir.path().join("openclaw.tunnel.json"), "{}").expect("write");
        assert_eq!(super::credential(&stores).good, Some(true));
        fs::write(dir.path().join("openclaw.tunnel.token"), "not-real").expect("write");
        let point = super::credential(&stores);
        assert!(point.good == Some(false) && point.found.contains("more than one"), "{point:?}");
        assert!(super::line(&point).contains("mend: keep one"));
    }

    #[test]
    fn the_edges_connections_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let answers = std::thread::spawn(move || {
            for body in
                ["{\"status\":200,\"readyConnections\":4}", "{\"status\":503,\"readyConnections\":0}", "no"]
            {
                let (mut stream, _) = listener.accept().expect("accept");
                let _asked = stream.read(&mut [0; 512]).expect("read");
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").expect("write");
            }
        });
        assert_eq!(super::ready(address).expect("four"), 4);
        assert_eq!(super::ready(address).expect("none"), 0);
        assert!(super::ready(address).is_err());
        answers.join().expect("answered");
    }

    #[test]
    fn a_name_that_leads_to_this_machine_itself_is_wrong() {
        let parse = |text: &str| Config::parse(text, "t".as_ref()).expect("config");
        for text in ["", "[webhook]\npublic_url = \"https://192.0.2.1\"", "[webhook]\nfrom = \"direct\""] {
            let points = super::public(&parse(text));
            assert!(points.iter().any(|point| point.good == Some(false)), "{text}: {points:?}");
        }
    }
}
