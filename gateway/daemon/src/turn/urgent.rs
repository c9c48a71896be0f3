//! What does not wait in a lane: `/stop` and `/freeze`, pressed buttons, Telegram's stop button. Each is handled at
//! once, whatever its chat is busy with (incident 120).

use std::{borrow::Cow, sync::Arc, time::Duration};

use openclaw_wire::id::UserId;
use tracing::{info, warn};

use super::{
    Engine, Item, TERMINAL, money, now, orders, owner,
    recover::{LONGEST_PAUSE, PAUSE},
    walk,
};
use crate::{
    inbox::Lane,
    policy::ask::{self, Place},
    session::{Admission, Command},
    store::StoreError,
    telegram::{
        method::{AnswerCallbackQuery, EditMessageReplyMarkup, call_within},
        update::{Callback, Kind, Message, Stopped},
    },
};

/// Telegram shows a pressed button as waiting until it is answered; a late answer is useless.
const PRESS: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether an update is for this module.
    pub(super) fn urgent(&self, lane: &Lane, item: &Item) -> bool {
        match &item.update.kind {
            Kind::Message(message) => self.urgent_command(lane, message).is_some(),
            Kind::Edited(_) => false,
            Kind::Callback(_)
            | Kind::Stopped(_)
            | Kind::Membership { .. }
            | Kind::Moved { .. }
            | Kind::Other(_) => true,
        }
    }

    fn urgent_command(&self, lane: &Lane, message: &Message) -> Option<Command> {
        let username = self.identity(&lane.bot).map(|bot| bot.username);
        Command::parse(message.words(), username.as_deref())
            .map(|(command, _)| command)
            .filter(|command| command.urgent())
    }
}

