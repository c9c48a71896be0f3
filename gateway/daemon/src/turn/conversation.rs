//! A session's rows as a conversation: read, bounded, and turned into a prompt. The operator's instructions are in
//! every prompt, word for word, whatever was summarised (incident 119).

use openclaw_wire::id::ModelName;

use crate::{
    model::message::{Content, Part, Prompt, ToolChoice, ToolSpec, Turn},
    policy::{Label, mark},
    session::history::{Row, Session},
};

/// What was said before, and how far it can be trusted.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The session, once there is one.
    pub session: Option<Session>,
    /// Turns of earlier messages, oldest first.
    pub before: Vec<Turn>,
    /// Turns of this message that are already stored: it was started before.
    pub stored: Vec<Turn>,
    /// Whether anything untrusted is in it.
    pub tainted: bool,
}

impl Conversation {
    /// From the rows of a session; those of `inbox` belong to the message at hand. Rows that a newer release wrote in
    /// a form that this one does not know are left out.
    pub fn new(session: Option<Session>, rows: Vec<Row>, inbox: i64, window: usize) -> Self {
        let mut conversation = Self {
            tainted: session.as_ref().is_some_and(|s| tainted(&s.summary_label)),
            session,
            ..Self::default()
        };
        // The summary is made after a turn; if that failed for a while, the window still holds.
        let mut excess = rows.iter().map(|row| row.turn.len()).sum::<usize>().saturating_sub(2 * window);
        for row in rows {
            if excess > 0 && row.inbox != inbox {
                excess = excess.saturating_sub(row.turn.len());
                continue;
            }
            conversation.tainted |= tainted(&row.labels);
            let Ok(turn) = serde_json::from_str(&row.turn) else { continue };
            match row.inbox == inbox {
                true => conversation.stored.push(turn),
                // A conversation starts with a user's words.
                false if conversation.before.is_empty() && !matches!(turn, Turn::User { .. }) => {}
                false => conversation.before.push(turn),
            }
        }
        conversation
    }

    /// The model that the owner chose for this chat.
    pub fn model(&self) -> Option<ModelName> {
        self.session.as_ref()?.model.as_ref()?.parse().ok()
    }

    /// What the model is asked: rules, instructions, summary, window, and the turns of this message.
    pub fn prompt(&self, instructions: &str, now: &[Turn], tools: Vec<ToolSpec>, last: bool) -> Prompt {
        let mut turns = Vec::with_capacity(1 + self.before.len() + now.len());
        if let Some(summary) =
            self.session.as_ref().map(|s| s.summary.as_str()).filter(|summary| !summary.is_empty())
        {
            turns.push(Turn::User {
                content: vec![Content::text(mark::untrusted("summary of the earlier conversation", summary))],
            });
        }
        turns.extend(self.before.iter().chain(now).cloned());
        Prompt {
            system: format!("{instructions}\n\n{}", mark::RULE),
            turns,
            tools,
            max_output: u32::MAX,
            tool_choice: if last { ToolChoice::None } else { ToolChoice::Auto },
        }
    }
}

/// Whether stored labels hold one that taints, or can't be read.
pub fn tainted(labels: &str) -> bool {
    if labels.is_empty() {
        return false;
    }
    match serde_json::from_str::<Vec<Label>>(labels) {
        Ok(labels) => labels.iter().any(|label| label.integrity.taints()),
        Err(_) => true,
    }
}

/// The words of an assistant's turn that are for the user.
pub fn text_of(turn: &Turn) -> String {
    let Turn::Assistant { parts, .. } = turn else { return String::new() };
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text } | Part::Refusal { text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("")
}
