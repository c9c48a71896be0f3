//! The Anthropic wire: <https://docs.anthropic.com/en/api/messages-streaming>. Events as they go over the line.

use serde_json::{Value, json};

use super::play::Part;

/// The events of an answer, before the closing ones, as (name, data).
pub fn opening(parts: &[Part], pieces: usize, input: u64) -> Vec<(String, Value)> {
    let usage = json!({"input_tokens": input, "output_tokens": 1});
    let message = json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "scripted", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage
    });
    let mut events = vec![event("message_start", json!({"message": message}))];
    events.push(event("ping", json!({})));
    for (index, part) in parts.iter().enumerate() {
        let (block, deltas): (Value, Vec<Value>) = match part {
            Part::Text(text) => (
                json!({"type": "text", "text": ""}),
                split(text, pieces)
                    .iter()
                    .map(|piece| json!({"type": "text_delta", "text": piece}))
                    .collect(),
            ),
            Part::Call(name, arguments) => (
                json!({"type": "tool_use", "id": call_id(index, name, arguments), "name": name, "input": {}}),
                split(arguments, 2)
                    .iter()
                    .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                    .collect(),
            ),
        };
        events.push(event("content_block_start", json!({"index": index, "content_block": block})));
        for delta in deltas {
            events.push(event("content_block_delta", json!({"index": index, "delta": delta})));
        }
        events.push(event("content_block_stop", json!({"index": index})));
    }
    events
}

/// The closing events.
pub fn closing(parts: &[Part], full: bool) -> Vec<(String, Value)> {
    let delta = json!({"stop_reason": stop_reason(parts, full), "stop_sequence": null});
    vec![
        event("message_delta", json!({"delta": delta, "usage": {"output_tokens": tokens(parts)}})),
        event("message_stop", json!({})),
    ]
}

/// The answer in one piece.
pub fn whole(parts: &[Part], full: bool, input: u64) -> Value {
    let block = |(index, part): (usize, &Part)| match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Call(name, arguments) => {
            let input = serde_json::from_str::<Value>(arguments).unwrap_or_else(|_| json!(arguments));
            json!({"type": "tool_use", "id": call_id(index, name, arguments), "name": name, "input": input})
        }
    };
    json!({
        "id": "msg_test", "type": "message", "role": "assistant", "model": "scripted",
        "content": parts.iter().enumerate().map(block).collect::<Vec<_>>(),
        "stop_reason": stop_reason(parts, full), "stop_sequence": null,
        "usage": {"input_tokens": input, "output_tokens": tokens(parts)}
    })
}

/// The error event of a stream.
pub fn error() -> (String, Value) {
    event("error", json!({"error": {"type": "overloaded_error", "message": "Overloaded"}}))
}

fn event(name: &str, mut data: Value) -> (String, Value) {
    data["type"] = json!(name);
    (name.into(), data)
}

fn stop_reason(parts: &[Part], full: bool) -> &'static str {
    match parts.iter().any(|part| matches!(part, Part::Call(..))) {
        _ if full => "max_tokens",
        true => "tool_use",
        false => "end_turn",
    }
}

/// An id that differs between calls of one conversation.
pub fn call_id(index: usize, name: &str, arguments: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("toolu_{index}_{number}_{}_{}", name.len(), arguments.len())
}

/// About the tokens of an answer.
pub fn tokens(parts: &[Part]) -> usize {
    let length = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::Call(name, arguments) => name.len() + arguments.len(),
    };
    1 + parts.iter().map(length).sum::<usize>() / 4
}

/// Cuts a text into at most `pieces` pieces at character borders.
pub fn split(text: &str, pieces: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let size = characters.len().div_ceil(pieces.max(1)).max(1);
    characters.chunks(size).map(|chunk| chunk.iter().collect()).collect()
}
