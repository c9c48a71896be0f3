use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::Value;

use super::{Joined, LONGEST};
use crate::{
    mask::{Masks, Scanner},
    secret::Secret,
};

const KEY: &str = "test/key-not-real+0001";
/// A fourth of it.
const SHOWN: usize = 5;
/// As long as the vendors'.
const LONG: &str = "sk-ant-api03-test-key-that-is-not-real-and-as-long-as-the-ones-of-the-vendor-0123456789";

/// How a server streams texts: an event, and where a reader finds the number of a text and a piece of it.
struct Shape {
    event: &'static str,
    index: &'static str,
    text: &'static str,
}

const SHAPES: [Shape; 9] = [
    Shape {
        event: r#"{"type":"content_block_delta","index":INDEX,"delta":{"type":"text_delta","text":"TEXT"}}"#,
        index: "/index",
        text: "/delta/text",
    },
    Shape {
        event: r#"{"delta":{"thinking":"TEXT","type":"thinking_delta"},"index":INDEX,"type":"content_block_delta"}"#,
        index: "/index",
        text: "/delta/thinking",
    },
    Shape {
        event: r#"{"type":"content_block_delta","index":INDEX,"delta":{"type":"signature_delta","signature":"TEXT"}}"#,
        index: "/index",
        text: "/delta/signature",
    },
    Shape {
        event: r#"{"type":"content_block_delta","index":INDEX,"delta":{"type":"input_json_delta","partial_json":"TEXT"}}"#,
        index: "/index",
        text: "/delta/partial_json",
    },
    Shape {
        event: r#"{"id":"c-1","object":"chat.completion.chunk","model":"m","choices":[{"index":INDEX,"delta":{"content":"TEXT"},"finish_reason":null}]}"#,
        index: "/choices/0/index",
        text: "/choices/0/delta/content",
    },
    Shape {
        event: r#"{"choices":[{"delta":{"reasoning_content":"TEXT"},"index":INDEX}]}"#,
        index: "/choices/0/index",
        text: "/choices/0/delta/reasoning_content",
    },
    Shape {
        event: r#"{"choices":[{"index":INDEX,"delta":{"content":[{"type":"text","text":"TEXT"}]}}]}"#,
        index: "/choices/0/index",
        text: "/choices/0/delta/content/0/text",
    },
    Shape {
        event: r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":INDEX,"function":{"arguments":"TEXT"}}]}}]}"#,
        index: "/choices/0/delta/tool_calls/0/index",
        text: "/choices/0/delta/tool_calls/0/function/arguments",
    },
    Shape {
        event: r#"{"candidates":[{"index":INDEX,"content":{"role":"model","parts":[{"text":"TEXT"}]}}]}"#,
        index: "/candidates/0/index",
        text: "/candidates/0/content/parts/0/text",
    },
];

impl Shape {
    /// The event with a piece, as it is spelled.
    fn event(&self, index: usize, piece: &str) -> String {
        format!("data: {}\n\n", self.event.replace("INDEX", &index.to_string()).replace("TEXT", piece))
    }

    /// The texts as a reader puts them together.
    fn read(&self, stream: &[u8]) -> BTreeMap<u64, String> {
        let stream = String::from_utf8_lossy(stream).replace("\r\n", "\n");
        let mut texts = BTreeMap::<u64, String>::new();
        for event in stream.split("\n\n") {
            let lines: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
            let Ok(value) = serde_json::from_str::<Value>(&lines.join("\n")) else { continue };
            let index = value.pointer(self.index).and_then(Value::as_u64);
            if let (Some(index), Some(Value::String(piece))) = (index, value.pointer(self.text)) {
                texts.entry(index).or_default().push_str(piece);
            }
        }
        texts
    }
}

fn masks() -> Arc<Masks> {
    let secrets = [KEY, LONG, "12345:test-token-not-real"].map(|text| Secret::new(text).expect("room"));
    Arc::new(Masks::new(&secrets).expect("room"))
}

/// What goes on after each piece, and at the end.
fn through<P: AsRef<[u8]>>(masks: &Arc<Masks>, pieces: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    let mut scanner = Scanner::new(Arc::clone(masks));
    scanner.joined = Some(Joined::new());
    let pieces = pieces.into_iter().map(|piece| Bytes::copy_from_slice(piece.as_ref()));
    let mut out: Vec<Vec<u8>> = pieces.map(|piece| scanner.pass(piece).to_vec()).collect();
    out.push(scanner.rest().to_vec());
    assert_eq!(scanner.held(), 0);
    out
}

