//! What no single key can see: duplicates, missing parts, addresses and budgets that make no sense.

use url::Url;

use super::{Config, Level, Listen, Profile, TERMINAL};
use crate::facts::FACTS;

impl Config {
    /// What no single key can see: duplicates, missing parts, budgets of zero.
    pub(super) fn coherent(&self) -> Result<(), (String, String)> {
        let err = |message: String, mend: &str| Err((message, mend.to_owned()));
        let mut names: Vec<_> = self.telegram.bot.iter().map(|bot| bot.name.as_str()).collect();
        if let Some(name) = duplicate(&mut names) {
            return err(
                format!(
                    "two bots are named {name:?}, so they would share the path {}{name}",
                    FACTS.webhook.path
                ),
                "give each [[telegram.bot]] its own name",
            );
        }
        if names.contains(&TERMINAL) {
            return err(
                format!("a bot is named {TERMINAL:?}, which is the operator's own chat"),
                "give the [[telegram.bot]] another name",
            );
        }
        let mut tokens: Vec<_> = self.telegram.bot.iter().map(|bot| bot.token.as_str()).collect();
        if let Some(token) = duplicate(&mut tokens) {
            return err(
                format!("two bots use the token {token}"),
                "give each [[telegram.bot]] its own `token`",
            );
        }
        let mut models: Vec<_> = self.model.iter().map(|model| model.name.as_str()).collect();
        if let Some(name) = duplicate(&mut models) {
            return err(format!("two models are named {name:?}"), "give each [[model]] its own name");
        }
        let keys = self.model.iter().flat_map(|model| model.key.iter().chain(&model.spare_keys));
        for key in keys.map(String::as_str).chain(tokens) {
            let good = !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if !good {
                return err(
                    "a `key` or `token` is not the NAME of a key".into(),
                    "put the key itself into the key file (`openclaw doctor` shows where) and its name, like OPENAI_API_KEY, here",
                );
            }
        }
        for model in &self.model {
            if let Some(url) = &model.url {
                web_url(&format!("model {:?}: url", model.name.as_str()), url, model.private)?;
            }
            if let Some(via) = &model.via {
                exit(&format!("model {:?}: via", model.name.as_str()), via)?;
            }
            if model.key.is_none() && !model.spare_keys.is_empty() {
                return err(
                    format!("model {:?}: spare_keys without a key", model.name.as_str()),
                    "write the first of them as `key`",
                );
            }
            if model.max_output == 0 {
                return err(
                    format!("model {:?}: max_output is 0", model.name.as_str()),
                    "set it to 1 or more",
                );
            }
        }
        if let Some(path) = self.skills.relative() {
            return err(
                format!("[skills] {path:?} is not an absolute path"),
                "write the whole path, beginning with `/`: the processes are started from nowhere in particular",
            );
        }
        super::endpoint::coherent(&self.skills.private)?;
        if let Some(path) = self.keys.file.iter().find(|path| !path.is_absolute()) {
            return err(
                format!("[keys] file {path:?} is not an absolute path"),
                "write the whole path, beginning with `/`: keys are never looked for in a working directory",
            );
        }
        if self.profile == Profile::Production && self.log.level == Level::Debug {
            return err(
                "[log] level is \"debug\" in the profile production, so much would be written beside keys that matter"
                    .into(),
                "set level = \"info\", or profile = \"development\" with keys of its own",
            );
        }
        for (name, path) in [("extra_roots", &self.network.extra_roots), ("revoked", &self.network.revoked)] {
            if let Some(path) = path.iter().find(|path| !path.is_absolute()) {
                return err(
                    format!("[network] {name} {path:?} is not an absolute path"),
                    "write the whole path, beginning with `/`",
                );
            }
        }
        if let Some(via) = &self.telegram.via {
            exit("telegram: via", via)?;
        }
        web_url("telegram: api", &self.telegram.api, self.telegram.private)?;
        let t = &self.telegram;
        if [t.per_second, t.per_chat_minute, t.per_group_minute].iter().any(|n| !(1..=1_000_000).contains(n))
        {
            return err(
                "[telegram] per_second, per_chat_minute or per_group_minute is out of range".into(),
                "set each to 1 to 1000000; Telegram allows about 30, 60 and 20",
            );
        }
        if self.webhook.peer.is_some() && matches!(self.webhook.listen, Listen::Tcp(_)) {
            return err(
                "[webhook] peer names a user, but `listen` is an address, where nobody knows the user of a connection".into(),
                "set listen = \"unix:/absolute/path\", or take `peer` away",
            );
        }
        if let Some(url) = &self.webhook.public_url {
            web_url("webhook: public_url", url, false)?;
        }
        super::direct::coherent(self)?;
        if let Some(name) = self.admin.wrong_name() {
            return err(
                format!("[admin] {name:?} in `names` is not a name of this machine"),
                "write the name alone, in small letters, as in the address that the browser asks for; without a port",
            );
        }
        super::spend::check(&self.spend, &self.cap, &self.price)?;
        let t = &self.turn;
        if t.steps == 0 || t.tokens == 0 || t.seconds == 0 || t.tries == 0 || t.concurrent == 0 {
            return err(
                "a budget in [turn] is 0, so no message could be answered".into(),
                "set each to 1 or more",
            );
        }
        if !(1_024..=16 << 20).contains(&self.webhook.max_body)
            || !(1..=60).contains(&self.webhook.read_timeout)
        {
            return err(
                "[webhook] max_body or read_timeout is out of range".into(),
                "max_body: 1024 to 16777216 bytes; read_timeout: 1 to 60 seconds (Telegram waits 60)",
            );
        }
        if !(2_048..=4 << 20).contains(&self.session.window)
            || !(256..=65_536).contains(&self.session.summary)
        {
            return err(
                "[session] window or summary is out of range".into(),
                "window: 2048 to 4194304 bytes; summary: 256 to 65536 bytes",
            );
        }
        self.files.coherent()
    }
}

