//! The webhook of each bot: its secret, made once and kept here, and the calls that register or remove it at
//! Telegram. Only the operator's socket leads here; the gateway gets a digest of the secret.

mod rotate;
mod secret;
mod secrets;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use http_body_util::{BodyExt, Limited};
use openclaw_wire::{
    config::{Config, Updates},
    egress::{Refusal, RefusalKind, SetWebhook},
    facts::FACTS,
    id::BotName,
};
use serde_json::json;
use url::Url;

use crate::{
    dial::Request,
    live::Live,
    proxy::{Answer, Egress},
    refuse::refusal,
    table::BotRow,
};

pub use secret::WebhookSecret;
pub use secrets::Webhooks;

/// Largest answer of Telegram to a call about webhooks, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Where updates go, by the configuration.
#[derive(Debug)]
pub struct Place {
    /// The configured public address.
    pub public_url: Option<Url>,
    /// Plain http is fine: the Bot API server is the operator's own (`telegram.private`).
    pub plain: bool,
}

impl Place {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        Self { public_url: config.webhook.public_url.clone(), plain: config.telegram.private }
    }

    /// The address that Telegram calls for a bot.
    fn address(&self, given: Option<&str>, bot: &BotName) -> Result<Url, Refusal> {
        let bad = |why: &str| {
            let mend = "give https://host, or set `public_url` below [webhook] in openclaw.toml";
            refusal(RefusalKind::BadRequest, format!("the webhook's public address {why}"), mend)
        };
        let mut url = match given {
            Some(text) => Url::parse(text).map_err(|_| bad("is not an address"))?,
            None => self.public_url.clone().ok_or_else(|| bad("is missing"))?,
        };
        let extra = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        if url.scheme() != "https" && !(self.plain && url.scheme() == "http") {
            return Err(bad("is not https"));
        }
        if extra || url.fragment().is_some() || !url.has_host() {
            return Err(bad("has more than host and path"));
        }
        url.set_path(&format!("{}{}{bot}", url.path().trim_end_matches('/'), FACTS.webhook.path));
        Ok(url)
    }
}

/// Telegram's answer to a call about a webhook.
struct Said {
    status: http::StatusCode,
    json: serde_json::Value,
}

impl Said {
    fn ok(&self) -> bool {
        self.status.is_success() && self.json["ok"] == true
    }

    /// As Telegram gave it.
    fn answer(self) -> Response<Answer> {
        crate::refuse::json(self.status, &self.json)
    }
}

impl Egress {
    /// Registers the webhook; the answer is Telegram's view of it afterwards.
    pub async fn webhook_set(&self, bot: &BotName, wish: &SetWebhook) -> Result<Response<Answer>, Refusal> {
        let _turn = self.exchange.turn.lock().await;
        let live = self.exchange.current.get();
        let row = self.bot(&live, bot)?;
        if row.shown.updates != Updates::Webhook {
            return Err(refusal(
                RefusalKind::BadRequest,
                format!("bot {bot} polls, and Telegram allows no polling beside a webhook"),
                "write `updates = \"webhook\"` into its [[telegram.bot]], start again, then set the webhook",
            ));
        }
        let url = self.place.address(wish.public_url.as_deref(), bot)?;
        let said = self.register(&live, row, &url, wish.drop_pending_updates).await?;
        if said.ok() {
            self.exchange.webhooks.registered(bot).map_err(not_kept)?;
            self.exchange.current.changed();
        }
        self.shown(&live, row, "setWebhook", said).await
    }

    /// Telegram's view of the webhook, with its last error.
    pub async fn webhook_info(&self, bot: &BotName) -> Result<Response<Answer>, Refusal> {
        let live = self.exchange.current.get();
        Ok(self.call(&live, self.bot(&live, bot)?, "getWebhookInfo", &json!({})).await?.answer())
    }

    /// Removes the webhook; queued updates stay with Telegram and come by polling.
    pub async fn webhook_delete(&self, bot: &BotName) -> Result<Response<Answer>, Refusal> {
        let live = self.exchange.current.get();
        let row = self.bot(&live, bot)?;
        let said = self.call(&live, row, "deleteWebhook", &json!({})).await?;
        self.shown(&live, row, "deleteWebhook", said).await
    }

