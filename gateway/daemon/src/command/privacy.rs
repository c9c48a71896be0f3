//! `openclaw privacy`: says plainly what each far end gets to see, from what egress really uses. Reads only.

use anyhow::Context;
use http::Method;
use openclaw_wire::{
    config::{Api, Config, Updates},
    egress::{Approval, Approved, BotRoute, ModelRoute, Standing, Status},
    skill::{HostGrant, Reach},
};
use serde::Serialize;

use super::{
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// One far end.
#[derive(Debug, PartialEq, Serialize)]
struct FarEnd {
    /// Who it is.
    who: String,
    /// What it sees.
    sees: Vec<String>,
    /// What it does not see.
    never: Vec<String>,
}

/// Prints it.
pub fn privacy(place: &Place, json: bool) -> anyhow::Result<()> {
    let config = Config::read(&place.config)?;
    let status: Status = block_on(Socket::egress(place).ask(Method::GET, "/status", None::<&()>))?;
    let approved: Approved = block_on(Socket::egress(place).ask(Method::GET, "/skills", None::<&()>))?;
    let ends = far_ends(&status, &approved, &config);
    match json {
        true => println!("{}", serde_json::to_string_pretty(&ends).context("encode")?),
        false => println!("{}", clean(&describe(&ends))),
    }
    Ok(())
}

fn far_ends(status: &Status, approved: &Approved, config: &Config) -> Vec<FarEnd> {
    let models = status.models.iter().filter(|model| model.api != Api::Rehearsal).map(model);
    let telegram = config.telegram.api.host_str().unwrap_or_default();
    let bots = status.bots.iter().map(|bot| self::bot(bot, telegram));
    let mut ends: Vec<FarEnd> = models.chain(bots).collect();
    let mut exits: Vec<&str> = status.models.iter().filter_map(|model| model.via.as_deref()).collect();
    exits.extend(status.bots.iter().filter_map(|bot| bot.via.as_deref()));
    exits.sort_unstable();
    exits.dedup();
    ends.extend(exits.into_iter().map(exit));
    ends.extend(skills(approved, config));
    ends.extend(config.domain().map(|domain| authority(config, domain)));
    if ends.is_empty() {
        return ends;
    }
    ends.push(FarEnd {
        who: "your resolver (DNS)".into(),
        sees: vec!["the names of the hosts that are reached without a proxy, and of the proxies".into()],
        never: vec!["what is said to them".into()],
    });
    ends
}

fn model(model: &ModelRoute) -> FarEnd {
    FarEnd {
        who: format!("model {}: {} at {}", model.name, model.model, model.host),
        sees: vec![
            address(model.via.as_deref()),
            "your account: the key belongs to it".into(),
            "the conversation: your instructions, the messages of a chat as far as the window reaches, the summary of \
             what was before, what people forwarded or attached, what skills gave back, the names of your skills"
                .into(),
            "when you ask, and how much".into(),
        ],
        never: never("Telegram user ids, names and chat ids, unless somebody wrote them into a message"),
    }
}

fn bot(bot: &BotRoute, host: &str) -> FarEnd {
    let how = match bot.updates {
        Updates::Poll => "it is asked for updates; it learns no other address of yours",
        Updates::Webhook => "it delivers to the public address that you registered, and so knows it",
    };
    FarEnd {
        who: format!("bot {} at {host}", bot.name),
        sees: vec![
            address(bot.via.as_deref()),
            "the bot and its owner: the token belongs to them".into(),
            "all messages to and from the bot, in clear: chats with bots are not end-to-end encrypted".into(),
            how.into(),
        ],
        never: never("your instructions, the summaries, what skills gave back, unless an answer repeats it"),
    }
}

/// Whom the skills reach that may run: those that the operator approved, and the bundled ones.
fn skills(approved: &Approved, config: &Config) -> Vec<FarEnd> {
    let own = |each: &&Approval| !approved.operator.iter().any(|other| other.skill == each.skill);
    let bundled = approved.bundled.iter().filter(own);
    let all = approved.operator.iter().chain(bundled).filter(|each| {
        approved.standing(&each.skill) == Standing::Approved && !config.skills.disabled.contains(&each.skill)
    });
    all.flat_map(|each| each.hosts.iter().map(|grant| skill(each.skill.as_str(), grant))).collect()
}

fn skill(name: &str, grant: &HostGrant) -> FarEnd {
    let (who, private) = match &grant.reach {
        Reach::Host(host) => {
            (format!("{}:{}", host.as_str(), grant.port), host.as_str().ends_with(".internal"))
        }
        Reach::Argument(argument) => {
            (format!("the host that the argument {argument:?} of a call names, when it is called"), false)
        }
    };
    let mut sees = vec![
        match private {
            true => "a server of your own, by the address that you declared".into(),
            false => address(None),
        },
        format!("what a call of the skill sends it: `openclaw skills show {name}` says what that can be"),
    ];
    if let Some((key, _)) = &grant.secret {
        sees.push(format!("your account there: the key {} belongs to it", key.as_str()));
    }
    FarEnd {
        who: format!("skill {name}: {who}"),
        sees,
        never: vec![
            "the conversation, but for the arguments of the call".into(),
            "the keys of other far ends".into(),
        ],
    }
}

/// Whoever signs the certificate of openclaw-front.
fn authority(config: &Config, domain: &str) -> FarEnd {
    let mut sees = vec![
        address(None),
        format!("the name {domain}, which it makes public with each certificate (certificate transparency)"),
    ];
    sees.extend(config.direct.contact.as_ref().map(|contact| format!("how to write to you: {contact}")));
    FarEnd {
        who: format!(
            "whoever signs certificates: {}",
            config.direct.directory.host_str().unwrap_or_default()
        ),
        sees,
        never: vec!["what is delivered, and by whom".into(), "the certificate's key".into()],
    }
}

fn exit(via: &str) -> FarEnd {
    FarEnd {
        who: format!("proxy {via}"),
        sees: vec![
            "this machine's public address (the network's, if the proxy is on this machine)".into(),
            "the names of the hosts behind it, when, and how much".into(),
        ],
        never: vec!["what is said: TLS goes through it, and a plain http server can't be behind one".into()],
    }
}

fn address(via: Option<&str>) -> String {
    match via {
        Some(via) => format!("the address of the exit behind {via}, not this machine's"),
        None => "this machine's public address".into(),
    }
}

fn never(own: &str) -> Vec<String> {
    vec![
        own.into(),
        "a version, a host name, an installation id: every installation says \"openclaw\" and nothing else"
            .into(),
        "the keys of other far ends".into(),
    ]
}

fn describe(ends: &[FarEnd]) -> String {
    if ends.is_empty() {
        return "Nothing leaves this machine: there is no model provider, no bot and no skill with a way out.".into();
    }
    let one = |end: &FarEnd| {
        let sees = end.sees.iter().map(|line| format!("\n  sees   {line}"));
        let never = end.never.iter().map(|line| format!("\n  never  {line}"));
        std::iter::once(end.who.clone()).chain(sees).chain(never).collect::<String>()
    };
    let mut text = ends.iter().map(one).collect::<Vec<_>>().join("\n\n");
    text +=
        "\n\nNobody else is asked or told anything: there is no telemetry, no update check, no crash report.";
    text
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        config::Config,
        egress::{Approved, Status},
    };
    use serde_json::json;

    #[test]
    fn each_far_end_and_each_exit_is_named() {
        let status: Status = serde_json::from_value(json!({
            "confinement": null,
            "models": [
                {"name": "a", "api": "anthropic", "model": "big", "max_output": 1, "host": "api.anthropic.com",
                 "via": "socks5://127.0.0.1:9050", "problem": null},
                {"name": "r", "api": "rehearsal", "model": "rehearsal", "max_output": 1, "host": "offline", "problem": null}
            ],
            "bots": [{"name": "main", "updates": "poll", "webhook_secret_sha256": "", "problem": null}]
        }))
        .expect("a status");
        let approval =
            |skill: &str, host: serde_json::Value| json!({ "skill": skill, "digest": "", "hosts": [host] });
        let approved: Approved = serde_json::from_value(json!({
            "operator": [approval("weather", json!({ "host": "api.example.com", "secret": "WEATHER_KEY" }))],
            "bundled": [
                approval("weather", json!({ "host": "bundled.example.com" })),
                approval("fetch-page", json!({ "argument": "url" })),
                approval("taken-back", json!({ "host": "revoked.example.com" })),
                approval("off", json!({ "host": "off.example.com" })),
                approval("own", json!({ "host": "whisper.internal" })),
            ],
            "revoked": ["taken-back"]
        }))
        .expect("approvals");
        let config = Config::parse("[skills]\ndisabled = [\"off\"]", "t".as_ref()).expect("good");
        let text = super::describe(&super::far_ends(&status, &approved, &config));
        for part in [
            "model a: big at api.anthropic.com\n  sees   the address of the exit behind socks5://127.0.0.1:9050",
            "bot main at api.telegram.org\n  sees   this machine's public address",
            "proxy socks5://127.0.0.1:9050",
            "not end-to-end encrypted",
            "skill weather: api.example.com:443\n  sees   this machine's public address",
            "the key WEATHER_KEY belongs to it",
            "skill fetch-page: the host that the argument \"url\" of a call names",
            "skill own: whisper.internal:443\n  sees   a server of your own",
            "no telemetry",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        for absent in ["rehearsal", "bundled.example", "revoked.example", "off.example"] {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
        assert!(!text.contains("whoever signs"), "there is a tunnel: {text}");
        let direct = "[webhook]\nlisten = \"unix:/w\"\nfrom = \"direct\"\npeer = \"0\"\npublic_url = \"https://bot.example.com\"";
        let direct = Config::parse(direct, "t".as_ref()).expect("good");
        let text = super::describe(&super::far_ends(&status, &approved, &direct));
        assert!(
            text.contains("acme-v02.api.letsencrypt.org\n  sees")
                && text.contains("the name bot.example.com"),
            "{text}"
        );
        let nobody = Status { models: vec![], bots: vec![], ..status };
        let ends = super::far_ends(&nobody, &Approved::default(), &Config::default());
        assert!(super::describe(&ends).contains("Nothing leaves"));
    }
}
