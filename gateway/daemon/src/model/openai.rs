//! OpenAI chat completions, and the servers that call themselves compatible (Ollama, llama.cpp, vLLM, gateways): our
//! conversation as the request, the stream as our answer. Writes what all of them know, reads what any of them sends.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use openclaw_wire::egress::ModelRoute;
use serde_json::{Map, Value, json};

use super::{
    Event,
    draft::{Call, Draft, Ended, Piece},
    fault::{Fault, Kind},
    message::{Content, Part, Prompt, ToolChoice, ToolResult, Turn},
    pairs::paired,
    sse,
    wire::{self, Reader},
};

/// Below the route's base address, which ends with the version.
pub(super) const PATH: &str = "chat/completions";

/// What servers differ in. Learned from a server's refusal, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// `max_completion_tokens`, which OpenAI demands and others don't know, instead of `max_tokens`.
    completion: bool,
    /// `stream_options`, to be told the usage.
    usage: bool,
}

impl Dialect {
    /// What the server at this host is expected to speak.
    pub fn of(route: &ModelRoute) -> Self {
        let host = route.host.split(':').next().unwrap_or_default();
        let theirs =
            |domain: &str| host.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
        Self { completion: theirs("openai.com") || theirs("azure.com"), usage: true }
    }

    /// After a refusal that names a field: the other form, if there is one.
    pub fn without(self, field: &str) -> Option<Self> {
        match field {
            "stream_options" if self.usage => Some(Self { usage: false, ..self }),
            "max_tokens" | "max_completion_tokens" => Some(Self { completion: !self.completion, ..self }),
            _ => None,
        }
    }
}

/// The body of a request. `None` when the prompt ends with nothing to answer.
pub(super) fn request(prompt: &Prompt, route: &ModelRoute, dialect: Dialect) -> Option<Value> {
    let turns = paired(&prompt.turns);
    turns.last().filter(|last| !matches!(***last, Turn::Assistant { .. }))?;
    // Reasoning is wanted back only while a loop of calls is open, that is, behind the last user turn.
    let open = turns.iter().rposition(|turn| matches!(**turn, Turn::User { .. })).unwrap_or(0);
    let mut messages = Vec::with_capacity(turns.len() + 1);
    if !prompt.system.trim().is_empty() {
        messages.push(json!({"role": "system", "content": prompt.system}));
    }
    for (at, turn) in turns.iter().enumerate() {
        match &**turn {
            Turn::User { content } => messages.push(json!({"role": "user", "content": user(content)})),
            Turn::Assistant { source, parts } => {
                messages.push(assistant(parts, wire::replays(source, route), at > open));
            }
            Turn::ToolResults { results } => tool_results(&mut messages, results, &turns, route),
        }
    }
    let limit = if dialect.completion { "max_completion_tokens" } else { "max_tokens" };
    let mut body = json!({"model": route.model, "messages": messages, "stream": true});
    body[limit] = prompt.max_output.min(route.max_output).max(1).into();
    if dialect.usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    if !prompt.tools.is_empty() {
        let tool = |tool: &super::message::ToolSpec| {
            json!({
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            })
        };
        body["tools"] = prompt.tools.iter().map(tool).collect();
        body["tool_choice"] = match prompt.tool_choice {
            ToolChoice::Auto => "auto",
            ToolChoice::None => "none",
            ToolChoice::Required => "required",
        }
        .into();
    }
    Some(body)
}

/// One text as a plain string, which the least of servers know; else a list of parts.
fn user(content: &[Content]) -> Value {
    match content {
        [Content::Text { text }] => Value::String(text.clone()),
        all => all.iter().filter_map(content_part).collect(),
    }
}

fn content_part(content: &Content) -> Option<Value> {
    let data = |mime: &str, bytes: &[u8]| format!("data:{mime};base64,{}", STANDARD.encode(bytes));
    let text = |text: &str| (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}));
    match content {
        Content::Text { text: words } => text(words),
        Content::Image { mime, bytes } if wire::IMAGES.contains(&mime.as_str()) => {
            Some(json!({"type": "image_url", "image_url": {"url": data(mime, bytes)}}))
        }
        Content::Document { mime, name, bytes } if mime == "application/pdf" => {
            Some(json!({"type": "file", "file": {"filename": name, "file_data": data(mime, bytes)}}))
        }
        Content::Document { mime, name, bytes } if mime.starts_with("text/") => {
            text(&format!("{name}:\n{}", String::from_utf8_lossy(bytes)))
        }
        Content::Image { mime, .. } => text(&wire::not_sent("image", mime)),
        Content::Document { mime, .. } => text(&wire::not_sent("file", mime)),
    }
}

