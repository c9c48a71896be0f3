//! Which cap holds for whom: `[spend]` for everybody, `[[cap]]` for those who are named.

use std::collections::HashMap;

use openclaw_wire::{
    config::{Config, Spend},
    money::{Limit, Usd},
    spend::{Span, Whose},
};

/// The operator's caps. Never changed by anybody but the configuration.
#[derive(Debug)]
pub struct Caps {
    spend: Spend,
    named: HashMap<Whose, (Option<Limit>, Option<Limit>)>,
}

impl Caps {
    /// Those of the configuration.
    pub fn new(config: &Config) -> Self {
        let named = config.cap.iter().filter_map(|cap| {
            let whose = match (&cap.key, &cap.chat, &cap.skill) {
                (Some(key), None, None) => Whose::Key(key.into()),
                (None, Some(chat), None) => Whose::Chat(chat.into()),
                (None, None, Some(skill)) => Whose::Skill(skill.as_str().into()),
                _ => return None, // Refused when the configuration was read.
            };
            Some((whose, (cap.day, cap.month)))
        });
        Self { spend: config.spend.clone(), named: named.collect() }
    }

    /// What may be spent in a day or month, before anybody raised it; `None` for no limit.
    pub fn limit(&self, whose: &Whose, span: Span) -> Option<Usd> {
        let s = &self.spend;
        let (day, month) = match whose {
            Whose::All => (s.day, s.month),
            Whose::Key(_) => (s.key_day, s.key_month),
            Whose::Chat(_) => (s.chat_day, s.chat_month),
            Whose::Skill(_) => (s.skill_day, s.skill_month),
        };
        let (own_day, own_month) = self.named.get(whose).copied().unwrap_or_default();
        match span {
            Span::Day => own_day.unwrap_or(day).0,
            Span::Month => own_month.unwrap_or(month).0,
        }
    }

    /// To what the owner may raise a limit.
    pub fn ceiling(&self, limit: Usd) -> Usd {
        limit.times(self.spend.ceiling.into())
    }

    /// What one tap adds: half of the limit, and no more than the ceiling leaves. Nothing when it leaves nothing.
    pub fn step(&self, limit: Usd, added: Usd) -> Usd {
        let half = Usd::nano(limit.as_nano().div_ceil(2));
        half.min(self.ceiling(limit).minus(limit.plus(added)))
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        config::Config,
        money::Usd,
        spend::{Span, Whose},
    };

    use super::Caps;

    #[test]
    fn a_named_cap_goes_before_the_general_one_and_a_ceiling_ends_the_raising() {
        let text = "[spend]\nday = 3\nchat_day = 2\nchat_month = 'none'\n[[cap]]\nchat = 'main/7'\nday = 'none'\nmonth = 9";
        let caps = Caps::new(&Config::parse(text, "t".as_ref()).expect("good"));
        let chat =
            |name: &str, span| caps.limit(&Whose::Chat(name.into()), span).map(|limit| limit.to_string());
        assert_eq!(chat("main/1", Span::Day).as_deref(), Some("2.00"));
        assert_eq!(chat("main/1", Span::Month), None);
        assert_eq!(chat("main/7", Span::Day), None);
        assert_eq!(chat("main/7", Span::Month).as_deref(), Some("9.00"));
        assert_eq!(caps.limit(&Whose::All, Span::Day), "3".parse().ok());
        assert_eq!(caps.limit(&Whose::Key("K".into()), Span::Day), "5".parse().ok(), "every key has a limit");

        let (limit, mut added, mut steps) = ("3".parse().expect("3"), Usd::ZERO, Vec::new());
        while caps.step(limit, added) > Usd::ZERO {
            added = added.plus(caps.step(limit, added));
            steps.push(limit.plus(added).to_string());
        }
        assert_eq!(steps, ["4.50", "6.00"]);
        assert_eq!(caps.step(Usd::ZERO, Usd::ZERO), Usd::ZERO);
    }
}
