//! What a chat sees while its turn runs: "typing", and the answer as it grows. Nothing here is needed: what fails is
//! left out. The answer itself is a row of the outbox, sent when the turn ends.
//!
//! In private chats the growing answer is a draft (`sendMessageDraft`, gone by itself after 30 s). Elsewhere it is a
//! message that is edited; the row then edits it a last time. That message is the one thing here that is recorded, so
//! that the answer finds it after a crash too ([`super::shown`]).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use openclaw_wire::id::{BotName, ChatId};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    markup::markdown,
    rows::GENERAL,
    sender::{Key, Sender, Shared, now},
    shown::{self, Shown},
    split::{MESSAGE, split},
};
use crate::telegram::method::{
    ApiError, ChatAction, EditMessageText, Method, NO_PREVIEW, ParseMode, ReplyParameters, SendChatAction,
    SendMessage, SendMessageDraft, call_within,
};

/// Longest that the end of a turn waits for a call that is under way.
const LAST_CALL: Duration = Duration::from_secs(5);
/// Longest that one call may take: what it shows would be old.
const CALL: Duration = Duration::from_secs(15);
/// Messages of a chat's pace that are left for the answer itself.
const SPARE: u32 = 2;
/// Behind a text that is not finished.
const GOES_ON: &str = " …";
/// Units kept free for it.
const ROOM: usize = MESSAGE - 2;

/// Rhythm of what is shown.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    /// A turn shorter than this shows nothing.
    pub typing_after: Duration,
    /// Telegram shows an action for 5 s.
    pub typing_every: Duration,
    /// A text that is finished earlier is only sent whole.
    pub text_after: Duration,
    /// Between two drafts.
    pub draft_every: Duration,
    /// An unchanged draft is shown again before its 30 s are over.
    pub draft_again: Duration,
    /// Between two edits, in groups.
    pub edit_every: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            typing_after: Duration::from_millis(500),
            typing_every: Duration::from_secs(4),
            text_after: Duration::from_secs(1),
            draft_every: Duration::from_millis(700),
            draft_again: Duration::from_secs(20),
            edit_every: Duration::from_secs(3),
        }
    }
}

/// Says of an address whether it may be clickable.
pub type Links = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What is shown of one turn. Ends with it: dropped, nothing more is shown.
pub struct Live {
    text: Arc<Mutex<String>>,
    message: Arc<Mutex<Shown>>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    draft: i64,
}

/// The answer that is shown.
pub struct Growing {
    /// Row of the inbox that it answers.
    pub answers: i64,
    /// Topic of a forum, or none.
    pub topic: Option<i64>,
    /// The message that it replies to.
    pub reply_to: Option<i64>,
    /// What an earlier try at it has left in the chat.
    pub shown: Shown,
    /// Which addresses in it may be clickable.
    pub links: Links,
}

impl Sender {
    /// Begins to show a turn.
    pub fn live(&self, bot: BotName, chat: ChatId, growing: Growing) -> Live {
        let Growing { answers, topic, reply_to, shown, links } = growing;
        let message = Arc::new(Mutex::new(shown));
        let text = Arc::new(Mutex::new(String::new()));
        let stop = self.shared.stop.child_token();
        let draft = next_draft();
        let screen = Screen {
            shared: self.shared.clone(),
            key: Key { bot, chat },
            topic: topic.filter(|topic| *topic != GENERAL),
            reply_to,
            links,
            draft,
            text: text.clone(),
            shown: String::new(),
            shown_at: Instant::now(),
            answers,
            message: message.clone(),
            // Beside one that may be there, another would be one too many.
            showing: shown != Shown::Perhaps,
            typing: true,
        };
        let task = self.shared.tasks.spawn(screen.run(stop.clone()));
        Live { text, message, stop, task: Some(task), draft }
    }
}

/// Not zero, and another one for each turn since the start.
fn next_draft() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    if LAST.load(Ordering::Relaxed) == 0 {
        // Not those of the process before this one: their drafts may still be shown.
        let _ = LAST.compare_exchange(0, super::sender::now(), Ordering::Relaxed, Ordering::Relaxed);
    }
    LAST.fetch_add(1, Ordering::Relaxed) & 0x3FFF_FFFF | 0x4000_0000
}

impl Live {
    /// The answer grows by this.
    pub fn text(&self, more: &str) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(more);
    }

    /// The answer begins anew; what is shown stays until there is more.
    pub fn restart(&self) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The number in Telegram's `stopped_message_generation`, when the person presses the draft's stop button.
    pub fn draft_id(&self) -> i64 {
        self.draft
    }

    /// Shows nothing more, and waits for what is under way, so that no draft comes after the answer. Gives the message
    /// that the answer must edit.
    pub async fn finish(mut self) -> Shown {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = timeout(LAST_CALL, task).await;
        }
        *self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Screen {
    shared: Arc<Shared>,
    key: Key,
    topic: Option<i64>,
    reply_to: Option<i64>,
    links: Links,
    draft: i64,
    text: Arc<Mutex<String>>,
    /// The text that was shown last.
    shown: String,
    shown_at: Instant,
    answers: i64,
    message: Arc<Mutex<Shown>>,
    showing: bool,
    typing: bool,
}

