//! When to ask the same model again. Follows the providers' own clients: two repetitions, 0.5 s doubling to 8 s with
//! a quarter of jitter, and what the server says about it goes first. Pure; whoever calls does the waiting.

use std::{hash::BuildHasher, time::Duration};

use http::HeaderMap;
use jiff::{Timestamp, fmt::rfc2822};

use super::fault::Kind;

/// Most times that one model is asked the same.
const TRIES: u32 = 3;
/// After an empty answer: the next one is likely to be empty as well, and each costs tokens.
const TRIES_EMPTY: u32 = 2;
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);
/// A server that asks for a longer wait than this is left for the next model: a person is waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server says about asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Advice {
    /// `x-should-retry`.
    pub should: Option<bool>,
    /// `retry-after-ms`, or `retry-after` in seconds or as a date.
    pub after: Option<Duration>,
}

impl Advice {
    /// From the headers of an answer that arrived `now`. What can't be read counts as not said.
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let should = match text("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let span = |text: &str, unit: f64| {
            let number: f64 = text.parse().ok()?;
            Duration::try_from_secs_f64(number / unit).ok()
        };
        let date = |text: &str| {
            let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
        };
        let millis = text("retry-after-ms").and_then(|text| span(text, 1000.0));
        let after =
            millis.or_else(|| text("retry-after").and_then(|text| span(text, 1.0).or_else(|| date(text))));
        Self { should, after }
    }
}

/// How long to wait before the next try; `None` means that this model is not asked again. `tried` is at least 1;
/// `dice` is any number, for the jitter.
pub(super) fn pause(tried: u32, kind: Kind, advice: Advice, dice: u64) -> Option<Duration> {
    let tries = if kind == Kind::Empty { TRIES_EMPTY } else { TRIES };
    if tried >= tries || !advice.should.unwrap_or(kind.passes()) {
        return None;
    }
    // A server that says "at once" still gets the usual pause.
    if let Some(after) = advice.after.filter(|after| !after.is_zero()) {
        return (after <= PATIENCE).then_some(after);
    }
    let doubled = FIRST.saturating_mul(1 << (tried - 1).min(8)).min(LONGEST);
    Some(doubled.mul_f64(1.0 - 0.25 * (dice % 1024) as f64 / 1024.0))
}

/// A number that differs each time, between processes as well. Not for secrets.
pub(super) fn dice() -> u64 {
    std::hash::RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Advice, pause};
    use crate::model::fault::Kind;

    fn advice(headers: &[(&'static str, &'static str)]) -> Advice {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Advice::read(&map, "2026-11-20T10:00:00Z".parse().expect("time"))
    }

    #[test]
    fn advice_is_read() {
        for (headers, should, after) in [
            (&[][..], None, None),
            (&[("retry-after", "2")], None, Some(2000)),
            (&[("retry-after", "1.5")], None, Some(1500)),
            (&[("retry-after", "9"), ("retry-after-ms", "40")], None, Some(40)),
            (&[("retry-after", "Fri, 20 Nov 2026 10:00:07 GMT")], None, Some(7000)),
            (&[("retry-after", "Fri, 20 Nov 2026 09:00:00 GMT")], None, Some(0)),
            (&[("retry-after", "-3")], None, None),
            (&[("retry-after", "NaN")], None, None),
            (&[("retry-after", "soon")], None, None),
            (&[("x-should-retry", "false")], Some(false), None),
            (&[("x-should-retry", "true")], Some(true), None),
        ] {
            let after = after.map(Duration::from_millis);
            assert_eq!(advice(headers), Advice { should, after }, "{headers:?}");
        }
    }

    #[test]
    fn pauses_grow_are_bounded_and_obey() {
        let none = Advice::default();
        for dice in [0, 1, 511, 1023, u64::MAX] {
            let first = pause(1, Kind::Busy, none, dice).expect("again");
            let second = pause(2, Kind::Busy, none, dice).expect("again");
            assert!((375..=500).contains(&first.as_millis()), "{first:?}");
            assert!((750..=1000).contains(&second.as_millis()), "{second:?}");
        }
        assert_eq!(pause(3, Kind::Busy, none, 0), None);
        assert_eq!(pause(2, Kind::Empty, none, 0), None);
        assert_eq!(pause(1, Kind::Auth, none, 0), None);
        assert_eq!(pause(1, Kind::Quota, none, 0), None);
        let after = |ms| Advice { after: Some(Duration::from_millis(ms)), should: None };
        assert_eq!(pause(1, Kind::Busy, after(20), 0), Some(Duration::from_millis(20)));
        assert_eq!(pause(1, Kind::Busy, after(31_000), 0), None);
        assert_eq!(pause(1, Kind::Busy, after(0), 0), Some(Duration::from_millis(500)));
        assert_eq!(pause(1, Kind::Server, Advice { should: Some(false), after: None }, 0), None);
        assert!(pause(1, Kind::Rejected, Advice { should: Some(true), after: None }, 0).is_some());
    }
}
