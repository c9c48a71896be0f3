//! [`Rich`] → parts that fit into one message each. The cut is made in the text, and each part is marked up on its own:
//! what is cut through is closed at the end of one part and opened again in the next. The parts' texts, put
//! together, are the text. Never cuts a character, and a grapheme cluster only if it alone is longer than a message.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

use super::rich::{Kind, Rich, is_blank};

/// UTF-16 units in one message, tags not counted (Bot API, `sendMessage`: 1-4096 characters after entities parsing;
/// offsets count UTF-16 units, so this holds by either count).
pub const MESSAGE: usize = 4096;
/// Bytes of a text together with its tags, from `Client::get_formatted_text` of the reference server.
const BYTES: usize = 1 << 15;
/// Bytes that whoever sends may still add.
const SPARE: usize = 256;

/// One message's text in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Telegram HTML.
    pub html: String,
    /// Without markup, for when the HTML is refused. Addresses of links stand behind their texts if there is room.
    pub plain: String,
}

/// Splits into parts of at most `limit` UTF-16 units (1 to [`MESSAGE`]). Parts that would show nothing are left out;
/// of a blank text there is no part at all.
pub fn split(rich: &Rich, limit: usize) -> Vec<Part> {
    let part = |range: Range<usize>| {
        let with_addresses = rich.with_addresses(range.clone());
        let fits = units(&with_addresses) <= limit && with_addresses.len() <= BYTES - SPARE;
        let plain = if fits { with_addresses } else { rich.text[range.clone()].to_owned() };
        Part { html: rich.html(range), plain }
    };
    let ranges = ranges(rich, limit);
    ranges.into_iter().filter(|range| !is_blank(&rich.text[range.clone()])).map(part).collect()
}

