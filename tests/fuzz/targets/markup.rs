//! What a model writes, on its way into messages: each part is markup that Telegram takes and fits into one message,
//! and together the parts say everything.
#![no_main]

#[path = "../../src/telegram/markup.rs"]
mod telegram;

use libfuzzer_sys::fuzz_target;
use openclaw::outbox::{
    markup::markdown,
    rich::Rich,
    split::{MESSAGE, split},
};

/// Bytes of a message with its tags that the server takes.
const BYTES: usize = 1 << 15;
/// Longest document that is tried.
const LONGEST: usize = 20_000;

/// The input as text. U+0001 and a byte behind it stand for many repeats of the characters before them, so that a short
/// input can become a long or a deep document.
fn document(data: &[u8]) -> String {
    let mut text = String::new();
    let input = String::from_utf8_lossy(data);
    let mut chars = input.chars();
    while let Some(c) = chars.next() {
        let Some(how) = (c == '\u{1}').then(|| chars.next()).flatten() else {
            text.push(c);
            continue;
        };
        let (length, times) = (how as usize % 16 + 1, 1 << (how as usize / 16 % 12));
        let start = text.char_indices().rev().nth(length - 1).map_or(0, |(at, _)| at);
        let piece = text[start..].to_owned();
        let room = LONGEST.saturating_sub(text.len()) / piece.len().max(1);
        text.extend(std::iter::repeat_n(piece, room.min(times)));
    }
    text
}

fn check(rich: &Rich, limit: usize, links: bool) {
    let mut rest = rich.text();
    for part in split(rich, limit) {
        let parsed = telegram::html(&part.html).unwrap_or_else(|error| panic!("{error}: {}", part.html));
        let units = |text: &str| text.encode_utf16().count();
        assert!(units(&parsed.text) <= limit.max(2) && units(&part.plain) <= limit.max(2));
        assert!(part.html.len() <= BYTES && part.plain.len() <= BYTES);
        // Between parts there may be what nobody would see.
        let at = (rest.match_indices(&parsed.text).map(|(at, _)| at))
            .find(|at| Rich::plain(&rest[..*at]).is_blank())
            .expect("the part is the text's next");
        rest = &rest[at + parsed.text.len()..];
        for entity in &parsed.entities {
            if let Some(url) = entity["url"].as_str() {
                assert!(links, "a link that was refused");
                let scheme = url.split("://").next().unwrap_or_default().to_ascii_lowercase();
                assert!(scheme == "http" || scheme == "https", "{url}");
            }
        }
    }
    assert!(Rich::plain(rest).is_blank(), "something is left: {rest}");
}

fuzz_target!(|data: &[u8]| {
    let document = document(data);
    for links in [true, false] {
        let rich = markdown(&document, &|_| links);
        check(&rich, MESSAGE, links);
        // Thousands of tiny parts would only cost time.
        if rich.text().len() < 2_000 {
            check(&rich, 1 + data.len() % 300, links);
        }
    }
});
