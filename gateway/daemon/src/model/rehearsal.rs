//! The rehearsal model: a script, not a model. It shows the whole path (streaming, tool calls, results, approvals)
//! without a provider, deterministically and in-process, and every one of its answers says that it is a rehearsal.

use std::time::Duration;

use openclaw_wire::{config::Api, egress::ModelRoute, facts::FACTS};
use serde_json::{Map, Value};

use super::{
    Event,
    call::Reply,
    draft::call_id,
    message::{Content, Part, Prompt, Stop, ToolCall, ToolChoice, ToolResult, ToolSpec, Turn},
    pairs::calls,
};

/// Stands in front of every answer.
const LABEL: &str = "[rehearsal]";
/// Between two numbers of `count`, so that streaming and stopping can be watched.
const BEAT: Duration = Duration::from_millis(200);
/// Longest count.
const MAX_COUNT: u32 = 600;
/// Most characters that are repeated from a message or a result.
const ECHO: usize = 400;

/// It as a choice.
pub(super) fn route() -> ModelRoute {
    ModelRoute {
        name: "rehearsal".parse().expect("a constant name is valid"),
        api: Api::Rehearsal,
        model: "rehearsal".into(),
        max_output: 4096,
        host: "offline".into(),
        via: None,
        problem: None,
    }
}

/// What the script does with a message.
#[derive(Debug, PartialEq)]
enum Act<'a> {
    Call(&'a str, Value),
    Count(u32),
    Say(String),
}

/// Answers.
pub(super) async fn answer(prompt: &Prompt, on_event: &mut (dyn FnMut(Event<'_>) + Send)) -> Reply {
    let act = match prompt.turns.last() {
        Some(Turn::ToolResults { results }) => Act::Say(report(prompt, results)),
        Some(Turn::User { content }) => act(content, prompt),
        Some(Turn::Assistant { .. }) | None => Act::Say("There is no message to answer.".into()),
    };
    match act {
        Act::Say(text) => {
            let text = format!("{LABEL} {text}");
            for chunk in text.split_inclusive(". ") {
                on_event(Event::Text(chunk));
                tokio::task::yield_now().await;
            }
            Reply { parts: vec![Part::Text { text }], stop: Stop::End }
        }
        Act::Count(to) => {
            let mut text = format!("{LABEL} Counting:");
            on_event(Event::Text(&text));
            for number in 1..=to {
                tokio::time::sleep(BEAT).await;
                let word = format!(" {number}");
                on_event(Event::Text(&word));
                text.push_str(&word);
            }
            Reply { parts: vec![Part::Text { text }], stop: Stop::End }
        }
        Act::Call(tool, arguments) => {
            let text = format!("{LABEL} I call `{tool}`.");
            on_event(Event::Text(&text));
            on_event(Event::ToolCall(tool));
            let call = ToolCall {
                id: call_id(),
                wire_id: None,
                name: tool.to_owned(),
                arguments,
                invalid: None,
                extra: None,
            };
            Reply { parts: vec![Part::Text { text }, Part::ToolCall(call)], stop: Stop::ToolCalls }
        }
    }
}

/// The first word that the script knows decides; what follows it is the argument.
fn act<'a>(content: &[Content], prompt: &'a Prompt) -> Act<'a> {
    let texts = content.iter().filter_map(|content| match content {
        Content::Text { text } => Some(text.as_str()),
        Content::Image { .. } | Content::Document { .. } => None,
    });
    let text = without_marks(&texts.collect::<Vec<_>>().join("\n"));
    let tools: &[ToolSpec] = if prompt.tool_choice == ToolChoice::None { &[] } else { &prompt.tools };
    let tool = |name: &str| tools.iter().find(|tool| tool.name == name);
    let mut rest = text.as_str();
    while let Some((word, after)) = next_word(rest) {
        rest = after;
        let named = match word.to_lowercase().as_str() {
            "call" => {
                let Some((name, json)) = next_word(rest) else { continue };
                match tool(name.trim_matches('`')) {
                    Some(tool) => return Act::Call(&tool.name, arguments(json)),
                    None => return Act::Say(no_such_tool(tools)),
                }
            }
            "count" => match next_word(rest).and_then(|(number, _)| number.parse().ok()) {
                Some(number) => return Act::Count(MAX_COUNT.min(number)),
                None => continue,
            },
            "read" | "open" => tool("read_document"),
            "search" | "find" => tool("search_documents"),
            "list" | "documents" => {
                if let Some(tool) = tool("list_documents") {
                    return Act::Call(&tool.name, Value::Object(Map::new()));
                }
                continue;
            }
            _ => continue,
        };
        let line = rest.trim_start().lines().next().unwrap_or_default();
        let argument =
            line.trim().trim_end_matches(['.', '?', '!']).trim_matches(['"', '\'', '`', '“', '”', '«', '»']);
        if let (Some(tool), false) = (named, argument.is_empty()) {
            let mut arguments = Map::new();
            arguments.insert(first_argument(tool), argument.into());
            return Act::Call(&tool.name, Value::Object(arguments));
        }
    }
    Act::Say(explain(&text))
}

