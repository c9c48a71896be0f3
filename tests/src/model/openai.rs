//! The OpenAI wire: <https://platform.openai.com/docs/api-reference/chat-streaming>. Chunks as they go over the line.

use serde_json::{Value, json};

use super::{
    anthropic::{call_id, split, tokens},
    play::Part,
};

/// The chunks of an answer, before the closing ones.
pub fn opening(parts: &[Part], pieces: usize) -> Vec<Value> {
    let mut chunks = vec![delta(json!({"role": "assistant", "content": ""}))];
    let mut calls = 0;
    for part in parts {
        match part {
            Part::Text(text) => {
                chunks.extend(split(text, pieces).iter().map(|piece| delta(json!({"content": piece}))));
            }
            Part::Call(name, arguments) => {
                let id = call_id(calls, name, arguments);
                let head = json!({"index": calls, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
                chunks.push(delta(json!({"tool_calls": [head]})));
                for piece in split(arguments, 2) {
                    let more = json!({"index": calls, "function": {"arguments": piece}});
                    chunks.push(delta(json!({"tool_calls": [more]})));
                }
                calls += 1;
            }
        }
    }
    chunks
}

/// The closing chunks; `[DONE]` follows.
pub fn closing(parts: &[Part], full: bool, input: u64, usage: bool) -> Vec<Value> {
    let mut last = delta(json!({}));
    last["choices"][0]["finish_reason"] = json!(finish(parts, full));
    let mut chunks = vec![last];
    if usage {
        let mut totals = delta(json!({}));
        totals["choices"] = json!([]);
        totals["usage"] = counted(parts, input);
        chunks.push(totals);
    }
    chunks
}

/// The answer in one piece.
pub fn whole(parts: &[Part], full: bool, input: u64) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "refusal": null});
    let mut calls = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => message["content"] = json!(text),
            Part::Call(name, arguments) => calls.push(json!({
                "id": call_id(calls.len(), name, arguments), "type": "function",
                "function": {"name": name, "arguments": arguments}
            })),
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({
        "id": "chatcmpl-test", "object": "chat.completion", "created": 1, "model": "scripted",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(parts, full)}],
        "usage": counted(parts, input)
    })
}

fn delta(delta: Value) -> Value {
    json!({
        "id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]
    })
}

fn counted(parts: &[Part], input: u64) -> Value {
    let output = tokens(parts) as u64;
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn finish(parts: &[Part], full: bool) -> &'static str {
    match parts.iter().any(|part| matches!(part, Part::Call(..))) {
        _ if full => "length",
        true => "tool_calls",
        false => "stop",
    }
}