/// The one text of a stream of these pieces, which has passed event by event.
fn text(masks: &Arc<Masks>, shape: &Shape, pieces: &[&str]) -> String {
    let events: Vec<String> = pieces.iter().map(|piece| shape.event(0, piece)).collect();
    let out = through(masks, &events);
    assert!(events.iter().zip(&out).all(|(event, out)| event.len() == out.len()), "no event waits");
    shape.read(&out.concat()).remove(&0).expect("a text")
}

/// The key with so much of it shown.
fn covered(shown: usize) -> String {
    format!("{}{}", &KEY[..shown], "*".repeat(KEY.len() - shown))
}

#[test]
fn of_a_key_over_several_events_no_more_than_its_beginning_is_shown() {
    let masks = masks();
    let whole = format!("it is {KEY}, or so");
    let (begin, end) = (6, 6 + KEY.len());
    for shape in &SHAPES {
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let pieces = [&whole[..first], &whole[first..second], &whole[second..]];
                let last = [first, second].into_iter().filter(|cut| (begin..end).contains(cut)).max();
                let shown = last.map_or(0, |cut| (cut - begin).min(SHOWN));
                let want = whole.replace(KEY, &covered(shown));
                assert_eq!(text(&masks, shape, &pieces), want, "{} cut at {first} and {second}", shape.text);
            }
        }
        for size in 1..KEY.len() {
            let pieces: Vec<&str> =
                (0..whole.len()).step_by(size).map(|at| &whole[at..whole.len().min(at + size)]).collect();
            let text = text(&masks, shape, &pieces);
            assert!(
                text.starts_with("it is ") && text.ends_with(", or so") && text.len() == whole.len(),
                "{text}"
            );
            assert_eq!(&text[begin + SHOWN..end], "*".repeat(KEY.len() - SHOWN), "{} by {size}", shape.text);
        }
    }
}

#[test]
fn texts_that_come_in_turn_are_told_apart() {
    let masks = masks();
    for shape in &SHAPES {
        for size in 1..KEY.len() {
            let mut stream = String::new();
            for at in (0..KEY.len()).step_by(size) {
                let piece = &KEY[at..KEY.len().min(at + size)];
                for (index, piece) in [(0, piece), (1, "some words"), (2, piece), (3, " ")] {
                    stream += &shape.event(index, piece);
                }
            }
            let before = shape.read(stream.as_bytes());
            assert!(before[&0] == KEY && before[&2] == KEY, "it would come through");
            let after = shape.read(&through(&masks, [&stream]).concat());
            assert_eq!((&after[&1], &after[&3]), (&before[&1], &before[&3]));
            for index in [0, 2] {
                assert_eq!(after[&index][SHOWN..], covered(SHOWN)[SHOWN..], "{} by {size}", shape.text);
            }
        }
    }
}

#[test]
fn a_block_begins_before_its_first_delta_and_two_calls_share_an_event() {
    let masks = masks();
    let (one, other) = KEY.split_at(11);
    let start = format!(
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"{one}\"}}}}\n\n"
    );
    let out = through(&masks, [start, SHAPES[0].event(0, other)]).concat();
    let out = String::from_utf8(out).expect("text");
    assert!(out.contains("\"test/******\"") && out.contains("\"***********\""), "{out}");

    let calls = |one: &str, other: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{one}\"}}}},{{\"function\":{{\"arguments\":\"{other}\"}},\"index\":1}}]}}}}]}}\n\n"
        )
    };
    let out = through(&masks, [calls(one, other), calls(other, "words")]).concat();
    assert_eq!(out, [calls("test/******", other), calls("***********", "words")].concat().as_bytes());
}

