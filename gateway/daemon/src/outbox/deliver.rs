//! One row: waits for its turn, makes the call, and does what the answer asks for. On disk a row is `sending` before
//! its call and `sent` after it, and never `sending` through a long wait.

use std::{sync::Arc, time::Duration};

use openclaw_wire::id::ChatId;
use tokio::time::Instant;

use super::{
    file::Carried,
    rich::Rich,
    rows::{self, Kind, REPEAT_MARK, Row},
    sender::{Event, Key, Shared, Stopped, now, wake},
    split::{MESSAGE, split},
};
use crate::telegram::method::{
    ApiError, Delivery, EditMessageText, InlineKeyboard, NO_PREVIEW, ParseMode, ReplyParameters, SendMessage,
    Sent, SentAs, Upload, call_within, upload_within,
};

/// A wait longer than this is not begun with the row `sending` on disk: a crash in it would mark a message as possibly
/// repeated that was never sent.
const SHORT: Duration = Duration::from_secs(2);
/// Size of the pieces of a part that Telegram called too long.
const SMALLER: usize = MESSAGE / 3;

/// What the chat's task does next.
pub(super) enum Flow {
    /// The next row.
    Next,
    /// Reads the rows again.
    Reload,
    /// Ends.
    Stop,
}

/// How the text is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Html,
    Plain,
    /// Plain, in smaller pieces.
    Pieces,
}

/// Sends one row and records what became of it. `next` is announced with the same commit if it can follow at once.
pub(super) async fn deliver(shared: &Arc<Shared>, key: &Key, row: Row, next: Option<&mut Row>) -> Flow {
    try_deliver(shared, key, row, next).await.unwrap_or(Flow::Stop)
}

async fn try_deliver(
    shared: &Arc<Shared>,
    key: &Key,
    mut row: Row,
    next: Option<&mut Row>,
) -> Result<Flow, Stopped> {
    loop {
        await_turn(shared, key, &mut row).await?;
        if !row.announced {
            let id = row.id;
            shared.record("announce", move |t| rows::announce(t, id)).await?;
            row.announced = true;
        }
        let started = Instant::now();
        let outcome = attempt(shared, key, &mut row).await;
        row.attempts += 1;
        if !matches!(outcome, Err(ApiError::Unauthorized | ApiError::Network { .. })) {
            shared.bot_works(&key.bot);
        }
        match outcome {
            Ok(message_id) => {
                let elapsed_ms = started.elapsed().as_millis() as u64;
                tracing::debug!(row = row.id, chat = %key.chat, elapsed_ms, "sent");
                record_sent(shared, key, &row, message_id, next).await?;
                return Ok(Flow::Next);
            }
            Err(ApiError::TooMany { retry_after }) => {
                shared.pacer.too_many(&key.bot, key.chat, retry_after, Instant::now());
                row.not_before = now() + retry_after.as_millis() as i64;
            }
            Err(ApiError::Unauthorized) => {
                row.attempts -= 1;
                let until = Instant::now() + shared.limits.longest_wait;
                shared.pacer.pause_bot(&key.bot, until, Instant::now());
                if shared.bot_failed(&key.bot) {
                    tracing::error!(bot = %key.bot, "the bot's token is missing or refused; its messages wait");
                    shared.tell(Event::Paused { bot: key.bot.clone() });
                }
                put_back(shared, &mut row).await?;
            }
            Err(error @ (ApiError::Server { delivery, .. } | ApiError::Network { delivery, .. })) => {
                // An edit can be made twice unseen.
                row.repeat |= delivery == Delivery::Unknown && row.kind() == Kind::Send;
                if row.attempts < shared.limits.attempts {
                    let wait = backoff(shared, &row);
                    row.not_before = now() + wait.as_millis() as i64;
                    tracing::warn!(row = row.id, chat = %key.chat, attempts = row.attempts, %error, "send; trying again");
                    put_back(shared, &mut row).await?;
                    continue;
                }
                return bury(shared, key, &row, &error).await;
            }
            Err(ApiError::Migrated { to }) if to != key.chat => return migrate(shared, key, to).await,
            Err(error @ ApiError::ChatGone(_)) => return bury_chat(shared, key, &row, &error).await,
            Err(error) => return bury(shared, key, &row, &error).await,
        }
        if row.attempts >= shared.limits.attempts {
            return bury(shared, key, &row, &ApiError::TooMany { retry_after: Duration::ZERO }).await;
        }
    }
}

/// Waits until the row, its chat and its bot may send.
async fn await_turn(shared: &Shared, key: &Key, row: &mut Row) -> Result<(), Stopped> {
    loop {
        let due = Duration::from_millis(u64::try_from(row.not_before - now()).unwrap_or(0));
        let paused = shared.pacer.bot_pause(&key.bot, Instant::now()).max(due);
        if !paused.is_zero() {
            wait(shared, row, paused).await?;
            continue;
        }
        let chat = shared.pacer.take_chat(&key.bot, key.chat, Instant::now());
        if !chat.is_zero() {
            wait(shared, row, chat).await?;
            continue;
        }
        break;
    }
    loop {
        let until = Instant::now() + shared.pacer.reserve_bot(&key.bot, Instant::now());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            wait(shared, row, left).await?;
        }
        // A pause that began meanwhile ends for everybody at once: get in line again behind it.
        let paused = shared.pacer.bot_pause(&key.bot, Instant::now());
        if paused.is_zero() {
            return if shared.stop.is_cancelled() { Err(stopped(shared, row).await) } else { Ok(()) };
        }
        wait(shared, row, paused).await?;
    }
}

