//! What is used when the configuration names no model or no bot: the keys that are there decide.

use openclaw_wire::{
    config::{Api, Bot, Config, Model, Updates},
    id::{BotName, ModelName},
};
use url::Url;

use crate::keys::{Keys, Source};

const ANTHROPIC: &str = "ANTHROPIC_API_KEY";
const OPENAI: &str = "OPENAI_API_KEY";
const OPENAI_URL: &str = "OPENAI_BASE_URL";
const OPENAI_MODEL: &str = "OPENAI_MODEL";
const BOT_TOKEN: &str = "TELEGRAM_BOT_TOKEN";

/// The models of the configuration, or those that the keys suggest, in order of preference.
pub fn models(config: &Config, keys: &Keys) -> Result<Vec<Model>, String> {
    if !config.model.is_empty() {
        return Ok(config.model.clone());
    }
    let mut models = Vec::new();
    if keys.get(ANTHROPIC).is_some() {
        models.push(model("anthropic", Api::Anthropic, "claude-sonnet-5-5", Some(ANTHROPIC)));
    }
    let named = keys.get(OPENAI_MODEL).map(|secret| secret.expose().to_owned());
    match keys.find(OPENAI_URL) {
        Some(base) => {
            let url = server(base.secret.expose())?;
            // An address out of the environment must not draw a key out of the file: whoever can set a variable
            // could send that key anywhere (incidents 58, 98).
            let key = match (base.source, keys.find(OPENAI).map(|key| key.source)) {
                (Source::Environment, Some(Source::File | Source::Credential)) => {
                    tracing::warn!(
                        "{OPENAI} of the key file or a credential is not sent to {OPENAI_URL} of the environment; put both in one place"
                    );
                    None
                }
                (_, found) => found.map(|_| OPENAI),
            };
            let name = if key.is_some() { "openai" } else { "local" };
            let named = named.unwrap_or_else(|| "default".into());
            models.push(Model { url: Some(url), private: true, ..model(name, Api::Openai, &named, key) });
        }
        None if keys.get(OPENAI).is_some() => {
            let named = named.unwrap_or_else(|| "gpt-6.1-terra".into());
            models.push(model("openai", Api::Openai, &named, Some(OPENAI)));
        }
        None => {}
    }
    Ok(models)
}

/// The bots of the configuration, or `main` when there is a token for it.
pub fn bots(config: &Config, keys: &Keys) -> Vec<Bot> {
    match config.telegram.bot.is_empty() && keys.get(BOT_TOKEN).is_some() {
        true => vec![Bot {
            name: BotName::try_from("main".to_owned()).expect("a good name"),
            token: BOT_TOKEN.into(),
            updates: Updates::Poll,
        }],
        false => config.telegram.bot.clone(),
    }
}

fn model(name: &str, api: Api, model: &str, key: Option<&str>) -> Model {
    Model {
        name: ModelName::try_from(name.to_owned()).expect("a good name"),
        api,
        url: None,
        private: false,
        model: model.to_owned(),
        key: key.map(str::to_owned),
        spare_keys: Vec::new(),
        via: None,
        max_output: 4096,
    }
}

/// The value of `OPENAI_BASE_URL`. It is shown in no message: people put passwords into such addresses.
fn server(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| {
        format!("{OPENAI_URL} is not a plain web address\n  mend: write it like http://127.0.0.1:11434/v1")
    })
}

#[cfg(test)]
mod tests {
    use openclaw_wire::config::Config;

    use super::{bots, models};
    use crate::keys::{
        Keys, Source,
        Source::{Credential, Environment, File},
    };

    type Entry = (&'static str, &'static str, Source);

    /// Name, vendor's name, key, address, `private`.
    type Row = (String, String, Option<String>, Option<String>, bool);

    fn shown(entries: &[Entry]) -> Vec<Row> {
        let models = models(&Config::default(), &Keys::of(entries)).expect("good");
        let row = |m: openclaw_wire::config::Model| {
            (m.name.to_string(), m.model, m.key, m.url.map(String::from), m.private)
        };
        models.into_iter().map(row).collect()
    }

    #[test]
    fn the_keys_decide() {
        let anthropic = ("ANTHROPIC_API_KEY", "a", File);
        let openai = ("OPENAI_API_KEY", "o", File);
        let base = ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1", File);
        assert!(shown(&[]).is_empty());
        let (row_a, row_o) = (
            ("anthropic".into(), "claude-sonnet-5-5".into(), Some("ANTHROPIC_API_KEY".into()), None, false),
            ("openai".into(), "gpt-6.1-terra".into(), Some("OPENAI_API_KEY".into()), None, false),
        );
        assert_eq!(shown(&[openai, anthropic]), [row_a, row_o]);
        let url = || Some("http://127.0.0.1:1/v1".to_owned());
        assert_eq!(shown(&[base]), [("local".into(), "default".into(), None, url(), true)]);
        let model = ("OPENAI_MODEL", "tiny", Environment);
        let key = || Some("OPENAI_API_KEY".to_owned());
        assert_eq!(shown(&[base, openai, model]), [("openai".into(), "tiny".into(), key(), url(), true)]);
    }

    #[test]
    fn an_address_of_the_environment_gets_no_key_of_the_file() {
        let key = |source| ("OPENAI_API_KEY", "o", source);
        let base = |source| ("OPENAI_BASE_URL", "http://127.0.0.1:1", source);
        for (key_from, base_from, sent) in [
            (File, File, true),
            (Environment, Environment, true),
            (Environment, File, true),
            (File, Environment, false),
            (Credential, Environment, false),
            (Credential, File, true),
        ] {
            let rows = shown(&[key(key_from), base(base_from)]);
            assert_eq!(rows[0].2.is_some(), sent, "key from {key_from:?}, address from {base_from:?}");
        }
    }

    #[test]
    fn an_odd_address_is_refused_and_not_shown() {
        for odd in ["127.0.0.1:1", "ftp://h", "http://user:hidden@h", "http://h?hidden", "unix:/hidden"] {
            let error =
                models(&Config::default(), &Keys::of(&[("OPENAI_BASE_URL", odd, File)])).expect_err(odd);
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_token_makes_one_bot() {
        assert!(bots(&Config::default(), &Keys::default()).is_empty());
        let keys = Keys::of(&[("TELEGRAM_BOT_TOKEN", "1:a", File)]);
        let bots = bots(&Config::default(), &keys);
        assert_eq!(bots[0].name.as_str(), "main");
    }
}
