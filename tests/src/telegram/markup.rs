//! Parses a message's HTML as the Bot API does: the text that people see, its entities in UTF-16 units, or the refusal.
//! Source: https://core.telegram.org/bots/api#html-style and the wording of tdlib's `parse_html`.

use serde_json::{Map, Value, json};

/// A parsed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What people see.
    pub text: String,
    /// `MessageEntity` objects.
    pub entities: Vec<Value>,
}

struct Open {
    tag: String,
    offset: usize,
    entity: Option<Map<String, Value>>,
}

/// Parses HTML. The error is what Telegram says after `Bad Request: can't parse entities: `.
pub fn html(source: &str) -> Result<Parsed, String> {
    let (mut text, mut units) = (String::new(), 0);
    let (mut open, mut entities): (Vec<Open>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(next) = source[at..].chars().next() {
        match next {
            '&' => {
                let (decoded, length) = reference(&source[at..]).unwrap_or(('&', 1));
                text.push(decoded);
                units += decoded.len_utf16();
                at += length;
            }
            '<' => {
                let end =
                    at + closing(&source[at..]).ok_or(format!("Unclosed start tag at byte offset {at}"))?;
                let inside = &source[at + 1..end];
                match inside.strip_prefix('/') {
                    Some(name) => close(name.trim(), at, units, &mut open, &mut entities)?,
                    None => open.push(start(inside, at, units, &open)?),
                }
                at = end + 1;
            }
            other => {
                text.push(other);
                units += other.len_utf16();
                at += other.len_utf8();
            }
        }
    }
    match open.pop() {
        Some(last) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", last.tag)),
        None => Ok(Parsed { text, entities }),
    }
}

/// Length of the tag up to its `>`, which inside quotes does not count.
fn closing(source: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in source.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn start(inside: &str, at: usize, offset: usize, outer: &[Open]) -> Result<Open, String> {
    let (tag, rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    let tag = tag.to_lowercase();
    let attributes = attributes(rest);
    let attribute =
        |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let plain = |kind: &str| Some(Map::from_iter([("type".to_owned(), json!(kind))]));
    let entity = match tag.as_str() {
        "b" | "strong" => plain("bold"),
        "i" | "em" => plain("italic"),
        "u" | "ins" => plain("underline"),
        "s" | "strike" | "del" => plain("strikethrough"),
        "tg-spoiler" => plain("spoiler"),
        "span" if attribute("class") == Some("tg-spoiler") => plain("spoiler"),
        "blockquote" if attribute("expandable").is_some() => plain("expandable_blockquote"),
        "blockquote" => plain("blockquote"),
        "pre" => plain("pre"),
        "code" => match attribute("class").and_then(|class| class.strip_prefix("language-")) {
            Some(language) if outer.last().is_some_and(|open| open.tag == "pre") => {
                Some(Map::from_iter([("language".to_owned(), json!(language))]))
            }
            _ if outer.last().is_some_and(|open| open.tag == "pre") => None,
            _ => plain("code"),
        },
        "a" => attribute("href").filter(|href| link(href)).map(|href| {
            Map::from_iter([("type".to_owned(), json!("text_link")), ("url".to_owned(), json!(href))])
        }),
        "tg-emoji" => attribute("emoji-id").map(|id| {
            Map::from_iter([
                ("type".to_owned(), json!("custom_emoji")),
                ("custom_emoji_id".to_owned(), json!(id)),
            ])
        }),
        "span" => return Err(format!("Tag \"span\" must have class \"tg-spoiler\" at byte offset {at}")),
        _ => return Err(format!("Unsupported start tag \"{tag}\" at byte offset {at}")),
    };
    Ok(Open { tag, offset, entity })
}

fn close(
    name: &str,
    at: usize,
    units: usize,
    open: &mut Vec<Open>,
    entities: &mut Vec<Value>,
) -> Result<(), String> {
    let Some(last) = open.pop() else { return Err(format!("Unexpected end tag at byte offset {at}")) };
    if !name.is_empty() && name.to_lowercase() != last.tag {
        return Err(format!(
            "Unmatched end tag at byte offset {at}, expected \"</{}>\", found \"</{name}>\"",
            last.tag
        ));
    }
    let Some(mut entity) = last.entity else { return Ok(()) };
    // `<pre><code class="language-x">` is one entity: the inner tag only names the language of the outer.
    if let (None, Some(language)) = (entity.get("type"), entity.get("language")) {
        if let Some(outer) = open.last_mut().and_then(|outer| outer.entity.as_mut()) {
            outer.insert("language".into(), language.clone());
        }
        return Ok(());
    }
    if units > last.offset {
        entity.insert("offset".into(), json!(last.offset));
        entity.insert("length".into(), json!(units - last.offset));
        let place = entities
            .iter()
            .position(|e| e["offset"].as_u64().is_some_and(|o| o as usize >= last.offset))
            .unwrap_or(entities.len());
        entities.insert(place, Value::Object(entity));
    }
    Ok(())
}

fn link(href: &str) -> bool {
    ["http://", "https://", "tg://", "mailto:", "tel:"].iter().any(|scheme| href.starts_with(scheme))
}

fn attributes(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let name = rest[..end].to_lowercase();
        if name.is_empty() {
            return found;
        }
        rest = rest[end..].trim_start();
        let Some(after) = rest.strip_prefix('=') else {
            found.push((name, String::new()));
            continue;
        };
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, tail) = match quote {
            Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        found.push((name, unescape(value)));
        rest = tail;
    }
}

fn unescape(text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let (decoded, length) = match c {
            '&' => reference(&text[at..]).unwrap_or(('&', 1)),
            other => (other, other.len_utf8()),
        };
        out.push(decoded);
        at += length;
    }
    out
}

/// A character reference at the start of `source`, and its length; unknown ones stay as they are.
fn reference(source: &str) -> Option<(char, usize)> {
    let end = source.bytes().take(12).position(|b| b == b';')?;
    let name = &source[1..end];
    let decoded = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')?
        }
    };
    Some((decoded, end + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::html;

    #[test]
    fn good_markup_becomes_text_and_entities_in_utf16_units() {
        let parsed =
            html("😀 <b>a &lt;<i>b</i></b> <pre><code class=\"language-rust\">x</code></pre>").expect("good");
        assert_eq!(parsed.text, "😀 a <b x");
        assert_eq!(
            parsed.entities,
            [
                json!({"type": "bold", "offset": 3, "length": 4}),
                json!({"type": "italic", "offset": 6, "length": 1}),
                json!({"type": "pre", "offset": 8, "length": 1, "language": "rust"}),
            ]
        );
        let link = html("<a href=\"https://a.example/?x=1&amp;y=2\">z</a> &nbsp; &#65;").expect("good");
        assert_eq!(link.entities[0]["url"], "https://a.example/?x=1&y=2");
        assert_eq!(link.text, "z &nbsp; A");
    }

    #[test]
    fn bad_markup_is_refused_in_telegrams_words() {
        for (source, part) in [
            ("<b>a", "Can't find end tag"),
            ("a</b>", "Unexpected end tag"),
            ("<b>a</i>", "Unmatched end tag"),
            ("<table>", "Unsupported start tag"),
            ("1 < 2", "Unclosed start tag"),
            ("<span>x</span>", "tg-spoiler"),
        ] {
            assert!(html(source).expect_err(source).contains(part), "{source}");
        }
    }
}
