//! Section `[admin]`: whether and where the operator's status page answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use url::Host;

/// Section `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where the page answers.
    pub listen: Page,
    /// Names under which browsers may ask for it, besides its own address; without a port.
    pub names: Vec<String>,
}

/// Where the page answers: never on an address that strangers reach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Page {
    /// Nowhere.
    #[default]
    Off,
    /// On the VPN's interface, and there on its address.
    Vpn,
    /// On this machine's own loopback.
    Loopback(SocketAddr),
}

impl TryFrom<String> for Page {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => return Ok(Self::Off),
            "vpn" => return Ok(Self::Vpn),
            _ => {}
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("{text:?} is not \"off\", \"vpn\" or an address like `127.0.0.1:8788`"))?;
        match address.ip().is_loopback() {
            true => Ok(Self::Loopback(address)),
            false => Err(format!(
                "{text:?} is not loopback: from other devices the page is reached over the VPN alone"
            )),
        }
    }
}

impl From<Page> for String {
    fn from(page: Page) -> String {
        match page {
            Page::Off => "off".into(),
            Page::Vpn => "vpn".into(),
            Page::Loopback(address) => address.to_string(),
        }
    }
}

impl Admin {
    /// A name that is none, or that every page of the internet could have its browser ask for.
    pub(super) fn wrong_name(&self) -> Option<&str> {
        let plain = |name: &str| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        // An address stands for itself already.
        let is_name = |name: &&String| plain(name) && matches!(Host::parse(name), Ok(Host::Domain(_)));
        self.names.iter().find(|name| !is_name(name)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Page;
    use crate::config::Config;

    #[test]
    fn the_page_is_off_on_the_vpn_or_on_loopback() {
        let listen = |text: &str| {
            let config = Config::parse(&format!("[admin]\nlisten = {text:?}"), Path::new("t.toml"));
            config.map(|config| config.admin.listen).map_err(|error| error.to_string())
        };
        assert_eq!(Config::default().admin.listen, Page::Off);
        assert_eq!(listen("vpn"), Ok(Page::Vpn));
        assert_eq!(listen("127.0.0.1:1"), Ok(Page::Loopback(([127, 0, 0, 1], 1).into())));
        for text in ["0.0.0.0:8788", "192.168.1.2:8788", "[::]:8788", "on", ""] {
            let error = listen(text).expect_err(text);
            assert!(error.contains("loopback") || error.contains("\"off\""), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_is_a_whole_name() {
        let names =
            |text: &str| Config::parse(&format!("[admin]\nnames = [{text:?}]"), Path::new("t.toml")).is_ok();
        assert!(names("box.tail1234.ts.net"));
        for text in ["", "*", "box:8788", "http://box", "10.0.0.1", "BOX"] {
            assert!(!names(text), "{text}");
        }
    }
}
