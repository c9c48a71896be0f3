//! The strings of a JSON text, where each stands in it, and to which text it belongs where several events are put together.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How deep values may stand in each other: serde_json reads none deeper, so the gateway doesn't either.
const DEEPEST: u8 = 128;

/// A member's name, in the order of their bytes; the last one of a name counts, as for the gateway.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Calls `each` with every string: the text that it is a piece of, and the place of what stands between its quotes. Strings
/// belong together when they have the same name and stand below the same numbers called `index`: so do those of Anthropic's
/// blocks, of OpenAI's choices and tool calls and of what other servers make of them, whatever else stands around them.
/// A text that is no JSON object has none.
pub fn strings(json: &str, mut each: impl FnMut(u64, Range<usize>)) {
    let object = json.trim();
    if object.starts_with('{') {
        walk(object, "", 0, DEEPEST, &mut |text, string| {
            let start = string.as_ptr().addr() - json.as_ptr().addr();
            each(text, start + 1..start + string.len() - 1);
        });
    }
}

/// The object is read first, so that whatever stands in it is valid.
fn walk<'a>(json: &'a str, name: &str, below: u64, deep: u8, each: &mut dyn FnMut(u64, &'a str)) {
    let Some(deep) = deep.checked_sub(1) else { return };
    match json.as_bytes().first() {
        Some(b'"') => each(hash(below, name), json),
        Some(b'[') => {
            for value in serde_json::from_str::<Vec<&RawValue>>(json).unwrap_or_default() {
                walk(value.get(), name, below, deep, each);
            }
        }
        Some(b'{') => {
            let members = serde_json::from_str::<BTreeMap<Name<'_>, &RawValue>>(json).unwrap_or_default();
            let index = members.iter().find(|(name, _)| name.0 == "index");
            let index = index.and_then(|(_, value)| value.get().parse::<u64>().ok());
            let below = index.map_or(below, |index| hash(below, index));
            for (name, value) in &members {
                walk(value.get(), &name.0, below, deep, each);
            }
        }
        _ => {}
    }
}

fn hash(below: u64, what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (below, what).hash(&mut hasher);
    hasher.finish()
}

/// The characters of a string, and of each where it begins as the string is spelled, and at last the end. One that is
/// spelled as an escape and is no ASCII becomes a byte that is in no text.
pub fn characters(spelled: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut characters, mut places, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(&byte) = spelled.get(at) {
        let (character, length) = match (byte, spelled.get(at + 1)) {
            (b'\\', Some(b'u')) => (hex(spelled.get(at + 2..at + 6)), 6),
            // Never a part of a secret, other than `"`, `/` and the backslash itself.
            (b'\\', Some(b'b' | b'f' | b'n' | b'r' | b't')) => (b'\n', 2),
            (b'\\', Some(&escaped)) => (escaped, 2),
            _ => (byte, 1),
        };
        characters.push(character);
        places.push(at);
        at += length;
    }
    places.push(spelled.len());
    (characters, places)
}

/// Whether a string has to be read by its [`characters`].
pub fn is_escaped(spelled: &[u8]) -> bool {
    memchr(b'\\', spelled).is_some()
}

fn hex(digits: Option<&[u8]>) -> u8 {
    let code = digits.and_then(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    code.and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii).unwrap_or(0xff)
}

#[cfg(test)]
mod tests {
    use super::{characters, strings};

    /// The strings, each with the number of the text that it belongs to.
    fn seen(json: &str) -> Vec<(usize, &str)> {
        let (mut texts, mut found) = (Vec::new(), Vec::new());
        strings(json, |text, place| {
            let number = texts.iter().position(|known| *known == text).unwrap_or_else(|| {
                texts.push(text);
                texts.len() - 1
            });
            found.push((number, place.start, &json[place]));
        });
        found.sort_unstable_by_key(|(_, start, _)| *start);
        found.into_iter().map(|(number, _, string)| (number, string)).collect()
    }

    fn together(json: &str, one: &str, other: &str) -> bool {
        let all = seen(json);
        let number = |string| all.iter().find(|(_, other)| *other == string).expect("seen").0;
        number(one) == number(other)
    }

    #[test]
    fn every_string_is_found_at_its_place() {
        let json = r#" {"a":"one","b":[1,null,{"c\u0064":"t\"w\\o"},["thr\u00e9e"]],"d":true,"e":{"f":""}} "#;
        let strings: Vec<&str> = seen(json).into_iter().map(|(_, string)| string).collect();
        assert_eq!(strings, ["one", r#"t\"w\\o"#, r"thr\u00e9e", ""]);
        for none in [
            "",
            "[DONE]",
            "\"",
            "\"alone\"",
            "[\"a\"]",
            "{",
            "{\"a\":\"b\"",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"b\"}x",
        ] {
            assert_eq!(seen(none), [], "{none}");
        }
        let deep = |depth| format!("{{\"a\":{}\"x\"{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(seen(&deep(100_000)), []);
        assert_eq!(seen(&deep(126)), [(0, "x")]);
    }

    #[test]
    fn an_index_tells_texts_apart_wherever_it_stands_and_nothing_else_does() {
        let anthropic = r#"{"":[{"type":"content_block_start","index":1,"content_block":{"text":"a"}},
            {"delta":{"text":"b"},"index":1},{"index":2,"delta":{"text":"c"}},{"index":1,"delta":{"thinking":"d"}}]}"#;
        assert!(together(anthropic, "a", "b"));
        assert!(!together(anthropic, "b", "c") && !together(anthropic, "b", "d"));
        let openai = r#"{"":[{"choices":[{"index":0,"delta":{"content":"a","tool_calls":[
              {"index":0,"function":{"arguments":"b"}},{"index":1,"function":{"arguments":"c"}}]}},
              {"index":1,"delta":{"content":"d"}}]},
            {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"e"},"index":1}],"content":"f"},"index":0}]}]}"#;
        assert!(together(openai, "a", "f") && together(openai, "c", "e"));
        assert!(!together(openai, "a", "d") && !together(openai, "b", "c"));
    }

    #[test]
    fn the_last_of_two_members_of_a_name_counts() {
        assert_eq!(seen(r#"{"a":"first","a":"last"}"#), [(0, "last")]);
    }

    #[test]
    fn characters_are_found_however_they_are_spelled() {
        let (text, places) = characters(br#"a\u0062\/\"\\\n\u00e9\ud83d\ude00z"#);
        assert_eq!(text, b"ab/\"\\\n\xff\xff\xffz");
        assert_eq!(places, [0, 1, 7, 9, 11, 13, 15, 21, 27, 33, 34]);
        // Cut off, as no JSON is.
        for cut in [&b"\\"[..], b"\\u00", b"\\u"] {
            let (text, places) = characters(cut);
            assert_eq!((text.len() + 1, places.last()), (places.len(), Some(&cut.len())));
        }
    }
}