async fn wait(shared: &Shared, row: &mut Row, time: Duration) -> Result<(), Stopped> {
    if time > SHORT && row.announced {
        put_back(shared, row).await?;
    }
    match shared.rest(time).await {
        Ok(()) => Ok(()),
        Err(Stopped) => Err(stopped(shared, row).await),
    }
}

/// At a stop, what was announced and not called goes back: it was surely not sent.
async fn stopped(shared: &Shared, row: &mut Row) -> Stopped {
    if row.announced {
        let row = row.clone();
        if let Err(error) = shared.store.write(move |t| rows::requeue(t, &row)).await {
            tracing::warn!(%error, "put a message back at the stop; it will be marked as possibly repeated");
        }
    }
    Stopped
}

async fn put_back(shared: &Shared, row: &mut Row) -> Result<(), Stopped> {
    row.announced = false;
    let row = row.clone();
    shared.record("put back", move |t| rows::requeue(t, &row)).await
}

/// 1, 2, 4, … times the first wait, at most the longest; up to a quarter more, so that chats do not come all at once.
fn backoff(shared: &Shared, row: &Row) -> Duration {
    let doubled = shared.limits.first_wait * 2u32.saturating_pow(row.attempts.saturating_sub(1).min(16));
    let wait = doubled.min(shared.limits.longest_wait);
    wait + wait / 4 * (row.id.rem_euclid(16) as u32) / 16
}

/// The calls for one row, in other forms when Telegram refuses the first; refused ones surely did nothing.
async fn attempt(shared: &Shared, key: &Key, row: &mut Row) -> Result<Option<i64>, ApiError> {
    let _permit = shared.permits.acquire().await;
    if row.body.file.is_some() {
        return attempt_file(shared, key, row).await;
    }
    let mut form = Form::Html;
    loop {
        match post(shared, key, row, form).await {
            Err(ApiError::BadMarkup) if form == Form::Html => {
                tracing::warn!(row = row.id, "Telegram refused the markup; sending plain text");
                form = Form::Plain;
            }
            Err(ApiError::TooLong) if form != Form::Pieces => form = Form::Pieces,
            Err(ApiError::ThreadNotFound) if row.topic.is_some() => row.topic = None,
            Err(ApiError::EditGone) if row.body.edit.is_some() => row.body.edit = None,
            Err(ApiError::NotModified) => return Ok(row.body.edit),
            // It succeeded, only its number is not known.
            Err(ApiError::Unreadable(_)) => return Ok(row.body.edit),
            other => return other,
        }
    }
}

/// The calls for a row with a file: as a document, if it is not what it seemed to be.
async fn attempt_file(shared: &Shared, key: &Key, row: &mut Row) -> Result<Option<i64>, ApiError> {
    loop {
        let Some(file) = &mut row.body.file else { return Ok(None) };
        match upload(shared, key, row.topic, row.repeat, file).await {
            Err(ApiError::ThreadNotFound) if row.topic.is_some() => row.topic = None,
            Err(ApiError::Refused { status: 400 | 413, description }) if file.sent_as != SentAs::Document => {
                tracing::info!(
                    row = row.id,
                    description,
                    "Telegram refused a file; sending it as a document"
                );
                file.sent_as = SentAs::Document;
            }
            Err(ApiError::Unreadable(_)) => return Ok(None),
            other => return other.map(|sent| Some(sent.message_id)),
        }
    }
}

async fn upload(
    shared: &Shared,
    key: &Key,
    topic: Option<i64>,
    repeat: bool,
    file: &Carried,
) -> Result<Sent, ApiError> {
    let (opening, wanted) = (Arc::clone(&shared.files), file.clone());
    let opened = tokio::task::spawn_blocking(move || opening(&wanted)).await.map_err(std::io::Error::other);
    let open = opened.and_then(|opened| opened).map_err(|error| ApiError::Refused {
        status: 0,
        description: format!("its file can't be read any more: {error}"),
    })?;
    let topic = topic.map(|topic| ("message_thread_id", topic.to_string()));
    let mark = repeat.then(|| ("caption", REPEAT_MARK.trim_end().to_owned()));
    let fields = [("chat_id", key.chat.to_string())].into_iter().chain(topic).chain(mark);
    let upload = Upload {
        sent_as: file.sent_as,
        fields: fields.collect(),
        name: file.shown.clone(),
        media: file.media.clone(),
        file: open,
        size: file.size,
    };
    upload_within(&*shared.api, &key.bot, upload, shared.limits.call).await
}

