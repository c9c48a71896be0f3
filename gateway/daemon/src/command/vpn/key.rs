//! WireGuard's keys: X25519 (RFC 7748) by aws-lc, in base64 as wg(8) writes them.

use std::{fmt, str::FromStr};

use anyhow::Context;
use aws_lc_rs::{
    agreement::{PrivateKey, X25519},
    encoding::{AsBigEndian, Curve25519SeedBin},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Bytes of either key.
const LENGTH: usize = 32;

/// A private key, wiped when dropped. The word `expose` stands where it leaves.
pub struct Private(Zeroizing<String>);

/// A public key in its only spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public(String);

impl Private {
    /// A new one, from the system's random numbers.
    pub fn new() -> anyhow::Result<Self> {
        let made =
            PrivateKey::generate(&X25519).and_then(|key| AsBigEndian::<Curve25519SeedBin>::as_be_bytes(&key));
        let seed = made.map_err(|_| anyhow::anyhow!("make a key"))?;
        Ok(Self(Zeroizing::new(BASE64_STANDARD.encode(seed.as_ref()))))
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> anyhow::Result<Public> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(self.0.as_str()).context("decode a key")?);
        let key =
            PrivateKey::from_private_key(&X25519, &bytes).ok().and_then(|key| key.compute_public_key().ok());
        let key = key.context("compute a public key")?;
        Ok(Public(BASE64_STANDARD.encode(key.as_ref())))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn is_key(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == LENGTH)
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private(..)")
    }
}

impl Serialize for Private {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        match is_key(&text) {
            true => Ok(Self(text)),
            false => Err(serde::de::Error::custom("the private key is not one of WireGuard's")),
        }
    }
}

impl FromStr for Public {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match is_key(text) {
            true => Ok(Self(text.to_owned())),
            false => {
                Err("not a public key of WireGuard's: 44 characters of base64, as `wg pubkey` prints it"
                    .into())
            }
        }
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Public {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Public {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{Private, Public};

    /// RFC 7748, section 6.1.
    #[test]
    fn a_public_key_is_the_rfcs() {
        let private = Private(Zeroizing::new("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=".into()));
        assert_eq!(
            private.public().expect("computes").to_string(),
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
        );
        assert_eq!(format!("{private:?}"), "Private(..)");
    }

    #[test]
    fn two_new_keys_differ_and_what_is_no_key_is_refused() {
        let (one, other) = (Private::new().expect("a key"), Private::new().expect("a key"));
        assert_ne!(one.public().expect("computes"), other.public().expect("computes"));
        for text in [
            "",
            "x",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTm==",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= ",
        ] {
            assert!(text.parse::<Public>().is_err(), "{text}");
        }
    }
}
