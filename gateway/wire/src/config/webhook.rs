//! Section `[webhook]`: where updates are delivered to, and by whom.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::facts::FACTS;

/// Section `[webhook]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Loopback TCP, or a unix socket below the state folder.
    pub listen: Listen,
    /// Who connects to it.
    pub from: From,
    /// With a unix socket: the user of the tunnel's process, by name or number, besides our own; or openclaw-front's,
    /// and nobody besides.
    pub peer: Option<String>,
    /// The public address, `https://host`; `/telegram/<bot>` is added.
    pub public_url: Option<Url>,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Seconds within which headers and body must have arrived.
    pub read_timeout: u64,
}

/// Where the webhook listens: `127.0.0.1:PORT` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match Path::new(path).is_absolute() {
                true => Ok(Self::Unix(path.into())),
                false => Err(format!("{text:?}: the path after `unix:` must be absolute")),
            };
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("{text:?} is neither `unix:/path` nor an address like `127.0.0.1:8787`"))?;
        match address.ip().is_loopback() {
            true => Ok(Self::Tcp(address)),
            false => {
                Err(format!("{text:?} is not loopback: the webhook sits behind the tunnel or openclaw-front"))
            }
        }
    }
}

impl std::convert::From<Listen> for String {
    fn from(listen: Listen) -> String {
        match listen {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Who connects to the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// cloudflared: the source address is in `CF-Connecting-IP`.
    Tunnel,
    /// openclaw-front, which says the address of the connection's other end; over TCP that is the connection's own.
    Direct,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(FACTS.webhook.listen),
            from: From::Tunnel,
            peer: None,
            public_url: None,
            max_body: 262_144,
            read_timeout: 10,
        }
    }
}
