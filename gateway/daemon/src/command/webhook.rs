//! `openclaw webhook set|info|delete`: asks egress, which holds the token and the secret, to speak with Telegram.

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use openclaw_wire::{
    config::{Config, Updates},
    egress::SetWebhook,
    id::BotName,
};
use serde::Deserialize;
use url::Url;

use super::{
    fault::Fault,
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// What to do with a webhook.
#[derive(Subcommand)]
pub enum WebhookVerb {
    /// Tell Telegram to deliver updates to this appliance, with a secret that egress makes
    Set {
        /// The bot [default: the only one whose updates come by webhook]
        #[arg(long)]
        bot: Option<BotName>,
        /// `https://host`; /telegram/<bot> is added [default: `public_url` in section [webhook]]
        #[arg(value_name = "URL")]
        url: Option<Url>,
        /// Throw away what Telegram has queued
        #[arg(long)]
        drop_pending: bool,
    },
    /// What Telegram says about the webhook, with its last error
    Info {
        /// The bot [default: the only one whose updates come by webhook]
        #[arg(long)]
        bot: Option<BotName>,
        /// Print Telegram's answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell Telegram to deliver no longer; polling needs this
    Delete {
        /// The bot [default: the only one whose updates come by webhook]
        #[arg(long)]
        bot: Option<BotName>,
    },
}

/// Telegram's `WebhookInfo` (<https://core.telegram.org/bots/api#webhookinfo>), as far as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Info {
    /// Empty when none is set.
    #[serde(default)]
    pub url: String,
    /// Updates that wait at Telegram.
    #[serde(default)]
    pub pending_update_count: u64,
    /// When the last delivery failed, in seconds since 1970-01-01 UTC.
    pub last_error_date: Option<i64>,
    /// Why.
    pub last_error_message: Option<String>,
}

/// Carries it out and says what happened.
pub fn webhook(verb: &WebhookVerb, place: &Place) -> anyhow::Result<()> {
    let config = Config::read(&place.config)?;
    let egress = Socket::egress(place);
    match verb {
        WebhookVerb::Set { bot, url, drop_pending } => {
            let bot = chosen(bot.as_ref(), &config)?;
            if url.is_none() && config.webhook.public_url.is_none() {
                return Err(Fault::new(
                    "set the webhook: no public address is known",
                    "add it: openclaw webhook set https://HOST, or write `public_url` in section [webhook]",
                )
                .into());
            }
            let set = SetWebhook {
                public_url: url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
                drop_pending_updates: *drop_pending,
            };
            block_on(egress.tell(Method::POST, &path(&bot, "set"), Some(&set)))?;
            println!(
                "Telegram delivers the updates of {bot} to the webhook. Look: openclaw webhook info --bot {bot}"
            );
            if updates(&bot, &config) != Some(Updates::Webhook) {
                println!(
                    "Nothing listens for it yet: write `updates = \"webhook\"` for that bot, and start again."
                );
            }
        }
        WebhookVerb::Info { bot, json } => {
            let bot = chosen(bot.as_ref(), &config)?;
            let answer = block_on(ask_info(&egress, &bot))?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&answer).context("encode the answer")?),
                false => println!("{}", clean(&describe(&parse(answer)?))),
            }
        }
        WebhookVerb::Delete { bot } => {
            let bot = chosen(bot.as_ref(), &config)?;
            block_on(egress.tell(Method::POST, &path(&bot, "delete"), None::<&()>))?;
            println!("Telegram delivers the updates of {bot} to no webhook any more.");
        }
    }
    Ok(())
}

/// Asks Telegram through egress. It needs a token that works, so it also shows whether it does.
pub async fn info(egress: &Socket, bot: &BotName) -> anyhow::Result<Info> {
    parse(ask_info(egress, bot).await?)
}

async fn ask_info(egress: &Socket, bot: &BotName) -> anyhow::Result<serde_json::Value> {
    egress.ask(Method::POST, &path(bot, "info"), None::<&()>).await
}

fn path(bot: &BotName, verb: &str) -> String {
    format!("/webhook/{bot}/{verb}")
}

/// Out of Telegram's envelope, if it is in one.
fn parse(mut answer: serde_json::Value) -> anyhow::Result<Info> {
    if let Some(result) = answer.get_mut("result") {
        answer = result.take();
    }
    serde_json::from_value(answer).context("understand Telegram's WebhookInfo")
}

fn describe(info: &Info) -> String {
    let mut text = match info.url.as_str() {
        "" => "No webhook is set.".to_owned(),
        url => format!("Telegram delivers to {url}."),
    };
    text += &format!("\n{} updates wait at Telegram.", info.pending_update_count);
    if let Some(error) = &info.last_error_message {
        let when = info.last_error_date.and_then(|at| jiff::Timestamp::from_second(at).ok());
        text += &format!("\nLast error: {error}");
        text += &when.map(|at| format!(" ({at})")).unwrap_or_default();
    }
    text
}

/// The bot that was named, or the only one there is to mean.
pub fn chosen(named: Option<&BotName>, config: &Config) -> Result<BotName, Fault> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let bots = &config.telegram.bot;
    let by_webhook: Vec<_> = bots.iter().filter(|bot| bot.updates == Updates::Webhook).collect();
    match (by_webhook.as_slice(), bots.as_slice()) {
        ([only], _) => Ok(only.name.clone()),
        ([], [only]) => Ok(only.name.clone()),
        ([], []) => Ok("main".parse().expect("`main` is a bot name")),
        _ => {
            let names: Vec<_> = bots.iter().map(|bot| bot.name.as_str()).collect();
            Err(Fault::new(
                format!("choose a bot: there are {}", names.join(", ")),
                format!("add --bot {}", names[0]),
            ))
        }
    }
}

fn updates(bot: &BotName, config: &Config) -> Option<Updates> {
    config.telegram.bot.iter().find(|other| other.name == *bot).map(|bot| bot.updates)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::config::Config;
    use serde_json::json;

    #[test]
    fn a_bot_need_only_be_named_when_there_is_a_choice() {
        let bot = |name: &str, updates: &str| {
            format!(
                "[[telegram.bot]]\nname = \"{name}\"\ntoken = \"T{}\"\nupdates = \"{updates}\"\n",
                name.len()
            )
        };
        for (config, expected) in [
            (String::new(), Some("main")),
            (bot("a", "poll"), Some("a")),
            (bot("a", "poll") + &bot("bb", "webhook"), Some("bb")),
            (bot("a", "poll") + &bot("bb", "poll"), None),
            (bot("a", "webhook") + &bot("bb", "webhook"), None),
        ] {
            let config = Config::parse(&config, Path::new("t")).expect("config");
            let chosen = super::chosen(None, &config).ok();
            assert_eq!(chosen.as_ref().map(|name| name.as_str()), expected);
        }
    }

    #[test]
    fn telegrams_answer_is_read_in_and_out_of_its_envelope() {
        let info = json!({"url": "https://h/telegram/a", "has_custom_certificate": false,
            "pending_update_count": 3, "last_error_date": 0, "last_error_message": "Wrong response: 401"});
        let bare = super::parse(info.clone()).expect("bare");
        assert_eq!(super::parse(json!({"ok": true, "result": info})).expect("in its envelope"), bare);
        assert_eq!(
            super::describe(&bare),
            "Telegram delivers to https://h/telegram/a.\n3 updates wait at Telegram.\n\
             Last error: Wrong response: 401 (1970-01-01T00:00:00Z)"
        );
        assert!(super::describe(&super::Info::default()).starts_with("No webhook is set."));
    }
}
