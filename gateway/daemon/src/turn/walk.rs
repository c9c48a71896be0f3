//! One message, there and back: who, what, before, think, and one commit that holds the answer and the end of it.

use std::{sync::Arc, time::Duration};

use openclaw_wire::admin::ChatEvent;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Engine, Item, TERMINAL, attach,
    conversation::Conversation,
    made, now, now_ms, orders,
    reply::Reply,
    think::{self, Thought},
    vouched::{self, Vouched},
    words,
};
use crate::{
    files,
    inbox::{self, Lane},
    outbox::shown::{self, Shown},
    policy::ask,
    session::{Admission, Command, Refusal, history, pairing},
    skill::calls,
    store::StoreError,
    telegram::update::{Kind, Message},
};

/// How long the other pictures of an album may take to arrive.
const ALBUM: Duration = Duration::from_millis(700);

/// Takes one item of a lane through all stages. What goes wrong is told to the chat; what can't be stored stays in the
/// inbox for another try.
pub(super) async fn walk(engine: &Arc<Engine>, lane: &Lane, item: Item, stop: &CancellationToken) {
    let row = item.row;
    let started = std::time::Instant::now();
    let mut items = vec![item];
    match take(engine, lane, &mut items, stop).await {
        Ok(outcome) => {
            info!(lane = %lane.chat, bot = %lane.bot, row, outcome, elapsed_ms = started.elapsed().as_millis() as u64, "turn")
        }
        Err(error) => {
            warn!(lane = %lane.chat, bot = %lane.bot, row, %error, "a turn could not be stored");
            super::recover::failed(engine, lane, items, stop).await;
        }
    }
}

async fn take(
    engine: &Arc<Engine>,
    lane: &Lane,
    items: &mut Vec<Item>,
    stop: &CancellationToken,
) -> Result<&'static str, StoreError> {
    let item = &items[0];
    let (message, edited) = match &item.update.kind {
        Kind::Message(message) => (message, false),
        Kind::Edited(message) => (message, true),
        _ => return done(engine, vec![item.row], "no message").await,
    };
    let who = match admit(engine, lane, message) {
        Ok(who) => who,
        Err(refusal) => return refuse(engine, lane, item.row, message, refusal).await,
    };
    if engine.frozen() {
        return answer(
            engine,
            lane,
            &[item.row],
            "The assistant is frozen. The operator can lift it with `openclaw unfreeze`.",
        )
        .await;
    }
    let username = engine.identity(&lane.bot).map(|bot| bot.username);
    if let Some((command, arguments)) = Command::parse(message.words(), username.as_deref()) {
        let text = match command.allowed(who) {
            true => orders::carry_out(engine, lane, command, arguments).await?,
            false => "Only the owner can do that.".into(),
        };
        return answer(engine, lane, &[item.row], &text).await;
    }
    let album = album(engine, lane, message).await;
    items.extend(album);
    let messages: Vec<&Message> = items
        .iter()
        .filter_map(|item| match &item.update.kind {
            Kind::Message(message) | Kind::Edited(message) => Some(message.as_ref()),
            _ => None,
        })
        .collect();
    let rows: Vec<i64> = items.iter().map(|item| item.row).collect();
    let mut conversation = before(engine, lane, rows[0])?;
    let begun = !conversation.stored.is_empty();
    let came = match begun {
        // What came with it is told in the turn that is stored.
        true => Vec::new(),
        false => attach::take_in(engine, lane, rows[0], &messages, stop).await?,
    };
    let (user, labels) = words::user_turn(&messages, edited, who, &came);
    if labels.is_empty() && !begun {
        // A poll, a contact, a pinned message: no words, and a prompt without words is an error.
        return answer(engine, lane, &rows, "I can't read this kind of message yet.").await;
    }
    if let Some(why) = words::nothing_but_lost(&messages, &came) {
        return answer(engine, lane, &rows, &why).await;
    }
    vouched::owners_words(&user, &labels, &mut conversation.vouched);
    let tainted = conversation.tainted || labels.iter().any(|label| label.integrity.taints());
    let vouched = Vouched::new(std::mem::take(&mut conversation.vouched), tainted);
    let shown = shown(engine, lane, rows[0])?;
    let mut reply = Reply::begin(engine, lane, rows[0], messages[0], vouched, shown);
    let thought =
        think::think(engine, lane, rows[0], who, conversation, (user, labels), &reply, stop).await?;
    reply.complete().await;
    let outcome = thought.outcome;
    end(engine, lane, rows, thought, reply).await?;
    super::fold::fold_if_long(engine, lane, stop).await;
    Ok(outcome)
}

/// Who speaks. In the operator's own chat that is the operator.
fn admit(engine: &Engine, lane: &Lane, message: &Message) -> Result<Admission, Refusal> {
    if lane.bot.as_str() == TERMINAL {
        return Ok(Admission::Owner(openclaw_wire::id::UserId(0)));
    }
    engine.access().admit(message, engine.identity(&lane.bot).as_ref())
}

