//! An answer while it arrives: the pieces of it, bounded, and how they become the parts of a turn.

use serde_json::{Map, Value};

use super::{
    fault::{Fault, Kind},
    message::{Invalid, Part, Stop, ToolCall, Usage},
    retry::dice,
};

/// Largest answer, all its pieces together. The largest `max_output` of today's models is about 0.5 MiB of text.
const MAX_ANSWER: usize = 4 << 20;
/// Most calls in one answer.
const MAX_CALLS: usize = 64;
/// What is kept of arguments that can't be read.
const MAX_RAW: usize = 2048;
/// Longest id of a provider that is replayed; some gateways pack state into it.
const MAX_WIRE_ID: usize = 2048;

/// Why the provider ended the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is complete, or waits for results.
    Complete,
    /// `max_output` is reached.
    Cut,
    /// The context is full.
    Full,
    /// A filter stopped it.
    Filtered,
}

/// The pieces so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pieces: Vec<Piece>,
    bytes: usize,
    pub usage: Usage,
    pub ended: Option<Ended>,
}

/// One piece.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Thinking { text: String, opaque: String },
    Call(Call),
    Refusal(String),
    Opaque(Value),
}

/// A call while it arrives.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub wire_id: String,
    pub name: String,
    /// JSON in fragments.
    pub written: String,
    /// JSON as a value, from servers that don't write it as text.
    pub whole: Option<Value>,
    pub extra: Map<String, Value>,
}

impl Draft {
    /// Adds a piece; gives its place.
    pub fn add(&mut self, piece: Piece) -> Result<usize, Fault> {
        let calls = self.pieces.iter().filter(|piece| matches!(piece, Piece::Call(_))).count();
        if calls >= MAX_CALLS || self.pieces.len() >= 4 * MAX_CALLS {
            return Err(Kind::Oversized.into());
        }
        self.count(64)?;
        self.pieces.push(piece);
        Ok(self.pieces.len() - 1)
    }

    /// Counts bytes before they are kept.
    pub fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_ANSWER { Err(Kind::Oversized.into()) } else { Ok(()) }
    }

    /// The piece at a place that [`Draft::add`] gave.
    pub fn at(&mut self, place: usize) -> Option<&mut Piece> {
        self.pieces.get_mut(place)
    }

    /// Appends words to a piece of text, thinking, refusal or a call's arguments.
    pub fn append(&mut self, place: usize, words: &str) -> Result<(), Fault> {
        self.count(words.len())?;
        match self.pieces.get_mut(place) {
            Some(Piece::Text(text) | Piece::Refusal(text) | Piece::Thinking { text, .. }) => {
                text.push_str(words)
            }
            Some(Piece::Call(call)) => call.written.push_str(words),
            Some(Piece::Opaque(_)) | None => {}
        }
        Ok(())
    }

    /// Whether there is any piece.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Uses bytes for tokens when the server told no numbers; `sent` is the size of the request.
    pub fn settle(&mut self, sent: usize) -> Usage {
        if self.usage.total() == 0 {
            let tokens = |bytes: usize| bytes.div_ceil(3) as u64;
            self.usage = Usage {
                input: tokens(sent),
                output: tokens(self.bytes),
                estimated: true,
                ..Usage::default()
            };
        }
        self.usage
    }

    /// The parts of the turn.
    pub fn finish(self) -> Result<(Vec<Part>, Stop), Fault> {
        let ended = self.ended.unwrap_or(Ended::Complete);
        let cut = ended != Ended::Complete;
        let mut parts: Vec<Part> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces {
            parts.push(match piece {
                Piece::Text(text) if text.is_empty() => continue,
                Piece::Text(text) => Part::Text { text },
                Piece::Refusal(text) => Part::Refusal { text },
                Piece::Thinking { text, opaque } if text.is_empty() && opaque.is_empty() => continue,
                Piece::Thinking { text, opaque } => {
                    Part::Thinking { text, opaque: (!opaque.is_empty()).then_some(opaque) }
                }
                Piece::Opaque(value) => Part::Opaque { value },
                Piece::Call(call) => Part::ToolCall(call.finish(cut, &parts)),
            });
        }
        let has = |test: fn(&Part) -> bool| parts.iter().any(test);
        let calls = has(|part| matches!(part, Part::ToolCall(_)));
        let refusal = has(|part| matches!(part, Part::Refusal { .. }));
        let words = has(|part| matches!(part, Part::Text { text } if !text.trim().is_empty()));
        let stop = match ended {
            Ended::Filtered => return Err(Kind::Refused.into()),
            Ended::Full if !(calls || words) => return Err(Kind::ContextTooLong.into()),
            _ if !(calls || words || refusal) => return Err(Kind::Empty.into()),
            Ended::Cut | Ended::Full => Stop::MaxTokens,
            Ended::Complete if calls => Stop::ToolCalls,
            Ended::Complete if refusal => Stop::Refusal,
            Ended::Complete => Stop::End,
        };
        Ok((parts, stop))
    }
}

