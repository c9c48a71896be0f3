//! The webhook of each bot: its secret, made once and kept here, and the calls that register or remove it at
//! Telegram. Only the operator's socket leads here; the gateway gets a digest of the secret.

use std::{io::Read, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Method, Response, header};
use openclaw_wire::{
    config::Config,
    egress::{Refusal, RefusalKind, SetWebhook},
    facts::FACTS,
    id::BotName,
    secret::Secret,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    private_file,
    proxy::{Answer, Egress},
    refuse::refusal,
    table::BotRow,
};

/// Bytes of randomness in a secret; 43 characters of base64url, of Telegram's `A-Z a-z 0-9 _ -` up to 256.
const RANDOM: usize = 32;

/// What Telegram sends back in `X-Telegram-Bot-Api-Secret-Token`.
#[derive(Debug)]
pub struct WebhookSecret(Secret);

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

impl WebhookSecret {
    /// Reads a bot's secret from `folder`, or makes it when there is none.
    pub fn of(folder: &Path, bot: &BotName) -> anyhow::Result<Self> {
        let path = folder.join(format!("webhook-{bot}"));
        if let Some(file) = private_file::open(&path)? {
            // One byte more than Telegram allows, so that a longer one is noticed.
            let mut text = Zeroizing::new(String::with_capacity(257));
            let read = file.take(257).read_to_string(&mut text);
            let good = read.is_ok()
                && (32..=256).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            // Incident 14: a blank secret is an error and never "no secret".
            anyhow::ensure!(
                good,
                "{}: not a webhook secret\n  mend: remove the file, start again, then `openclaw webhook set`",
                path.display()
            );
            return Ok(Self(Secret::new(std::mem::take(&mut *text))));
        }
        let mut random = Zeroizing::new([0; RANDOM]);
        getrandom::fill(&mut *random).map_err(|error| anyhow::anyhow!("make a webhook secret: {error}"))?;
        let secret = Secret::new(URL_SAFE_NO_PAD.encode(*random));
        private_file::create(&path, secret.expose().as_bytes())?;
        Ok(Self(secret))
    }

    /// For the mask.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// SHA-256 in hex.
    pub fn digest(&self) -> String {
        Sha256::digest(self.0.expose()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A given secret, for the tests of other modules.
    #[cfg(test)]
    pub fn fixed(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }
}

impl Egress {
    /// Registers the webhook; the answer is Telegram's view of it afterwards.
    pub async fn webhook_set(
        &self,
        place: &Place,
        bot: &BotRow,
        wish: &SetWebhook,
    ) -> Result<Response<Answer>, Refusal> {
        if bot.shown.updates != openclaw_wire::config::Updates::Webhook {
            return Err(refusal(
                RefusalKind::BadRequest,
                format!("bot {} polls, and Telegram allows no polling beside a webhook", bot.shown.name),
                "write `updates = \"webhook\"` into its [[telegram.bot]], start again, then set the webhook",
            ));
        }
        let url = place.address(wish.public_url.as_deref(), &bot.shown.name)?;
        self.change(
            bot,
            "setWebhook",
            &json!({
                "url": url.as_str(),
                "secret_token": bot.webhook.0.expose(),
                "allowed_updates": FACTS.telegram.updates,
                // Telegram's default; each is one request at a time.
                "max_connections": 40,
                "drop_pending_updates": wish.drop_pending_updates,
            }),
        )
        .await
    }

    /// Telegram's view of the webhook, with its last error.
    pub async fn webhook_info(&self, bot: &BotRow) -> Result<Response<Answer>, Refusal> {
        self.call(bot, "getWebhookInfo", &json!({})).await
    }

    /// Removes the webhook; queued updates stay with Telegram and come by polling.
    pub async fn webhook_delete(&self, bot: &BotRow) -> Result<Response<Answer>, Refusal> {
        self.change(bot, "deleteWebhook", &json!({})).await
    }

    async fn change(
        &self,
        bot: &BotRow,
        method: &str,
        arguments: &serde_json::Value,
    ) -> Result<Response<Answer>, Refusal> {
        let answer = self.call(bot, method, arguments).await?;
        tracing::info!(bot = %bot.shown.name, method, status = answer.status().as_u16(), "webhook");
        match answer.status().is_success() {
            true => self.webhook_info(bot).await,
            false => Ok(answer),
        }
    }

    async fn call(
        &self,
        bot: &BotRow,
        method: &str,
        arguments: &serde_json::Value,
    ) -> Result<Response<Answer>, Refusal> {
        let call = bot.call.as_ref().map_err(Clone::clone)?;
        let mut request = reqwest::Request::new(Method::POST, call.method(method));
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(arguments.to_string().into());
        self.answer(self.clients.send(call.reach, request).await?, None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use openclaw_wire::id::BotName;

    use super::{Place, WebhookSecret};

    fn bot() -> BotName {
        "main".parse().expect("name")
    }

    #[test]
    fn a_secret_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("dir");
        let first = WebhookSecret::of(dir.path(), &bot()).expect("made");
        let again = WebhookSecret::of(dir.path(), &bot()).expect("read");
        assert_eq!(first.0.expose(), again.0.expose());
        assert_eq!(first.0.expose().len(), 43);
        let other = WebhookSecret::of(dir.path(), &"other".parse().expect("name")).expect("made");
        assert_ne!(first.digest(), other.digest(), "incident 3: each bot has its own");
        let mode = std::fs::metadata(dir.path().join("webhook-main")).expect("meta").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_blank_or_odd_secret_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("webhook-main");
        for odd in ["", " ", "short", &" ".repeat(43), &"a".repeat(257), &format!("{}\n", "a".repeat(43))] {
            std::fs::write(&path, odd).expect("write");
            crate::private_file::tests::chmod(&path, 0o600);
            let error = WebhookSecret::of(dir.path(), &bot()).expect_err("odd").to_string();
            assert!(error.contains("not a webhook secret"), "{error}");
        }
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
