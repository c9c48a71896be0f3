//! The configuration: what it opens, whom it listens to, and whom it trusts. Read as text where a mistake in it is what matters.

use openclaw_wire::{
    audit::Severity::{Critical, High, Low, Medium},
    config::{Listen, Profile},
    facts::FACTS,
};
use url::{Host, Url};

use super::{doctor, looks_like_a_key, points::webhook};
use crate::audit::{
    verdict::{Check, Edit, Fix, Verdict, fail, fixable, named, none, not_applicable, pass, unknown},
    world::{Seen, Settings, World},
};

/// In their order.
pub const CHECKS: [Check; 21] = [
    Check::new("config-valid", "config", High, "The configuration is understood", valid),
    Check::new(
        "profile-production",
        "config",
        Medium,
        "Nothing starts with less than all barriers",
        |world| {
            world.config()?;
            doctor(world, &["profile-development"], "profile = \"production\"")
        },
    ),
    Check::new("log-quiet", "config", High, "The log is not verbose where real keys are", quiet),
    Check::new(
        "admin-listen",
        "config",
        Critical,
        "The status page listens on the VPN or on loopback",
        admin,
    ),
    Check::new(
        "webhook-listen",
        "config",
        Critical,
        "The webhook listens on loopback or a unix socket",
        webhook_listen,
    ),
    Check::new(
        "access-no-wildcard",
        "config",
        Critical,
        "Only numeric ids are listed, and no one stands for everybody",
        wildcard,
    ),
    Check::new(
        "access-owner",
        "config",
        Medium,
        "The bots have an owner, so that approvals have somebody to go to",
        access_owner,
    ),
    Check::new("config-no-secret", "config", High, "No key stands in the configuration", no_secret),
    Check::new(
        "telegram-official",
        "config",
        Medium,
        "Messages go to Telegram's own server, or to one of yours",
        telegram,
    ),
    Check::new(
        "models-encrypted",
        "config",
        Medium,
        "What models are asked crosses no network in the clear",
        models,
    ),
    Check::new(
        "private-endpoints-encrypted",
        "config",
        Low,
        "What skills ask of your own servers crosses no network in the clear",
        endpoints,
    ),
    Check::new("exits-known", "config", Low, "Proxies on the way out are on this machine", exits)
        .attestable(),
    Check::new(
        "extra-roots",
        "config",
        Medium,
        "No certificate authority is trusted besides the public ones",
        roots,
    )
    .attestable(),
    Check::new(
        "spend-ceiling",
        "spend",
        Medium,
        "A tap in chat raises a limit to at most three times its amount",
        ceiling,
    ),
    Check::new(
        "spend-chat-skill",
        "spend",
        Medium,
        "Each chat and each skill has a spending limit",
        chat_skill,
    ),
    Check::new("spend-free", "spend", Low, "No public host is declared to cost nothing", free),
    Check::new("turn-budgets", "config", Low, "A turn's budgets are bounded", budgets),
    Check::new(
        "files-retention",
        "config",
        Low,
        "What people attach is deleted within three months",
        retention,
    ),
    Check::new(
        "webhook-peer",
        "config",
        Medium,
        "The webhook's socket takes the tunnel's process alone",
        peer,
    ),
    Check::new("drill-at-start", "config", Low, "The jails are attacked at each start", drill_at_start),
    Check::new(
        "runtimes-system",
        "skills",
        High,
        "Interpreters that skills may name are the system's",
        runtimes,
    ),
];

fn settings(world: &World) -> Seen<&Settings> {
    world.see(&world.settings)
}

fn set(settings: &Settings, section: &'static str, key: &'static str, to: &str) -> Fix {
    Fix::Setting { file: settings.path.clone(), edit: Edit::Value { section, key, to: to.into() } }
}

fn valid(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let path = settings.path.display();
    let good = match settings.text.is_empty() {
        true => format!("there is no {path}, or nothing in it: every default holds"),
        false => format!("{path} is good"),
    };
    doctor(world, &["config", "config-unreadable"], &good)
}

fn quiet(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let profile = settings.raw.get("profile").and_then(toml::Value::as_str).unwrap_or("development");
    let level = settings.word("log", "level").unwrap_or("info");
    let evidence = format!("profile {profile}, [log] level {level}");
    match (profile, level) {
        ("production", "error" | "warn" | "info") => pass(evidence),
        ("production", _) => fixable(
            evidence,
            "set level = \"info\" in section [log]",
            vec![set(settings, "log", "level", "\"info\"")],
        ),
        (_, "debug") => not_applicable(format!("{evidence}: development keys are its own")),
        _ => pass(evidence),
    }
}

/// A host and port that may be anybody's to reach, or `None` for loopback and for words.
fn open(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (!loopback).then_some(port)
}

