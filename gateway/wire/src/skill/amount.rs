//! Amounts in a manifest, with their unit: `"128 MiB"`, `"20 s"`. A number without a unit is refused.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An amount of bytes, written `"128 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[0-9]+ (B|KiB|MiB|GiB)$")))]
pub struct Size(pub u64);

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        amount(&text, &units)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size like `128 MiB` (B, KiB, MiB, GiB)"))
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let whole = units.iter().find(|(_, bits)| size.0 != 0 && size.0.is_multiple_of(1 << bits));
        let (unit, bits) = whole.copied().unwrap_or(("B", 0));
        format!("{} {unit}", size.0 >> bits)
    }
}

/// A time, written `"20 s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[0-9]+ (ms|s|min)$")))]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1_000), ("min", 60_000)];
        let millis = amount(&text, &units)
            .ok_or_else(|| format!("{text:?} is not a time like `20 s` (ms, s, min)"))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        match span.0.as_millis() {
            whole if whole.is_multiple_of(1_000) => format!("{} s", whole / 1_000),
            millis => format!("{millis} ms"),
        }
    }
}

/// A positive whole number, a space, a unit.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(factor).filter(|n| (1..=1 << 40).contains(n))
}

#[cfg(test)]
mod tests {
    use super::{Size, Span};

    #[test]
    fn amounts_have_units_and_survive_being_written() {
        for (text, bytes) in [("128 MiB", 128 << 20), ("1 B", 1), ("3 KiB", 3072), ("2 GiB", 2 << 30)] {
            let size = Size::try_from(text.to_owned()).expect(text);
            assert_eq!((size.0, String::from(size).as_str()), (bytes, text));
        }
        assert_eq!(String::from(Span::try_from("2 min".to_owned()).expect("good")), "120 s");
        for bad in ["128", "128MiB", "0 B", "-1 B", "1 MB", "9999999 GiB", " 1 B", "1  B", "1.5 GiB"] {
            assert!(Size::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Span::try_from("5 hours".to_owned()).is_err());
    }
}