async fn post(shared: &Shared, key: &Key, row: &Row, form: Form) -> Result<Option<i64>, ApiError> {
    let body = &row.body;
    let text = match form {
        Form::Html => &body.html,
        Form::Plain | Form::Pieces => &body.plain,
    };
    let marked = row.repeat.then(|| format!("{REPEAT_MARK}{text}"));
    let text = marked.as_ref().unwrap_or(text);
    if form != Form::Pieces {
        return one(shared, key, row, text, form, (true, true)).await;
    }
    let pieces = split(&Rich::plain(text), SMALLER);
    let last = pieces.len().saturating_sub(1);
    let mut id = None;
    for (at, piece) in pieces.iter().enumerate() {
        id = one(shared, key, row, &piece.plain, form, (at == 0, at == last)).await.map_err(|error| {
            match error {
                // What went before is delivered; a later try repeats it.
                ApiError::Server { status, .. } if at > 0 => {
                    ApiError::Server { status, delivery: Delivery::Unknown }
                }
                ApiError::Network { message, .. } if at > 0 => {
                    ApiError::Network { message, delivery: Delivery::Unknown }
                }
                other => other,
            }
        })?;
    }
    Ok(id)
}

/// One call. Only the first piece replies or edits, only the last has the buttons.
async fn one(
    shared: &Shared,
    key: &Key,
    row: &Row,
    text: &str,
    form: Form,
    (first, last): (bool, bool),
) -> Result<Option<i64>, ApiError> {
    let (api, limit) = (&*shared.api, shared.limits.call);
    let parse_mode = (form == Form::Html).then_some(ParseMode::Html);
    let buttons: Option<&InlineKeyboard> = row.body.buttons.as_ref().filter(|_| last);
    if let Some(message_id) = row.body.edit.filter(|_| first) {
        let edit = EditMessageText {
            chat_id: key.chat,
            message_id,
            text,
            parse_mode,
            link_preview_options: NO_PREVIEW,
            reply_markup: buttons,
        };
        return call_within(api, &key.bot, &edit, limit).await.map(|_| Some(message_id));
    }
    let reply = row.body.reply_to.filter(|_| first);
    let send = SendMessage {
        chat_id: key.chat,
        message_thread_id: row.topic,
        text,
        parse_mode,
        link_preview_options: NO_PREVIEW,
        reply_parameters: reply
            .map(|message_id| ReplyParameters { message_id, allow_sending_without_reply: true }),
        reply_markup: buttons,
    };
    call_within(api, &key.bot, &send, limit).await.map(|sent| Some(sent.message_id))
}

async fn record_sent(
    shared: &Shared,
    key: &Key,
    row: &Row,
    message_id: Option<i64>,
    next: Option<&mut Row>,
) -> Result<(), Stopped> {
    let next = next
        .filter(|next| next.not_before <= now() && shared.pacer.is_free(&key.bot, key.chat, Instant::now()));
    let (id, next_id) = (row.id, next.as_ref().map(|next| next.id));
    let done = shared.record("sent", move |t| {
        rows::sent(t, id, message_id)?;
        next_id.map_or(Ok(()), |id| rows::announce(t, id))
    });
    done.await?;
    if let Some(next) = next {
        next.announced = true;
    }
    Ok(())
}

async fn migrate(shared: &Arc<Shared>, key: &Key, to: ChatId) -> Result<Flow, Stopped> {
    tracing::info!(from = %key.chat, %to, "the group became a supergroup");
    let Key { bot, chat } = key.clone();
    shared.record("migrate", move |t| rows::migrate(t, &bot, chat, to)).await?;
    shared.tell(Event::Migrated { bot: key.bot.clone(), from: key.chat, to });
    wake(shared, Key { bot: key.bot.clone(), chat: to });
    Ok(Flow::Reload)
}

async fn bury(shared: &Shared, key: &Key, row: &Row, error: &ApiError) -> Result<Flow, Stopped> {
    let (id, attempts, problem) = (row.id, row.attempts, error.to_string());
    let reason = problem.clone();
    shared.record("bury", move |t| rows::bury(t, id, attempts, &reason)).await?;
    dead(shared, key, vec![id], row.answers, problem);
    Ok(Flow::Next)
}

async fn bury_chat(shared: &Shared, key: &Key, row: &Row, error: &ApiError) -> Result<Flow, Stopped> {
    let problem = error.to_string();
    let (Key { bot, chat }, reason) = (key.clone(), problem.clone());
    let buried = Arc::new(std::sync::Mutex::new(Vec::new()));
    let found = buried.clone();
    let all = move |t: &rusqlite::Transaction<'_>| {
        let rows = rows::bury_chat(t, &bot, chat, &reason)?;
        *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = rows;
        Ok(())
    };
    shared.record("bury chat", all).await?;
    let rows = std::mem::take(&mut *buried.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    dead(shared, key, rows, row.answers, problem);
    Ok(Flow::Reload)
}

fn dead(shared: &Shared, key: &Key, rows: Vec<i64>, answers: Option<i64>, problem: String) {
    tracing::error!(chat = %key.chat, rows = rows.len(), %problem, "messages were given up");
    shared.tell(Event::Dead { bot: key.bot.clone(), chat: key.chat, rows, answers, problem });
}