/// A refusal is silent, but for a stranger who knows the pairing code. The log has the number, never the words.
async fn refuse(
    engine: &Arc<Engine>,
    lane: &Lane,
    row: i64,
    message: &Message,
    refusal: Refusal,
) -> Result<&'static str, StoreError> {
    if let (Refusal::Stranger(user), "private") = (refusal, message.chat.kind.as_str())
        && let Some((Command::Start, code)) = Command::parse(message.words(), None)
        && !code.is_empty()
        && engine.guesses.allows(user, now())
    {
        let (code, now) = (code.to_owned(), now());
        let paired = engine.store.write(move |tx| pairing::redeem(tx, &code, user, now)).await?;
        if paired {
            engine.refresh_access()?;
            info!(%user, "paired: a new owner");
            let text = "Paired. You are the owner of this assistant; /help lists what it can do.";
            return answer(engine, lane, &[row], text).await;
        }
    }
    info!(bot = %lane.bot, chat = %lane.chat, ?refusal, "refused a message");
    done(engine, vec![row], "refused").await
}

/// The other messages of an album, which Telegram delivers one by one.
async fn album(engine: &Engine, lane: &Lane, first: &Message) -> Vec<Item> {
    let Some(group) = &first.media_group_id else { return Vec::new() };
    let mut items = Vec::new();
    tokio::time::sleep(ALBUM).await;
    items.extend(engine.lanes.take_while(lane, |item| {
        matches!(&item.update.kind, Kind::Message(message) if message.media_group_id.as_ref() == Some(group))
    }));
    items
}

fn before(engine: &Engine, lane: &Lane, row: i64) -> Result<Conversation, StoreError> {
    engine.store.read(|connection| {
        let session = history::find(connection, lane.bot.as_str(), lane.chat.0, lane.topic)?;
        let rows = match &session {
            Some(session) => history::rows(connection, session.id)?,
            None => Vec::new(),
        };
        Ok(Conversation::new(session, rows, row, engine.config.session.window))
    })
}

/// What an earlier try has left in a chat where answers are shown by edits.
fn shown(engine: &Engine, lane: &Lane, row: i64) -> Result<Shown, StoreError> {
    match lane.chat.0 < 0 {
        true => engine.store.read(|connection| shown::find(connection, row)),
        false => Ok(Shown::No),
    }
}

/// The one commit at the end: history, answer, and the inbox rows.
async fn end(
    engine: &Arc<Engine>,
    lane: &Lane,
    rows: Vec<i64>,
    thought: Thought,
    reply: Reply,
) -> Result<(), StoreError> {
    let (at, lane_) = (now_ms(), lane.clone());
    let outgoing = reply.outgoing(&thought.text);
    let (first, was_shown) = (rows[0], reply.was_shown());
    // A user who stopped it does not want more of it.
    let made = match thought.called && !thought.stopped {
        true => engine.store.read(|connection| files::rows::made_for(connection, first))?,
        false => Vec::new(),
    };
    let names = made::note(&made, None);
    let carried = match lane.bot.as_str() == TERMINAL {
        true => Vec::new(),
        false => made::outgoing(lane, first, made),
    };
    engine
        .store
        .write(move |tx| {
            let session = history::open(tx, lane_.bot.as_str(), lane_.chat.0, lane_.topic)?;
            for (turn, labels) in &thought.unstored {
                history::append(tx, session, first, turn, labels)?;
            }
            calls::forget(tx, first)?;
            if was_shown {
                shown::forget(tx, first)?;
            }
            ask::withdraw(tx, &think::calls_of(first))?;
            rows.iter().try_for_each(|row| inbox::done(tx, *row))?;
            outgoing.iter().try_for_each(|one| crate::outbox::rows::enqueue(tx, one, at).map(drop))?;
            carried.iter().try_for_each(|one| crate::outbox::file::enqueue(tx, one, at).map(drop))
        })
        .await?;
    if let Some(names) = names {
        reply.chat_event(ChatEvent::Files(names));
    }
    reply.end(engine, &thought.text, thought.failed).await;
    Ok(())
}

/// An answer that no model gave: one commit of outbox and inbox.
pub(super) async fn answer(
    engine: &Arc<Engine>,
    lane: &Lane,
    rows: &[i64],
    text: &str,
) -> Result<&'static str, StoreError> {
    let reply = Reply::plain(lane, rows[0]);
    let (outgoing, rows, at) = (reply.outgoing(text), rows.to_vec(), now_ms());
    engine
        .store
        .write(move |tx| {
            rows.iter().try_for_each(|row| inbox::done(tx, *row))?;
            outgoing.iter().try_for_each(|one| crate::outbox::rows::enqueue(tx, one, at).map(drop))
        })
        .await?;
    reply.end(engine, text, false).await;
    Ok("answered")
}

async fn done(engine: &Arc<Engine>, rows: Vec<i64>, why: &'static str) -> Result<&'static str, StoreError> {
    engine.store.write(move |tx| rows.iter().try_for_each(|row| inbox::done(tx, *row))).await?;
    Ok(why)
}
