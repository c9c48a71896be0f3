//! Anthropic Messages: our conversation as its request, its stream as our answer. Never a tool that the provider runs
//! itself: only those of the prompt, each with a schema of ours (incident 121).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use openclaw_wire::egress::ModelRoute;
use serde_json::{Value, json};

use super::{
    Event,
    draft::{Call, Draft, Ended, Piece},
    fault::{Fault, Kind},
    message::{Content, Part, Prompt, ToolChoice, ToolResult, Turn},
    pairs::{calls, paired},
    sse,
    wire::{self, Reader},
};

/// Below the route's base address.
pub(super) const PATH: &str = "v1/messages";
/// The version whose shapes are written here; it refuses sampling parameters, so there are none.
pub(super) const VERSION: (&str, &str) = ("anthropic-version", "2026-10-21");

/// The body of a request. `None` when the prompt ends with nothing to answer.
pub(super) fn request(prompt: &Prompt, route: &ModelRoute) -> Option<Value> {
    let turns = paired(&prompt.turns);
    turns.last().filter(|last| !matches!(***last, Turn::Assistant { .. }))?;
    let mut messages: Vec<Value> = Vec::with_capacity(turns.len());
    for turn in &turns {
        let (role, blocks) = match &**turn {
            Turn::User { content } => ("user", content.iter().filter_map(content_block).collect()),
            Turn::Assistant { source, parts } => {
                ("assistant", assistant(parts, wire::replays(source, route)))
            }
            Turn::ToolResults { results } => ("user", tool_results(results, &turns, route)),
        };
        push(&mut messages, role, blocks);
    }
    // The stable prefix (tools, then system) and the conversation so far are what the next request repeats.
    if let Some(block) = messages.last_mut().and_then(|last| last["content"].as_array_mut()?.last_mut()) {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    let mut body = json!({
        "model": route.model,
        "max_tokens": prompt.max_output.min(route.max_output).max(1),
        "messages": messages,
        "stream": true,
    });
    if !prompt.system.trim().is_empty() {
        body["system"] =
            json!([{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}]);
    }
    let mut tools: Vec<Value> = prompt
        .tools
        .iter()
        .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.schema}))
        .collect();
    let mut choice = prompt.tool_choice;
    if tools.is_empty() {
        // A conversation with calls is refused unless it declares what was called.
        tools = called(&turns);
        choice = ToolChoice::None;
    }
    if let Some(last) = tools.last_mut() {
        if body.get("system").is_none() {
            last["cache_control"] = json!({"type": "ephemeral"});
        }
        body["tools"] = Value::Array(tools);
        body["tool_choice"] = match choice {
            ToolChoice::Auto => json!({"type": "auto"}),
            ToolChoice::None => json!({"type": "none"}),
            ToolChoice::Required => json!({"type": "any"}),
        };
    }
    Some(body)
}

fn push(messages: &mut Vec<Value>, role: &str, blocks: Vec<Value>) {
    if let Some(last) = messages.last_mut().filter(|last| last["role"] == role) {
        if let Some(before) = last["content"].as_array_mut() {
            before.extend(blocks);
        }
    } else if !blocks.is_empty() {
        messages.push(json!({"role": role, "content": blocks}));
    }
}

/// Blank text is refused by the provider.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

fn content_block(content: &Content) -> Option<Value> {
    match content {
        Content::Text { text } => text_block(text),
        Content::Image { mime, bytes } if wire::IMAGES.contains(&mime.as_str()) => Some(json!({
            "type": "image",
            "source": {"type": "base64", "media_type": mime, "data": STANDARD.encode(bytes)},
        })),
        Content::Document { mime, name, bytes } if mime == "application/pdf" => Some(json!({
            "type": "document",
            "title": name,
            "source": {"type": "base64", "media_type": mime, "data": STANDARD.encode(bytes)},
        })),
        Content::Document { mime, name, bytes } if mime.starts_with("text/") && !bytes.is_empty() => {
            Some(json!({
                "type": "document",
                "title": name,
                "source": {"type": "text", "media_type": "text/plain", "data": String::from_utf8_lossy(bytes)},
            }))
        }
        Content::Image { mime, .. } => text_block(&wire::not_sent("image", mime)),
        Content::Document { mime, .. } => text_block(&wire::not_sent("file", mime)),
    }
}

