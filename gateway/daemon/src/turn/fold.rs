//! Folds the older half of a long conversation into its summary, so that a turn never costs more than its window. If
//! no model can tell it in short, the first lines of what was said have to do.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Engine, conversation::tainted};
use crate::{
    inbox::Lane,
    model::message::{Content, Part, Prompt, ToolChoice, Turn},
    policy::{Label, mark},
    session::history::{self, Row, Session},
    spend,
    store::StoreError,
};

/// Longest time for a summary; then the first lines have to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the summarising model is told.
const TASK: &str = "You keep the memory of an assistant. Summarise the conversation in at most the given number of \
characters: facts about people, decisions, open tasks, names and numbers that may matter later. Plain sentences. \
Report what was said; never address anybody and never give instructions.";

/// After a turn: folds if the conversation is longer than its window. A failure only means that it is tried again.
/// So does `stop`: whoever stops the chat does not wait for it.
pub async fn fold_if_long(engine: &Arc<Engine>, lane: &Lane, stop: &CancellationToken) {
    let folded = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = engine.stopping.cancelled() => return,
        folded = fold(engine, lane) => folded,
    };
    if let Err(error) = folded {
        warn!(%error, chat = %lane.chat, "could not fold a conversation");
    }
}

async fn fold(engine: &Arc<Engine>, lane: &Lane) -> Result<(), StoreError> {
    let window = engine.config.session.window;
    let find = |connection: &rusqlite::Connection| {
        history::find(connection, lane.bot.as_str(), lane.chat.0, lane.topic)
    };
    let Some(session) = engine.store.read(find)?.filter(|session| session.bytes > window) else {
        return Ok(());
    };
    let rows = engine.store.read(|connection| history::rows(connection, session.id))?;
    let Some(cut) = cut(&rows, window / 2) else { return Ok(()) };
    let old = &rows[..cut];
    let tainted = old.iter().any(|row| tainted(&row.labels)) || tainted(&session.summary_label);
    let summary = tell(engine, lane, &session, old).await;
    let label = serde_json::to_string(&[Label::model(tainted)]).expect("labels are plain data");
    let (upto, id) = (old[cut - 1].id, session.id);
    engine.store.write(move |tx| history::fold(tx, id, upto, &summary, &label)).await?;
    info!(chat = %lane.chat, turns = cut, "folded the older part of a conversation");
    Ok(())
}

/// How many rows to fold so that at most `keep` bytes stay, and the first that stays is a user's turn.
fn cut(rows: &[Row], keep: usize) -> Option<usize> {
    let mut left: usize = rows.iter().map(|row| row.turn.len()).sum();
    for (at, row) in rows.iter().enumerate() {
        if left <= keep && at > 0 && is_user(row) {
            return Some(at);
        }
        left -= row.turn.len();
    }
    // One message alone is longer than the window: everything before the last user's turn.
    rows.iter().rposition(is_user).filter(|at| *at > 0)
}

fn is_user(row: &Row) -> bool {
    matches!(serde_json::from_str(&row.turn), Ok(Turn::User { .. }))
}

/// The new summary, from the old one and the rows. Never longer than configured.
async fn tell(engine: &Engine, lane: &Lane, session: &Session, rows: &[Row]) -> String {
    let limit = engine.config.session.summary;
    let transcript = transcript(rows);
    let text = format!(
        "At most {limit} characters.\n\n{}\n\n{}",
        mark::untrusted("summary so far", &session.summary),
        mark::untrusted("conversation", &transcript)
    );
    let prompt = Prompt {
        system: format!("{TASK}\n\n{}", mark::RULE),
        turns: vec![Turn::user(text)],
        tools: Vec::new(),
        max_output: (limit / 2).try_into().unwrap_or(u32::MAX),
        tool_choice: ToolChoice::None,
    };
    let stop = CancellationToken::new();
    let choice = session.model.as_ref().and_then(|name| name.parse().ok());
    let mut show = |_: crate::model::Event<'_>| {};
    let models = engine.models.on_account_of(&spend::account(lane));
    let asked = tokio::time::timeout(PATIENCE, models.ask(&prompt, choice.as_ref(), &stop, &mut show)).await;
    match asked {
        Ok(Ok(answer))
            if answer.source.api != openclaw_wire::config::Api::Rehearsal
                && !answer.text().trim().is_empty() =>
        {
            cut_at(answer.text().trim(), limit)
        }
        _ => first_lines(&session.summary, &transcript, limit),
    }
}

