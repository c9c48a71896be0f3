//! Money in words, for the chat and for the terminal.

use std::collections::BTreeMap;

use openclaw_wire::{
    money::Usd,
    spend::{Alert, AlertKind, CapState, Line, Report, Span, Spent, Used, Whose},
};

/// What lines are summed by.
type Name = fn(&Line) -> &String;

/// Entries of each list; the rest is in the total.
const MOST: usize = 10;

/// What the owner is told of a cap, and the words on the button, where the operator's ceiling leaves something.
pub fn alert(alert: &Alert) -> (String, Option<String>) {
    let state = &alert.state;
    let (limit, spent, left) = (state.limit.shown(), state.spent.shown(), span(state.cap.span));
    let of = format!("the {left}'s spending limit ({}, {})", state.cap.whose, state.cap.period);
    let text = match alert.kind {
        AlertKind::Near => format!("80 % of {of} is used: {spent} of {limit}."),
        AlertKind::Reached => format!(
            "Reached: {of}. {spent} of {limit} is used, and a call that could pass it was refused. What could pass it is \
             refused until the {left} is over{}.",
            if state.next > state.limit {
                ", or until you raise it"
            } else {
                "; only the operator can raise it further"
            }
        ),
    };
    let more = alert.kind == AlertKind::Reached && state.next > state.limit;
    (text, more.then(|| format!("Raise to {} for this {left}", state.next.shown())))
}

/// The present day and month over all, in a line.
pub fn in_short(caps: &[CapState]) -> String {
    let part = |state: &CapState| {
        let when = if state.cap.span == Span::Day { "today" } else { "this month" };
        let mark = if state.is_near() { " (!)" } else { "" };
        format!("{when} {} of {}{mark}", state.spent.shown(), state.limit.shown())
    };
    let parts: Vec<_> = caps.iter().filter(|state| state.cap.whose == Whose::All).map(part).collect();
    if parts.is_empty() {
        "Spent: no limits are set.".into()
    } else {
        format!("Spent: {}.", parts.join(", "))
    }
}

/// What one chat used, in a few lines.
pub fn of_chat(report: &Report, chat: &str) -> String {
    let mut text = String::new();
    for (name, spent) in [("Today", &report.today), ("This month", &report.month)] {
        let lines = || spent.lines.iter().filter(|line| line.chat == chat);
        text += &format!("{name}: {}\n", used(&sum(lines())));
        for (model, one) in by(lines(), |line| &line.model) {
            text += &format!("  {model}: {}\n", used(&one));
        }
    }
    let whose = Whose::Chat(chat.into());
    text += &limits(report.caps.iter().filter(|state| state.cap.whose == whose));
    text.trim_end().to_owned()
}

/// All of it.
pub fn of_all(report: &Report) -> String {
    let mut text = String::new();
    for (name, spent) in [("Today", &report.today), ("This month", &report.month)] {
        text += &format!("{name} ({}): {}\n", spent.period, used(&spent.total));
        text += &lists(spent);
    }
    text += &limits(report.caps.iter());
    text.trim_end().to_owned()
}

fn lists(spent: &Spent) -> String {
    let mut text = String::new();
    let kinds: [(&str, Name); 4] = [
        ("model", |line| &line.model),
        ("chat", |line| &line.chat),
        ("skill", |line| &line.skill),
        ("key", |line| &line.key),
    ];
    for (kind, name) in kinds {
        for (name, one) in by(spent.lines.iter(), name).into_iter().take(MOST) {
            text += &format!("  {kind} {name}: {}\n", used(&one));
        }
    }
    let unknown = sum(spent.lines.iter().filter(|line| line.model.is_empty()));
    if unknown.cost > Usd::ZERO {
        text += &format!("  possibly, before a loss of power: {}\n", unknown.cost.shown());
    }
    text
}

fn limits<'a>(states: impl Iterator<Item = &'a CapState>) -> String {
    let line = |state: &CapState| {
        let mark = if state.is_near() { " (!)" } else { "" };
        format!(
            "  {}, {}: {} of {}{mark}\n",
            state.cap.whose,
            span(state.cap.span),
            state.spent.shown(),
            state.limit.shown()
        )
    };
    let lines: String = states.map(line).collect();
    if lines.is_empty() { lines } else { format!("Limits:\n{lines}") }
}

