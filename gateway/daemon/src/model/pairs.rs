//! Makes a conversation one that every provider accepts: it begins with a user, each call is answered right behind it
//! exactly once, a result without its call is left out, and neighbours of the same role are one turn. Cut windows and
//! crashes leave such ends behind; a provider answers them with an error, at every later message.

use std::borrow::Cow;

use super::message::{Content, Part, ToolCall, ToolResult, Turn};

/// Said for a call that has no result.
const INTERRUPTED: &str = "No result: the call was interrupted. It is not known whether it ran; do not assume that it did or did not.";

/// The conversation as it may be sent.
pub(super) fn paired(turns: &[Turn]) -> Vec<Cow<'_, Turn>> {
    let mut out: Vec<Cow<'_, Turn>> = Vec::with_capacity(turns.len());
    let mut rest = turns.iter().peekable();
    while let Some(turn) = rest.next() {
        match turn {
            Turn::User { content } if content.iter().any(says_something) => add_user(&mut out, turn, content),
            Turn::Assistant { parts, .. } if !out.is_empty() && parts.iter().any(is_replayed) => {
                out.push(Cow::Borrowed(turn));
                let calls: Vec<&ToolCall> = calls(parts).collect();
                if calls.is_empty() {
                    continue;
                }
                let results = rest.next_if(|next| matches!(next, Turn::ToolResults { .. }));
                out.push(answered(&calls, results));
            }
            Turn::User { .. } | Turn::Assistant { .. } | Turn::ToolResults { .. } => {}
        }
    }
    out
}

/// The calls of an assistant's turn.
pub(super) fn calls(parts: &[Part]) -> impl Iterator<Item = &ToolCall> {
    parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    })
}

fn says_something(content: &Content) -> bool {
    !matches!(content, Content::Text { text } if text.trim().is_empty())
}

/// Thinking alone is nothing that a conversation could go on from.
fn is_replayed(part: &Part) -> bool {
    match part {
        Part::Text { text } | Part::Refusal { text } => !text.trim().is_empty(),
        Part::ToolCall(_) => true,
        Part::Thinking { .. } | Part::Opaque { .. } => false,
    }
}

fn add_user<'a>(out: &mut Vec<Cow<'a, Turn>>, turn: &'a Turn, more: &[Content]) {
    match out.last_mut() {
        Some(last) if matches!(&**last, Turn::User { .. }) => {
            if let Turn::User { content } = last.to_mut() {
                content.extend_from_slice(more);
            }
        }
        _ => out.push(Cow::Borrowed(turn)),
    }
}

/// One result for each call, in the order of the calls.
fn answered<'a>(calls: &[&ToolCall], given: Option<&'a Turn>) -> Cow<'a, Turn> {
    let results = match given {
        Some(Turn::ToolResults { results }) => &results[..],
        _ => &[],
    };
    if let Some(turn) =
        given.filter(|_| calls.iter().map(|call| &call.id).eq(results.iter().map(|one| &one.call_id)))
    {
        return Cow::Borrowed(turn);
    }
    let result = |call: &&ToolCall| {
        let given = results.iter().find(|result| result.call_id == call.id);
        given.cloned().unwrap_or_else(|| ToolResult {
            call_id: call.id.clone(),
            content: vec![Content::text(INTERRUPTED)],
            is_error: true,
        })
    };
    Cow::Owned(Turn::ToolResults { results: calls.iter().map(result).collect() })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::paired;
    use crate::model::message::{Content, Part, ToolCall, ToolResult, Turn};

    pub fn call(id: &str) -> Part {
        Part::ToolCall(ToolCall {
            id: id.into(),
            wire_id: None,
            name: "f".into(),
            arguments: json!({}),
            invalid: None,
            extra: None,
        })
    }

    pub fn assistant(parts: Vec<Part>) -> Turn {
        Turn::Assistant { source: None, parts }
    }

    pub fn results(ids: &[&str]) -> Turn {
        let result = |id: &&str| ToolResult {
            call_id: (*id).into(),
            content: vec![Content::text(format!("result of {id}"))],
            is_error: false,
        };
        Turn::ToolResults { results: ids.iter().map(result).collect() }
    }

    /// Each turn in short: `u` user texts, `a` calls, `r` results with `!` for errors.
    fn short(turns: &[Turn]) -> Vec<String> {
        paired(turns)
            .iter()
            .map(|turn| match &**turn {
                Turn::User { content } => format!("u{}", content.len()),
                Turn::Assistant { parts, .. } => format!("a{}", super::calls(parts).count()),
                Turn::ToolResults { results } => results
                    .iter()
                    .map(|one| format!("r:{}{}", one.call_id, if one.is_error { "!" } else { "" }))
                    .collect::<Vec<_>>()
                    .join(","),
            })
            .collect()
    }

    #[test]
    fn broken_conversations_are_mended() {
        let user = || Turn::user("hi");
        let text = || assistant(vec![Part::Text { text: "t".into() }]);
        let two = || assistant(vec![call("1"), call("2")]);
        for (turns, expected) in [
            (vec![user(), two(), results(&["1", "2"])], vec!["u1", "a2", "r:1,r:2"]),
            (vec![user(), two(), results(&["2", "1"])], vec!["u1", "a2", "r:1,r:2"]),
            (vec![user(), two(), results(&["2"])], vec!["u1", "a2", "r:1!,r:2"]),
            (vec![user(), two(), results(&["2", "2", "3"])], vec!["u1", "a2", "r:1!,r:2"]),
            (vec![user(), two()], vec!["u1", "a2", "r:1!,r:2!"]),
            (vec![user(), two(), user()], vec!["u1", "a2", "r:1!,r:2!", "u1"]),
            (vec![results(&["1"]), user()], vec!["u1"]),
            (vec![text(), user()], vec!["u1"]),
            (vec![two(), results(&["1", "2"]), user()], vec!["u1"]),
            (vec![user(), user(), text(), user()], vec!["u2", "a0", "u1"]),
            (vec![user(), assistant(vec![]), user()], vec!["u2"]),
            (vec![user(), text(), results(&["9"]), user()], vec!["u1", "a0", "u1"]),
            (vec![Turn::user(" \n")], vec![]),
            (vec![], vec![]),
        ] {
            assert_eq!(short(&turns), expected, "{turns:?}");
        }
    }
}
