//! One webhook secret: what Telegram sends back with each update. Made here, kept in a file of egress, told to nobody but
//! Telegram; the gateway gets its digest.

use std::{io::Read, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{private_file, secret::Secret};

/// Bytes of randomness in a secret; 43 characters of base64url, of Telegram's `A-Z a-z 0-9 _ -` up to 256.
const RANDOM: usize = 32;

/// What Telegram sends back in `X-Telegram-Bot-Api-Secret-Token`.
#[derive(Debug, Clone)]
pub struct WebhookSecret(Secret);

impl WebhookSecret {
    /// Reads one; `None` when the file is not there.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some(file) = private_file::open(path)? else { return Ok(None) };
        // One byte more than Telegram allows, so that a longer one is noticed.
        let mut text = Zeroizing::new(String::with_capacity(257));
        let read = file.take(257).read_to_string(&mut text);
        let good = read.is_ok()
            && (32..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        // Incident 14: a blank secret is an error and never "no secret".
        anyhow::ensure!(
            good,
            "{}: not a webhook secret\n  mend: remove the file, start again, then `openclaw webhook set`",
            path.display()
        );
        Ok(Some(Self(Secret::new(&text)?)))
    }

    /// Makes one and writes it down.
    pub fn make(path: &Path) -> anyhow::Result<Self> {
        let mut random = Zeroizing::new([0; RANDOM]);
        getrandom::fill(&mut *random).map_err(|error| anyhow::anyhow!("make a webhook secret: {error}"))?;
        let secret = Secret::new(&Zeroizing::new(URL_SAFE_NO_PAD.encode(*random)))?;
        private_file::create(path, secret.expose().as_bytes())?;
        Ok(Self(secret))
    }

    /// For Telegram, and for the mask.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// SHA-256 in hex.
    pub fn digest(&self) -> String {
        Sha256::digest(self.0.expose()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A given secret, for the tests of other modules.
    #[cfg(test)]
    pub fn fixed(text: &str) -> Self {
        Self(Secret::new(text).expect("room"))
    }
}

#[cfg(test)]
mod tests {
    use super::WebhookSecret;

    #[test]
    fn a_blank_or_odd_secret_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("webhook-main");
        assert!(WebhookSecret::read(&path).expect("absent").is_none());
        for odd in ["", " ", "short", &" ".repeat(43), &"a".repeat(257), &format!("{}\n", "a".repeat(43))] {
            std::fs::write(&path, odd).expect("write");
            crate::private_file::tests::chmod(&path, 0o600);
            let error = WebhookSecret::read(&path).expect_err("odd").to_string();
            assert!(error.contains("not a webhook secret"), "{error}");
        }
    }
}
