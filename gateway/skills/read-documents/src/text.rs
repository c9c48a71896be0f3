//! Text files: which bytes are text, and which part of a long text is shown.

/// Characters of one answer: some five thousand tokens, so that a long document does not fill a conversation.
pub const WINDOW: usize = 20_000;

/// The text of a file; `None` when it is something else. UTF-8, UTF-16 with its mark, else Latin-1.
pub fn decode(bytes: Vec<u8>) -> Option<String> {
    let wide = |little: bool| {
        let units = bytes[2..].chunks_exact(2).map(|pair| match little {
            true => u16::from_le_bytes([pair[0], pair[1]]),
            false => u16::from_be_bytes([pair[0], pair[1]]),
        });
        String::from_utf16_lossy(&units.collect::<Vec<_>>())
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => return Some(wide(true)),
        Some([0xfe, 0xff]) => return Some(wide(false)),
        _ => {}
    }
    // A zero byte, or many control characters, is no text in any of these.
    let odd = bytes.iter().filter(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127)).count();
    if bytes.contains(&0) || odd > bytes.len() / 100 {
        return None;
    }
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect::<String>());
    Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The part.
    pub text: &'a str,
    /// Where it ends, in characters; `None` when nothing follows.
    pub next: Option<usize>,
    /// Characters of the whole.
    pub of: usize,
}

/// At most `most` characters from character `offset` on, cut after a line where there is one in the last fifth.
pub fn part(text: &str, offset: usize, most: usize) -> Part<'_> {
    let of = text.chars().count();
    let byte = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte);
    let rest = &text[byte(offset)..];
    let end = rest.char_indices().nth(most).map_or(rest.len(), |(byte, _)| byte);
    if end == rest.len() {
        return Part { text: rest, next: None, of };
    }
    let late = end - end / 5;
    let end = rest[..end].rfind('\n').map(|at| at + 1).filter(|at| *at >= late).unwrap_or(end);
    let shown = &rest[..end];
    Part { text: shown, next: Some(offset + shown.chars().count()), of }
}

#[cfg(test)]
mod tests {
    use super::{Part, decode, part};

    #[test]
    fn text_is_told_from_other_things() {
        for (bytes, text) in [
            (&b"plain"[..], Some("plain")),
            (b"\xef\xbb\xbfmarked", Some("marked")),
            (b"caf\xe9", Some("caf\u{e9}")),
            ("gr\u{fc}n".as_bytes(), Some("gr\u{fc}n")),
            (b"\xff\xfea\0b\0", Some("ab")),
            (b"\xfe\xff\0a\0b", Some("ab")),
            (b"", Some("")),
            (b"\x7fELF\x02\x01\x01\0", None),
            (b"PK\x03\x04\x14\0", None),
            (b"\x01\x02\x03\x04", None),
        ] {
            assert_eq!(decode(bytes.to_vec()).as_deref(), text, "{bytes:?}");
        }
    }

    #[test]
    fn parts_follow_each_other_without_a_gap() {
        let text = "é1\n".repeat(1000);
        let (mut at, mut whole) = (0, String::new());
        loop {
            let Part { text: shown, next, of } = part(&text, at, 70);
            assert_eq!(of, 3000);
            whole += shown;
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        assert_eq!(whole, text);
        assert_eq!(part("abc", 9, 5), Part { text: "", next: None, of: 3 });
        assert_eq!(part("abcdef", 2, 3), Part { text: "cde", next: Some(5), of: 6 });
    }
}