impl Call {
    /// `cut`: the answer ended early, so that nothing written may mean that the arguments are missing.
    fn finish(self, cut: bool, before: &[Part]) -> ToolCall {
        let taken = |id: &String| {
            before
                .iter()
                .any(|part| matches!(part, Part::ToolCall(call) if call.wire_id.as_ref() == Some(id)))
        };
        let wire_id = Some(self.wire_id).filter(|id| (1..=MAX_WIRE_ID).contains(&id.len()) && !taken(id));
        let read = match self.whole {
            Some(value) => object(value).map_err(|value| (value.to_string(), "are not a JSON object")),
            None => match self.written.trim() {
                "" if cut => Err((String::new(), "are missing: the answer was cut off")),
                "" => Ok(Map::new()),
                text => match serde_json::from_str(text) {
                    Ok(value) => object(value).map_err(|_| (text.to_owned(), "are not a JSON object")),
                    Err(_) if cut => Err((text.to_owned(), "are incomplete: the answer was cut off")),
                    Err(_) => Err((text.to_owned(), "are not valid JSON")),
                },
            },
        };
        let (arguments, invalid) = match read {
            Ok(arguments) => (arguments, None),
            Err((raw, what)) => {
                let reason = format!("The arguments of this call {what}. Nothing was run.");
                let raw = raw[..raw.floor_char_boundary(MAX_RAW)].to_owned();
                (Map::new(), Some(Invalid { reason, raw }))
            }
        };
        ToolCall {
            id: call_id(),
            wire_id,
            name: self.name,
            arguments: Value::Object(arguments),
            invalid,
            extra: (!self.extra.is_empty()).then_some(Value::Object(self.extra)),
        }
    }
}

/// Arguments as an object; some servers encode them twice, or send `null` for none.
fn object(value: Value) -> Result<Map<String, Value>, Value> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => Ok(map),
            _ => Err(Value::String(text)),
        },
        other => Err(other),
    }
}

