//! Section `[direct]`: the certificate of openclaw-front, which stands where the tunnel stands otherwise.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{Config, From, Listen, Profile, check};
use crate::facts::FACTS;

/// Section `[direct]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Direct {
    /// How we show that the name is ours.
    pub challenge: Challenge,
    /// The ACME directory of whoever signs.
    pub directory: Url,
    /// It is on a private address that the operator vouches for.
    pub private: bool,
    /// Where whoever signs can write to.
    pub contact: Option<Url>,
}

/// ACME challenges (RFC 8555, section 8.3; RFC 8737).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Challenge {
    /// HTTP-01: a file on port 80.
    Http,
    /// TLS-ALPN-01: a certificate on port 443.
    Tls,
}

impl Challenge {
    /// Where it is answered.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => FACTS.direct.challenge,
            Self::Tls => FACTS.direct.port,
        }
    }
}

impl Default for Direct {
    fn default() -> Self {
        Self {
            challenge: Challenge::Http,
            directory: FACTS.direct.directory.clone(),
            private: false,
            contact: None,
        }
    }
}

impl Config {
    /// Updates come by way of openclaw-front.
    pub fn has_front(&self) -> bool {
        self.webhook.from == From::Direct && matches!(self.webhook.listen, Listen::Unix(_))
    }

    /// The name that openclaw-front has a certificate for; `None` without one.
    pub fn domain(&self) -> Option<&str> {
        match self.webhook.public_url.as_ref()?.host()? {
            Host::Domain(name) if self.has_front() => Some(name),
            _ => None,
        }
    }
}

/// What is wrong, and what to write instead.
pub(super) fn coherent(config: &Config) -> Result<(), (String, String)> {
    let err = |message: &str, mend: String| Err((message.to_owned(), mend));
    let (direct, webhook) = (&config.direct, &config.webhook);
    check::web_url("direct: directory", &direct.directory, direct.private)?;
    if direct.directory.scheme() != "https" {
        return err(
            "[direct] directory is not an https address, and ACME knows no other",
            "write https://".into(),
        );
    }
    if direct.contact.as_ref().is_some_and(|contact| contact.scheme() != "mailto") {
        return err(
            "[direct] contact is no e-mail address",
            "write it like \"mailto:you@example.com\"".into(),
        );
    }
    if webhook.from == From::Tunnel {
        return Ok(());
    }
    if !config.has_front() {
        // For trying things, and for tests: nobody who is Telegram reaches loopback.
        return match config.profile {
            Profile::Development => Ok(()),
            Profile::Production => err(
                "[webhook] from = \"direct\" with an address in `listen`: Telegram reaches no loopback address, and TLS is missing",
                format!(
                    "set listen = \"unix:{}\", where openclaw-front connects",
                    FACTS.unix.webhook_for_front.display()
                ),
            ),
        };
    }
    if webhook.peer.is_none() {
        return err(
            "[webhook] from = \"direct\" without `peer`: nobody may say where a request comes from",
            format!("set peer = {:?}, the user of openclaw-front", FACTS.users.front),
        );
    }
    let port = webhook.public_url.as_ref().map(|url| (url.port_or_known_default(), url.path()));
    if config.domain().is_none_or(|name| !name.contains('.')) || port != Some((Some(FACTS.direct.port), "/"))
    {
        return err(
            "[webhook] from = \"direct\" without a name in `public_url` that a certificate can be had for",
            format!(
                "set public_url = \"https://bot.example.com\", a name of yours that leads to this machine; Telegram comes to port {}",
                FACTS.direct.port
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const GOOD: &str = "[webhook]\nlisten = \"unix:/run/openclaw/front/webhook.sock\"\nfrom = \"direct\"\n\
                        peer = \"openclaw-front\"\npublic_url = \"https://bot.example.com\"\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("t.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn direct_mode_needs_a_name_and_somebody_who_stands_in_front() {
        let good = parse(GOOD).expect("good");
        assert_eq!(good.domain(), Some("bot.example.com"));
        let tunnel = parse(&GOOD.replace("\"direct\"", "\"tunnel\"")).expect("good");
        assert_eq!(tunnel.domain(), None, "with a tunnel the certificate is the tunnel's affair");
        for (from, to, part) in [
            ("public_url = \"https://bot.example.com\"", "", "public_url"),
            ("https://bot.example.com", "https://192.0.2.1", "public_url"),
            ("https://bot.example.com", "https://[2001:db8::1]", "public_url"),
            ("https://bot.example.com", "https://localhost", "public_url"),
            ("https://bot.example.com", "https://bot.example.com:8443", "comes to port 443"),
            ("https://bot.example.com", "https://bot.example.com/below", "public_url"),
            ("peer = \"openclaw-front\"", "", "set peer = \"openclaw-front\""),
        ] {
            let error = parse(&GOOD.replace(from, to)).expect_err(to);
            assert!(error.contains(part), "{to}: {error}");
        }
        for (section, part) in [
            ("directory = \"http://10.0.0.1/dir\"\nprivate = true", "ACME knows no other"),
            ("directory = \"http://ca.example.com/dir\"", "https address"),
            ("contact = \"https://example.com\"", "mailto:"),
            ("challenge = \"dns\"", "unknown variant"),
        ] {
            let error = parse(&format!("{GOOD}[direct]\n{section}")).expect_err(section);
            assert!(error.contains(part), "{section}: {error}");
        }
    }

    #[test]
    fn without_a_front_there_is_no_direct_mode_to_rely_on() {
        let loopback = "[webhook]\nfrom = \"direct\"";
        parse(loopback).expect("for trying things");
        let error = parse(&format!("profile = \"production\"\n{loopback}")).expect_err("refused");
        assert!(error.contains("openclaw-front connects"), "{error}");
    }
}