    /// A bot of the table.
    fn bot<'a>(&self, live: &'a Live, name: &BotName) -> Result<&'a BotRow, Refusal> {
        live.table.bots.iter().find(|bot| bot.shown.name == *name).ok_or_else(|| {
            let mend = "`openclaw status` shows the bots; each is a [[telegram.bot]] of openclaw.toml";
            refusal(RefusalKind::BadRequest, format!("there is no bot {name}"), mend)
        })
    }

    /// `setWebhook` with the newest secret.
    async fn register(
        &self,
        live: &Live,
        row: &BotRow,
        url: &Url,
        drop_pending: bool,
    ) -> Result<Said, Refusal> {
        let arguments = json!({
            "url": url.as_str(),
            "secret_token": row.webhook.secret().expose(),
            "allowed_updates": FACTS.telegram.updates,
            // Telegram's default; each is one request at a time.
            "max_connections": 40,
            "drop_pending_updates": drop_pending,
        });
        self.call(live, row, "setWebhook", &arguments).await
    }

    /// What came of a change: Telegram's view of the webhook afterwards, or why it refused.
    async fn shown(
        &self,
        live: &Live,
        row: &BotRow,
        method: &str,
        said: Said,
    ) -> Result<Response<Answer>, Refusal> {
        tracing::info!(bot = %row.shown.name, method, status = said.status.as_u16(), "webhook");
        match said.status.is_success() {
            true => Ok(self.call(live, row, "getWebhookInfo", &json!({})).await?.answer()),
            false => Ok(said.answer()),
        }
    }

    async fn call(
        &self,
        live: &Live,
        row: &BotRow,
        method: &str,
        arguments: &serde_json::Value,
    ) -> Result<Said, Refusal> {
        let call = row.call.as_ref().map_err(Clone::clone)?;
        let mut request = Request::new(Method::POST, call.method(method));
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = Bytes::from(arguments.to_string()).into();
        call.credentials.iter().for_each(|credential| credential.used.mark());
        let far = live.clients.send(&call.way, request).await?;
        let status = far.status();
        let unclear = |why: String| {
            refusal(RefusalKind::NoAnswer, format!("read Telegram's answer to {method}: {why}"), "try again")
        };
        let body = Limited::new(far.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| unclear(error.to_string()))?.to_bytes();
        // What Telegram says about a webhook contains no secret; another server might echo one.
        let mut scanner = crate::mask::Scanner::new(std::sync::Arc::clone(&live.masks));
        let body = [scanner.pass(body), scanner.rest()].concat();
        let json = serde_json::from_slice(&body)
            .map_err(|_| unclear(format!("status {}, and no JSON", status.as_u16())))?;
        Ok(Said { status, json })
    }
}

/// The change was made at Telegram and not on the disk.
fn not_kept(error: anyhow::Error) -> Refusal {
    refusal(
        RefusalKind::BadRequest,
        format!("keep the webhook's secret: {error:#}"),
        "free some room, and try again",
    )
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::BotName;

    use super::Place;

    fn bot() -> BotName {
        "main".parse().expect("name")
    }

    #[test]
    fn the_address_is_https_and_ends_with_the_bot() {
        let place =
            |plain| Place { public_url: Some("https://bot.example.com".parse().expect("url")), plain };
        let address = |plain, given| place(plain).address(given, &bot()).map(String::from);
        let good = Ok("https://bot.example.com/telegram/main".to_owned());
        assert_eq!(address(false, None), good);
        assert_eq!(address(false, Some("https://bot.example.com/")), good);
        let below = "https://bot.example.com/a/telegram/main".to_owned();
        assert_eq!(address(false, Some("https://bot.example.com/a/")), Ok(below));
        for bad in ["http://h", "h", "https://u:p@h", "https://h?q", "https://h#f", "ftp://h"] {
            assert!(address(false, Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(address(true, Some("http://h")), Ok("http://h/telegram/main".into()));
        assert!(address(true, Some("ftp://h")).is_err());
    }
}
