//! Text of strangers on its way into a prompt: cleaned once is clean, it hides no message in invisible characters, and
//! it cannot end the delimiter around it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw::policy::{hygiene::clean, mark};

fn selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

fn joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

fn tag(c: char) -> bool {
    matches!(c, '\u{E0000}'..='\u{E007F}')
}

/// Delimiters, for a reader who looks through white space, slashes and whatever has no shape.
fn delimiters(text: &str) -> usize {
    let skipped = |c: &char| {
        c.is_whitespace()
            || matches!(c, '/' | '\u{200E}' | '\u{200F}' | '\u{61C}')
            || selector(*c)
            || joiner(*c)
    };
    let text: String = text.chars().filter(|c| !skipped(c)).collect();
    text.to_ascii_lowercase().matches("<untrusted").count()
}

fuzz_target!(|text: &str| {
    let cleaned = clean(text);
    assert_eq!(clean(&cleaned), cleaned, "cleaned once is clean");
    assert!(cleaned.len() <= text.len());
    let chars: Vec<char> = cleaned.chars().collect();
    let mut tags = 0;
    for pair in chars.windows(2) {
        assert!(!(selector(pair[1]) && (selector(pair[0]) || joiner(pair[0]))), "no run of selectors");
        assert!(!(joiner(pair[1]) && joiner(pair[0])), "no run of joiners");
        tags = if tag(pair[1]) { tags + 1 } else { 0 };
        assert!(tags != 1 || pair[0] == '\u{1F3F4}', "tags only behind a black flag");
        assert!(tags <= 6, "and no more than a flag needs");
    }
    assert!(chars.iter().all(|c| !c.is_control() || matches!(c, '\n' | '\t')));

    assert_eq!(delimiters(&mark::plain(text)), 0);
    let untrusted = mark::untrusted("web page", text);
    assert_eq!(delimiters(&untrusted), 2, "{untrusted:?}");
    assert!(
        untrusted.starts_with("<untrusted source=\"web page\">\n") && untrusted.ends_with("\n</untrusted>")
    );
});