#[test]
fn escapes_hide_nothing() {
    let masks = masks();
    let spelled = |text: &str| text.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect::<String>();
    for shape in &SHAPES {
        for cut in 0..=KEY.len() {
            let (one, other) = KEY.split_at(cut);
            for pieces in [
                [spelled(one), spelled(other)],
                [one.replace('/', "\\/"), spelled(other)],
                [spelled(one), other.into()],
            ] {
                let pieces = [&format!("\\u00e9\\n\\\"{}", pieces[0]), &format!("{}\\\\é", pieces[1])];
                let events = pieces.map(|piece| shape.event(0, piece));
                let before = shape.read(events.concat().as_bytes()).remove(&0).expect("a text");
                assert_eq!(before, format!("é\n\"{KEY}\\é"));
                let out = through(&masks, &events).concat();
                assert_eq!(out.len(), events.concat().len());
                let after = shape.read(&out).remove(&0).expect("a text");
                let rest = after.strip_prefix("é\n\"").and_then(|rest| rest.strip_suffix("\\é"));
                let hidden = rest.expect("the rest is as it was").trim_start_matches(&KEY[..cut.min(SHOWN)]);
                assert!(
                    !hidden.is_empty() && hidden.bytes().all(|byte| byte == b'*'),
                    "{after} cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn encoded_keys_are_put_together_too() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let masks = masks();
    let basic = STANDARD.encode(format!("user:{KEY}"));
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (encoded, hidden) in [(basic, 29 - 7), (hex, 44 - 11)] {
        for size in 1..8 {
            let pieces: Vec<&str> = (0..encoded.len())
                .step_by(size)
                .map(|at| &encoded[at..encoded.len().min(at + size)])
                .collect();
            let text = text(&masks, &SHAPES[4], &pieces);
            assert!(text.matches('*').count() >= hidden, "{text}");
        }
    }
}

#[test]
fn public_beginnings_and_ordinary_words_pass_as_they_are() {
    let masks = masks();
    for words in [
        "sk-ant-api03-",
        "set ANTHROPIC_API_KEY=sk-ant-api03-...",
        "test/key",
        "a test/ of keys",
        "t",
        "12345:test",
    ] {
        for size in 1..=words.len() {
            let pieces: Vec<&str> =
                (0..words.len()).step_by(size).map(|at| &words[at..words.len().min(at + size)]).collect();
            if !words.starts_with("test/key") {
                assert_eq!(text(&masks, &SHAPES[0], &pieces), words, "by {size}");
            }
        }
        // Followed by what is not the secret's, in the same event, all of it passes.
        assert_eq!(text(&masks, &SHAPES[0], &[&format!("{words} ")]), format!("{words} "));
    }
    assert_eq!(text(&masks, &SHAPES[0], &["test/key", " words"]), "test/*** words");
    let pieces: Vec<&str> = LONG.split_inclusive('-').collect();
    assert_eq!(text(&masks, &SHAPES[0], &pieces), format!("{}{}", &LONG[..16], "*".repeat(LONG.len() - 16)));
}

const STREAM: &str = "\u{feff}event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\r\n\r\n: ping\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nid: 7\nretry: 10\n\ndata: {\"index\":0,\ndata:\"delta\":{\"text\":\ndata:   \"some t\"}}\n\ndata: not JSON\r\rdata: {\"broken\": \"t\n\ndata: [1,\"t\"]\ndata\n\ndata: {\"a\":\"\\ud83d\\ude00 \\u00e9 t\",\"b\":{\"c\":[\"t\",\"te\"]}}\n\ndata: [DONE]\n\ndata: {\"unfinished\": \"tes";

#[test]
fn what_has_nothing_of_a_secret_passes_unchanged() {
    let masks = masks();
    for first in 0..STREAM.len() {
        let cuts = [first, (first * 7 + 13) % STREAM.len(), (first * 31 + 5) % STREAM.len()];
        let mut cuts = cuts.to_vec();
        cuts.sort_unstable();
        let bytes = STREAM.as_bytes();
        let pieces =
            [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..cuts[2]], &bytes[cuts[2]..]];
        assert_eq!(through(&masks, pieces).concat(), bytes, "cut at {cuts:?}");
    }
    assert_eq!(through(&masks, STREAM.as_bytes().chunks(1)).concat(), STREAM.as_bytes());
}

#[test]
fn lines_and_their_ends_hide_nothing() {
    let masks = masks();
    for end in ["\n", "\r\n", "\r"] {
        for cut in 1..KEY.len() {
            let event = |piece: &str| {
                let lines = [
                    "event: x",
                    "data: {\"index\":0,",
                    ": words",
                    "data:\"delta\":{\"text\":",
                    &format!("data:  \"{piece}\"}}}}"),
                    "",
                    "",
                ];
                lines.join(end)
            };
            let stream = format!("{}: ping{end}{end}{}", event(&KEY[..cut]), event(&KEY[cut..]));
            let want = stream
                .replace(&KEY[..cut], &covered(cut.min(SHOWN))[..cut])
                .replace(&KEY[cut..], &"*".repeat(KEY.len() - cut));
            for size in [1, 2, 3, 5, 7, 1000] {
                let out = through(&masks, stream.as_bytes().chunks(size)).concat();
                assert_eq!(String::from_utf8_lossy(&out), want, "cut at {cut}, in chunks of {size}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_text_and_a_missing_end_hide_nothing() {
    let masks = masks();
    let (one, other) = KEY.split_at(11);
    let broken =
        [SHAPES[0].event(0, one).into_bytes(), SHAPES[0].event(0, other).replace("delta", "XX").into_bytes()];
    let broken: Vec<Vec<u8>> = broken
        .iter()
        .map(|event| event.iter().map(|byte| if *byte == b'X' { 0xff } else { *byte }).collect())
        .collect();
    let out = through(&masks, &broken).concat();
    assert!(String::from_utf8_lossy(&out).contains(&format!("\"{}\"", "*".repeat(11))));
    let cut_off = [SHAPES[0].event(0, one), SHAPES[0].event(0, other).trim_end().into()];
    let out = through(&masks, &cut_off).concat();
    assert_eq!(out.len(), cut_off.concat().len());
    assert!(String::from_utf8_lossy(&out).contains(&format!("\"{}\"", "*".repeat(11))));
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let masks = masks();
    let spelled: String = KEY.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let body =
        format!(" {{\"content\":[{{\"type\":\"text\",\"text\":\"it is {spelled}\"}}],\n\n\"usage\":{{}}}}\n");
    for cut in 0..body.len() {
        let out = through(&masks, [&body[..cut], &body[cut..]]).concat();
        assert_eq!(out, body.replace(&spelled, &"*".repeat(spelled.len())).as_bytes());
    }
}

#[test]
fn what_never_ends_is_hidden_and_not_kept() {
    let masks = masks();
    for begin in ["data: {\"text\":\"", "data: 1\n", "{\"text\":\""] {
        let piece = "x".repeat(1 << 20);
        let pieces = std::iter::once(begin).chain(std::iter::repeat_n(piece.as_str(), 10)).chain(["y\n\n"]);
        let out = through(&masks, pieces);
        assert!(out.iter().all(|out| out.len() <= LONGEST + (1 << 20)));
        let out = out.concat();
        assert_eq!(out.len(), begin.len() + (10 << 20) + 3);
        assert!(out.iter().all(|byte| *byte == b'*'));
    }
}

/// Against a reader of its own: whatever the borders, the order and the spelling are, no text that can be put together holds a
/// key, and no letter beside one is touched.
#[test]
fn no_text_of_any_stream_holds_a_key() {
    let masks = masks();
    let mut state = 7_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..3000 {
        let shape = &SHAPES[random(SHAPES.len())];
        let mut texts: Vec<Vec<char>> = (0..3)
            .map(|_| {
                let parts = ["§", " ", KEY, "\n", KEY, LONG, "é\"", "é", "😀"];
                (0..random(6)).flat_map(|_| parts[random(parts.len())].chars()).collect()
            })
            .collect();
        let want: Vec<String> = texts.iter().map(|text| text.iter().collect()).collect();
        let mut stream = String::new();
        while texts.iter().any(|text| !text.is_empty()) {
            let index = random(3);
            let length = (1 + random(12)).min(texts[index].len());
            // Servers send empty pieces as well.
            let piece: String = texts[index]
                .drain(..length)
                .map(|c| match (c, random(8)) {
                    ('\n', _) => "\\n".into(),
                    ('"', _) => "\\\"".into(),
                    (c, 0) if c.is_ascii() => format!("\\u{:04x}", u32::from(c)),
                    ('/', 1) => "\\/".into(),
                    (c, _) => c.to_string(),
                })
                .collect();
            stream += &shape.event(index, &piece);
            if random(5) == 0 {
                stream += ": ping\n\n";
            }
        }
        if random(2) == 0 {
            stream = stream.replace('\n', "\r\n");
        }
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = stream.as_bytes();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((1 + random(200)).min(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        let out = through(&masks, pieces).concat();
        assert_eq!(out.len(), stream.len());
        let out = shape.read(&out);
        for (index, want) in want.iter().enumerate().filter(|(_, want)| !want.is_empty()) {
            let out = &out[&(index as u64)];
            for hidden in [&KEY[SHOWN..SHOWN + 8], &LONG[16..24]] {
                assert!(!out.contains(hidden), "round {round}: {out}");
            }
            // What stands between the keys is as it was, and comes in its order.
            let mut rest = out.as_str();
            for words in want.split(KEY).flat_map(|part| part.split(LONG)).filter(|part| !part.is_empty()) {
                let at = rest
                    .find(words)
                    .unwrap_or_else(|| panic!("round {round}: {words:?} of {want:?} in {out:?}"));
                rest = &rest[at + words.len()..];
            }
        }
    }
}
