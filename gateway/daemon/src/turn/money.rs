//! Money, between egress and the chats: what the owner must hear of a spending limit goes through the outbox, once; a
//! tap raises a limit as far as egress lets it; `/usage` tells what was used. Nothing here decides what may be spent.

use std::{sync::Arc, time::Duration};

use openclaw_wire::{
    config::TERMINAL,
    id::{BotName, ChatId, UserId},
    spend::Alert,
};
use tracing::{info, warn};

use super::{Engine, now, now_ms, owner};
use crate::{
    inbox::Lane,
    outbox::rows,
    session::history,
    spend::{account, told, words},
    store::StoreError,
    telegram::method::{Button, ButtonStyle, InlineKeyboard},
};

/// Prefix of the callback data of a button that raises a limit.
pub const RAISE: &str = "s:";
/// Pause while there is nobody to tell, or egress does not answer.
const AGAIN: Duration = Duration::from_secs(10);

impl Engine {
    /// Tells the owners what egress has to say of spending limits, until the end.
    pub async fn hear_of_money(self: Arc<Self>) {
        loop {
            let alerts = tokio::select! {
                alerts = self.egress.alerts() => alerts,
                () = self.stopping.cancelled() => return,
            };
            let mut pause = None;
            match alerts {
                Ok(alerts) => {
                    for alert in alerts {
                        match self.tell_of(&alert).await {
                            Ok(true) => {
                                pause = self.egress.acknowledge(&alert).await.err().map(|_| AGAIN).or(pause)
                            }
                            Ok(false) => pause = Some(AGAIN),
                            Err(error) => {
                                warn!(%error, "could not tell the owner of a spending limit; trying again");
                                pause = Some(AGAIN);
                            }
                        }
                    }
                }
                // It may just be starting again.
                Err(_) => pause = Some(AGAIN / 10),
            }
            tokio::select! {
                () = tokio::time::sleep(pause.unwrap_or_default()) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Message and record in one commit. `false` when there is no owner, or no bot that reaches one.
    async fn tell_of(&self, alert: &Alert) -> Result<bool, StoreError> {
        let to = self.lanes_of_owners()?;
        if to.is_empty() {
            return Ok(false);
        }
        let (text, button) = words::alert(alert);
        let (alert, lanes) = (alert.clone(), to.clone());
        let told = self
            .store
            .write(move |tx| {
                let Some(id) = told::record(tx, &alert, now())? else { return Ok(false) };
                let buttons = button.as_ref().map(|label| InlineKeyboard {
                    inline_keyboard: vec![vec![Button {
                        text: label.clone(),
                        callback_data: format!("{RAISE}{id}"),
                        style: Some(ButtonStyle::Danger),
                    }]],
                });
                for lane in &lanes {
                    let notice = owner::notice(lane, lane.chat.0, &text);
                    rows::enqueue(tx, &rows::Outgoing { buttons: buttons.clone(), ..notice }, now_ms())?;
                }
                Ok(true)
            })
            .await?;
        if told {
            to.iter().for_each(|lane| self.sender.wake(&lane.bot, lane.chat));
        }
        Ok(true)
    }

    /// Where the owners are reached.
    pub(super) fn lanes_of_owners(&self) -> Result<Vec<Lane>, StoreError> {
        let owners: Vec<UserId> = self.access().owners().collect();
        let mut to = Vec::new();
        for owner in owners {
            if let Some(bot) = self.bot_of(owner)? {
                to.push(Lane { bot, chat: ChatId(owner.0), topic: 0 });
            }
        }
        Ok(to)
    }

    /// The bot through which an owner last spoke to us; any, if none did.
    fn bot_of(&self, owner: UserId) -> Result<Option<BotName>, StoreError> {
        let spoken = self.store.read(|connection| history::last_bot(connection, owner.0, TERMINAL))?;
        let known = self.bots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let spoken = spoken.and_then(|bot| bot.parse().ok()).filter(|bot| known.contains_key(bot));
        Ok(spoken.or_else(|| known.keys().min().cloned()))
    }
}

/// A tap on the button below an alert, by an owner. Gives what is said to it.
pub async fn raise(engine: &Engine, id: &str) -> Result<String, StoreError> {
    let wish = match id.parse() {
        Ok(id) => engine.store.read(|connection| told::wish(connection, id))?,
        Err(_) => None,
    };
    let Some(wish) = wish else { return Ok("This button does nothing any more.".into()) };
    Ok(match engine.egress.raise(&wish).await {
        Ok(state) => {
            info!(whose = %state.cap.whose, limit = %state.limit, "the owner raised a spending limit");
            format!("The limit is {} now.", state.limit.shown())
        }
        Err(crate::egress::EgressError::Refused(refusal)) => format!("{}.", refusal.message),
        Err(error) => error.to_string(),
    }
    .chars()
    .take(LONGEST_NOTE)
    .collect())
}

/// Telegram shows at most so many characters at a pressed button.
const LONGEST_NOTE: usize = 200;

/// `/usage`: in an owner's own chat all of it, elsewhere what this chat used.
pub async fn usage(engine: &Engine, lane: &Lane) -> String {
    let own = lane.bot.as_str() == TERMINAL || engine.access().is_owner(UserId(lane.chat.0));
    match engine.egress.spent().await {
        Ok(report) if own => words::of_all(&report),
        Ok(report) => words::of_chat(&report, &account(lane)),
        Err(error) => format!("What was spent can't be told: {error}."),
    }
}

/// A line for `/status`.
pub async fn status(engine: &Engine) -> String {
    match engine.egress.status().await {
        Ok(status) => words::in_short(&status.caps),
        Err(error) => format!("What was spent can't be told: {error}."),
    }
}