fn assistant(parts: &[Part], same: bool) -> Vec<Value> {
    let block = |part: &Part| match part {
        Part::Text { text } | Part::Refusal { text } => text_block(text),
        Part::Thinking { text, opaque: Some(signature) } if same => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Part::Opaque { value } if same => Some(value.clone()),
        Part::Thinking { .. } | Part::Opaque { .. } => None,
        Part::ToolCall(call) => Some(json!({
            "type": "tool_use",
            "id": wire::call_id(call, same),
            "name": wire::safe_name(&call.name),
            "input": wire::arguments(call),
        })),
    };
    parts.iter().filter_map(block).collect()
}

fn tool_results(results: &[ToolResult], turns: &[Cow<'_, Turn>], route: &ModelRoute) -> Vec<Value> {
    let block = |result: &ToolResult| {
        let mut content: Vec<Value> = result.content.iter().filter_map(content_block).collect();
        if content.is_empty() {
            content.extend(text_block(wire::NO_OUTPUT));
        }
        json!({
            "type": "tool_result",
            "tool_use_id": wire::result_id(result, turns, route),
            "content": content,
            "is_error": result.is_error,
        })
    };
    results.iter().map(block).collect()
}

/// What the conversation called, as tools that take anything.
fn called(turns: &[Cow<'_, Turn>]) -> Vec<Value> {
    let mut names: Vec<String> = Vec::new();
    for turn in turns {
        if let Turn::Assistant { parts, .. } = &**turn {
            names.extend(calls(parts).map(|call| wire::safe_name(&call.name)));
        }
    }
    names.sort();
    names.dedup();
    names.into_iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect()
}

/// Reads the stream.
#[derive(Default)]
pub(super) struct Stream {
    draft: Draft,
    /// The provider's index of each block, and its place in the draft; `None` for blocks that are not kept.
    blocks: Vec<(u64, Option<usize>)>,
}

impl Reader for Stream {
    fn event(&mut self, event: &sse::Event, show: &mut wire::Show<'_>) -> Result<bool, Fault> {
        let data = event.data.trim();
        if data.is_empty() || data == "[DONE]" {
            return Ok(false);
        }
        let mut value: Value = serde_json::from_str(data).map_err(|_| Kind::Malformed)?;
        let kind = value["type"].as_str().unwrap_or(&event.name).to_owned();
        match kind.as_str() {
            "message_start" => self.usage(&value["message"]["usage"]),
            "content_block_start" => {
                let index = value["index"].as_u64().unwrap_or(self.blocks.len() as u64);
                self.start(index, wire::take(&mut value, "content_block"), show)?;
            }
            "content_block_delta" => self.delta(&value, show)?,
            "message_delta" => {
                self.ended(&value["delta"]);
                self.usage(&value["usage"]);
            }
            "message_stop" => return Ok(true),
            "ping" | "content_block_stop" => {}
            _ => {
                if let Some(fault) = Fault::inside(&value) {
                    return Err(fault);
                }
            }
        }
        Ok(false)
    }

    fn whole(&mut self, mut value: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        if let Some(fault) = Fault::inside(&value) {
            return Err(fault);
        }
        let Value::Array(content) = wire::take(&mut value, "content") else {
            return Err(Kind::Malformed.into());
        };
        for (index, block) in content.into_iter().enumerate() {
            self.start(index as u64, block, show)?;
        }
        self.ended(&value);
        self.usage(&value["usage"]);
        Ok(())
    }

    /// A stream without `message_stop` is cut, whatever came before.
    fn at_end(&self) -> Result<(), Fault> {
        Err(Kind::Truncated.into())
    }

    fn may_end(&self) -> bool {
        false
    }

    fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

impl Stream {
    fn start(&mut self, index: u64, mut block: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        let text = |value: &mut Value| match value.take() {
            Value::String(text) => text,
            _ => String::new(),
        };
        let piece = match block["type"].as_str().unwrap_or_default() {
            "text" => {
                let text = text(&mut block["text"]);
                if !text.is_empty() {
                    show(Event::Text(&text));
                }
                Piece::Text(text)
            }
            "thinking" => {
                show(Event::Thinking);
                Piece::Thinking { text: text(&mut block["thinking"]), opaque: text(&mut block["signature"]) }
            }
            "redacted_thinking" => Piece::Opaque(block),
            "tool_use" => {
                let name = text(&mut block["name"]);
                show(Event::ToolCall(&name));
                // Compatible servers send the arguments here at once; then no deltas follow.
                let whole = Some(wire::take(&mut block, "input")).filter(|input| match input {
                    Value::Object(map) => !map.is_empty(),
                    other => !other.is_null(),
                });
                Piece::Call(Call { wire_id: text(&mut block["id"]), name, whole, ..Call::default() })
            }
            _ => {
                self.blocks.push((index, None));
                return Ok(());
            }
        };
        self.draft.count(match &piece {
            Piece::Text(text) => text.len(),
            Piece::Thinking { text, opaque } => text.len() + opaque.len(),
            Piece::Call(call) => call.name.len() + call.wire_id.len() + wire::weight(call.whole.as_ref()),
            Piece::Opaque(value) => wire::weight(Some(value)),
            Piece::Refusal(_) => 0,
        })?;
        let place = self.draft.add(piece)?;
        self.blocks.push((index, Some(place)));
        Ok(())
    }

    fn delta(&mut self, value: &Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        let index = value["index"].as_u64().unwrap_or_default();
        let delta = &value["delta"];
        let kind = delta["type"].as_str().unwrap_or_default();
        let mut block = self.blocks.iter().rev().find(|(at, _)| *at == index).map(|(_, place)| *place);
        if block.is_none() && kind == "text_delta" {
            // Text whose start never came is still text.
            self.start(index, json!({"type": "text"}), show)?;
            block = self.blocks.last().map(|(_, place)| *place);
        }
        let Some(Some(place)) = block else { return Ok(()) };
        let words = |field: &str| delta[field].as_str().unwrap_or_default();
        match (kind, self.draft.at(place)) {
            ("text_delta", Some(Piece::Text(_))) => {
                show(Event::Text(words("text")));
                self.draft.append(place, words("text"))
            }
            ("thinking_delta", Some(Piece::Thinking { .. })) => self.draft.append(place, words("thinking")),
            ("signature_delta", Some(Piece::Thinking { opaque, .. })) => {
                opaque.push_str(words("signature"));
                self.draft.count(words("signature").len())
            }
            ("input_json_delta", Some(Piece::Call(call))) => {
                call.whole = None;
                self.draft.append(place, words("partial_json"))
            }
            _ => Ok(()),
        }
    }

    fn ended(&mut self, value: &Value) {
        self.draft.ended = match value["stop_reason"].as_str() {
            None => self.draft.ended,
            Some("max_tokens") => Some(Ended::Cut),
            Some("model_context_window_exceeded") => Some(Ended::Full),
            Some("refusal") => Some(Ended::Filtered),
            Some(_) => Some(Ended::Complete),
        };
    }

    /// Numbers are cumulative: the later one holds.
    fn usage(&mut self, value: &Value) {
        let usage = &mut self.draft.usage;
        let set = |field: &mut u64, value: &Value| *field = value.as_u64().unwrap_or(*field);
        set(&mut usage.input, &value["input_tokens"]);
        set(&mut usage.cache_read, &value["cache_read_input_tokens"]);
        set(&mut usage.cache_write, &value["cache_creation_input_tokens"]);
        set(&mut usage.output, &value["output_tokens"]);
        set(&mut usage.reasoning, &value["output_tokens_details"]["thinking_tokens"]);
    }
}

#[cfg(test)]
mod tests;
