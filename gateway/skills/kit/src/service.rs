//! Whom a skill asks: one of the addresses that its manifest hands it, as its argument `source` says.

use serde::Deserialize;
use url::Url;

/// The address of a path at one of the services that the manifest names, counted from 0.
pub fn address(service: usize, path: &str) -> Result<Url, String> {
    let named = std::env::args().nth(1 + service).and_then(|arg| arg.parse::<Url>().ok());
    let mut url = named.ok_or_else(|| {
        format!("its skill.toml names no address for the service {} that it asks", service + 1)
    })?;
    url.set_path(path);
    Ok(url)
}

/// Whose service of OpenAI's API: the argument `source` of a tool, in the order of the manifest.
#[derive(Debug, Clone, Copy, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// OpenAI's own.
    #[default]
    Openai,
    /// The operator's.
    Local,
}

impl Source {
    /// The address of a path there.
    pub fn address(self, path: &str) -> Result<Url, String> {
        address(self as usize, path)
    }
}
