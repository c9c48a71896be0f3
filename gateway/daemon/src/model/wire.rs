//! What both protocols share: how an answer is read, and the forms that every server accepts.

use std::borrow::Cow;

use openclaw_wire::egress::ModelRoute;
use serde_json::{Value, json};

use super::{
    Event,
    draft::Draft,
    fault::Fault,
    message::{Source, ToolCall, ToolResult, Turn},
    pairs::calls,
    sse,
};

/// Told what arrives, as it arrives.
pub(super) type Show<'a> = dyn FnMut(Event<'_>) + Send + 'a;

/// Reads one answer.
pub(super) trait Reader: Send {
    /// Takes one event of a stream; `true` after the last one.
    fn event(&mut self, event: &sse::Event, show: &mut Show<'_>) -> Result<bool, Fault>;
    /// Takes an answer that came as one JSON value although a stream was asked for.
    fn whole(&mut self, value: Value, show: &mut Show<'_>) -> Result<(), Fault>;
    /// Whether a stream that ends here, without a last event, is complete.
    fn at_end(&self) -> Result<(), Fault>;
    /// Whether all but the last event is here, so that silence may be taken for the end.
    fn may_end(&self) -> bool;
    /// The pieces so far.
    fn draft(&mut self) -> &mut Draft;
}

/// Pictures that both providers read.
pub(super) const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Said for a call that printed nothing.
pub(super) const NO_OUTPUT: &str = "(no output)";

/// Said for data of a type that the provider does not read.
pub(super) fn not_sent(what: &str, mime: &str) -> String {
    let mime: String = mime.chars().filter(|c| c.is_ascii_graphic()).take(80).collect();
    format!("({what} of type {mime}, which cannot be shown to you)")
}

/// Whether opaque parts of that source may be replayed to this route.
pub(super) fn replays(source: &Option<Source>, route: &ModelRoute) -> bool {
    source.as_ref().is_some_and(|source| {
        source.route == route.name && source.api == route.api && source.model == route.model
    })
}

/// The id under which a call is sent: the provider's own only to itself.
pub(super) fn call_id(call: &ToolCall, same: bool) -> &str {
    call.wire_id.as_deref().filter(|_| same).unwrap_or(&call.id)
}

/// The id of the call that a result answers.
pub(super) fn result_id<'a>(
    result: &'a ToolResult,
    turns: &'a [Cow<'_, Turn>],
    route: &ModelRoute,
) -> &'a str {
    let found = turns.iter().rev().find_map(|turn| match &**turn {
        Turn::Assistant { source, parts } => calls(parts)
            .find(|call| call.id == result.call_id)
            .map(|call| call_id(call, replays(source, route))),
        _ => None,
    });
    found.unwrap_or(&result.call_id)
}

/// A name that the provider accepts: a model may have made one up, and a refused one would block the conversation.
pub(super) fn safe_name(name: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let name: String = name.chars().take(64).map(good).collect();
    if name.is_empty() { "unnamed".into() } else { name }
}

/// Arguments as an object, so that a template that parses them does not fail on what the model wrote.
pub(super) fn arguments(call: &ToolCall) -> Cow<'_, Value> {
    match &call.invalid {
        Some(invalid) => Cow::Owned(json!({"unreadable": invalid.raw})),
        None => Cow::Borrowed(&call.arguments),
    }
}

/// Takes a field out of what a server sent; null where there is none. Indexing would panic when that is no object.
pub(super) fn take(value: &mut Value, field: &str) -> Value {
    value.get_mut(field).map(Value::take).unwrap_or_default()
}