/// Without the lines that delimit data for a model.
fn without_marks(text: &str) -> String {
    let mark = |line: &&str| line.starts_with("<untrusted ") || line.starts_with("</untrusted>");
    text.lines().filter(|line| !mark(line)).collect::<Vec<_>>().join("\n")
}

fn next_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (!text.is_empty()).then(|| (text[..end].trim_matches([',', ':', ';', '"', '\'']), &text[end..]))
}

/// The JSON object that the text begins with, or none.
fn arguments(text: &str) -> Value {
    let first = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>().next();
    Value::Object(first.and_then(Result::ok).unwrap_or_default())
}

/// Name of the argument that a single word is for.
fn first_argument(tool: &ToolSpec) -> String {
    let required = tool.schema["required"][0].as_str();
    let any = || tool.schema["properties"].as_object().and_then(|map| map.keys().next().map(String::as_str));
    required.or_else(any).unwrap_or("name").to_owned()
}

fn no_such_tool(tools: &[ToolSpec]) -> String {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    match names.is_empty() {
        true => "There is no tool to call here.".into(),
        false => format!("There is no such tool. I can call: {}.", names.join(", ")),
    }
}

fn report(prompt: &Prompt, results: &[ToolResult]) -> String {
    let name = |id: &str| {
        prompt.turns.iter().rev().find_map(|turn| match turn {
            Turn::Assistant { parts, .. } => {
                calls(parts).find(|call| call.id == id).map(|call| call.name.as_str())
            }
            Turn::User { .. } | Turn::ToolResults { .. } => None,
        })
    };
    let one = |result: &ToolResult| {
        let words: Vec<&str> = result
            .content
            .iter()
            .map(|content| match content {
                Content::Text { text } => text.as_str(),
                Content::Image { .. } => "(an image)",
                Content::Document { .. } => "(a file)",
            })
            .collect();
        let how = if result.is_error { "failed" } else { "gave" };
        format!(
            "`{}` {how}:\n{}",
            name(&result.call_id).unwrap_or("a tool"),
            short(&without_marks(&words.join("\n")), 4 * ECHO)
        )
    };
    results.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

fn explain(text: &str) -> String {
    format!(
        "I am a script, not a model: no model provider is configured. You wrote: “{}”. \
         To get real answers, put ANTHROPIC_API_KEY=… or OPENAI_API_KEY=… into {} below the state folder (or name a \
         local server there: OPENAI_BASE_URL=http://127.0.0.1:11434/v1). \
         To see the path at work, try: “list my documents”, “read NAME”, “search WORDS”, “call TOOL {{JSON}}” or \
         “count 20”.",
        short(text.trim(), ECHO),
        FACTS.state.keys.display(),
    )
}

fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