fn duplicate<'a>(names: &mut [&'a str]) -> Option<&'a str> {
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

pub(super) fn web_url(what: &str, url: &Url, private: bool) -> Result<(), (String, String)> {
    let good = url.scheme() == "https" || (url.scheme() == "http" && private);
    if !good || url.host().is_none() {
        return Err((
            format!("{what} must be an https address"),
            "write https://host, or add `private = true` to vouch for a plain http server on a private address".into(),
        ));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err((
            format!("{what} carries a user name, password, query or fragment"),
            "keys belong into the key file".into(),
        ));
    }
    Ok(())
}

/// A proxy on the way out.
fn exit(what: &str, url: &Url) -> Result<(), (String, String)> {
    let more = !url.username().is_empty()
        || url.password().is_some()
        || !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some();
    match matches!(url.scheme(), "socks5" | "http") && url.host().is_some() && url.port().is_some() && !more {
        true => Ok(()),
        false => Err((
            format!("{what} is not a proxy that can be used"),
            "write socks5://host:port or http://host:port, without user, password or path".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("t.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_refused_says_where_and_how_to_mend_it() {
        for (text, part) in [
            ("[turn]\nstep = 3", "unknown field `step`"),
            ("profile = \"prod\"", "unknown variant"),
            ("[access]\npeople = [\"@anna\"]", "names can change hands"),
            ("[access]\npeople = [-100123]", "[[access.group]]"),
            ("[access]\npeople = [0]", "not a user id"),
            ("[[access.group]]\nchat = 5\npeople = []", "group ids are negative"),
            ("[webhook]\nlisten = \"0.0.0.0:80\"", "not loopback"),
            (
                "[[telegram.bot]]\nname = \"a\"\n[[telegram.bot]]\nname = \"a\"\ntoken = \"B\"",
                "share the path",
            ),
            ("[[telegram.bot]]\nname = \"\"", "bot name"),
            ("[[telegram.bot]]\nname = \"terminal\"", "operator's own chat"),
            ("[[telegram.bot]]\nname = \"a\"\ntoken = \" \"", "NAME of a key"),
            (
                "[[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"x\"\nurl = \"http://10.0.0.1/v1\"",
                "private = true",
            ),
            ("[turn]\nsteps = 0", "[turn]"),
            ("[skills]\nfolders = [\"skills\"]", "not an absolute path"),
            ("[skills]\nhome = \"~\"", "not an absolute path"),
            ("[webhook]\npeer = \"cloudflared\"", "set listen = \"unix:"),
            ("[telegram]\nvia = \"socks5://user:pw@h:1\"", "without user, password or path"),
            ("[telegram]\nvia = \"socks5://h\"", "socks5://host:port"),
            ("[telegram]\nvia = \"ftp://h:1\"", "socks5://host:port"),
            ("[[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"x\"\nspare_keys = [\"A\"]", "as `key`"),
            ("[network]\nextra_roots = \"ca.pem\"", "extra_roots \"ca.pem\" is not an absolute path"),
            ("[network]\nrevoked = \"crl.pem\"", "revoked \"crl.pem\" is not an absolute path"),
            ("[keys]\nfile = \".env\"", "never looked for in a working directory"),
            ("profile = \"production\"\n[log]\nlevel = \"debug\"", "set level = \"info\""),
            ("[files]\nlargest = 20971521", "largest: 1 to 20971520 bytes"),
            ("[files]\nper_chat = 1000", "per_chat at least as much"),
            ("[files]\ndays = 0", "days: 1 to 3650"),
            ("[skills.runtime.python]\npath = \"python3\"", "not an absolute path"),
            ("[skills.runtime.python]\nfolders = []", "missing field `path`"),
            ("[skills.runtime.Python]\npath = \"/usr/bin/python3\"", "runtime name"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
