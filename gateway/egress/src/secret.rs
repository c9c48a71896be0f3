//! A key or token in egress: in locked memory, once, however often it is cloned; no `Debug` of its content, no
//! `Display`, no `Serialize`, wiped with the last clone.

use std::sync::Arc;

use bytes::Bytes;
use openclaw_confine::locked::{Full, Locked};

/// A secret. The word `expose` stands in the code wherever one leaves its memory.
#[derive(Clone)]
pub struct Secret(Arc<Locked>);

impl Secret {
    /// A copy of the text.
    pub fn new(text: &str) -> Result<Self, Full> {
        Locked::copy(text.as_bytes()).map(|locked| Self(Arc::new(locked)))
    }

    /// The content, for the one place that sends or hashes it.
    pub fn expose(&self) -> &str {
        std::str::from_utf8((*self.0).as_ref()).unwrap_or_default()
    }

    /// The content as the value of a header, in the same memory.
    pub fn expose_bytes(&self) -> Bytes {
        struct Owner(Arc<Locked>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                (*self.0).as_ref()
            }
        }
        Bytes::from_owner(Owner(Arc::clone(&self.0)))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn clones_and_bytes_are_the_same_memory_and_debug_shows_nothing() {
        let secret = Secret::new("test-key-not-real").expect("room");
        let (clone, bytes) = (secret.clone(), secret.expose_bytes());
        assert_eq!(clone.expose().as_ptr(), secret.expose().as_ptr());
        assert_eq!(bytes.as_ptr(), secret.expose().as_ptr());
        drop((secret, clone));
        assert_eq!(&*bytes, b"test-key-not-real");
        assert_eq!(format!("{:?}", Secret::new("k-123")), "Ok(Secret(..))");
    }
}
