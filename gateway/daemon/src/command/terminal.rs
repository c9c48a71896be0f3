//! What may reach a terminal. A model, a skill or a stranger may have written the text, and a terminal obeys escape
//! sequences: none of it is printed without passing here.

/// Whether a character is printed. Line breaks and tabs are; other control characters (C0 with the escape, DEL, C1 with
/// the one-byte CSI) are not, nor is what reorders or hides text: the bidirectional controls of UAX #9, invisible tags.
pub fn printable(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        '\u{e0000}'..='\u{e007f}' => false,
        other => !other.is_control(),
    }
}

/// The text without what is not printed.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| printable(*c)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn escape_sequences_lose_their_power_and_text_stays() {
        for (text, expected) in [
            ("plain äöü 🦀\n\tend", "plain äöü 🦀\n\tend"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("\u{9b}2Jx", "2Jx"),
            ("safe\rEVIL", "safeEVIL"),
            ("a\u{8}\u{7f}\0b", "ab"),
            ("abc\u{202e}fdp.exe\u{2066}", "abcfdp.exe"),
            ("a\u{e0041}b", "ab"),
        ] {
            assert_eq!(super::clean(text), expected);
        }
    }
}
