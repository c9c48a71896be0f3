//! A new secret for a webhook without losing an update: the gateway learns the new digest first, then Telegram the secret;
//! what was sent with the old one meanwhile is still right.

use std::time::Duration;

use openclaw_wire::{
    config::Updates,
    egress::{Refusal, RefusalKind, Rotated},
    id::BotName,
};
use serde_json::json;
use url::Url;

use super::{not_kept, secrets::BOTH};
use crate::{proxy::Egress, refuse::refusal};

/// Between tries to finish what a crash or the network interrupted.
const AGAIN: Duration = Duration::from_secs(10);

impl Egress {
    /// Exchanges a bot's webhook secret. `at_once`: the old one is not right any more from now on, also for updates
    /// that are under way; Telegram delivers those again.
    pub async fn webhook_rotate(&self, bot: &BotName, at_once: bool) -> Result<Rotated, Refusal> {
        let _turn = self.exchange.turn.lock().await;
        let url = self.registered_url(bot).await?;
        let webhooks = &self.exchange.webhooks;
        webhooks.begin(bot, at_once).map_err(not_kept)?;
        self.exchange.renew().map_err(not_kept)?;
        if !self.exchange.current.heard().await {
            tracing::warn!(%bot, "the gateway has not asked for the new digest; it will when it runs");
        }
        match self.finish(bot, &url).await {
            Ok(Ok(())) => {}
            Ok(Err(description)) => {
                webhooks.give_up(bot).map_err(not_kept)?;
                self.exchange.renew().map_err(not_kept)?;
                return Err(refusal(
                    RefusalKind::BadRequest,
                    format!("Telegram refused the new webhook secret: {description}"),
                    "everything is as before; look at `openclaw webhook info`",
                ));
            }
            Err(unclear) => {
                return Err(refusal(
                    unclear.kind,
                    format!("whether Telegram uses the new webhook secret is not known: {}", unclear.message),
                    "both secrets are right, and it is tried again by itself",
                ));
            }
        }
        let previous_seconds = if at_once { 0 } else { BOTH };
        Ok(Rotated { url: url.to_string(), previous_seconds })
    }

    /// Finishes what was interrupted, as long as the process lives.
    pub async fn finish_webhooks(&self) {
        loop {
            for bot in self.exchange.webhooks.pending() {
                let _turn = self.exchange.turn.lock().await;
                let done = match self.registered_url(&bot).await {
                    Ok(url) => self.finish(&bot, &url).await,
                    Err(refusal) => Err(refusal),
                };
                match done {
                    Ok(Ok(())) => tracing::info!(%bot, "Telegram uses the new webhook secret"),
                    Ok(Err(why)) => tracing::warn!(%bot, "Telegram refuses the new webhook secret: {why}"),
                    Err(refusal) => tracing::warn!(%bot, "exchange the webhook secret: {}", refusal.message),
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tells Telegram; the inner error is its refusal.
    async fn finish(&self, bot: &BotName, url: &Url) -> Result<Result<(), String>, Refusal> {
        let live = self.exchange.current.get();
        let row = self.bot(&live, bot)?;
        let said = self.register(&live, row, url, false).await?;
        tracing::info!(%bot, status = said.status.as_u16(), "webhook secret");
        match (said.ok(), said.status.is_client_error() && said.status.as_u16() != 429) {
            (true, _) => {
                self.exchange.webhooks.registered(bot).map_err(not_kept)?;
                self.exchange.current.changed();
                Ok(Ok(()))
            }
            (false, true) => {
                Ok(Err(said.json["description"].as_str().unwrap_or("no reason").chars().take(200).collect()))
            }
            (false, false) => Err(refusal(
                RefusalKind::NoAnswer,
                format!("Telegram answered {}", said.status.as_u16()),
                "try again",
            )),
        }
    }

    /// Where Telegram delivers to now.
    async fn registered_url(&self, bot: &BotName) -> Result<Url, Refusal> {
        let live = self.exchange.current.get();
        let row = self.bot(&live, bot)?;
        let info = match row.shown.updates {
            Updates::Webhook => self.call(&live, row, "getWebhookInfo", &json!({})).await?.json,
            Updates::Poll => serde_json::Value::Null,
        };
        let url = info["result"]["url"].as_str().and_then(|url| Url::parse(url).ok());
        url.ok_or_else(|| {
            refusal(
                RefusalKind::BadRequest,
                format!("Telegram delivers the updates of {bot} to no webhook"),
                format!("openclaw webhook set --bot {bot}"),
            )
        })
    }
}