fn admin(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let listen = settings.word("admin", "listen").unwrap_or("off");
    match open(listen) {
        None => pass(format!("[admin] listen = {listen:?}")),
        Some(port) => fixable(
            format!("[admin] listen = {listen:?}: whoever reaches this machine reaches it"),
            "write listen = \"vpn\" in section [admin], and come in over the VPN",
            vec![set(settings, "admin", "listen", &format!("\"127.0.0.1:{port}\""))],
        ),
    }
}

fn webhook_listen(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let listen =
        settings.word("webhook", "listen").map_or_else(|| FACTS.webhook.listen.to_string(), str::to_owned);
    let port = if listen.starts_with("unix:") { None } else { open(&listen) };
    match port {
        None => pass(format!("[webhook] listen = {listen:?}")),
        Some(port) => fixable(
            format!("[webhook] listen = {listen:?}: whoever reaches this machine reaches it"),
            "write listen = \"127.0.0.1:8787\" in section [webhook]; the tunnel is what Telegram reaches",
            vec![set(settings, "webhook", "listen", &format!("\"127.0.0.1:{port}\""))],
        ),
    }
}

fn wildcard(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let access = settings.raw.get("access");
    let list =
        |value: Option<&toml::Value>| value.and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut all = [
        list(access.and_then(|access| access.get("owners"))),
        list(access.and_then(|access| access.get("people"))),
    ]
    .concat();
    for group in list(access.and_then(|access| access.get("group"))) {
        all.extend(list(group.get("people")));
    }
    let strangers: Vec<String> = all
        .iter()
        .filter(|who| who.as_integer().is_none_or(|id| id <= 0))
        .map(|who| short(&who.to_string()))
        .collect();
    match strangers.as_slice() {
        [] => pass(format!("{} numeric ids; an empty list is nobody", all.len())),
        strangers => fixable(
            format!("listed in [access]: {}", named(strangers)),
            "write numeric user ids; openclaw pair makes you the owner without an entry",
            vec![Fix::Setting { file: settings.path.clone(), edit: Edit::Strangers }],
        ),
    }
}

fn short(text: &str) -> String {
    text.chars().take(24).collect()
}

fn access_owner(world: &World) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    if status.bots.is_empty() {
        return not_applicable("there is no bot; in the terminal you are the owner");
    }
    match status.owner_paired {
        true => pass("somebody has paired, or is named in [access] owners"),
        false => fail(
            "the bots have no owner: they answer nobody, and nobody can approve anything",
            "openclaw pair",
        ),
    }
}

fn no_secret(world: &World) -> Seen<Verdict> {
    let settings = settings(world)?;
    let lines = settings.text.lines().enumerate();
    let found: Vec<String> =
        lines.filter(|(_, line)| looks_like_a_key(line)).map(|(at, _)| format!("line {}", at + 1)).collect();
    none(
        &found,
        "nothing in it has the form of a key",
        "put the key into the key file (openclaw keys add NAME), its NAME here, and make a new key at its provider",
    )
}

fn telegram(world: &World) -> Seen<Verdict> {
    let telegram = &world.config()?.telegram;
    match (telegram.api == FACTS.telegram.api, telegram.private) {
        (true, _) => pass(telegram.api.to_string()),
        (false, true) => pass(format!("{}, a server of yours (private = true)", telegram.api)),
        (false, false) => {
            fail(format!("[telegram] api = {}", telegram.api), "take `api` out of section [telegram]")
        }
    }
}

/// Plain http to anything but this machine.
fn clear(url: &Url) -> bool {
    url.scheme() == "http" && !local(url)
}

fn local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn models(world: &World) -> Seen<Verdict> {
    let config = world.config()?;
    let urls = config.model.iter().filter_map(|model| Some((model.name.to_string(), model.url.as_ref()?)));
    let wrong: Vec<_> =
        urls.filter(|(_, url)| clear(url)).map(|(name, url)| format!("{name}: {url}")).collect();
    none(&wrong, format!("{} models", config.model.len()), "give the server a certificate, and write https")
}

fn endpoints(world: &World) -> Seen<Verdict> {
    let private = &world.config()?.skills.private;
    if private.is_empty() {
        return not_applicable("no private endpoint is declared");
    }
    let wrong: Vec<_> = private
        .iter()
        .filter(|(_, end)| clear(&end.url))
        .map(|(name, end)| format!("{name}: {}", end.url))
        .collect();
    none(
        &wrong,
        format!("{} endpoints", private.len()),
        "give the server a certificate, and write https with `ca`",
    )
}

fn exits(world: &World) -> Seen<Verdict> {
    let config = world.config()?;
    let all: Vec<&Url> =
        config.model.iter().filter_map(|model| model.via.as_ref()).chain(&config.telegram.via).collect();
    let far: Vec<_> = all.iter().filter(|url| !local(url)).map(ToString::to_string).collect();
    match (all.as_slice(), far.as_slice()) {
        ([], _) => not_applicable("no proxy is declared"),
        (_, []) => pass(format!("{} proxies on this machine", all.len())),
        (_, far) => unknown(format!("somebody else's machine, maybe: {}", named(far)), "openclaw privacy"),
    }
}

