//! The table: which models and bots there are, where each one's server is, and which key goes there. Built once
//! from configuration and keys; their own calls take a key to the scheme, host, port and path of its row alone. What a
//! skill may have of it says [`Table::leaves_to`].

mod leaves;

use std::sync::{Arc, atomic::AtomicU64};

use http::{HeaderName, HeaderValue, header};
use openclaw_wire::{
    config::{Api, Bot, Config, Model},
    egress::{BotRoute, ModelRoute, Refusal, RefusalKind},
};
use url::{Host, Url};

use crate::{
    address::{AddressError, Reach},
    defaults,
    dial::Way,
    keys::{Key, Keys, Used},
    refuse::refusal,
    secret::Secret,
    spend::{self, Bill, Prices},
    webhook::WebhookSecret,
};

/// Everything that egress may do for others.
#[derive(Debug)]
pub struct Table {
    /// Models in order of preference.
    pub models: Vec<ModelRow>,
    /// Bots.
    pub bots: Vec<BotRow>,
}

/// One model.
#[derive(Debug)]
pub struct ModelRow {
    /// What the gateway is told of it.
    pub shown: ModelRoute,
    /// Names of the keys that are its own, whether it can be used or not.
    keys: Vec<String>,
    /// The server's address with the path, whether it can be used or not; none for the rehearsal.
    own: Option<Url>,
    /// Where its requests go, or why they can't.
    pub call: Result<ModelCall, Refusal>,
}

/// The one request that a model's server gets.
#[derive(Debug)]
pub struct ModelCall {
    /// What the gateway writes after `/r/model/<name>/`.
    pub path: &'static str,
    /// The server's address with the path.
    pub url: Url,
    /// How far it reaches, and through what.
    pub way: Way,
    /// Its keys, in order of preference; none for servers that want none.
    pub credentials: Arc<[Credential]>,
    /// What its requests cost.
    pub bill: Bill,
}

/// A key as it is sent.
#[derive(Debug)]
pub struct Credential {
    /// The key's name.
    pub name: String,
    /// The header that carries it; none where it is a part of the path.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// When it was last sent.
    pub used: Arc<Used>,
    /// Until when another key is preferred, in seconds since 1970-01-01 UTC: it was refused, or asked for too often.
    pub aside: AtomicU64,
}

/// One bot.
#[derive(Debug)]
pub struct BotRow {
    /// What the gateway is told of it.
    pub shown: BotRoute,
    /// As of [`ModelRow`].
    keys: Vec<String>,
    /// The secret that Telegram sends with each update.
    pub webhook: WebhookSecret,
    /// How to call the Bot API for it, or why not.
    pub call: Result<BotCall, Refusal>,
}

/// A Bot API server and a token for it.
#[derive(Debug)]
pub struct BotCall {
    /// The server, its path without a slash at the end.
    base: Url,
    /// How far it reaches, and through what.
    pub way: Way,
    /// The token's name and use; it is a part of the path.
    pub credentials: Arc<[Credential]>,
    token: Secret,
}

impl BotCall {
    /// The address of a method. It contains the token: it may be shown nowhere.
    pub fn method(&self, method: &str) -> Url {
        self.below("bot", method)
    }

    /// The address of a file.
    pub fn file(&self, path: &str) -> Url {
        self.below("file/bot", path)
    }