/// Length as Telegram counts it.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The places: adjacent, together the whole text.
fn ranges(rich: &Rich, limit: usize) -> Vec<Range<usize>> {
    let limit = limit.clamp(1, MESSAGE);
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < rich.text.len() {
        let mut room = limit;
        let end = loop {
            let end = cut(rich, start, room);
            // Escapes and addresses can take more than the text itself.
            if room == 1 || rich.html(start..end).len() <= BYTES - SPARE {
                break end;
            }
            room = (room * 2 / 3).max(1);
        };
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// Where a part that begins at `start` ends.
fn cut(rich: &Rich, start: usize, room: usize) -> usize {
    let text = &rich.text;
    let Some(full) = reach(text, start, room) else { return text.len() };
    // Not so early that the part becomes tiny.
    let early = reach(text, start, room / 2).unwrap_or(full);
    let early = (early..=full).find(|at| text.is_char_boundary(*at)).unwrap_or(full);
    let window = &text[early..full];
    let after = |found: Option<usize>, length: usize| found.map(|at| early + at + length);
    let in_code = |at: &usize| {
        let pre = |kind: &Kind| matches!(kind, Kind::Pre(_));
        rich.marks.iter().any(|m| pre(&m.kind) && m.range.start < *at && *at < m.range.end)
    };
    let paragraph = after(window.rfind("\n\n"), 2).filter(|at| !in_code(at));
    let line = || after(window.rfind('\n'), 1);
    let word = || {
        let space = window.char_indices().rev().find(|(_, c)| c.is_whitespace());
        space.map(|(at, c)| early + at + c.len_utf8())
    };
    let cluster = || whole_clusters(text, start, full);
    paragraph.or_else(line).or_else(word).filter(|at| *at > start).unwrap_or_else(cluster)
}

/// The end of the longest stretch from `start` of at most `room` units; `None` if all the rest fits.
fn reach(text: &str, start: usize, room: usize) -> Option<usize> {
    let mut left = room;
    for (at, c) in text[start..].char_indices() {
        match left.checked_sub(c.len_utf16()) {
            Some(rest) => left = rest,
            // One character always fits, else there would be no end.
            None if at == 0 => return Some(start + c.len_utf8()).filter(|end| *end < text.len()),
            None => return Some(start + at),
        }
    }
    None
}

/// `full`, or the last boundary between grapheme clusters before it.
fn whole_clusters(text: &str, start: usize, full: usize) -> usize {
    let rest = &text[start..];
    let mut cursor = GraphemeCursor::new(full - start, rest.len(), true);
    if cursor.is_boundary(rest, 0).unwrap_or(true) {
        return full;
    }
    match cursor.prev_boundary(rest, 0) {
        Ok(Some(at)) if at > 0 => start + at,
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use unicode_segmentation::UnicodeSegmentation;

    use super::{BYTES, MESSAGE, Part, Rich, ranges, split, units};
    use crate::outbox::{markup::markdown, rich::is_blank};

    /// SplitMix64 (Steele, Lea, Flood 2014): the same documents in each run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) % sides as u64) as usize
        }
    }

    const PIECES: &[&str] = &[
        "word ",
        "a",
        "**",
        "*",
        "_",
        "~~",
        "`",
        "```\n",
        "```rust\n",
        "\n",
        "\n\n",
        "- ",
        "  - ",
        "1. ",
        "> ",
        ">> ",
        "# ",
        "| a | b |\n|---|---|\n| c | d |\n",
        "[text](https://example.org/?a=1&b=2)",
        "<b>",
        "</b>",
        "&amp;",
        "&",
        "<",
        "\"",
        "👨‍👩‍👧‍👦",
        "🇩🇪",
        "e\u{301}",
        "é",
        "日本語",
        "שלום",
        "\u{200B}",
        "\t",
        "    ",
        "![i](https://example.org/i.png)",
        "https://example.org/a.b ",
        "\\",
        "---\n",
        "[",
        "](",
        "<a@b.org>",
        "$x$",
        "- [ ] ",
        "𝕏",
        "\u{FE0F}",
        "\u{0}",
    ];

    fn document(dice: &mut Dice, pieces: usize) -> String {
        let mut text = String::new();
        while text.len() < pieces {
            let piece = PIECES[dice.roll(PIECES.len())];
            let times = if dice.roll(40) == 0 { 1 + dice.roll(600) } else { 1 };
            text.extend(std::iter::repeat_n(piece, times));
        }
        text
    }

    /// Reads Telegram HTML as strictly as the server's parser: gives the text, refuses everything else.
    fn parse(html: &str) -> Result<String, String> {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        let mut rest = html;
        while let Some(at) = rest.find(['<', '&', '>']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((entity, c)) = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')]
                .iter()
                .find(|e| rest.starts_with(e.0))
            {
                text.push(*c);
                rest = &rest[entity.len()..];
                continue;
            }
            let end = rest.find('>').ok_or("a tag without its end")?;
            let tag = rest.get(1..end).ok_or("a lone >")?;
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Err(format!("</{name}> closes nothing"));
                }
                continue;
            }
            let (name, attribute) = tag.split_once(' ').unwrap_or((tag, ""));
            let good = match name {
                "b" | "i" | "s" | "pre" | "blockquote" => attribute.is_empty(),
                "code" => attribute.is_empty() || attribute.starts_with("class=\"language-"),
                "a" => attribute.starts_with("href=\"http") && attribute.matches('"').count() == 2,
                _ => false,
            };
            if !good || (open.contains(&"pre") && name != "code") || open.contains(&name) && name == "a" {
                return Err(format!("<{tag}> in {open:?}"));
            }
            open.push(name);
        }
        text.push_str(rest);
        if open.is_empty() { Ok(text) } else { Err(format!("{open:?} stay open")) }
    }

    fn check(rich: &Rich, limit: usize) -> Vec<Part> {
        let ranges = ranges(rich, limit);
        let whole: String = ranges.iter().map(|range| &rich.text()[range.clone()]).collect();
        assert_eq!(whole, rich.text(), "put together, the parts are the text");
        let parts = split(rich, limit);
        let shown: Vec<_> = ranges.iter().filter(|range| !is_blank(&rich.text()[(*range).clone()])).collect();
        assert_eq!(parts.len(), shown.len());
        for (part, range) in parts.iter().zip(shown) {
            let slice = &rich.text()[range.clone()];
            assert_eq!(parse(&part.html).as_deref(), Ok(slice), "{}", part.html);
            assert!(units(slice) <= limit.max(2) && part.html.len() <= BYTES);
            assert!(units(&part.plain) <= limit.max(2) && part.plain.len() <= BYTES);
            assert!(!is_blank(&part.plain));
        }
        parts
    }

    #[test]
    fn every_part_of_every_document_is_valid_and_nothing_is_lost() {
        let mut dice = Dice(7);
        for round in 0..200 {
            let size = 1 + dice.roll(if round % 20 == 0 { 30_000 } else { 3_000 });
            let source = document(&mut dice, size);
            let refuse = round % 3 == 0;
            let rich = markdown(&source, &|word| !refuse || word.contains("a=1"));
            for limit in [MESSAGE, 1 + dice.roll(300), 1 + dice.roll(20)] {
                check(&rich, limit);
            }
        }
    }

    #[test]
    fn clusters_stay_whole_where_they_fit() {
        let family = "👨‍👩‍👧‍👦";
        for text in [family.repeat(2_000), "🇩🇪🇫🇷".repeat(3_000), "e\u{301}".repeat(9_000), "各".repeat(9_000)]
        {
            let rich = Rich::plain(&text);
            let whole: Vec<&str> = text.graphemes(true).collect();
            let mut cut = Vec::new();
            for range in ranges(&rich, MESSAGE) {
                assert!(
                    range.end == text.len() || units(&text[range.clone()]) > MESSAGE - 32,
                    "parts are full"
                );
                cut.extend(text[range].graphemes(true));
            }
            assert_eq!(cut, whole);
        }
    }

    #[test]
    fn a_cluster_longer_than_a_message_still_ends() {
        let rich = Rich::plain(format!("a{}", "\u{301}".repeat(10_000)));
        assert_eq!(check(&rich, MESSAGE).len(), 3);
    }

    #[test]
    fn a_hundred_kilobytes_of_each_shape() {
        let line = "fn main() { println!(\"<&>\"); }\n";
        for (source, tag) in [
            (format!("```rust\n{}```", line.repeat(3_300)), "<pre><code class=\"language-rust\">"),
            ("word ".repeat(20_000), ""),
            ("x".repeat(100_000), ""),
            (format!("**{}**", "bold ".repeat(20_000).trim_end()), "<b>"),
            (format!("> {}", "quoted\n> ".repeat(11_000)), "<blockquote>"),
            ("&".repeat(100_000), "&amp;"),
            ((0..12_000).map(|n| format!("{}- n{n}\n", "  ".repeat(n % 5))).collect(), ""),
        ] {
            let rich = markdown(&source, &|_| true);
            let parts = check(&rich, MESSAGE);
            assert!(parts.len() > 12, "{}", parts.len());
            assert!(parts.iter().all(|part| part.html.starts_with(tag)), "each part goes on as {tag}");
        }
    }

    #[test]
    fn cuts_fall_between_paragraphs_then_lines_then_words() {
        let texts = |text: &str, limit| {
            let rich = Rich::plain(text);
            ranges(&rich, limit).into_iter().map(|r| text[r].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts("aaaa bb\n\ncc dd\nee ff", 14), ["aaaa bb\n\n", "cc dd\nee ff"]);
        assert_eq!(texts("aa bb cc\ndd ee ff", 14), ["aa bb cc\n", "dd ee ff"]);
        assert_eq!(texts("aa bb cc dd ee ff", 10), ["aa bb cc ", "dd ee ff"]);
        assert_eq!(texts("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    }

    #[test]
    fn deep_emphasis_keeps_within_the_servers_bytes() {
        let source = format!("{0}deep{0}", "*".repeat(20_000));
        let parts = check(&markdown(&source, &|_| true), MESSAGE);
        assert_eq!(parts[0].plain, "deep");
    }

    #[test]
    fn many_long_addresses_keep_within_the_servers_bytes() {
        let link = format!("[x](https://example.org/?q={}) ", "%20&".repeat(400));
        let rich = markdown(&link.repeat(60), &|_| true);
        let parts = check(&rich, MESSAGE);
        assert!(parts.len() > 2);
    }
}