/// The rows as plain lines.
fn transcript(rows: &[Row]) -> String {
    let mut out = String::new();
    for turn in rows.iter().filter_map(|row| serde_json::from_str(&row.turn).ok()) {
        let (who, texts): (&str, Vec<String>) = match turn {
            Turn::User { content } => ("user", words(&content)),
            Turn::Assistant { parts, .. } => {
                let said = parts.into_iter().filter_map(|part| match part {
                    Part::Text { text } | Part::Refusal { text } => Some(text),
                    Part::ToolCall(call) => Some(format!("(calls {})", call.name)),
                    Part::Thinking { .. } | Part::Opaque { .. } => None,
                });
                ("assistant", said.collect())
            }
            Turn::ToolResults { results } => {
                ("tool", results.iter().flat_map(|result| words(&result.content)).collect())
            }
        };
        for text in texts {
            out.push_str(who);
            out.push_str(": ");
            out.push_str(&cut_at(&text, 2000));
            out.push('\n');
        }
    }
    out
}

fn words(content: &[Content]) -> Vec<String> {
    let texts = content.iter().map(|part| match part {
        Content::Text { text } => text.clone(),
        Content::Image { .. } => "(a picture)".into(),
        Content::Document { name, .. } => format!("(a document: {name})"),
    });
    texts.collect()
}

/// Newest first lines, as many as fit: what a model would tell better.
fn first_lines(summary: &str, transcript: &str, limit: usize) -> String {
    let lines: Vec<String> = summary
        .lines()
        .map(str::to_owned)
        .chain(transcript.lines().filter(|line| line.starts_with("user: ")).map(|line| cut_at(line, 160)))
        .collect();
    let mut kept = Vec::new();
    let mut size = 0;
    for line in lines.iter().rev() {
        size += line.len() + 1;
        if size > limit {
            break;
        }
        kept.push(line.as_str());
    }
    kept.reverse();
    kept.join("\n")
}

/// At most `limit` bytes, ending between characters.
fn cut_at(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Row, cut, cut_at, first_lines};

    fn row(user: bool, size: usize) -> Row {
        let pad = "x".repeat(size);
        let turn = match user {
            true => format!(r#"{{"user":{{"content":[{{"text":{{"text":"{pad}"}}}}]}}}}"#),
            false => format!(r#"{{"assistant":{{"parts":[{{"text":{{"text":"{pad}"}}}}]}}}}"#),
        };
        Row { id: 0, inbox: 0, turn, labels: "[]".into() }
    }

    #[test]
    fn what_stays_starts_with_a_user_and_fits() {
        let rows: Vec<_> = (0..20).map(|n| row(n % 2 == 0, 100)).collect();
        let total: usize = rows.iter().map(|row| row.turn.len()).sum();
        let at = cut(&rows, total / 2).expect("a cut");
        assert!(
            at.is_multiple_of(2) && rows[at..].iter().map(|row| row.turn.len()).sum::<usize>() <= total / 2
        );
        assert_eq!(cut(&[row(true, 9000)], 100), None, "one message can't be folded");
        assert_eq!(cut(&[row(true, 10), row(false, 10), row(true, 9000), row(false, 10)], 100), Some(2));
    }

    #[test]
    fn the_fallback_keeps_the_newest_and_its_limit() {
        let text = first_lines("old", "user: a\nassistant: b\nuser: c\n", 100);
        assert_eq!(text, "old\nuser: a\nuser: c");
        assert_eq!(first_lines("old", "user: a\nuser: c\n", 8), "user: c");
        assert_eq!(cut_at("aé", 2), "a");
    }
}
