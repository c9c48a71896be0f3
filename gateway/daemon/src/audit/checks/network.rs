//! Who reaches this machine, and whom it reaches: what listens, and the firewall.

use std::net::IpAddr;

use openclaw_wire::{
    audit::{
        Place,
        Severity::{Critical, High, Low, Medium},
    },
    config::{Config, Updates},
    facts::FACTS,
};

use super::points::{appliance, found_of};
use crate::audit::{
    nft::{Chain, Ruleset},
    verdict::{Check, Fix, Verdict, fail, fixable, named, none, not_applicable, pass, unknown},
    world::{Listener, Seen, World},
};

/// In their order.
pub const CHECKS: [Check; 12] = [
    Check::new(
        "listeners-ours",
        "network",
        Critical,
        "Our processes listen on loopback or the VPN alone",
        ours,
    ),
    Check::new(
        "listeners-others",
        "network",
        Medium,
        "Nothing else on this machine listens for strangers",
        others,
    ),
    Check::new("listeners-udp", "network", Low, "Of UDP, strangers reach the VPN alone", udp),
    Check::new(
        "page-listens",
        "network",
        Critical,
        "The status page answers on the VPN or on loopback alone",
        page,
    ),
    Check::new("firewall-input", "network", High, "What no rule lets in stays out", input),
    Check::new("firewall-forward", "network", Low, "This machine is nobody's router", forward),
    Check::new(
        "firewall-output",
        "network",
        High,
        "Gateway, runner and front reach nothing, whatever they try",
        output,
    ),
    Check::new("firewall-ours", "network", High, "The firewall is ours, whole and in force", table),
    Check::new(
        "firewall-admin",
        "network",
        High,
        "SSH and the status page answer on the VPN's interface alone",
        operator,
    ),
    Check::new("webhook-secret", "network", Critical, "Each webhook has a secret", secret),
    Check::new("webhook-old-secret", "network", Low, "No old webhook secret is right any more", old_secret),
    Check::new(
        "tunnel-sound",
        "network",
        Medium,
        "The tunnel has one credential, a valid configuration and the edge",
        tunnel,
    ),
];

/// An address that somebody elsewhere could reach.
fn public(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

fn on_vpn(ip: IpAddr) -> bool {
    FACTS.vpn.network.contains(&ip) || FACTS.vpn.tailscale_network.contains(&ip)
}

fn words(listeners: &[&Listener], world: &World) -> Vec<String> {
    let whose = |uid: u32| {
        let name = world.accounts.as_ref().ok().and_then(|accounts| accounts.name(uid)).map(str::to_owned);
        name.unwrap_or_else(|| format!("uid {uid}"))
    };
    listeners.iter().map(|one| format!("{} ({})", one.address, whose(one.uid))).collect()
}

/// Our processes' users. Under `openclaw run` it is one, which may run other things besides.
fn users(world: &World) -> Seen<Vec<u32>> {
    let mut users: Vec<u32> = world.running()?.iter().map(|one| one.uid).collect();
    users.retain(|uid| *uid != 0);
    users.sort_unstable();
    users.dedup();
    Ok(users)
}

fn ours(world: &World) -> Seen<Verdict> {
    let users = users(world)?;
    let all = world.see(&world.listeners)?;
    let own: Vec<_> = all.iter().filter(|one| one.tcp && users.contains(&one.uid)).collect();
    let wrong: Vec<_> =
        own.iter().copied().filter(|one| public(one.address.ip()) && !on_vpn(one.address.ip())).collect();
    none(
        &words(&wrong, world),
        format!("{} TCP sockets of these users listen, on loopback or the VPN", own.len()),
        "look which program that is: ss -ltnp; ours listen on nothing else, so give them an account of their own",
    )
}

fn others(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.listeners)?;
    let users = users(world).unwrap_or_default();
    let front = world.place == Place::Appliance && world.config().is_ok_and(Config::has_front);
    let expected = |one: &&Listener| {
        let port = one.address.port();
        // Bound to its interface, systemd's socket of the page looks as if it listened for everybody.
        port == FACTS.ssh.port
            || (world.place == Place::Appliance && port == FACTS.admin.port)
            // systemd's as well, for openclaw-front.
            || (front && [FACTS.direct.port, FACTS.direct.challenge].contains(&port))
    };
    let wrong: Vec<_> = all
        .iter()
        .filter(|one| one.tcp && public(one.address.ip()) && !on_vpn(one.address.ip()))
        .filter(|one| !users.contains(&one.uid) && !expected(one))
        .collect();
    none(
        &words(&wrong, world),
        format!("{} sockets listen, SSH and openclaw-front aside on loopback or the VPN", all.len()),
        "stop what you don't need, or give OpenClaw a machine of its own",
    )
}

