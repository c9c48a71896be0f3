//! Telegram, a model server, and the real OpenClaw between them: what nearly every claim begins with.

use std::path::PathBuf;

use crate::{
    gateway::{Gateway, Setup},
    model::Model,
    telegram::{Account, Person, Telegram},
};

/// The owner's user id.
pub const OWNER: i64 = 1001;

/// All of it. The gateway goes first when it is dropped, so that the stand-ins see no half-open end.
pub struct World {
    /// The programs under test.
    pub gateway: Gateway,
    /// The far end on one side.
    pub telegram: Telegram,
    /// The far end on the other side.
    pub model: Model,
    /// The bot `main`.
    pub bot: Account,
    /// The owner.
    pub anna: Person,
}

impl World {
    /// With a bot by polling. `more` adds to the setup before the start.
    pub async fn polling(more: impl FnOnce(&mut Setup)) -> Self {
        let (telegram, model) = (Telegram::start().await, Model::start().await);
        let (setup, bot) = Setup::usual(&telegram, &model, OWNER);
        Self::start(telegram, model, setup, bot, more).await
    }

    /// With a bot by webhook, registered by the operator's command.
    pub async fn webhook(more: impl FnOnce(&mut Setup)) -> Self {
        let (telegram, model) = (Telegram::start().await, Model::start().await);
        let (setup, bot) = Setup::usual_webhook(&telegram, &model, OWNER);
        let world = Self::start(telegram, model, setup, bot, more).await;
        world.gateway.ask(&["webhook", "set"]).await;
        world
    }

    /// As [`World::webhook`], on a unix socket: its path comes second.
    pub async fn webhook_socket(more: impl FnOnce(&mut Setup)) -> (Self, PathBuf) {
        let (telegram, model) = (Telegram::start().await, Model::start().await);
        let (setup, bot, path) = Setup::usual_webhook_socket(&telegram, &model, OWNER);
        let world = Self::start(telegram, model, setup, bot, more).await;
        world.gateway.ask(&["webhook", "set"]).await;
        (world, path)
    }

    async fn start(
        telegram: Telegram,
        model: Model,
        mut setup: Setup,
        bot: Account,
        more: impl FnOnce(&mut Setup),
    ) -> Self {
        more(&mut setup);
        let gateway = Gateway::start(setup).await;
        let anna = bot.person(OWNER, "Anna");
        Self { gateway, telegram, model, bot, anna }
    }

    /// The secret that egress registered for the webhook.
    pub fn secret(&self) -> String {
        self.bot.webhook().and_then(|(_, secret)| secret).expect("a webhook with a secret is registered")
    }
}