    fn below(&self, what: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        let token = self.token.expose();
        url.set_path(&format!("{}/{what}{token}/{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

impl Table {
    /// Builds the table. `secret` gives the webhook secret of a bot.
    pub fn new(
        config: &Config,
        keys: &Keys,
        mut secret: impl FnMut(&Bot) -> anyhow::Result<WebhookSecret>,
    ) -> anyhow::Result<Self> {
        let prices = Prices::new(config);
        let models = defaults::models(config, keys)
            .map_err(anyhow::Error::msg)?
            .iter()
            .map(|model| model_row(model, keys, &prices))
            .collect();
        let bots = defaults::bots(config, keys);
        let bots = bots
            .iter()
            .map(|bot| Ok(bot_row(config, bot, keys, secret(bot)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { models, bots })
    }

    /// The ways of all routes that can be used.
    pub fn ways(&self) -> impl Iterator<Item = &Way> {
        let models = self.models.iter().filter_map(|row| Some(&row.call.as_ref().ok()?.way));
        models.chain(self.bots.iter().filter_map(|row| Some(&row.call.as_ref().ok()?.way)))
    }

    /// The routes that a key belongs to, by the names that people know them by; also those that cannot be used, for want of
    /// a price, say.
    pub fn users_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        let has = move |keys: &[String]| keys.iter().any(|name| name == key);
        let models = self.models.iter().filter(move |row| has(&row.keys));
        let bots = self.bots.iter().filter(move |row| has(&row.keys));
        let models = models.map(|row| format!("model {}", row.shown.name));
        models.chain(bots.map(|row| format!("bot {}", row.shown.name)))
    }
}

fn model_row(model: &Model, keys: &Keys, prices: &Prices) -> ModelRow {
    let (base, path) = match model.api {
        Api::Anthropic => ("https://api.anthropic.com", "v1/messages"),
        Api::Openai => ("https://api.openai.com/v1", "chat/completions"),
        Api::Rehearsal => ("", ""),
    };
    let base = model.url.clone().or_else(|| Url::parse(base).ok());
    let call = match &base {
        Some(base) if model.api != Api::Rehearsal => model_call(model, base, path, keys, prices),
        _ => Err(refusal(
            RefusalKind::NotAllowed,
            format!("model {} is the rehearsal and has no server", model.name),
            "the gateway answers for it by itself",
        )),
    };
    let host = base.as_ref().and_then(Url::host_str).unwrap_or("offline").to_owned();
    let own = base.as_ref().map(|base| own_url(base, path));
    // The rehearsal needs no server, so that it has none is no problem.
    let problem = call.as_ref().err().filter(|_| model.api != Api::Rehearsal);
    let shown = ModelRoute {
        name: model.name.clone(),
        api: model.api,
        model: model.model.clone(),
        max_output: model.max_output,
        host,
        via: model.via.as_ref().map(exit_name),
        problem: problem.map(spend::problem),
    };
    ModelRow { shown, keys: model.key.iter().chain(&model.spare_keys).cloned().collect(), own, call }
}

/// The address of a model's calls.
fn own_url(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn model_call(
    model: &Model,
    base: &Url,
    path: &'static str,
    keys: &Keys,
    prices: &Prices,
) -> Result<ModelCall, Refusal> {
    let way = way(base, model.private, model.via.as_ref())?;
    let names = model.key.iter().chain(&model.spare_keys);
    let mut credentials = Vec::new();
    let mut missing = None;
    for name in names {
        match key(keys, name).and_then(|key| credential(model.api, key)) {
            Ok(credential) => credentials.push(credential),
            Err(refusal) => missing = missing.or(Some(refusal)),
        }
    }
    // One of several keys is enough.
    if let (Some(refusal), true) = (missing, credentials.is_empty()) {
        return Err(refusal);
    }
    let url = own_url(base, path);
    let bill = Bill::new(prices, model, base, way.reach)?;
    Ok(ModelCall { path, url, way, credentials: credentials.into(), bill })
}

fn credential(api: Api, key: &Key) -> Result<Credential, Refusal> {
    let (header, text) = match api {
        Api::Anthropic => (HeaderName::from_static("x-api-key"), key.secret.clone()),
        _ => {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", key.secret.expose()));
            let text = Secret::new(&text)
                .map_err(|full| refusal(RefusalKind::NoKey, full.to_string(), "use fewer keys"))?;
            (header::AUTHORIZATION, text)
        }
    };
    // In the locked memory, as the key itself.
    let mut value = HeaderValue::from_maybe_shared(text.expose_bytes()).map_err(|_| odd_key(&key.name))?;
    value.set_sensitive(true);
    Ok(Credential {
        name: key.name.clone(),
        header: Some((header, value)),
        used: Arc::clone(&key.used),
        aside: AtomicU64::new(0),
    })
}

fn bot_row(config: &Config, bot: &Bot, keys: &Keys, webhook: WebhookSecret) -> BotRow {
    let call = bot_call(config, bot, keys);
    let shown = BotRoute {
        name: bot.name.clone(),
        updates: bot.updates,
        webhook_secret_sha256: webhook.digest(),
        webhook_previous: None,
        via: config.telegram.via.as_ref().map(exit_name),
        problem: call.as_ref().err().map(|refusal| refusal.message.clone()),
    };
    BotRow { shown, keys: vec![bot.token.clone()], webhook, call }
}

fn bot_call(config: &Config, bot: &Bot, keys: &Keys) -> Result<BotCall, Refusal> {
    let way = way(&config.telegram.api, config.telegram.private, config.telegram.via.as_ref())?;
    let key = key(keys, &bot.token)?;
    let token = &key.secret;
    // It becomes part of a path, so nothing that means something in a path may be in it.
    let good = token.expose().split_once(':').is_some_and(|(id, rest)| {
        !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_digit())
            && !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    });
    match good {
        true => {
            let credential = Credential {
                name: key.name.clone(),
                header: None,
                used: Arc::clone(&key.used),
                aside: AtomicU64::new(0),
            };
            Ok(BotCall {
                base: config.telegram.api.clone(),
                way,
                credentials: [credential].into(),
                token: token.clone(),
            })
        }
        false => Err(odd_key(&bot.token)),
    }
}

fn key<'a>(keys: &'a Keys, name: &str) -> Result<&'a Key, Refusal> {
    keys.find(name).ok_or_else(|| {
        let mend = format!("openclaw keys add {name}");
        refusal(RefusalKind::NoKey, format!("the key {name} is not there"), mend)
    })
}

fn odd_key(name: &str) -> Refusal {
    refusal(
        RefusalKind::NoKey,
        format!("the key {name} does not have the form of such a key"),
        format!("copy it again, whole: openclaw keys rotate {name}"),
    )
}

/// How a server is reached. Through an exit only over TLS: the exit would see the key.
fn way(url: &Url, private: bool, via: Option<&Url>) -> Result<Way, Refusal> {
    let reach = reach(url, private)?;
    if via.is_some() && reach == Reach::VouchedPlain {
        let mend = "write https://, or take `via` away: it is of no use for a server of your own";
        return Err(refusal(
            RefusalKind::NotAllowed,
            "an exit would see the key of a plain http server",
            mend,
        ));
    }
    Ok(Way { reach, via: via.cloned().map(Arc::new) })
}

/// `socks5://127.0.0.1:9050`, as the operator wrote it: the configuration refuses one with a password.
fn exit_name(via: &Url) -> String {
    via.as_str().trim_end_matches('/').to_owned()
}

/// How far a server's address reaches, if it is one that may be dialled.
///
/// INVARIANT: every address that egress dials went through here (hosts written as an address are judged now, names
/// when they are resolved).
pub fn reach(url: &Url, private: bool) -> Result<Reach, Refusal> {
    let reach = match (url.scheme(), private) {
        ("https", false) => Reach::Public,
        ("https", true) => Reach::Vouched,
        ("http", true) => Reach::VouchedPlain,
        _ => {
            let mend =
                "write https://host, or add `private = true` for a plain http server on a private address";
            return Err(refusal(RefusalKind::NotAllowed, "the server's address is not https", mend));
        }
    };
    let address = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        _ => return Ok(reach),
    };
    match reach.pick(url.host_str().unwrap_or_default(), [address]) {
        Ok(_) => Ok(reach),
        Err(error) => Err(private_address(&error)),
    }
}

/// The refusal for an address that a route may not dial.
pub fn private_address(error: &AddressError) -> Refusal {
    let mend = match error {
        AddressError::Refused { kind: crate::address::Kind::Private, .. } => {
            "if this server is yours, add `private = true` beside its address in openclaw.toml"
        }
        AddressError::Refused { kind: crate::address::Kind::Public, .. } => {
            "write https:// instead of http://"
        }
        _ => "correct the address in openclaw.toml, or the name's entry in DNS",
    };
    refusal(RefusalKind::PrivateAddress, error.to_string(), mend)
}

#[cfg(test)]
pub mod tests {
    use std::path::Path;

    use openclaw_wire::{config::Config, egress::RefusalKind};

    use super::Table;
    use crate::{
        address::Reach,
        keys::{Keys, Source},
        webhook::WebhookSecret,
    };

    /// A table of a configuration text and keys.
    pub fn table(config: &str, keys: &[(&str, &str)]) -> Table {
        // The model `m` has a price, wherever it is.
        let config = format!("{config}\n[[price]]\nmodel = \"m\"\ninput = 0\noutput = 0\n");
        let config = Config::parse(&config, Path::new("openclaw.toml")).expect("config");
        let keys: Vec<_> = keys.iter().map(|(name, value)| (*name, *value, Source::File)).collect();
        Table::new(&config, &Keys::of(&keys), |_| Ok(WebhookSecret::fixed("test-secret"))).expect("table")
    }

    #[test]
    fn each_api_has_its_own_address_and_header() {
        let table = table(
            r#"
            [[model]]
            name = "a"
            api = "anthropic"
            model = "m"
            key = "A"
            [[model]]
            name = "o"
            api = "openai"
            model = "m"
            key = "O"
            [[model]]
            name = "l"
            api = "openai"
            model = "m"
            url = "http://localhost:11434/v1/"
            private = true
            [[model]]
            name = "r"
            api = "rehearsal"
            model = "m"
            "#,
            &[("A", "test-key-a"), ("O", "test-key-o")],
        );
        let row = |index: usize| {
            let call = table.models[index].call.as_ref().expect("usable");
            let credential = call.credentials.first().and_then(|credential| {
                let (name, value) = credential.header.as_ref()?;
                assert!(value.is_sensitive());
                Some(format!("{name}: {}", value.to_str().expect("text")))
            });
            (call.url.as_str(), call.way.reach, credential)
        };
        let a = Some("x-api-key: test-key-a".to_owned());
        assert_eq!(row(0), ("https://api.anthropic.com/v1/messages", Reach::Public, a));
        let o = Some("authorization: Bearer test-key-o".to_owned());
        assert_eq!(row(1), ("https://api.openai.com/v1/chat/completions", Reach::Public, o));
        assert_eq!(row(2), ("http://localhost:11434/v1/chat/completions", Reach::VouchedPlain, None));
        assert_eq!(table.models[3].shown.problem, None);
        assert_eq!(table.models[3].shown.host, "offline");
        assert!(table.models[3].call.is_err());
    }

    #[test]
    fn a_missing_or_odd_key_is_a_problem_of_its_row_alone() {
        let config =
            "[[model]]\nname='a'\napi='anthropic'\nmodel='m'\nkey='A'\n[[telegram.bot]]\nname='b'\ntoken='T'";
        let cases: [(&[(&str, &str)], _); 4] = [
            (&[], "the key T is not there"),
            (&[("T", "no-colon")], "the key T does not have the form of such a key"),
            (&[("T", "1:a/../b")], "the key T does not have the form of such a key"),
            (&[("T", "1:a?b")], "the key T does not have the form of such a key"),
        ];
        for (keys, problem) in cases {
            let table = table(config, keys);
            assert_eq!(table.bots[0].shown.problem.as_deref(), Some(problem));
            assert_eq!(table.models[0].shown.problem.as_deref(), Some("the key A is not there"));
            assert_eq!(table.bots[0].call.as_ref().expect_err("refused").kind, RefusalKind::NoKey);
        }
        let good = super::tests::table(config, &[("A", "k"), ("T", "1:test_Token-not-real")]);
        assert_eq!(good.bots[0].shown.problem, None);
        let call = good.bots[0].call.as_ref().expect("usable");
        assert_eq!(call.method("getMe").path(), "/bot1:test_Token-not-real/getMe");
        assert_eq!(call.file("a/b.jpg").path(), "/file/bot1:test_Token-not-real/a/b.jpg");
    }

    /// Incident 52, for hosts that are written as an address: those never reach the resolver.
    #[test]
    fn a_private_address_must_be_declared() {
        for host in ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "192.168.1.1", "100.64.0.1"] {
            let config = |private| {
                format!(
                    "[[model]]\nname='a'\napi='openai'\nmodel='m'\nurl='https://{host}'\nprivate={private}"
                )
            };
            let refused = table(&config(false), &[]);
            let refusal = refused.models[0].call.as_ref().expect_err(host);
            assert_eq!(refusal.kind, RefusalKind::PrivateAddress, "{host}");
            assert!(refusal.mend.contains("private = true"), "{}", refusal.mend);
            assert!(table(&config(true), &[]).models[0].call.is_ok(), "{host}");
        }
        for host in
            ["169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]"]
        {
            let config =
                format!("[[model]]\nname='a'\napi='openai'\nmodel='m'\nurl='https://{host}'\nprivate=true");
            assert!(table(&config, &[]).models[0].call.is_err(), "{host}");
        }
    }
}
