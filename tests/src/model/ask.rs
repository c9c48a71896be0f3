//! What a request asks, whichever protocol it came by, and whether it keeps the protocol's rules.

use std::collections::HashSet;

use serde_json::Value;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions.
    Openai,
}

/// A request, read.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which protocol.
    pub wire: Wire,
    /// All text of the user after the last answer that called no tool: this turn's words.
    pub words: String,
    /// How many model calls of this turn came before.
    pub step: usize,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Names of the tools that are offered.
    pub tools: Vec<String>,
    /// What breaks the rules.
    pub violations: Vec<String>,
}

impl Ask {
    /// Reads a body.
    pub fn read(wire: Wire, body: &Value) -> Self {
        let mut violations = Vec::new();
        let mut rule = |good: bool, what: &str| {
            if !good {
                violations.push(format!("{wire:?}: {what}"));
            }
        };
        rule(body["model"].as_str().is_some_and(|model| !model.is_empty()), "`model` is missing");
        let empty = Vec::new();
        let messages = body["messages"].as_array().unwrap_or(&empty);
        rule(!messages.is_empty(), "`messages` is missing or empty");
        let tools: Vec<String> = match wire {
            Wire::Anthropic => {
                rule(body["max_tokens"].as_u64().is_some_and(|n| n > 0), "`max_tokens` is required");
                for gone in ["temperature", "top_p", "top_k"] {
                    rule(body.get(gone).is_none(), "sampling parameters are refused since 2026-10-21");
                }
                names(body, |tool| &tool["name"])
            }
            Wire::Openai => names(body, |tool| &tool["function"]["name"]),
        };
        for name in &tools {
            let good =
                name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            rule(good, "a tool's name is not [a-zA-Z0-9_-]{1,64}");
        }
        let turns: Vec<Message> = messages.iter().map(|message| Message::read(wire, message)).collect();
        for (at, turn) in turns.iter().enumerate() {
            rule(turn.known_role, "a message has an unknown role");
            rule(turn.not_empty, "a message has no content");
            if wire == Wire::Anthropic && !turn.calls.is_empty() {
                let answered = turns.get(at + 1).map(|next| next.results.clone()).unwrap_or_default();
                rule(turn.calls.is_subset(&answered), "a tool_use is not answered in the next message");
            }
        }
        let called: HashSet<&String> = turns.iter().flat_map(|turn| &turn.calls).collect();
        let answered: HashSet<&String> = turns.iter().flat_map(|turn| &turn.results).collect();
        rule(called == answered, "tool calls and tool results do not match one to one");
        let last_is_ours = turns.last().is_some_and(|turn| turn.role != "assistant");
        rule(last_is_ours, "the last message is the assistant's: prefill is refused");

        let start = turns.iter().rposition(|turn| turn.role == "assistant" && turn.calls.is_empty());
        let turn = &turns[start.map_or(0, |at| at + 1)..];
        let words: Vec<&str> = turn.iter().filter(|m| m.role == "user").map(|m| m.text.as_str()).collect();
        Self {
            wire,
            words: words.join("\n"),
            step: turn.iter().filter(|message| message.role == "assistant").count(),
            stream: body["stream"] == true,
            tools,
            violations,
        }
    }
}

fn names(body: &Value, name: impl Fn(&Value) -> &Value) -> Vec<String> {
    let tools = body["tools"].as_array().into_iter().flatten();
    tools.map(|tool| name(tool).as_str().unwrap_or_default().to_owned()).collect()
}

struct Message {
    role: String,
    known_role: bool,
    not_empty: bool,
    text: String,
    calls: HashSet<String>,
    results: HashSet<String>,
}

impl Message {
    fn read(wire: Wire, message: &Value) -> Self {
        let role = message["role"].as_str().unwrap_or_default().to_owned();
        let known: &[&str] = match wire {
            Wire::Anthropic => &["user", "assistant", "system"],
            Wire::Openai => &["system", "developer", "user", "assistant", "tool"],
        };
        let content = &message["content"];
        let mut text = content.as_str().unwrap_or_default().to_owned();
        let (mut calls, mut results) = (HashSet::new(), HashSet::new());
        let id = |value: &Value| value.as_str().unwrap_or("(none)").to_owned();
        for block in content.as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => {
                    text.push_str(block["text"].as_str().unwrap_or_default());
                    text.push('\n');
                }
                Some("tool_use") => {
                    calls.insert(id(&block["id"]));
                }
                Some("tool_result") => {
                    results.insert(id(&block["tool_use_id"]));
                }
                _ => {}
            }
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            calls.insert(id(&call["id"]));
        }
        if role == "tool" {
            results.insert(id(&message["tool_call_id"]));
        }
        let not_empty = !text.is_empty()
            || !calls.is_empty()
            || !results.is_empty()
            || content.as_array().is_some_and(|blocks| !blocks.is_empty());
        Self { known_role: known.contains(&role.as_str()), role, not_empty, text, calls, results }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Ask, Wire};

    #[test]
    fn the_turns_words_and_step_are_found_past_tool_calls() {
        let body = json!({"model": "m", "max_tokens": 1, "messages": [
            {"role": "user", "content": "old"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": [{"type": "text", "text": "new #mark"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "x", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
        ]});
        let ask = Ask::read(Wire::Anthropic, &body);
        assert_eq!((ask.words.contains("#mark"), ask.words.contains("old"), ask.step), (true, false, 1));
        assert_eq!(ask.violations, [""; 0]);
    }

    #[test]
    fn broken_rules_are_named() {
        let body = json!({"model": "m", "max_tokens": 1, "temperature": 0, "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "x", "input": {}}]},
            {"role": "user", "content": "b"},
        ]});
        let all = Ask::read(Wire::Anthropic, &body).violations.join("; ");
        for part in ["sampling", "not answered", "one to one"] {
            assert!(all.contains(part), "{all}");
        }
    }
}
