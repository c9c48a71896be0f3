//! Removes from a text what people do not see and models read: control characters, Unicode tags, bidirectional
//! overrides, invisible fillers and runs of variation selectors. What people do see stays: emoji sequences, flags, and
//! the joiners of scripts that need them.

/// The text without what nobody should see. Borrowed when there is nothing to remove; cleaning twice changes nothing.
pub fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    // ASCII without control characters is the common case.
    if text.bytes().all(|b| (b' '..0x7f).contains(&b) || b == b'\n' || b == b'\t') {
        return text.into();
    }
    // What never stays goes first. What follows looks at neighbours, and these must be the ones that people get: else
    // a run of selectors with control characters in between would pass one by one.
    let text = text.trim_end_matches('\r').replace("\r\n", "\n").replace('\r', "\n");
    let chars: Vec<char> = text.chars().filter(|c| tag(*c) || !gone(*c)).collect();
    let mut out = String::with_capacity(text.len());
    let mut last = None;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        let keep = match c {
            c if tag(c) => false,
            c if joiner(c) => joins(last, chars.get(at).copied()),
            c if selector(c) => last.is_some_and(selectable),
            _ => true,
        };
        if keep {
            out.push(c);
            last = Some(c);
        }
        if c == FLAG {
            let region = region(&chars[at..]);
            out.extend(&chars[at..at + region]);
            at += region;
        }
    }
    out.into()
}

/// A black flag, behind which tags spell whose it is.
const FLAG: char = '\u{1F3F4}';

fn tag(c: char) -> bool {
    matches!(c, '\u{E0020}'..='\u{E007F}')
}

fn selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

fn joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Invisible, and of no use in any text that people write in a chat.
fn gone(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(
            c,
            '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
                | '\u{200B}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E007F}'
        )
}

/// Stays where scripts need it, but nobody sees it: joiners, selectors and the marks of direction.
pub(super) fn shapeless(c: char) -> bool {
    joiner(c) || selector(c) || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}')
}

/// Stays in the text without a look at what follows it: what else may follow is up to it.
fn visible(c: char) -> bool {
    !(gone(c) || selector(c) || joiner(c) || c.is_whitespace())
}

/// Whether a selector can choose a form of this character. Of ASCII only keycaps and the slashed zero have one.
fn selectable(c: char) -> bool {
    visible(c) && (!c.is_ascii() || c.is_ascii_digit() || c == '#' || c == '*')
}

/// Whether a joiner stands between things that it can join: letters of a script with joining forms, or emoji.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let side = |c: char| !c.is_ascii() && visible(c);
    (side(before) || selector(before))
        && (side(after) || after.is_whitespace() || after.is_ascii_punctuation())
}

/// Length of the subdivision code (ISO 3166-2: at most two letters and three more) with its end, if one begins here.
fn region(rest: &[char]) -> usize {
    let code = |c: &&char| matches!(**c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    let length = rest.iter().take_while(code).count();
    if (3..=5).contains(&length) && rest.get(length) == Some(&'\u{E007F}') { length + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_people_see_stays() {
        for text in [
            "plain\ttext\nwith lines",
            "Grüße, 你好, مرحبا, नमस्ते, ไทย",
            "می\u{200C}خواهم",
            "क्\u{200D}ष",
            "👨\u{200D}👩\u{200D}👧\u{200D}👦 ❤\u{FE0F} 👍🏽 ❤\u{FE0F}\u{200D}🔥 1\u{FE0F}\u{20E3}",
            "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            "🇩🇪🇯🇵",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn what_people_do_not_see_goes() {
        let tags: String =
            "ignore".chars().map(|c| char::from_u32(0xE0000 + c as u32).expect("tag")).collect();
        for (from, to) in [
            (format!("hi{tags}"), "hi"),
            (format!("🏴{tags}{tags}"), "🏴"),
            ("a\u{200B}b\u{2060}c\u{FEFF}".into(), "abc"),
            ("a\u{202E}b\u{2066}c".into(), "abc"),
            ("a\u{200D}b\u{200C}".into(), "ab"),
            ("a\u{1b}[31mb\u{0}\u{7f}\u{9b}".into(), "a[31mb"),
            ("é\u{FE00}\u{FE01}\u{FE02}".into(), "é\u{FE00}"),
            ("</\u{FE0F}u\u{FE00}x>".into(), "</ux>"),
            ("a\r\nb\rc\r".into(), "a\nb\nc"),
            // With something between them that goes or is itself allowed.
            ("é\u{FE00}\u{1}\u{FE01}\u{200B}\u{FE02}".into(), "é\u{FE00}"),
            ("é\u{FE00}\u{200D}\u{FE01}\u{200C}\u{FE02}".into(), "é\u{FE00}"),
            ("é\u{200D}\u{200D}\u{85}".into(), "é"),
            // Behind the end of a flag's code.
            (
                format!("🏴\u{E0067}\u{E0062}\u{E0065}\u{E007F}{tags}"),
                "🏴\u{E0067}\u{E0062}\u{E0065}\u{E007F}",
            ),
        ] {
            assert_eq!(clean(&from), to, "{from:?}");
            assert_eq!(clean(to), to, "clean already");
        }
    }
}