/// Nine characters, because one provider (Mistral) takes no other length.
pub(super) fn call_id() -> String {
    let mut number = dice();
    (0..9)
        .map(|_| {
            let digit = (number % 36) as u32;
            number /= 36;
            char::from_digit(digit, 36).unwrap_or('0')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::{Call, Draft, Ended, MAX_ANSWER, MAX_CALLS, Piece};
    use crate::model::{
        fault::Kind,
        message::{Part, Stop, ToolCall},
    };

    fn call(written: &str, whole: Option<Value>, ended: Ended) -> ToolCall {
        let mut draft = Draft { ended: Some(ended), ..Draft::default() };
        let call = Call { name: "f".into(), written: written.into(), whole, ..Call::default() };
        draft.add(Piece::Call(call)).expect("fits");
        match draft.finish().expect("an answer").0.remove(0) {
            Part::ToolCall(call) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_read_or_marked() {
        use Ended::{Complete, Cut};
        for (written, whole, ended, arguments, invalid) in [
            (r#"{"a":1}"#, None, Complete, json!({"a": 1}), None),
            ("", None, Complete, json!({}), None),
            (" \n", None, Complete, json!({}), None),
            ("null", None, Complete, json!({}), None),
            (r#""{\"a\":1}""#, None, Complete, json!({"a": 1}), None),
            ("", Some(json!({"a": [1]})), Complete, json!({"a": [1]}), None),
            ("", Some(json!("{}")), Complete, json!({}), None),
            ("", None, Cut, json!({}), Some("missing")),
            (r#"{"a":"#, None, Cut, json!({}), Some("cut off")),
            (r#"{"a":1}"#, None, Cut, json!({"a": 1}), None),
            (r#"{"a":"#, None, Complete, json!({}), Some("not valid JSON")),
            ("[1]", None, Complete, json!({}), Some("not a JSON object")),
            ("", Some(json!(7)), Complete, json!({}), Some("not a JSON object")),
        ] {
            let got = call(written, whole.clone(), ended);
            assert_eq!(got.arguments, arguments, "{written:?} {whole:?}");
            assert_eq!(got.invalid.is_some(), invalid.is_some(), "{written:?} {whole:?}");
            if let (Some(got), Some(part)) = (got.invalid, invalid) {
                assert!(got.reason.contains(part), "{written:?}: {}", got.reason);
                assert!(got.raw.len() <= 2048);
            }
        }
        let long = call(&"é".repeat(5000), None, Complete).invalid.expect("invalid");
        assert_eq!(long.raw, "é".repeat(1024));
    }

    #[test]
    fn ends_are_told_apart() {
        let end = |piece: Option<Piece>, ended| {
            let mut draft = Draft { ended: Some(ended), ..Draft::default() };
            piece.map(|piece| draft.add(piece).expect("fits"));
            draft.finish().map(|(_, stop)| stop).map_err(|fault| fault.kind)
        };
        let text = || Some(Piece::Text("a".into()));
        let thought = || Some(Piece::Thinking { text: "a".into(), opaque: String::new() });
        assert_eq!(end(text(), Ended::Complete), Ok(Stop::End));
        assert_eq!(end(text(), Ended::Cut), Ok(Stop::MaxTokens));
        assert_eq!(end(text(), Ended::Full), Ok(Stop::MaxTokens));
        assert_eq!(end(text(), Ended::Filtered), Err(Kind::Refused));
        assert_eq!(end(None, Ended::Full), Err(Kind::ContextTooLong));
        assert_eq!(end(None, Ended::Complete), Err(Kind::Empty));
        assert_eq!(end(thought(), Ended::Cut), Err(Kind::Empty));
        assert_eq!(end(Some(Piece::Text(" \n".into())), Ended::Complete), Err(Kind::Empty));
        assert_eq!(end(Some(Piece::Refusal("no".into())), Ended::Complete), Ok(Stop::Refusal));
        assert_eq!(end(Some(Piece::Call(Call::default())), Ended::Complete), Ok(Stop::ToolCalls));
    }

    #[test]
    fn an_answer_has_a_largest_size() {
        let mut draft = Draft::default();
        let place = draft.add(Piece::Text(String::new())).expect("fits");
        let megabyte = "x".repeat(1 << 20);
        let mut fed = 0;
        while draft.append(place, &megabyte).is_ok() {
            fed += megabyte.len();
            assert!(fed <= MAX_ANSWER);
        }
        let mut draft = Draft::default();
        for _ in 0..MAX_CALLS {
            draft.add(Piece::Call(Call::default())).expect("fits");
        }
        assert_eq!(draft.add(Piece::Call(Call::default())).map_err(|fault| fault.kind), Err(Kind::Oversized));
    }

    #[test]
    fn ids_are_ours_and_repeated_ids_of_the_server_are_dropped() {
        let mut draft = Draft::default();
        for id in ["call_0", "call_0", ""] {
            draft.add(Piece::Call(Call { wire_id: id.into(), ..Call::default() })).expect("fits");
        }
        let (parts, _) = draft.finish().expect("calls");
        let calls: Vec<&ToolCall> = parts
            .iter()
            .filter_map(|part| if let Part::ToolCall(call) = part { Some(call) } else { None })
            .collect();
        let wire: Vec<Option<&str>> = calls.iter().map(|call| call.wire_id.as_deref()).collect();
        assert_eq!(wire, [Some("call_0"), None, None]);
        let ours: HashSet<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ours.len(), 3);
        assert!(ours.iter().all(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
    }
}
