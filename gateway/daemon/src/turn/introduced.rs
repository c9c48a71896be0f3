//! Until Telegram has said what the bot is called, nobody can tell whether a message in a group, or `/word@name`, is meant
//! for it. Such messages wait here: taken for one or the other, they would be lost or go to the model.

use tokio_util::sync::CancellationToken;

use super::{Engine, Item, TERMINAL};
use crate::{
    inbox::Lane,
    session::Command,
    telegram::update::{Kind, Message},
};

impl Engine {
    /// Whether it depends on the bot's name what is to be done with this.
    pub(super) fn unclear(&self, lane: &Lane, item: &Item) -> bool {
        let Some(message) = message(item) else { return false };
        let depends = self.access().lists(message.chat.id) || Command::addressed(message.words());
        depends && lane.bot.as_str() != TERMINAL && self.identity(&lane.bot).is_none()
    }

    /// Whether it would be handled ahead of its lane, if it is meant for the bot.
    pub(super) fn may_be_urgent(&self, item: &Item) -> bool {
        let Some(message) = message(item) else { return false };
        let name = message.words().split_whitespace().next().and_then(|word| word.split_once('@'));
        let command = Command::parse(message.words(), name.map(|(_, name)| name));
        matches!(item.update.kind, Kind::Message(_)) && command.is_some_and(|(command, _)| command.urgent())
    }

    /// Waits until the bot is known, or its turn is stopped; `false` when the process ends before.
    pub(super) async fn until_introduced(&self, lane: &Lane, stop: &CancellationToken) -> bool {
        loop {
            let introduced = self.introduced.notified();
            if self.identity(&lane.bot).is_some() {
                return true;
            }
            tokio::select! {
                () = introduced => {}
                () = stop.cancelled() => return true,
                () = self.stopping.cancelled() => return false,
            }
        }
    }
}

fn message(item: &Item) -> Option<&Message> {
    match &item.update.kind {
        Kind::Message(message) | Kind::Edited(message) => Some(message),
        _ => None,
    }
}
