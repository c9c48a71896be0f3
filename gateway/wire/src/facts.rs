//! `gateway/appliance.toml`, read once. No port, path or range is written a second time anywhere.

use std::{net::SocketAddr, path::PathBuf, sync::LazyLock};

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
    /// The gateway's socket for operator commands.
    pub admin_socket: PathBuf,
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
}

/// Socket paths under systemd.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unix {
    /// gateway → egress.
    pub egress_for_gateway: PathBuf,
    /// runner → egress.
    pub egress_for_runner: PathBuf,
    /// gateway → runner.
    pub runner_for_gateway: PathBuf,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_facts_parse() {
        assert_eq!(super::FACTS.telegram.ranges.len(), 2);
        assert!(super::FACTS.webhook.listen.ip().is_loopback());
    }
}
