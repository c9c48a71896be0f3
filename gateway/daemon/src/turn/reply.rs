//! Where an answer goes: to the outbox, with typing and a draft while it is made; or to the operator's terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openclaw_wire::admin::ChatEvent;
use tokio::sync::mpsc;

use super::{Engine, TERMINAL, vouched::Vouched};
use crate::{
    inbox::Lane,
    model::Event,
    outbox::{
        live::{Growing, Links, Live},
        markup,
        rows::Outgoing,
        shown::Shown,
    },
    telegram::update::Message,
};

/// Longest time for a terminal to take the end of an answer.
const TERMINAL_TAKES: Duration = Duration::from_secs(5);

/// One answer on its way.
pub struct Reply {
    lane: Lane,
    row: i64,
    /// In groups the answer quotes what it answers.
    reply_to: Option<i64>,
    live: Option<Live>,
    /// The message that was shown while the answer grew: the answer replaces its text.
    shown: Shown,
    /// Which addresses in it may be clickable.
    vouched: Arc<Vouched>,
    terminal: Option<mpsc::Sender<ChatEvent>>,
    /// Whether the terminal has seen text of this answer.
    streamed: AtomicBool,
}

impl Reply {
    /// Of a turn: shows that something happens.
    pub fn begin(
        engine: &Engine,
        lane: &Lane,
        row: i64,
        message: &Message,
        vouched: Vouched,
        shown: Shown,
    ) -> Self {
        let vouched = Arc::new(vouched);
        let links = Arc::clone(&vouched);
        let links: Links = Arc::new(move |address| links.allows(address));
        let reply_to = (lane.chat.0 < 0).then_some(message.message_id);
        let topic = (lane.topic != 0).then_some(lane.topic);
        let telegram = lane.bot.as_str() != TERMINAL;
        let growing = Growing { answers: row, topic, reply_to, shown, links };
        let live = telegram.then(|| engine.sender.live(lane.bot.clone(), lane.chat, growing));
        if let Some(live) = &live {
            engine.lanes.shown_in(lane, live.draft_id());
        }
        Self { live, reply_to, vouched, terminal: engine.terminal.take(row), ..Self::plain(lane, row) }
    }

    /// Of something that takes no time.
    pub fn plain(lane: &Lane, row: i64) -> Self {
        Self {
            lane: lane.clone(),
            row,
            reply_to: None,
            live: None,
            shown: Shown::No,
            vouched: Arc::default(),
            terminal: None,
            streamed: false.into(),
        }
    }

    /// What the model does, for the draft or the terminal.
    pub fn event(&self, event: Event<'_>) {
        match (&self.live, event) {
            (Some(live), Event::Text(text)) => live.text(text),
            (Some(live), Event::Restart) => live.restart(),
            _ => {}
        }
        match event {
            Event::Text(text) => {
                self.streamed.store(true, Ordering::Relaxed);
                self.chat_event(ChatEvent::Text(text.to_owned()));
            }
            Event::Restart => self.chat_event(ChatEvent::Text("\n[the model starts over]\n".into())),
            Event::Thinking | Event::ToolCall(_) => {}
        }
    }

    /// The answer is complete: shows nothing more before it.
    pub async fn complete(&mut self) {
        if let Some(live) = self.live.take() {
            self.shown = live.finish().await;
        }
    }

    /// Something untrusted was read on the way to it.
    pub fn taint(&self) {
        self.vouched.taint();
    }

    /// A tool runs.
    pub fn tool(&self, name: &str) {
        self.chat_event(ChatEvent::Tool(name.to_owned()));
        if let Some(live) = &self.live {
            live.restart();
        }
    }

    /// Tells the terminal, if that is where this goes.
    pub fn chat_event(&self, event: ChatEvent) {
        if let Some(terminal) = &self.terminal {
            let _ = terminal.try_send(event);
        }
    }

    /// The rows that carry the answer. Nothing for the terminal, and nothing for an empty answer.
    pub fn outgoing(&self, text: &str) -> Option<Outgoing> {
        let text = match (text.trim(), self.shown) {
            ("", Shown::As(_)) => "(stopped)",
            ("", _) => return None,
            (text, _) => text,
        };
        if self.lane.bot.as_str() == TERMINAL {
            return None;
        }
        Some(Outgoing {
            bot: self.lane.bot.clone(),
            chat: self.lane.chat,
            topic: (self.lane.topic != 0).then_some(self.lane.topic),
            answers: Some(self.row),
            text: markup::markdown(text, &|address| self.vouched.allows(address)),
            reply_to: self.reply_to,
            buttons: None,
            edit: if let Shown::As(message) = self.shown { Some(message) } else { None },
            repeat: self.shown == Shown::Perhaps,
        })
    }

    /// Whether there is, or may be, a message that showed it while it grew.
    pub fn was_shown(&self) -> bool {
        self.shown != Shown::No
    }

    /// After the commit: the sender is woken, the terminal gets the end.
    pub async fn end(self, engine: &Engine, text: &str, failed: bool) {
        if let Some(terminal) = self.terminal.or_else(|| engine.terminal.take(self.row)) {
            let streamed = self.streamed.into_inner();
            let last = match failed {
                true => ChatEvent::Error(text.to_owned()),
                false => ChatEvent::Done(true),
            };
            let tell = async {
                if !failed && !streamed {
                    let _ = terminal.send(ChatEvent::Text(text.to_owned())).await;
                }
                let _ = terminal.send(last).await;
            };
            // A terminal that nobody reads must not hold the lane.
            let _ = tokio::time::timeout(TERMINAL_TAKES, tell).await;
        } else {
            engine.sender.wake(&self.lane.bot, self.lane.chat);
        }
    }
}
