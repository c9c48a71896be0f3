//! Which addresses stay clickable. Telegram also turns plain words like `example.org/x` into links by itself, so the
//! finished text is searched for them too, across every mark. Advice for the eye, not a barrier.

use url::Url;

use crate::outbox::rich::{Kind, Mark, Rich};

/// What becomes of a link's address.
pub(super) enum Target {
    /// A link.
    Clickable,
    /// Shown as text, in this form.
    Shown(String),
    /// Not shown.
    Dropped,
}

/// Decides for the address of a link or image.
pub(super) fn target(address: &str, link: &dyn Fn(&str) -> bool) -> Target {
    let Ok(url) = Url::parse(address) else { return Target::Dropped };
    match url.scheme() {
        "http" | "https" if link(address) => Target::Clickable,
        "http" | "https" => Target::Shown(broken(address)),
        // Telegram finds mail addresses in plain text by itself; the same search below sees to that.
        "mailto" => Target::Shown(address.get(7..).unwrap_or_default().to_owned()),
        _ => Target::Dropped,
    }
}

/// `https://a.b` → `hxxps://a[.]b`.
fn broken(address: &str) -> String {
    let dotted = address.replace('.', "[.]");
    match dotted.get(..4) {
        Some(start) if start.eq_ignore_ascii_case("http") => format!("hxxp{}", &dotted[4..]),
        _ => dotted,
    }
}

/// Breaks the words that Telegram would make clickable and `link` does not allow.
pub(super) fn words(rich: Rich, link: &dyn Fn(&str) -> bool) -> Rich {
    let mut cuts: Vec<(usize, &'static str)> = Vec::new();
    let settled = |mark: &&Mark| matches!(mark.kind, Kind::Code | Kind::Pre(_) | Kind::Link(_));
    let mut settled = rich.marks.iter().filter(settled).peekable();
    let mut covered = 0;
    for (start, word) in tokens(&rich.text) {
        // Telegram looks for no addresses in code, and a link is decided already.
        while let Some(mark) = settled.next_if(|mark| mark.range.start <= start) {
            covered = covered.max(mark.range.end);
        }
        let Some(danger) = danger(word).filter(|_| covered < start + word.len()) else { continue };
        match danger {
            Danger::Scheme(colon) => cuts.push((start + colon, "[:]")),
            Danger::Address if link(word) => {}
            Danger::Address => {
                let scheme =
                    word.find("http").filter(|at| word[at + 4..].trim_start_matches('s').starts_with("://"));
                if let Some(at) = scheme {
                    cuts.push((start + at + 1, "x"));
                    cuts.push((start + at + 2, "x"));
                }
                let dots = word.match_indices('.').filter(|(at, _)| !word[..*at].ends_with('['));
                cuts.extend(dots.map(|(at, _)| (start + at, "[.]")));
            }
        }
    }
    if cuts.is_empty() { rich } else { replace(&rich, &cuts) }
}

/// Words without the punctuation around them.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let edge = |c: char| !c.is_alphanumeric() && c != '/';
    text.split(char::is_whitespace).filter_map(move |word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let inner = word.trim_start_matches(edge);
        let start = start + word.len() - inner.len();
        let inner = inner.trim_end_matches(edge);
        (!inner.is_empty()).then_some((start, inner))
    })
}

enum Danger {
    /// Another scheme than http: the colon's place. Telegram makes `tg://` clickable.
    Scheme(usize),
    /// Looks like an address on the web or a mail address.
    Address,
}

fn danger(word: &str) -> Option<Danger> {
    if let Some(colon) = word.find("://") {
        let scheme = word[..colon].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        return match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" | "hxxp" | "hxxps" => Some(Danger::Address),
            _ => Some(Danger::Scheme(colon)),
        };
    }
    word.contains('.').then_some(())?;
    // A dot between letters or digits, and at least two letters behind the last dot of what can be a host.
    let mut parts = word.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'));
    parts
        .any(|host| {
            let host = host.trim_matches(['.', '-']);
            host.rsplit_once('.').is_some_and(|(before, last)| {
                let letters = last.chars().filter(|c| c.is_alphabetic()).count();
                letters >= 2 && before.chars().any(char::is_alphanumeric)
            })
        })
        .then_some(Danger::Address)
}

/// Replaces the single characters at `cuts`, which ascend, and moves the marks along.
fn replace(rich: &Rich, cuts: &[(usize, &'static str)]) -> Rich {
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    cuts.dedup_by_key(|cut| cut.0);
    let mut text = String::with_capacity(rich.text.len() + 2 * cuts.len());
    let mut at = 0;
    for (place, with) in &cuts {
        text.push_str(&rich.text[at..*place]);
        text.push_str(with);
        at = place + 1;
    }
    text.push_str(&rich.text[at..]);
    let moved = |old: usize| {
        let before = &cuts[..cuts.partition_point(|cut| cut.0 < old)];
        old + before.iter().map(|cut| cut.1.len() - 1).sum::<usize>()
    };
    let marks = rich.marks.iter().cloned().map(|mut mark| {
        mark.range = moved(mark.range.start)..moved(mark.range.end);
        mark
    });
    Rich { marks: marks.collect(), text }
}
