//! Dollars, exact: whole nano-dollars. Written in decimals wherever people or files meet them; never a float.

use std::{fmt, iter::Sum, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Nano-dollars in a dollar.
const NANO: u64 = 1_000_000_000;
/// Largest amount that can be written down, in dollars.
const MOST: u64 = 1_000_000_000;

/// An amount of US dollars, or a price of something in them. At least zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(u64);

/// Why a text is no amount.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an amount of dollars like 5 or 0.25 (at most nine decimals, at most 1000000000)")]
pub struct UsdError(String);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    pub const fn nano(nano: u64) -> Self {
        Self(nano)
    }

    /// In billionths of a dollar.
    pub const fn as_nano(self) -> u64 {
        self.0
    }

    /// The sum, or the largest amount there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times as much.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// For people: to the cent, and small amounts to a hundredth of a cent; rounded up, so that something is never shown
    /// as nothing.
    pub fn shown(self) -> String {
        let (unit, digits) = if self.0 >= NANO / 100 { (NANO / 100, 2) } else { (NANO / 10_000, 4) };
        let whole = self.0.div_ceil(unit);
        let per = 10_u64.pow(digits);
        format!("${}.{:0width$}", whole / per, whole % per, width = digits as usize)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::plus)
    }
}

/// Every digit that counts, and at least two decimals.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:09}", self.0 % NANO);
        let decimals = decimals.trim_end_matches('0');
        write!(f, "{}.{decimals:0<2}", self.0 / NANO)
    }
}

impl FromStr for Usd {
    type Err = UsdError;

    fn from_str(text: &str) -> Result<Self, UsdError> {
        let parse = || {
            let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 9 {
                return None;
            }
            let whole: u64 = whole.parse().ok().filter(|whole| *whole <= MOST)?;
            let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
            Some(Self(whole * NANO + decimals))
        };
        parse().ok_or_else(|| UsdError(text.chars().take(40).collect()))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Amount;
        impl de::Visitor<'_> for Amount {
            type Value = Usd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of dollars like 5 or 0.25")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Usd, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Usd, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Usd, E> {
                self.visit_str(&number.to_string())
            }
            // The shortest text that means this number is what was written.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Usd, E> {
                self.visit_str(&number.to_string())
            }
        }
        from.deserialize_any(Amount)
    }
}

/// An amount that may not be passed; `"none"` is written for one that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit(pub Option<Usd>);

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(amount) => amount.serialize(to),
            None => to.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected an amount of dollars like 5 or 0.25, or \"none\"")]
        enum Either {
            Amount(Usd),
            Word(Word),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            None,
        }
        Ok(match Either::deserialize(from)? {
            Either::Amount(amount) => Self(Some(amount)),
            Either::Word(Word::None) => Self(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Usd};

    #[test]
    fn amounts_are_read_exactly_and_written_as_they_were() {
        for (text, nano, shown) in [
            ("0", 0, "$0.0000"),
            ("5", 5_000_000_000, "$5.00"),
            ("0.25", 250_000_000, "$0.25"),
            ("0.000000001", 1, "$0.0001"),
            ("0.1", 100_000_000, "$0.10"),
            ("12.345678901", 12_345_678_901, "$12.35"),
            ("1000000000", 1_000_000_000_000_000_000, "$1000000000.00"),
        ] {
            let amount: Usd = text.parse().expect(text);
            assert_eq!((amount.as_nano(), amount.shown().as_str()), (nano, shown), "{text}");
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        assert_eq!(Usd::nano(4_500_000_000).to_string(), "4.50");
        for text in ["", ".5", "-1", "1,5", "1e3", "0.0000000001", "1000000001", "NaN", " 1", "١"] {
            assert!(text.parse::<Usd>().is_err(), "{text}");
        }
    }

    #[test]
    fn toml_numbers_and_texts_mean_the_same() {
        #[derive(serde::Deserialize)]
        struct Section {
            day: Limit,
        }
        let read = |value: &str| toml::from_str::<Section>(&format!("day = {value}")).map(|s| s.day);
        let cents = |cents: u64| Limit(Some(Usd::nano(cents * 10_000_000)));
        for (value, limit) in
            [("5", cents(500)), ("\"5\"", cents(500)), ("0.07", cents(7)), ("\"none\"", Limit(None))]
        {
            assert_eq!(read(value).expect(value), limit);
        }
        for value in ["-1", "true", "\"some\"", "inf", "1e-12"] {
            let error = read(value).expect_err(value).to_string();
            assert!(error.contains("amount of dollars"), "{error}");
        }
    }
}