fn udp(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.listeners)?;
    // Leases of addresses (DHCP) come in on these.
    let known = [FACTS.vpn.port, 68, 546];
    let wrong: Vec<_> = all
        .iter()
        .filter(|one| !one.tcp && public(one.address.ip()) && !known.contains(&one.address.port()))
        .collect();
    none(
        &words(&wrong, world),
        format!("port {} and leases of addresses at most", FACTS.vpn.port),
        "stop what you don't need, announcers such as avahi first",
    )
}

fn page(world: &World) -> Seen<Verdict> {
    let page = &world.see(&world.status)?.page;
    if !page.on {
        return not_applicable("the status page is off");
    }
    let good = |at: &&String| {
        at.contains(&FACTS.vpn.interface)
            || at.contains(&FACTS.vpn.tailscale)
            || at.contains("//127.")
            || at.contains("//[::1]")
    };
    let wrong: Vec<String> = page.listens.iter().filter(|at| !good(at)).cloned().collect();
    match page.listens.as_slice() {
        [] => pass("it listens nowhere now: the VPN's interface is not there"),
        all => {
            none(&wrong, all.join("; ").replace("http://", ""), "write listen = \"vpn\" in section [admin]")
        }
    }
}

fn rules(world: &World) -> Seen<&Ruleset> {
    world.see(&world.firewall)
}

fn input(world: &World) -> Seen<Verdict> {
    let rules = rules(world)?;
    let dropping: Vec<_> = rules
        .hooked("input")
        .filter(|chain| chain.drops)
        .map(|chain| format!("{} {}", chain.table, chain.name))
        .collect();
    match dropping.as_slice() {
        [] => start("no chain of incoming packets drops what no rule lets in", world),
        all => pass(format!("policy drop: {}", named(all))),
    }
}

/// Where our firewall is installed it can be started; elsewhere it is the operator's.
fn start(evidence: &str, world: &World) -> Seen<Verdict> {
    match world.place {
        Place::Appliance => fixable(
            evidence,
            "systemctl start openclaw-firewall",
            vec![Fix::Start { unit: "openclaw-firewall.service" }],
        ),
        _ => fail(
            evidence,
            "give this machine a firewall that drops what comes in, such as ufw: ufw default deny incoming; ufw enable",
        ),
    }
}

fn forward(world: &World) -> Seen<Verdict> {
    let rules = rules(world)?;
    match rules.hooked("forward").any(|chain| chain.drops) {
        true => pass("policy drop for what passes through"),
        false => match world
            .sysctl
            .as_ref()
            .ok()
            .and_then(|all| all.get("net/ipv4/ip_forward"))
            .map(String::as_str)
        {
            Some("0") => pass("net.ipv4.ip_forward is 0: nothing passes through"),
            _ => start("packets may pass through this machine", world),
        },
    }
}

