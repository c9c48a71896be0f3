//! Sections `[spend]`, `[[cap]]` and `[[price]]`: how much may be spent, and what things cost.

use serde::{Deserialize, Serialize};

use crate::{
    id::SkillId,
    money::{Limit, Usd},
    skill::PathPrefix,
};

/// Section `[spend]`: the caps that hold without a `[[cap]]`, in dollars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spend {
    /// In all, each day.
    pub day: Limit,
    /// In all, each month.
    pub month: Limit,
    /// With each key, each day.
    pub key_day: Limit,
    /// With each key, each month.
    pub key_month: Limit,
    /// For each chat, each day.
    pub chat_day: Limit,
    /// For each chat, each month.
    pub chat_month: Limit,
    /// For each skill, each day.
    pub skill_day: Limit,
    /// For each skill, each month.
    pub skill_month: Limit,
    /// To how many times its amount the owner may raise a cap from the chat; 1 is not at all.
    pub ceiling: u32,
    /// When days and months begin.
    pub utc_offset: UtcOffset,
}

/// One `[[cap]]`: other amounts for one key, chat or skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// Name of the key.
    #[serde(default)]
    pub key: Option<String>,
    /// The chat, as `openclaw usage` names it: `bot/number`.
    #[serde(default)]
    pub chat: Option<String>,
    /// The skill.
    #[serde(default)]
    pub skill: Option<SkillId>,
    /// Each day; what `[spend]` says if it is left out.
    #[serde(default)]
    pub day: Option<Limit>,
    /// Each month.
    #[serde(default)]
    pub month: Option<Limit>,
}

/// One `[[price]]`. Prices of tokens are dollars for a million of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The vendor's name of the model; a date behind it is the same model. Without one it is the price of a request to the host.
    #[serde(default)]
    pub model: Option<String>,
    /// Only at this host; everywhere if it is left out.
    #[serde(default)]
    pub host: Option<String>,
    /// Without a model: only for requests whose path is this or lies below it; for all to the host if it is left out.
    /// The longest that fits counts.
    #[serde(default)]
    pub path: Option<PathPrefix>,
    /// First day on which it holds, `YYYY-MM-DD`; always if it is left out.
    #[serde(default)]
    pub from: Option<String>,
    /// Holds for requests with more input tokens than this. A request has one row's prices as a whole.
    #[serde(default)]
    pub above: u64,
    /// Most input tokens that the model takes.
    #[serde(default)]
    pub context: Option<u64>,
    /// Input tokens that were not cached.
    #[serde(default)]
    pub input: Option<Usd>,
    /// Output tokens, reasoning among them.
    #[serde(default)]
    pub output: Option<Usd>,
    /// Input tokens read from the cache; as `input` if it is left out.
    #[serde(default)]
    pub cache_read: Option<Usd>,
    /// Input tokens written to the cache; as `input` if it is left out.
    #[serde(default)]
    pub cache_write: Option<Usd>,
    /// The same, kept for an hour; as `cache_write` if it is left out.
    #[serde(default)]
    pub cache_write_1h: Option<Usd>,
    /// Each request, besides its tokens. Without a model it must be said, and zero is free on purpose.
    #[serde(default)]
    pub call: Option<Usd>,
    /// Without a model: each MiB that the request sends.
    #[serde(default)]
    pub sent_mib: Usd,
    /// Without a model: each second of sound. Where the answer says how many there were, or how many tokens of `input` and
    /// `output`, that is what it costs, and `call` and `sent_mib` only bound it.
    #[serde(default)]
    pub second: Usd,
    /// Each search that the vendor makes.
    #[serde(default)]
    pub search: Usd,
}

/// The distance from UTC at which days begin, written `+02:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset(i32);

impl UtcOffset {
    /// In seconds, positive in the east.
    pub fn seconds(self) -> i64 {
        i64::from(self.0) * 60
    }
}

impl TryFrom<String> for UtcOffset {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let (sign, rest) = match text.split_at_checked(1)? {
                ("+", rest) => (1, rest),
                ("-", rest) => (-1, rest),
                _ => return None,
            };
            let (hours, minutes) = rest.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
            let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours <= 14 && minutes < 60).then(|| sign * (i32::from(hours) * 60 + i32::from(minutes)))
        };
        parse().map(Self).ok_or_else(|| format!("{text:?} is not an offset from UTC like \"+02:00\""))
    }
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> String {
        let sign = if offset.0 < 0 { '-' } else { '+' };
        format!("{sign}{:02}:{:02}", offset.0.abs() / 60, offset.0.abs() % 60)
    }
}

impl Default for Spend {
    fn default() -> Self {
        let dollars = |amount: u64| Limit(Some(Usd::nano(amount * 1_000_000_000)));
        Self {
            day: dollars(5),
            month: dollars(50),
            key_day: dollars(5),
            key_month: dollars(50),
            chat_day: dollars(4),
            chat_month: dollars(40),
            skill_day: dollars(1),
            skill_month: dollars(10),
            ceiling: 2,
            utc_offset: UtcOffset(0),
        }
    }
}

