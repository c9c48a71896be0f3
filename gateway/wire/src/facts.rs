//! `gateway/appliance.toml`, read once. No port, path or range is written a second time anywhere.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::LazyLock,
};

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

/// The facts of the appliance. The text is embedded, so a wrong value fails in the tests, not on a user's machine.
pub static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    toml::from_str(include_str!("../../appliance.toml")).expect("appliance.toml is checked by a unit test")
});

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What we know of Telegram.
    pub telegram: Telegram,
    /// Where the webhook listens.
    pub webhook: Webhook,
    /// File names of our programs.
    pub programs: Programs,
    /// What a jail has of its own.
    pub jail: Jail,
    /// Paths below the state folder.
    pub state: State,
    /// Socket paths under systemd.
    pub unix: Unix,
    /// Where the appliance has what.
    pub install: Install,
    /// The appliance's users.
    pub users: Users,
    /// The way in for the operator.
    pub vpn: Vpn,
    /// The operator's page.
    pub admin: Port,
    /// The operator's shell.
    pub ssh: Port,
    /// The way in for Telegram.
    pub tunnel: Tunnel,
    /// Who is asked for names.
    pub dns: Dns,
    /// The way in for Telegram without a tunnel.
    pub direct: Direct,
    /// What the firewall knows besides.
    pub firewall: Firewall,
}

/// What we know of Telegram.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telegram {
    /// Published source ranges of webhook requests.
    pub ranges: Vec<IpNet>,
    /// Base URL of the Bot API.
    pub api: Url,
    /// Update kinds that we ask for.
    pub updates: Vec<String>,
}

/// Where the webhook listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Default loopback address.
    pub listen: SocketAddr,
    /// Path prefix; the bot's name follows.
    pub path: String,
}

/// File names of our programs, all in one folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    /// The gateway and operator commands.
    pub gateway: String,
    /// The key holder.
    pub egress: String,
    /// The skill runner.
    pub runner: String,
    /// TLS and certificates, without a tunnel.
    pub front: String,
    /// The one act that needs root while it runs.
    pub host: String,
    /// The jail that becomes a skill.
    pub jail: String,
    /// The client that talks to an MCP server, in its jail.
    pub mcp: String,
}

/// What a jail has of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jail {
    /// Where the proxy to egress listens, on the jail's loopback.
    pub proxy: SocketAddr,
}

/// Paths below the state folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The configuration file.
    pub config: PathBuf,
    /// The gateway's SQLite database.
    pub database: PathBuf,
    /// The folder of the conversations' files.
    pub files: PathBuf,
    /// The gateway's socket for operator commands.
    pub admin_socket: PathBuf,
    /// Digests of the status page's tokens.
    pub page_tokens: PathBuf,
    /// The egress folder.
    pub egress: PathBuf,
    /// The key file.
    pub keys: PathBuf,
    /// The egress socket for operator commands.
    pub operator_socket: PathBuf,
    /// The ledger of what was spent, in a folder of its own.
    pub ledger: PathBuf,
    /// The folder of egress's store of approved manifests.
    pub approved: PathBuf,
    /// This machine's end of the VPN, in a folder of its own.
    pub vpn: PathBuf,
    /// What the operator vouches for.
    pub attested: PathBuf,
    /// The folder of openclaw-front.
    pub front: PathBuf,
    /// The drill's folder, in the appliance.
    pub drill: PathBuf,
}

/// Socket paths under systemd.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unix {
    /// gateway → egress.
    pub egress_for_gateway: PathBuf,
    /// runner → egress.
    pub egress_for_runner: PathBuf,
    /// front → egress.
    pub egress_for_front: PathBuf,
    /// gateway → runner.
    pub runner_for_gateway: PathBuf,
    /// Whoever makes the page's listening sockets → gateway.
    pub page_for_listeners: PathBuf,
    /// gateway → a drill.
    pub drill_for_gateway: PathBuf,
    /// tunnel → gateway.
    pub webhook_for_tunnel: PathBuf,
    /// front → gateway.
    pub webhook_for_front: PathBuf,
    /// front → host.
    pub host_for_front: PathBuf,
}

/// Where the appliance has what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// The folder of the programs.
    pub programs: PathBuf,
    /// The folder of the bundled skills.
    pub skills: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The home of skills.
    pub files: PathBuf,
}

/// The appliance's users, one for each process.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Of the gateway.
    pub gateway: String,
    /// Of egress.
    pub egress: String,
    /// Of the runner and its jails.
    pub runner: String,
    /// Of the tunnel.
    pub tunnel: String,
    /// Of openclaw-front.
    pub front: String,
    /// The group that may read the configuration.
    pub readers: String,
}

/// The VPN.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpn {
    /// WireGuard's interface.
    pub interface: String,
    /// Its UDP port.
    pub port: u16,
    /// Its network.
    pub network: IpNet,
    /// This machine's address in it.
    pub address: IpAddr,
    /// Tailscale's interface.
    pub tailscale: String,
    /// Tailscale's addresses.
    pub tailscale_network: IpNet,
}

/// Something that listens on the VPN's address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its TCP port.
    pub port: u16,
}

/// The tunnel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// TCP ports of Cloudflare's edge.
    pub edge_ports: Vec<u16>,
    /// Where its metrics are.
    pub metrics: SocketAddr,
}

/// Who is asked for names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The resolver on this machine.
    pub stub: IpAddr,
    /// The user that it runs as.
    pub user: String,
}

/// The way in without a tunnel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Direct {
    /// Where Telegram delivers, TCP.
    pub port: u16,
    /// Where an ACME challenge is answered, TCP.
    pub challenge: u16,
    /// Seconds for which it is open.
    pub open: u64,
    /// Who signs the certificate by default.
    pub directory: Url,
    /// The file that says that the firewall was made for this mode.
    pub flag: PathBuf,
}

/// What the firewall knows besides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// IPv4 addresses that are nobody's public server.
    pub not_public: Vec<IpNet>,
    /// The only public part of IPv6.
    pub public6: IpNet,
    /// What is not public in it.
    pub not_public6: Vec<IpNet>,
    /// Users of the system and where they may go.
    pub system: BTreeMap<String, Ports>,
}

/// Ports that a user may reach.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// By TCP.
    #[serde(default)]
    pub tcp: Vec<u16>,
    /// By UDP.
    #[serde(default)]
    pub udp: Vec<u16>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_facts_parse() {
        assert_eq!(super::FACTS.telegram.ranges.len(), 2);
        assert!(super::FACTS.webhook.listen.ip().is_loopback());
        assert!(super::FACTS.vpn.network.contains(&super::FACTS.vpn.address));
        assert!(super::FACTS.tunnel.metrics.ip().is_loopback());
    }
}