fn output(world: &World) -> Seen<Verdict> {
    appliance(world)?;
    let rules = rules(world)?;
    let good = |chain: &Chain| {
        chain.drops && chain.rules.iter().any(|rule| rule.by_user && rule.to.as_deref() == Some("nothing"))
    };
    match rules.hooked("output").any(good) {
        true => pass("policy drop, and what gateway, runner and front send is refused by their users"),
        false => start("nothing refuses what gateway, runner and front send", world),
    }
}

fn table(world: &World) -> Seen<Verdict> {
    appliance(world)?;
    let rules = rules(world)?;
    let missing: Vec<_> = ["input", "forward", "output"]
        .into_iter()
        .filter(|hook| !rules.hooked(hook).any(|chain| chain.table == "openclaw" && chain.drops))
        .map(|hook| format!("table openclaw has no chain {hook} with policy drop"))
        .collect();
    match missing.as_slice() {
        [] => pass("table inet openclaw: input, forward and output with policy drop"),
        missing => start(&named(missing), world),
    }
}

/// Rules of incoming packets that open a port to whoever asks.
pub fn strangers_reach(rules: &Ruleset, port: u16) -> Vec<String> {
    let open = rules.hooked("input").filter(|chain| chain.drops).flat_map(|chain| {
        let open = chain.rules.iter().filter(move |rule| rule.opens(port) && rule.senders.is_none());
        open.map(|_| format!("{} {}", chain.table, chain.name))
    });
    let closed = rules.hooked("input").any(|chain| chain.drops);
    let none = (!closed).then(|| "nothing drops what comes in".to_owned());
    open.chain(none).collect()
}

fn operator(world: &World) -> Seen<Verdict> {
    appliance(world)?;
    let rules = rules(world)?;
    let mut open = Vec::new();
    for port in [FACTS.ssh.port, FACTS.admin.port] {
        open.extend(strangers_reach(rules, port).into_iter().map(|by| format!("port {port}: {by}")));
    }
    match open.as_slice() {
        [] => pass(format!(
            "no rule lets anybody in at ports {} and {} but on {} and {}",
            FACTS.ssh.port, FACTS.admin.port, FACTS.vpn.interface, FACTS.vpn.tailscale
        )),
        open => fixable(
            named(open),
            "systemctl reload openclaw-firewall, and take other rules away",
            vec![Fix::Start { unit: "openclaw-firewall.service" }],
        ),
    }
}

fn secret(world: &World) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    let bots: Vec<_> = status.bots.iter().filter(|bot| bot.updates == Updates::Webhook).collect();
    if bots.is_empty() {
        return not_applicable("no bot is called by Telegram: there is no webhook");
    }
    let without = bots.iter().filter(|bot| bot.webhook_secret_sha256.len() != 64);
    let without: Vec<_> = without.map(|bot| bot.name.to_string()).collect();
    none(
        &without,
        format!("{} bots, each with a secret that egress made", bots.len()),
        "openclaw webhook set --bot NAME",
    )
}

fn old_secret(world: &World) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    let old = status.bots.iter().filter(|bot| bot.webhook_previous.is_some());
    let old: Vec<_> =
        old.map(|bot| format!("{}: the one before is right as well, for a while", bot.name)).collect();
    none(
        &old,
        "each bot's webhook has one secret",
        "openclaw keys rotate --webhook --now, when it must end at once",
    )
}

fn tunnel(world: &World) -> Seen<Verdict> {
    super::points::webhook(world)?;
    if world.config()?.webhook.from != openclaw_wire::config::From::Tunnel {
        return not_applicable("there is no tunnel");
    }
    let ways = world.see(&world.tunnel)?;
    let own = ["credential", "configuration", "registration"];
    let wrong: Vec<_> = ways.iter().filter(|way| own.contains(&way.what) && way.good != Some(true)).collect();
    match wrong.as_slice() {
        [] => pass("one credential, a valid configuration, connections to the edge"),
        wrong if wrong.iter().all(|way| way.good.is_none()) => unknown(found_of(wrong), wrong[0].mend),
        wrong => fail(found_of(wrong), wrong[0].mend),
    }
}