/// What is wrong with these sections together: the message and what mends it.
pub(super) fn check(spend: &Spend, caps: &[Cap], prices: &[Price]) -> Result<(), (String, String)> {
    if !(1..=100).contains(&spend.ceiling) {
        return Err((
            "[spend] ceiling is out of range".into(),
            "set it to 1 (the owner can't raise a cap) to 100".into(),
        ));
    }
    let mut named = Vec::new();
    for cap in caps {
        let skill = cap.skill.as_ref().map(|skill| skill.as_str());
        let mut whose =
            [("key", cap.key.as_deref()), ("chat", cap.chat.as_deref()), ("skill", skill)].into_iter();
        let whose: Vec<_> = whose.by_ref().filter_map(|(kind, name)| Some((kind, name?))).collect();
        let [one] = whose[..] else {
            return Err((
                "a [[cap]] does not name exactly one of `key`, `chat` and `skill`".into(),
                "write one block for each; what holds for all stands in [spend]".into(),
            ));
        };
        if named.contains(&one) {
            return Err((
                format!("two [[cap]] are for the {} {:?}", one.0, one.1),
                "write `day` and `month` into one block".into(),
            ));
        }
        named.push(one);
    }
    for price in prices {
        let name = price.model.as_deref().or(price.host.as_deref()).unwrap_or_default();
        let wrong = |why: &str, mend: &str| Err((format!("[[price]] {name:?}: {why}"), mend.to_owned()));
        if name.trim().is_empty() {
            return wrong("it names no model and no host", "add model = \"the vendor's name of the model\"");
        }
        if price.model.is_some() {
            if price.input.is_none() || price.output.is_none() {
                return wrong("it has no price", "add input = and output =, in dollars for a million tokens");
            }
            if price.path.is_some() || price.sent_mib.max(price.second) > Usd::ZERO {
                return wrong(
                    "`path`, `sent_mib` and `second` are for requests of skills",
                    "leave `model` or them out",
                );
            }
        } else {
            if price.call.is_none() {
                return wrong("it has no price", "add call =, in dollars for each request; 0 if it is free");
            }
            if price.search > Usd::ZERO {
                return wrong("a request to a host has `call`", "add the model that has the other prices");
            }
            if price.input.is_some() != price.output.is_some() {
                return wrong("it has half a price of tokens", "add both input = and output =, or none");
            }
            let reported = price.input.is_some() || price.second > Usd::ZERO;
            if reported && price.call.unwrap_or_default().max(price.sent_mib) == Usd::ZERO {
                return wrong(
                    "nothing bounds what it costs",
                    "add call = or sent_mib =, the most that a request can cost before its answer says more",
                );
            }
        }
        if price.from.as_deref().is_some_and(|from| !is_date(from)) {
            return wrong("`from` is not a day", "write it like from = \"2027-01-31\"");
        }
    }
    Ok(())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, width: usize| {
        let digits = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    number(year, 4).is_some()
        && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::UtcOffset;
    use crate::config::Config;

    #[test]
    fn an_offset_is_hours_and_minutes() {
        for (text, seconds) in [("+00:00", 0), ("-03:30", -12_600), ("+14:00", 50_400)] {
            let offset = UtcOffset::try_from(text.to_owned()).expect(text);
            assert_eq!((offset.seconds(), String::from(offset).as_str()), (seconds, text));
        }
        for text in ["", "0", "+1", "+1:00", "+15:00", "+00:60", "Z", "é"] {
            assert!(UtcOffset::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_where_and_how_to_mend_it() {
        for (text, part) in [
            ("[spend]\nday = -1", "amount of dollars"),
            ("[spend]\nceiling = 0", "ceiling"),
            ("[spend]\nutc_offset = \"CET\"", "offset from UTC"),
            ("[[cap]]\nday = 1", "exactly one"),
            ("[[cap]]\nkey = \"A\"\nchat = \"b/1\"", "exactly one"),
            ("[[cap]]\nkey = \"A\"\n[[cap]]\nkey = \"A\"", "two [[cap]]"),
            ("[[price]]\ninput = 1", "names no model"),
            ("[[price]]\nmodel = \"m\"\ninput = 1", "no price"),
            ("[[price]]\nmodel = \"m\"\ncall = 1", "no price"),
            ("[[price]]\nhost = \"h\"", "no price"),
            ("[[price]]\nhost = \"h\"\nsent_mib = 1", "no price"),
            ("[[price]]\nhost = \"h\"\ncall = 0\nsearch = 1", "has `call`"),
            ("[[price]]\nhost = \"h\"\ncall = 1\ninput = 1", "half a price"),
            ("[[price]]\nhost = \"h\"\ncall = 0\nsecond = 1", "nothing bounds"),
            ("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\nsecond = 1", "requests of skills"),
            ("[[price]]\nhost = \"h\"\ncall = 1\nimage = 1", "unknown field"),
            ("[[price]]\nhost = \"h\"\ncall = 1\naudio_minute = 1", "unknown field"),
            ("[[price]]\nhost = \"h\"\ncall = 1\npath = \"x\"", "must begin with"),
            ("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\npath = \"/x\"", "requests of skills"),
            ("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\nfrom = \"soon\"", "not a day"),
            ("[[price]]\nmodel = \"m\"\nprice = 1", "unknown field"),
        ] {
            let error = Config::parse(text, Path::new("t.toml")).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