/// Handles one. While the disk does not take it, it is tried again.
pub async fn handle(engine: &Arc<Engine>, lane: &Lane, item: Item) {
    let mut pause = PAUSE;
    let mut said = None;
    loop {
        let outcome = match &item.update.kind {
            Kind::Message(message) => command(engine, lane, item.row, message, &mut said).await,
            Kind::Callback(callback) => press(engine, lane, item.row, callback).await,
            Kind::Stopped(stopped) => {
                stop_button(engine, lane, item.row, stopped).await;
                Ok(())
            }
            Kind::Membership { chat } => {
                info!(bot = %lane.bot, chat = %chat.id, "the bot's membership changed");
                engine.settle(vec![item.row]).await;
                Ok(())
            }
            Kind::Moved { from, to } => match engine.group_moved(&lane.bot, *from, *to).await {
                Ok(()) => {
                    engine.settle(vec![item.row]).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Kind::Edited(_) | Kind::Other(_) => {
                engine.settle(vec![item.row]).await;
                Ok(())
            }
        };
        let Err(error) = outcome else { return };
        warn!(%error, row = item.row, "an urgent update could not be stored; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
            () = engine.stopping.cancelled() => return,
        }
    }
}

/// `said` is the answer once the command was carried out: it must not be carried out again, on what came later, only
/// because its answer could not be stored.
async fn command(
    engine: &Arc<Engine>,
    lane: &Lane,
    row: i64,
    message: &Message,
    said: &mut Option<String>,
) -> Result<(), StoreError> {
    if let Some(text) = said {
        return walk::answer(engine, lane, &[row], text).await.map(drop);
    }
    let who = match lane.bot.as_str() {
        TERMINAL => Ok(Admission::Owner(UserId(0))),
        _ => engine.access().admit(message, engine.identity(&lane.bot).as_ref()),
    };
    let (who, command) = match (who, engine.urgent_command(lane, message)) {
        (Ok(who), Some(command)) => (who, command),
        (refusal, _) => {
            info!(bot = %lane.bot, chat = %lane.chat, ?refusal, "refused a command");
            engine.settle(vec![row]).await;
            return Ok(());
        }
    };
    let text = match command {
        _ if !command.allowed(who) => "Only the owner can do that.".to_owned(),
        Command::Freeze => orders::freeze(engine).await?,
        _ => match stop_lane(engine, lane).await {
            true => "Stopped.".into(),
            false => "Nothing is running.".into(),
        },
    };
    walk::answer(engine, lane, &[row], said.insert(text)).await.map(drop)
}

/// Stops the running turn of a lane and drops what waits behind it.
pub async fn stop_lane(engine: &Engine, lane: &Lane) -> bool {
    let (mut running, mut dropped) = engine.lanes.stop(lane);
    if let Some(chat) = engine.moving.was(lane.chat) {
        let (more, behind) = engine.lanes.stop(&Lane { chat, ..lane.clone() });
        running |= more;
        dropped.extend(behind);
    }
    if !dropped.is_empty() {
        engine.settle(dropped.into_iter().map(|item| item.row).collect()).await;
    }
    running
}

/// A button under a question. Only an owner, only in the chat where it was asked, only once.
async fn press(engine: &Arc<Engine>, lane: &Lane, row: i64, callback: &Callback) -> Result<(), StoreError> {
    let user = callback.from.id;
    let data = callback
        .data
        .as_deref()
        .and_then(|data| data.strip_prefix(owner::QUESTION))
        .and_then(|data| data.split_once(':'));
    let allowed = engine.access().is_owner(user) && !callback.from.is_bot && lane.chat.0 == user.0;
    let raise = callback.data.as_deref().and_then(|data| data.strip_prefix(money::RAISE));
    let note: Cow<'_, str> = match (data, allowed) {
        (None, true) if raise.is_some() => money::raise(engine, raise.unwrap_or_default()).await?.into(),
        (Some((id, answer @ ("y" | "n"))), true) => {
            match answer_question(engine, lane, id, answer == "y").await? {
                true if answer == "y" => "Allowed, once.".into(),
                true => "Denied.".into(),
                false => "This question is no longer open.".into(),
            }
        }
        (_, true) => "This button does nothing any more.".into(),
        (_, false) => {
            warn!(bot = %lane.bot, chat = %lane.chat, %user, "refused a pressed button: not an owner in the owner's chat");
            "Only the owner can answer this.".into()
        }
    };
    engine.settle(vec![row]).await;
    let pressed =
        AnswerCallbackQuery { callback_query_id: &callback.id, text: Some(&note), show_alert: false };
    if let Err(error) = call_within(&*engine.api, &lane.bot, &pressed, PRESS).await {
        info!(%error, "a pressed button was not answered");
    }
    if let (Some(message), true) = (&callback.message, allowed) {
        let edit = EditMessageReplyMarkup {
            chat_id: message.chat.id,
            message_id: message.message_id,
            reply_markup: None,
        };
        if let Err(error) = call_within(&*engine.api, &lane.bot, &edit, PRESS).await {
            info!(%error, "the buttons of an answered question stay");
        }
    }
    Ok(())
}

/// Records an answer and wakes the turn that waits for it. `false` when the question is not open in this place.
pub async fn answer_question(engine: &Engine, lane: &Lane, id: &str, yes: bool) -> Result<bool, StoreError> {
    let (bot, chat, id) = (lane.bot.clone(), lane.chat.0, id.to_owned());
    let call = engine
        .store
        .write(move |tx| ask::answer(tx, &id, Place { bot: bot.as_str(), chat }, yes, now()))
        .await?;
    if let Some(call) = &call {
        info!(call, yes, "the owner answered a question");
        engine.answered.notify_waiters();
    }
    Ok(call.is_some())
}

/// Telegram's stop button. It comes from a private chat, so the chat is the user.
async fn stop_button(engine: &Arc<Engine>, lane: &Lane, row: i64, stopped: &Stopped) {
    if stopped.chat.kind == "private" {
        let running = engine.lanes.cancel_draft(&lane.bot, lane.chat, stopped.draft_id);
        info!(bot = %lane.bot, chat = %lane.chat, running, "the stop button was pressed");
    }
    engine.settle(vec![row]).await;
}