/// About how many bytes a value takes.
pub(super) fn weight(value: Option<&Value>) -> usize {
    match value {
        None => 0,
        Some(Value::String(text)) => text.len() + 8,
        Some(Value::Array(list)) => list.iter().map(|value| weight(Some(value))).sum::<usize>() + 8,
        Some(Value::Object(map)) => {
            map.iter().map(|(key, value)| key.len() + weight(Some(value))).sum::<usize>() + 8
        }
        Some(_) => 8,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use openclaw_wire::{config::Api, egress::ModelRoute};

    use super::Reader;
    use crate::model::{
        Event, anthropic,
        fault::Kind,
        message::{Part, Stop, Usage},
        openai, sse,
    };

    pub fn route(api: Api, host: &str) -> ModelRoute {
        ModelRoute {
            name: "main".parse().expect("name"),
            api,
            model: "model-1".into(),
            max_output: 1000,
            host: host.into(),
            via: None,
            problem: None,
        }
    }

    type End = Result<(Vec<Part>, Stop, Usage), Kind>;

    /// What a reader makes of a stream that comes whole: what was shown, and the end.
    pub fn read(mut reader: impl Reader, stream: &str) -> (Vec<String>, End) {
        let mut shown = Vec::new();
        let mut show = |event: Event<'_>| {
            shown.push(match event {
                Event::Text(text) => text.to_owned(),
                Event::Thinking => "(thinking)".to_owned(),
                Event::ToolCall(name) => format!("({name})"),
                Event::Restart => "(restart)".to_owned(),
            });
        };
        let mut done = Ok(false);
        if let Some(whole) = stream.strip_prefix("whole:") {
            done = reader.whole(serde_json::from_str(whole).expect("JSON"), &mut show).map(|()| true);
        } else {
            let mut parser = sse::Parser::default();
            let feed = parser.feed(stream.as_bytes(), |event| {
                if matches!(done, Ok(false)) {
                    done = reader.event(&event, &mut show);
                }
            });
            feed.expect("small events");
        }
        let done = done.and_then(|done| if done { Ok(()) } else { reader.at_end() });
        let usage = reader.draft().usage;
        let answer = done.and_then(|()| std::mem::take(reader.draft()).finish());
        (shown, answer.map(|(parts, stop)| (parts, stop, usage)).map_err(|fault| fault.kind))
    }

    #[test]
    fn what_is_no_object_is_no_reason_to_die() {
        for data in [
            "[1]",
            "\"a\"",
            "7",
            "{\"choices\":[7]}",
            "{\"choices\":[{\"delta\":[1]}]}",
            "{\"choices\":[{\"delta\":{\"tool_calls\":[\"x\"]}}]}",
            "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":\"x\"}]}}]}",
            "{\"type\":\"content_block_start\",\"content_block\":[1]}",
        ] {
            let stream = format!("data: {data}\n\n");
            assert!(read(openai::Stream::default(), &stream).1.is_err(), "{data}");
            assert!(read(anthropic::Stream::default(), &stream).1.is_err(), "{data}");
        }
    }

    /// Streams that are damaged in thousands of ways, and cut into chunks anywhere, are read or refused; never a
    /// panic, and never another answer because of the chunks.
    #[test]
    fn damaged_streams_are_read_or_refused() {
        const ANTHROPIC: &str = concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9}}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\u{e9}\"}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n",
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":4}}\n\n",
            "data: {\"type\":\"message_stop\"}\n\n",
        );
        const OPENAI: &str = concat!(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"h\u{e9}\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n",
            "data: [DONE]\n\n",
        );
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).unwrap_or(0) % below
        };
        let good = |end: &End| matches!(end, Ok((parts, Stop::ToolCalls, _)) if parts.len() == 2);
        assert!(good(&read(anthropic::Stream::default(), ANTHROPIC).1));
        assert!(good(&read(openai::Stream::default(), OPENAI).1));
        for round in 0..20_000 {
            let mut bytes = if round % 2 == 0 { ANTHROPIC } else { OPENAI }.as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at + 1),
                    2 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                    _ => bytes.insert(at, b"{}[]\",:\n\r0n\\"[random(12)]),
                }
                if bytes.is_empty() {
                    bytes.push(b'\n');
                }
            }
            let end = |chunk: usize| match round % 2 {
                0 => read_chunks(anthropic::Stream::default(), &bytes, chunk),
                _ => read_chunks(openai::Stream::default(), &bytes, chunk),
            };
            let text = |end: End| match end {
                // Ids of calls are ours, and new each time.
                Ok((parts, stop, usage)) => format!("{} {stop:?} {usage:?}", parts.len()),
                Err(kind) => format!("{kind:?}"),
            };
            let chunk = 1 + random(50);
            assert_eq!(text(end(usize::MAX)), text(end(chunk)), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    fn read_chunks(mut reader: impl Reader, bytes: &[u8], chunk: usize) -> End {
        let mut parser = sse::Parser::default();
        let mut done = Ok(false);
        for chunk in bytes.chunks(chunk) {
            let fed = parser.feed(chunk, |event| {
                if matches!(done, Ok(false)) {
                    done = reader.event(&event, &mut |_| ());
                }
            });
            fed.expect("small events");
        }
        let done = done.and_then(|done| if done { Ok(()) } else { reader.at_end() });
        let usage = reader.draft().usage;
        let answer = done.and_then(|()| std::mem::take(reader.draft()).finish());
        answer.map(|(parts, stop)| (parts, stop, usage)).map_err(|fault| fault.kind)
    }
}