fn assistant(parts: &[Part], same: bool, open: bool) -> Value {
    let mut message = json!({"role": "assistant"});
    let mut words = String::new();
    let mut tool_calls = Vec::new();
    for part in parts {
        match part {
            Part::Text { text } | Part::Refusal { text } => words.push_str(text),
            Part::Thinking { text, opaque: Some(field) } if same && open => {
                message[field.as_str()] = Value::String(text.clone());
            }
            Part::ToolCall(call) => {
                let mut entry = match &call.extra {
                    Some(Value::Object(extra)) if same => extra.clone(),
                    _ => Map::new(),
                };
                entry.insert("id".into(), wire::call_id(call, same).into());
                entry.insert("type".into(), "function".into());
                let arguments = wire::arguments(call).to_string();
                entry.insert(
                    "function".into(),
                    json!({"name": wire::safe_name(&call.name), "arguments": arguments}),
                );
                tool_calls.push(Value::Object(entry));
            }
            Part::Thinking { .. } | Part::Opaque { .. } => {}
        }
    }
    message["content"] = if words.is_empty() { Value::Null } else { Value::String(words) };
    if !tool_calls.is_empty() {
        message["tool_calls"] = Value::Array(tool_calls);
    }
    message
}

/// One message for each result. Pictures and files have no place in it; they follow in a user message that says whose
/// they are.
fn tool_results(
    messages: &mut Vec<Value>,
    results: &[ToolResult],
    turns: &[Cow<'_, Turn>],
    route: &ModelRoute,
) {
    let mut attached = Vec::new();
    for result in results {
        let id = wire::result_id(result, turns, route);
        let mut words = Vec::new();
        for content in &result.content {
            match content_part(content) {
                Some(mut part) if part["type"] == "text" => words.push(wire::take(&mut part, "text")),
                Some(part) => {
                    words.push("(a file follows in the next message)".into());
                    attached.push(json!({"type": "text", "text": format!("Output of the tool call {id}:")}));
                    attached.push(part);
                }
                None => {}
            }
        }
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let words = if words.is_empty() { wire::NO_OUTPUT.to_owned() } else { words.join("\n\n") };
        let words = if result.is_error { format!("Error: {words}") } else { words };
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": words}));
    }
    if !attached.is_empty() {
        messages.push(json!({"role": "user", "content": attached}));
    }
}

/// Reads the stream.
#[derive(Default)]
pub(super) struct Stream {
    draft: Draft,
    text: Option<usize>,
    thinking: Option<usize>,
    refusal: Option<usize>,
    calls: Vec<Slot>,
}

/// Where the fragments of a call go.
struct Slot {
    index: Option<u64>,
    place: usize,
}

impl Reader for Stream {
    fn event(&mut self, event: &sse::Event, show: &mut wire::Show<'_>) -> Result<bool, Fault> {
        let data = event.data.trim();
        if data == "[DONE]" {
            return Ok(true);
        }
        if !data.is_empty() {
            let value = serde_json::from_str(data).map_err(|_| Kind::Malformed)?;
            self.chunk(value, show)?;
        }
        Ok(false)
    }

    fn whole(&mut self, value: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        if value.get("choices").is_none() && value.get("error").is_none() {
            return Err(Fault::inside(&value).unwrap_or_else(|| Kind::Malformed.into()));
        }
        self.chunk(value, show)
    }

    /// Some servers end without `[DONE]`; the reason for the end tells that nothing is missing.
    fn at_end(&self) -> Result<(), Fault> {
        if self.may_end() { Ok(()) } else { Err(Kind::Truncated.into()) }
    }

    fn may_end(&self) -> bool {
        self.draft.ended.is_some()
    }

    fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

impl Stream {
    fn chunk(&mut self, mut value: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        if let Some(fault) = Fault::inside(&value) {
            return Err(fault);
        }
        self.usage(&value["usage"]);
        let Value::Array(choices) = wire::take(&mut value, "choices") else { return Ok(()) };
        let first = choices.into_iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0);
        let Some(mut choice) = first else { return Ok(()) };
        let field = if choice["delta"].is_object() { "delta" } else { "message" };
        self.delta(wire::take(&mut choice, field), show)?;
        match choice["finish_reason"].as_str() {
            None => {}
            Some("error") => return Err(Kind::Server.into()),
            Some("length" | "max_tokens" | "model_length") => self.draft.ended = Some(Ended::Cut),
            Some("content_filter" | "safety") => self.draft.ended = Some(Ended::Filtered),
            Some(_) => self.draft.ended = Some(Ended::Complete),
        }
        Ok(())
    }

    fn delta(&mut self, mut delta: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        match wire::take(&mut delta, "content") {
            Value::String(text) => self.words(&text, show)?,
            Value::Array(parts) => {
                for part in parts {
                    if let Some(text) = part["text"].as_str() {
                        self.words(text, show)?;
                    }
                }
            }
            _ => {}
        }
        // DeepSeek, Qwen and llama.cpp say the first, Ollama and OpenRouter the second.
        for field in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta[field].as_str().filter(|text| !text.is_empty()) {
                show(Event::Thinking);
                let piece = Piece::Thinking { text: String::new(), opaque: field.into() };
                let place = place(&mut self.draft, &mut self.thinking, piece)?;
                self.draft.append(place, text)?;
                break;
            }
        }
        if let Some(text) = delta["refusal"].as_str().filter(|text| !text.is_empty()) {
            let place = place(&mut self.draft, &mut self.refusal, Piece::Refusal(String::new()))?;
            self.draft.append(place, text)?;
        }
        if let Value::Array(calls) = wire::take(&mut delta, "tool_calls") {
            for call in calls {
                self.call(call, show)?;
            }
        }
        let old = wire::take(&mut delta, "function_call");
        if old.is_object() {
            self.call(json!({"index": 0, "function": old}), show)?;
        }
        Ok(())
    }

    fn words(&mut self, text: &str, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        show(Event::Text(text));
        let place = place(&mut self.draft, &mut self.text, Piece::Text(String::new()))?;
        self.draft.append(place, text)
    }

    fn call(&mut self, mut fragment: Value, show: &mut wire::Show<'_>) -> Result<(), Fault> {
        let index = fragment["index"].as_u64();
        let id = fragment["id"].as_str().unwrap_or_default().to_owned();
        let mut function = wire::take(&mut fragment, "function");
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        let place = match self.slot(index, &id, &name) {
            Some(place) => place,
            None => {
                let place = self.draft.add(Piece::Call(Call::default()))?;
                self.calls.push(Slot { index, place });
                place
            }
        };
        let arguments = wire::take(&mut function, "arguments");
        self.draft.count(id.len() + name.len())?;
        if let Some(Piece::Call(call)) = self.draft.at(place) {
            if call.wire_id.is_empty() {
                call.wire_id = id;
            }
            if call.name.is_empty() && !name.is_empty() {
                show(Event::ToolCall(&name));
                call.name = name;
            }
        }
        match arguments {
            Value::String(text) => self.draft.append(place, &text)?,
            Value::Null => {}
            value => {
                self.draft.count(wire::weight(Some(&value)))?;
                if let Some(Piece::Call(call)) = self.draft.at(place) {
                    call.whole = Some(value);
                }
            }
        }
        let Value::Object(fields) = fragment else { return Ok(()) };
        for (field, value) in fields {
            if value.is_null() || ["index", "id", "type", "function"].contains(&field.as_str()) {
                continue;
            }
            self.draft.count(field.len() + wire::weight(Some(&value)))?;
            if let Some(Piece::Call(call)) = self.draft.at(place) {
                call.extra.insert(field, value);
            }
        }
        Ok(())
    }

    /// The call that a fragment continues. Servers number the calls, or only name them, or number all of them 0; some
    /// repeat the id in each fragment, some make up another one. A new id together with a name begins a new call.
    fn slot(&mut self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let found = match index {
            Some(_) => self.calls.iter().rev().find(|slot| slot.index == index)?.place,
            None if id.is_empty() && name.is_empty() => self.calls.last()?.place,
            None if id.is_empty() => return None,
            None => {
                let draft = &mut self.draft;
                let same = |slot: &&Slot| matches!(draft.at(slot.place), Some(Piece::Call(call)) if call.wire_id == id);
                return self.calls.iter().find(same).map(|slot| slot.place);
            }
        };
        let Some(Piece::Call(call)) = self.draft.at(found) else { return None };
        let another = !id.is_empty() && !name.is_empty() && !call.wire_id.is_empty() && call.wire_id != id;
        (!another).then_some(found)
    }

    /// Cached tokens are inside `prompt_tokens` here.
    fn usage(&mut self, value: &Value) {
        let (Some(prompt), output) = (value["prompt_tokens"].as_u64(), value["completion_tokens"].as_u64())
        else {
            return;
        };
        let details = &value["prompt_tokens_details"];
        let usage = &mut self.draft.usage;
        usage.cache_read = details["cached_tokens"].as_u64().unwrap_or(0).min(prompt);
        usage.cache_write =
            details["cache_write_tokens"].as_u64().unwrap_or(0).min(prompt - usage.cache_read);
        usage.input = prompt - usage.cache_read - usage.cache_write;
        usage.output = output.unwrap_or(0);
        usage.reasoning = value["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap_or(0);
    }
}

/// The place of a piece of which there is one, made when it is first needed.
fn place(draft: &mut Draft, known: &mut Option<usize>, piece: Piece) -> Result<usize, Fault> {
    match *known {
        Some(place) => Ok(place),
        None => Ok(*known.insert(draft.add(piece)?)),
    }
}

#[cfg(test)]
mod tests;