fn roots(world: &World) -> Seen<Verdict> {
    match &world.config()?.network.extra_roots {
        None => pass("[network] extra_roots is not set"),
        Some(path) => unknown(
            format!(
                "[network] extra_roots = {}: its holder can read and change what goes out",
                path.display()
            ),
            "take it out if no server of yours needs it",
        ),
    }
}

fn ceiling(world: &World) -> Seen<Verdict> {
    let ceiling = world.config()?.spend.ceiling;
    match ceiling {
        0..=3 => pass(format!("[spend] ceiling = {ceiling}")),
        _ => fixable(
            format!("[spend] ceiling = {ceiling}"),
            "set ceiling = 2 in section [spend]",
            vec![set(settings(world)?, "spend", "ceiling", "2")],
        ),
    }
}

fn chat_skill(world: &World) -> Seen<Verdict> {
    let spend = &world.config()?.spend;
    let all = [
        ("chat_day", spend.chat_day, "4"),
        ("chat_month", spend.chat_month, "40"),
        ("skill_day", spend.skill_day, "1"),
        ("skill_month", spend.skill_month, "10"),
    ];
    let settings = settings(world)?;
    let open: Vec<_> = all.into_iter().filter(|(_, limit, _)| limit.0.is_none()).collect();
    let keys: Vec<_> = open.iter().map(|(key, ..)| (*key).to_owned()).collect();
    match open.as_slice() {
        [] => pass("chat_day, chat_month, skill_day and skill_month are amounts"),
        open => fixable(
            format!("no limit for {}", named(&keys)),
            "write an amount in the place of \"none\" in section [spend]",
            open.iter().map(|(key, _, to)| set(settings, "spend", key, to)).collect(),
        ),
    }
}

fn free(world: &World) -> Seen<Verdict> {
    let prices = &world.config()?.price;
    let nothing = |usd: Option<openclaw_wire::money::Usd>| usd.is_none_or(|usd| usd.as_nano() == 0);
    let free = prices.iter().filter(|price| {
        nothing(price.call) && nothing(price.input) && nothing(price.output) && nothing(Some(price.sent_mib))
    });
    let names: Vec<_> = free.filter_map(|price| price.model.clone().or_else(|| price.host.clone())).collect();
    none(
        &names,
        format!("{} prices of yours", prices.len()),
        "write what it costs, or take the [[price]] away",
    )
}

fn budgets(world: &World) -> Seen<Verdict> {
    let turn = &world.config()?.turn;
    let shown = format!("{} model calls, {} tokens, {} s", turn.steps, turn.tokens, turn.seconds);
    match turn.steps <= 100 && turn.tokens <= 2_000_000 && turn.seconds <= 3600 {
        true => pass(shown),
        false => {
            fail(shown, "set steps, tokens and seconds in section [turn] to 100, 2000000 and 3600 or less")
        }
    }
}

fn retention(world: &World) -> Seen<Verdict> {
    let days = world.config()?.files.days;
    match days {
        0..=92 => pass(format!("[files] days = {days}")),
        _ => fixable(
            format!("[files] days = {days}"),
            "set days = 30 in section [files]",
            vec![set(settings(world)?, "files", "days", "30")],
        ),
    }
}

fn peer(world: &World) -> Seen<Verdict> {
    webhook(world)?;
    let webhook = &world.config()?.webhook;
    match (&webhook.listen, &webhook.peer) {
        (Listen::Tcp(address), _) => unknown(
            format!("it listens on {address}, where nobody knows whose process connects"),
            "write listen = \"unix:/absolute/path\" and peer = \"the tunnel's user\" in section [webhook]",
        ),
        (Listen::Unix(_), Some(peer)) => pass(format!("[webhook] peer = {peer:?}")),
        (Listen::Unix(_), None) => pass("besides our own user nobody may connect"),
    }
}

fn drill_at_start(world: &World) -> Seen<Verdict> {
    let config = world.config()?;
    match (config.skills.drill_at_start, config.profile) {
        (true, _) => pass("[skills] drill_at_start = true"),
        (false, Profile::Development) => {
            not_applicable("development: `openclaw security drill` attacks them when you like")
        }
        (false, Profile::Production) => {
            fail("[skills] drill_at_start = false", "set drill_at_start = true in section [skills]")
        }
    }
}

fn runtimes(world: &World) -> Seen<Verdict> {
    let runtimes = &world.config()?.skills.runtime;
    if runtimes.is_empty() {
        return not_applicable("no runtime is listed");
    }
    let system = ["/usr", "/nix/store", "/opt"];
    let stray =
        runtimes.iter().filter(|(_, runtime)| !system.iter().any(|top| runtime.path.starts_with(top)));
    let stray: Vec<_> = stray.map(|(name, runtime)| format!("{name}: {}", runtime.path.display())).collect();
    none(
        &stray,
        format!("{} runtimes below {}", runtimes.len(), system.join(", ")),
        "name one that the system's packages own in section [skills.runtime]",
    )
}
