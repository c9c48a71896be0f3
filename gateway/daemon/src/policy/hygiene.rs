//! Removes from a text what people do not see and models read: control characters, Unicode tags, bidirectional
//! overrides, invisible fillers and runs of variation selectors. What people do see stays: emoji sequences, flags, and
//! the joiners of scripts that need them.

/// The text without what nobody should see. Borrowed when there is nothing to remove.
pub fn clean(text: &str) -> std::borrow::Cow<'_, str> {
    // ASCII without control characters is the common case.
    if text.bytes().all(|b| (b' '..0x7f).contains(&b) || b == b'\n' || b == b'\t') {
        return text.into();
    }
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut tag_flag = false;
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(at + 1).copied();
        // Tags spell a subdivision flag only behind the black flag, and end with a cancel tag.
        tag_flag = match c {
            '\u{1F3F4}' => closed_tag_run(&chars[at + 1..]),
            '\u{E0020}'..='\u{E007F}' => tag_flag,
            _ => false,
        };
        let keep = match c {
            '\n' | '\t' => true,
            '\r' => after != Some('\n') && after.is_some(),
            '\u{E0000}'..='\u{E007F}' => tag_flag,
            '\u{200C}' | '\u{200D}' => joins(before, after),
            '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
                before.is_some_and(|b| !hidden(b) && !selector(b))
            }
            c if hidden(c) => false,
            c => !c.is_control(),
        };
        if keep {
            out.push(if c == '\r' { '\n' } else { c });
        }
    }
    out.into()
}

fn selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Invisible, and of no use in any text that people write in a chat.
fn hidden(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E007F}'
    )
}

/// Whether a joiner stands between things that it can join: letters of a script with joining forms, or emoji.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let side = |c: char| {
        !c.is_ascii()
            && !c.is_control()
            && !c.is_whitespace()
            && !hidden(c)
            && !matches!(c, '\u{200C}' | '\u{200D}')
    };
    side(before) && (side(after) || after.is_whitespace() || after.is_ascii_punctuation())
}

fn closed_tag_run(rest: &[char]) -> bool {
    let tags = rest.iter().take_while(|c| matches!(c, '\u{E0020}'..='\u{E007E}')).count();
    // The longest subdivision code has six characters.
    (1..=6).contains(&tags) && rest.get(tags) == Some(&'\u{E007F}')
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
            "👨\u{200D}👩\u{200D}👧\u{200D}👦 ❤\u{FE0F} 👍🏽",
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
            ("x\u{FE00}\u{FE01}\u{FE02}".into(), "x\u{FE00}"),
            ("a\r\nb\rc\r".into(), "a\nb\nc"),
        ] {
            assert_eq!(clean(&from), to, "{from:?}");
        }
    }
}
