//! The SHA-256 of a webhook secret. It can't be compared with `==`, which stops at the first byte that differs and so
//! tells by its time how much of a guess is right (incident 10): only in a time that is the same for all values.

use std::fmt;

use subtle::ConstantTimeEq;

/// Bytes of SHA-256.
const LENGTH: usize = 32;

/// One digest.
#[derive(Clone, Copy)]
pub struct Digest([u8; LENGTH]);

impl Digest {
    /// From the bytes of a SHA-256.
    pub const fn new(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// From hexadecimal digits, as egress tells it; `None` when it is not a SHA-256.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        if hex.len() != 2 * LENGTH || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

// INVARIANT: no other way to compare two digests. With `PartialEq` for `Digest` the call below would fit two
// implementations, and this would not compile.
const _: fn() = || {
    trait Comparable<Which> {
        fn which() {}
    }
    struct WithPartialEq;
    impl<T: ?Sized> Comparable<()> for T {}
    impl<T: ?Sized + PartialEq> Comparable<WithPartialEq> for T {}
    <Digest as Comparable<_>>::which();
};

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn digests_match_only_themselves() {
        let digest = Digest::new([7; 32]);
        assert!(digest.matches(&Digest::new([7; 32])));
        for place in 0..32 {
            let mut other = [7; 32];
            other[place] ^= 0x80;
            assert!(!digest.matches(&Digest::new(other)), "byte {place}");
        }
        assert!(Digest::from_hex(&"07".repeat(32)).expect("hex").matches(&digest));
        for hex in ["", "07", &"0g".repeat(32), &"+7".repeat(32), &"07".repeat(33), &"é".repeat(32)] {
            assert!(Digest::from_hex(hex).is_none(), "{hex}");
        }
    }
}