impl Screen {
    async fn run(mut self, stop: CancellationToken) {
        let tempo = self.shared.limits.tempo;
        let start = Instant::now();
        let (mut type_at, mut show_at) = (start + tempo.typing_after, start + tempo.text_after);
        while self.typing || self.showing {
            let next = match (self.typing, self.showing) {
                (true, true) => type_at.min(show_at),
                (true, false) => type_at,
                _ => show_at,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
            if self.typing && type_at <= next {
                type_at = Instant::now() + self.type_once().await;
            }
            if self.showing && show_at <= next && !stop.is_cancelled() {
                show_at = Instant::now() + self.show().await;
            }
        }
    }

    /// Gives the time until the next one.
    async fn type_once(&mut self) -> Duration {
        let every = self.shared.limits.tempo.typing_every;
        let drafted = !self.shown.is_empty() && self.key.chat.0 > 0 && self.shown_at.elapsed() < every;
        if drafted || !self.shared.pacer.bot_pause(&self.key.bot, Instant::now()).is_zero() {
            return every;
        }
        let typing = SendChatAction {
            chat_id: self.key.chat,
            message_thread_id: self.topic,
            action: ChatAction::Typing,
        };
        match self.call(&typing).await {
            Ok(_) | Err(ApiError::Server { .. } | ApiError::Network { .. }) => every,
            Err(ApiError::TooMany { retry_after }) => every.max(retry_after),
            Err(_) => {
                self.typing = false;
                every
            }
        }
    }

    /// Shows what is new. Gives the time until the next look.
    async fn show(&mut self) -> Duration {
        let tempo = self.shared.limits.tempo;
        let private = self.key.chat.0 > 0;
        let every = if private { tempo.draft_every } else { tempo.edit_every };
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unchanged = text == self.shown;
        if text.is_empty() || (unchanged && !(private && self.shown_at.elapsed() >= tempo.draft_again)) {
            return tempo.draft_every;
        }
        let links = self.links.clone();
        let parts = split(&markdown(&text, &*links), ROOM);
        // The end is what is new; a message that is edited must stay the answer's first part.
        let Some(part) = (if private { parts.last() } else { parts.first() }) else { return every };
        let html = format!("{}{GOES_ON}", part.html);
        let result = match private {
            true => self.draft(&html).await,
            false => self.edit(&html).await,
        };
        match result {
            Ok(true) => {
                self.shown = text;
                self.shown_at = Instant::now();
                every
            }
            Ok(false) => every,
            Err(ApiError::TooMany { retry_after }) => {
                if !private {
                    self.shared.pacer.too_many(&self.key.bot, self.key.chat, retry_after, Instant::now());
                }
                every.max(retry_after)
            }
            // A first message of which nobody knows whether it is there must not come twice.
            Err(ApiError::Server { .. } | ApiError::Network { .. })
                if private || matches!(self.message(), Shown::As(_)) =>
            {
                every * 4
            }
            Err(error) => {
                tracing::debug!(chat = %self.key.chat, %error, "the growing answer is not shown in this turn");
                self.showing = false;
                every
            }
        }
    }

    async fn draft(&self, html: &str) -> Result<bool, ApiError> {
        if !self.shared.pacer.bot_pause(&self.key.bot, Instant::now()).is_zero() {
            return Ok(false);
        }
        let draft = SendMessageDraft {
            chat_id: self.key.chat,
            message_thread_id: self.topic,
            draft_id: self.draft,
            text: html,
            parse_mode: Some(ParseMode::Html),
            can_stop: true,
        };
        self.call(&draft).await.map(|_| true)
    }

    async fn edit(&self, html: &str) -> Result<bool, ApiError> {
        // What waits for this chat was said before and comes before.
        let overtakes = self.message() == Shown::No && self.shared.is_busy(&self.key);
        if overtakes || !self.shared.pacer.try_take(&self.key.bot, self.key.chat, SPARE, Instant::now()) {
            return Ok(false);
        }
        if let Shown::As(message_id) = self.message() {
            let edit = EditMessageText {
                chat_id: self.key.chat,
                message_id,
                text: html,
                parse_mode: Some(ParseMode::Html),
                link_preview_options: NO_PREVIEW,
                reply_markup: None,
            };
            return match self.call(&edit).await {
                Ok(_) | Err(ApiError::NotModified) => Ok(true),
                Err(error) => Err(error),
            };
        }
        let send = SendMessage {
            chat_id: self.key.chat,
            message_thread_id: self.topic,
            text: html,
            parse_mode: Some(ParseMode::Html),
            link_preview_options: NO_PREVIEW,
            reply_parameters: self
                .reply_to
                .map(|message_id| ReplyParameters { message_id, allow_sending_without_reply: true }),
            reply_markup: None,
        };
        if !self.note(Shown::Perhaps).await {
            return Ok(false);
        }
        match self.call(&send).await {
            Ok(sent) => {
                self.note(Shown::As(sent.message_id)).await;
                Ok(true)
            }
            Err(error) => {
                if !error.may_be_done() {
                    self.note(Shown::No).await;
                }
                Err(error)
            }
        }
    }

    fn message(&self) -> Shown {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is known of the message, on the disk first. `false` when the disk did not take it; then only what was
    /// seen to happen is kept.
    async fn note(&self, shown: Shown) -> bool {
        let (answers, at) = (self.answers, now());
        let stored = self.shared.store.write(move |t| shown::note(t, answers, shown, at)).await.is_ok();
        if stored || shown != Shown::Perhaps {
            *self.message.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        }
        stored
    }

    async fn call<M: Method>(&self, method: &M) -> Result<M::Output, ApiError> {
        call_within(&*self.shared.api, &self.key.bot, method, CALL).await
    }
}

#[cfg(test)]
mod tests;
