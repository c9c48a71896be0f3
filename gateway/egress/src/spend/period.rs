//! Days and months as the operator counts them: at one fixed distance from UTC.

use jiff::civil::{Date, date};
use openclaw_wire::{config::UtcOffset, spend::Span};

const SECONDS: i64 = 86_400;
const EPOCH: Date = date(1970, 1, 1);

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Day(pub i64);

impl Day {
    /// The present one.
    pub fn now(offset: UtcOffset) -> Self {
        Self((jiff::Timestamp::now().as_second() + offset.seconds()).div_euclid(SECONDS))
    }

    /// From `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let day: Date = text.parse().ok()?;
        Some(Self(i64::from(EPOCH.until(day).ok()?.get_days())))
    }

    /// The first day of its month, and the first of the next one.
    pub fn month(self) -> (Self, Self) {
        let day = self.date();
        let (first, last) = (day.first_of_month(), day.last_of_month());
        let before = |other: Date| i64::from(day.day()) - i64::from(other.day());
        (Self(self.0 - before(first)), Self(self.0 - before(last) + 1))
    }

    /// `2026-11-22`, or `2026-11`.
    pub fn name(self, span: Span) -> String {
        let day = self.date();
        match span {
            Span::Day => day.to_string(),
            Span::Month => format!("{:04}-{:02}", day.year(), day.month()),
        }
    }

    /// A clock beyond the calendar counts as its last day.
    fn date(self) -> Date {
        let span = jiff::Span::new().try_days(self.0).unwrap_or_default();
        EPOCH.checked_add(span).unwrap_or(Date::MAX)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::spend::Span;

    use super::Day;

    #[test]
    fn days_and_months_have_names_and_ends() {
        for (text, days, month) in
            [("2026-11-22", 30, "2026-11"), ("2024-02-29", 29, "2024-02"), ("2026-12-31", 31, "2026-12")]
        {
            let day = Day::parse(text).expect(text);
            assert_eq!((day.name(Span::Day).as_str(), day.name(Span::Month).as_str()), (text, month));
            let (first, next) = day.month();
            assert_eq!(first.name(Span::Day), format!("{month}-01"));
            assert_eq!(next.0 - first.0, days);
        }
        assert_eq!(Day::parse("1970-01-02"), Some(Day(1)));
        assert_eq!(Day::parse("2026-02-30"), None);
        assert_eq!(Day(i64::MAX / 2).month().0.name(Span::Month).len(), 7);
    }
}