/// Sums by a name, the dearest first; what has no name is left out.
fn by<'a>(lines: impl Iterator<Item = &'a Line>, name: Name) -> Vec<(&'a str, Used)> {
    let mut sums: BTreeMap<&str, Used> = BTreeMap::new();
    for line in lines.filter(|line| !name(line).is_empty()) {
        sums.entry(name(line)).or_default().add(&line.used);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, used)| std::cmp::Reverse((used.cost, used.calls)));
    sums
}

fn sum<'a>(lines: impl Iterator<Item = &'a Line>) -> Used {
    let mut sum = Used::default();
    lines.for_each(|line| sum.add(&line.used));
    sum
}

fn used(used: &Used) -> String {
    let failed = match (used.failed, used.cut) {
        (0, 0) => String::new(),
        (failed, 0) => format!(", {failed} of them failed"),
        (0, cut) => format!(", {cut} of them broke off"),
        (failed, cut) => format!(", {failed} of them failed, {cut} broke off"),
    };
    format!(
        "{}, {} calls{failed}, {} tokens in ({} cached), {} out",
        used.cost.shown(),
        used.calls,
        used.input,
        used.cached,
        used.output
    )
}

fn span(span: Span) -> &'static str {
    match span {
        Span::Day => "day",
        Span::Month => "month",
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        money::Usd,
        spend::{Alert, AlertKind, CapId, CapState, Line, Report, Span, Spent, Used, Whose},
    };

    fn state(whose: Whose, spent: &str, next: &str) -> CapState {
        let usd = |text: &str| text.parse().expect(text);
        CapState {
            cap: CapId { whose, span: Span::Day, period: "2026-11-22".into() },
            spent: usd(spent),
            reserved: Usd::ZERO,
            limit: usd("5"),
            ceiling: usd("10"),
            next: usd(next),
            raised: 0,
        }
    }

    #[test]
    fn an_alert_says_what_how_much_and_what_can_be_done() {
        let of = |kind, next| super::alert(&Alert { kind, state: state(Whose::All, "4.01", next) });
        assert_eq!(
            of(AlertKind::Near, "7.5"),
            (
                "80 % of the day's spending limit (all together, 2026-11-22) is used: $4.01 of $5.00.".into(),
                None
            )
        );
        let (text, button) = of(AlertKind::Reached, "7.5");
        assert!(text.contains("$4.01 of $5.00") && text.contains("raise it"), "{text}");
        assert_eq!(button.as_deref(), Some("Raise to $7.50 for this day"));
        let (text, button) = of(AlertKind::Reached, "5");
        assert!(text.contains("only the operator") && button.is_none(), "{text}");
    }

    #[test]
    fn usage_is_told_by_model_chat_and_skill_with_what_failed() {
        let line = |model: &str, chat: &str, skill: &str, cost: u64| Line {
            key: "K".into(),
            model: model.into(),
            chat: chat.into(),
            skill: skill.into(),
            used: Used {
                calls: 2,
                failed: 1,
                cut: 1,
                input: 10,
                output: 5,
                cached: 0,
                cost: Usd::nano(cost * 10_000_000),
            },
        };
        let lines = vec![
            line("big", "main/1", "", 300),
            line("small", "main/1", "", 2),
            line("host", "main/2", "search", 1),
        ];
        let total = Used {
            calls: 6,
            failed: 3,
            cut: 3,
            input: 30,
            output: 15,
            cached: 0,
            cost: Usd::nano(3_030_000_000),
        };
        let spent = Spent { period: "2026-11".into(), total, lines };
        let caps = vec![state(Whose::All, "4.5", "7.5"), state(Whose::Chat("main/1".into()), "3.02", "7.5")];
        let report = Report { today: Spent::default(), month: spent, caps };
        let all = super::of_all(&report);
        for part in [
            "This month (2026-11): $3.03, 6 calls, 3 of them failed, 3 broke off, 30 tokens in (0 cached), 15 out",
            "  model big: $3.00, 2 calls",
            "  chat main/1: $3.02, 4 calls",
            "  skill search: $0.01",
            "  key K: $3.03",
            "  all together, day: $4.50 of $5.00 (!)",
            "  chat main/1, day: $3.02 of $5.00\n",
        ] {
            assert!((all.clone() + "\n").contains(part), "{part} in\n{all}");
        }
        let one = super::of_chat(&report, "main/1");
        assert!(
            one.contains("This month: $3.02, 4 calls")
                && !one.contains("main/2")
                && !one.contains("all together"),
            "{one}"
        );
        assert_eq!(super::in_short(&report.caps), "Spent: today $4.50 of $5.00 (!).");
    }
}
