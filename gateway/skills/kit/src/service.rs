//! Whom a skill asks: the addresses that its manifest hands it, and, where OpenAI's API has servers of one's own, which of the
//! two it is.

use serde::Deserialize;
use url::Url;

/// How many there are, in words.
const NUMBERS: [&str; 4] = ["no", "one", "two", "three"];

/// The addresses that the manifest hands to the program, which must be so many.
pub fn addresses<const N: usize>() -> Result<[Url; N], String> {
    const { assert!(N < NUMBERS.len()) };
    let urls: Vec<Url> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    urls.try_into()
        .map_err(|_| format!("its skill.toml does not name the {} addresses that it asks", NUMBERS[N]))
}

/// Whose service of OpenAI's API: the argument `source` of a tool.
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
        let [openai, local] = addresses()?;
        let mut url = match self {
            Self::Openai => openai,
            Self::Local => local,
        };
        url.set_path(path);
        Ok(url)
    }
}
