//! The ten points of the checklist.

use openclaw_wire::{
    audit::{
        Place,
        Severity::{Critical, High},
    },
    config::{Cap, From, Listen, Updates},
    facts::FACTS,
    ignored::Tracked,
    money::Limit,
};

use super::{
    as_doctor_says,
    network::strangers_reach,
    skills::{Vetted, standing},
};
use crate::{
    audit::{
        verdict::{Check, Edit, Fix, Verdict, fail, fixable, named, none, not_applicable, pass, unknown},
        world::{Blind, Kind, Seen, World, absent},
    },
    command::tunnel,
};

/// In their order.
pub const CHECKS: [Check; 10] = [
    Check::new("process-user", "processes", Critical, "No process of ours runs as root", process_user)
        .point(1),
    Check::new("key-file-private", "keys", Critical, "The key file is open to its owner alone", |world| {
        as_doctor_says(world, "keys-mode", key_file(world))
    })
    .point(2),
    Check::new("key-file-ignored", "keys", High, "The key file is out of version control's reach", ignored)
        .point(3),
    Check::new("spend-limits", "spend", High, "Every key has a spending limit", limits).point(4),
    Check::new("keys-separate", "keys", High, "Production and development have separate keys", separate)
        .point(5),
    Check::new("webhook-sources", "network", High, "The webhook takes only Telegram's addresses", sources)
        .point(6),
    Check::new("ssh-keys-only", "ssh", High, "SSH takes keys, no passwords", ssh).point(7),
    Check::new("webhook-tls", "network", High, "The webhook has HTTPS with a valid certificate", tls)
        .point(8),
    Check::new("tunnel-hidden", "network", High, "The tunnel hides this machine's address", hidden_address)
        .point(9),
    Check::new("skills-vetted", "skills", High, "Only vetted skills, their manifests reviewed", vetted)
        .point(10)
        .attestable(),
];

/// Egress serves: it does not where `what` is not so.
fn said_by_egress(world: &World, what: &str, blind: &Blind) -> Seen<Verdict> {
    match &world.status {
        Ok(status) if status.processes.iter().any(|report| report["process"] == "egress") => {
            Ok(Verdict::Attested(format!("egress serves, and {what}")))
        }
        _ => Err(blind.clone()),
    }
}

fn process_user(world: &World) -> Seen<Verdict> {
    match &world.processes {
        Ok(all) if !all.is_empty() => {
            let roots: Vec<_> = all.iter().filter(|one| one.uid == 0 && one.role != "supervisor").collect();
            let seen = |one: &&crate::audit::world::Process| {
                format!("{} (pid {}) as {}", one.role, one.pid, one.uid)
            };
            match roots.as_slice() {
                [] => pass(named(&all.iter().map(|one| seen(&one)).collect::<Vec<_>>())),
                roots => fail(
                    named(&roots.iter().map(seen).collect::<Vec<_>>()),
                    "start it as root with --user NAME, or from its units, which have users of their own",
                ),
            }
        }
        Ok(_) => unknown("nothing runs on this state folder", "start it, then look again"),
        Err(blind) => match world.own_uid {
            Some(0) => fail("the gateway runs as root", "start it as root with --user NAME"),
            Some(uid) => {
                Ok(Verdict::Attested(format!("the gateway is user {uid}; it does not see the others")))
            }
            None => Err(blind.clone()),
        },
    }
}

fn key_file(world: &World) -> Seen<Verdict> {
    let stat = match world.state.stat("keys") {
        Ok(stat) => stat,
        Err(blind @ Blind::Hidden(_)) => {
            return said_by_egress(world, "refuses a key file that others can read", &blind);
        }
        Err(Blind::Absent(_)) => {
            return not_applicable("there is no key file: no keys yet, or they are credentials");
        }
    };
    let path = &stat.path;
    let shown = format!("{} has mode {:04o} and belongs to uid {}", path.display(), stat.mode, stat.uid);
    if stat.kind != Kind::File {
        return fail(format!("{} is no regular file", path.display()), "put the file itself there");
    }
    let folder =
        world.state.stat("egress").ok().filter(|folder| path.parent() == Some(folder.path.as_path()));
    let owner = folder.map(|folder| folder.uid).filter(|owner| *owner != stat.uid);
    let mut fixes = Vec::new();
    if stat.mode & 0o7177 != 0 {
        fixes.push(Fix::Narrow { path: path.clone(), without: stat.mode & 0o7177 });
    }
    fixes.extend(owner.map(|uid| Fix::Owner { path: path.clone(), uid }));
    match fixes.is_empty() {
        true => pass(shown),
        false => {
            let mend = match owner {
                Some(uid) => format!("chown {uid} {0}; chmod 600 {0}", path.display()),
                None => format!("chmod 600 {}", path.display()),
            };
            fixable(shown, mend, fixes)
        }
    }
}

fn ignored(world: &World) -> Seen<Verdict> {
    match &world.state.tracked {
        Err(blind) => {
            said_by_egress(world, "refuses a key file in a work tree that does not ignore it", blind)
        }
        Ok(None) => pass("it is in no work tree, or a rule ignores it"),
        Ok(Some(Tracked::Other { tree, name })) => fail(
            format!("it lies in {}, which is under version control ({name})", tree.display()),
            "move it out of that folder, and name its place as `file` in section [keys]",
        ),
        Ok(Some(Tracked::Git { tree, rule })) => {
            let rules = tree.join(".gitignore");
            fixable(
                format!("it lies in the work tree {}, and no rule ignores it", tree.display()),
                format!("echo '{rule}' >> {}", rules.display()),
                vec![Fix::Ignore { rules: rules.clone(), rule: rule.clone() }],
            )
        }
    }
}

fn limits(world: &World) -> Seen<Verdict> {
    if world.settings.is_err() {
        // The gateway sees only what egress enforces over all keys together.
        let status = world.see(&world.status)?;
        return match status.caps.first() {
            Some(cap) => {
                pass(format!("egress enforces over all keys: {} until {}", cap.limit.shown(), cap.cap.period))
            }
            None if status.processes.iter().any(|report| report["process"] == "egress") => {
                fail("nothing bounds what is spent in all", "set day and month in section [spend]")
            }
            None => unknown("egress does not answer", "see the gateway's log"),
        };
    }
    let settings = world.see(&world.settings)?;
    let config = world.config()?;
    let spend = &config.spend;
    let all = [
        ("day", spend.day, "5"),
        ("month", spend.month, "50"),
        ("key_day", spend.key_day, "5"),
        ("key_month", spend.key_month, "50"),
    ];
    let open = all.iter().filter(|(_, limit, _)| limit.0.is_none());
    let unlimited = |cap: &&Cap| {
        cap.key.is_some() && [cap.day, cap.month].into_iter().flatten().any(|limit| limit.0.is_none())
    };
    let keys = config.cap.iter().filter(unlimited).filter_map(|cap| cap.key.clone());
    let wrong: Vec<String> = open.clone().map(|(key, ..)| (*key).to_owned()).chain(keys).collect();
    if wrong.is_empty() {
        let shown = |limit: Limit| limit.0.map(|usd| usd.shown()).unwrap_or_default();
        return pass(format!(
            "in all {} a day and {} a month; each key {} and {}",
            shown(spend.day),
            shown(spend.month),
            shown(spend.key_day),
            shown(spend.key_month)
        ));
    }
    let fix = |(key, _, to): &(&'static str, Limit, &str)| Fix::Setting {
        file: settings.path.clone(),
        edit: Edit::Value { section: "spend", key, to: (*to).into() },
    };
    fixable(
        format!("no limit for {}", named(&wrong)),
        "write an amount in the place of \"none\" in sections [spend] and [[cap]]",
        open.map(fix).collect(),
    )
}

fn separate(world: &World) -> Seen<Verdict> {
    match &world.state.shared_keys {
        Ok(0) => pass("no key in egress's list of seen keys stands there under both profiles"),
        Ok(shared) => fail(
            format!("{shared} keys were used under both profiles"),
            "make a key for each profile at its provider: openclaw keys rotate NAME",
        ),
        Err(Blind::Absent(why)) => not_applicable(why.as_str()),
        Err(blind) => said_by_egress(world, "refuses a key that was seen under the other profile", blind),
    }
}

/// Whether a bot is called by Telegram; without one there is no webhook.
pub fn webhook(world: &World) -> Seen<()> {
    let none = || absent("no bot is called by Telegram: there is no webhook");
    match (&world.status, world.config()) {
        (Ok(status), _) if status.bots.iter().any(|bot| bot.updates == Updates::Webhook) => Ok(()),
        (_, Ok(config)) if config.telegram.bot.iter().any(|bot| bot.updates == Updates::Webhook) => Ok(()),
        (Err(_), Err(blind)) => Err(blind),
        _ => none(),
    }
}

fn sources(world: &World) -> Seen<Verdict> {
    webhook(world)?;
    let config = match world.config() {
        Ok(config) => config,
        Err(blind) => {
            let from = world.status.as_ref().ok().and_then(|status| status.webhook_from);
            let Some(from) = from else { return Err(blind) };
            return Ok(Verdict::Attested(format!(
                "the gateway refuses every other source ({}); of the firewall: openclaw security audit",
                words(from)
            )));
        }
    };
    match config.webhook.from {
        From::Tunnel => {
            let place = match &config.webhook.listen {
                Listen::Unix(path) => format!("the socket {}", path.display()),
                Listen::Tcp(address) => address.to_string(),
            };
            pass(format!(
                "it listens on {place}, which only this machine reaches, and refuses every CF-Connecting-IP outside {}",
                ranges()
            ))
        }
        From::Direct => {
            let rules = world.see(&world.firewall)?;
            let port = FACTS.direct.port;
            let open = strangers_reach(rules, port);
            let set = rules.sets.get(&("openclaw".into(), "telegram".into())).cloned().unwrap_or_default();
            let known: Vec<_> = FACTS.telegram.ranges.iter().map(ToString::to_string).collect();
            match (open.as_slice(), set.iter().all(|range| known.contains(range))) {
                ([], true) => pass(format!("port {port} is open to {} alone", ranges())),
                ([], false) => fail(
                    format!("the firewall's set of Telegram's addresses is {}", set.join(", ")),
                    "systemctl reload openclaw-firewall",
                ),
                (open, _) => fixable(
                    format!("port {port} is open to everybody: {}", open.join(", ")),
                    "systemctl reload openclaw-firewall",
                    vec![Fix::Start { unit: "openclaw-firewall.service" }],
                ),
            }
        }
    }
}

fn words(from: From) -> &'static str {
    match from {
        From::Tunnel => "by CF-Connecting-IP",
        From::Direct => "by the connection's own address, which openclaw-front says",
    }
}

fn ranges() -> String {
    FACTS.telegram.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn ssh(world: &World) -> Seen<Verdict> {
    let sshd = world.see(&world.sshd)?;
    let on: Vec<String> = ["passwordauthentication", "kbdinteractiveauthentication"]
        .into_iter()
        .filter(|key| super::ssh::first(sshd, key) != "no")
        .map(|key| format!("{key} {}", super::ssh::first(sshd, key)))
        .collect();
    none(
        &on,
        "passwordauthentication no, kbdinteractiveauthentication no (sshd -T)",
        "write `PasswordAuthentication no` and `KbdInteractiveAuthentication no` into /etc/ssh/sshd_config.d/10-openclaw.conf \
         once your key lets you in, then systemctl reload ssh",
    )
}

fn tls(world: &World) -> Seen<Verdict> {
    webhook(world)?;
    let told = world.see(&world.webhooks)?;
    let mut wrong = Vec::new();
    for (bot, info) in told {
        let fault = info.last_error_message.as_deref().unwrap_or_default();
        let of_tls = ["ssl", "certificate", "tls"].iter().any(|word| fault.to_lowercase().contains(word));
        if info.url.is_empty() {
            wrong.push(format!("{bot}: none is registered"));
        } else if !info.url.starts_with("https://") || of_tls {
            wrong.push(format!("{bot}: {} {fault}", info.url));
        }
    }
    match (told.is_empty(), wrong.as_slice()) {
        (true, _) => unknown("Telegram was not asked", "openclaw webhook info"),
        (false, []) => {
            pass("Telegram, which checks the certificate, tells of no fault with it at its last delivery")
        }
        (false, wrong) => fail(named(wrong), "openclaw webhook info; openclaw tunnel check"),
    }
}

fn hidden_address(world: &World) -> Seen<Verdict> {
    webhook(world)?;
    if world.config()?.webhook.from == From::Direct {
        return not_applicable(
            "[webhook] from = \"direct\": there is no tunnel, and the address is public on purpose",
        );
    }
    let ways = world.see(&world.tunnel)?;
    let wrong: Vec<_> = ways.iter().filter(|way| way.good == Some(false)).collect();
    let dark: Vec<_> = ways.iter().filter(|way| way.good.is_none()).collect();
    match (wrong.as_slice(), dark.as_slice()) {
        ([], []) => pass(found_of(&ways.iter().collect::<Vec<_>>())),
        ([], dark) => unknown(found_of(dark), dark[0].mend),
        (wrong, _) => fail(found_of(wrong), wrong[0].mend),
    }
}

/// What was found of the tunnel.
pub fn found_of(ways: &[&tunnel::Point]) -> String {
    named(&ways.iter().map(|way| format!("{}: {}", way.what, way.found)).collect::<Vec<_>>())
}

fn vetted(world: &World) -> Seen<Verdict> {
    if let (Err(_), Ok(status)) = (&world.skills, &world.status) {
        let of_jail = match (&status.skills_off, &status.last_drill) {
            (Some(why), _) => return fail(format!("skills are off: {why}"), "openclaw doctor"),
            (None, Some(drill)) if drill.failed == 0 => "the last drill held",
            (None, _) => "no drill was held yet",
        };
        let running = status.skills.iter().filter(|skill| skill.problem.is_none()).count();
        let evidence = format!("{running} skills can run, each bound to its digest; {of_jail}");
        return unknown(evidence, "openclaw security audit looks at where each came from");
    }
    let (mut stray, mut plain, mut good) = (Vec::new(), Vec::new(), 0);
    for found in world.see(&world.skills)?.iter().filter(|found| !found.off) {
        match standing(world, found) {
            Vetted::Yes => good += 1,
            Vetted::Plain => plain.push(found.name.clone()),
            Vetted::No(why) => stray.push(format!("{}: {why}", found.name)),
        }
    }
    let look =
        "openclaw skills show NAME, then openclaw skills approve NAME, or openclaw skills disable NAME";
    match (stray.as_slice(), plain.as_slice()) {
        ([], []) => {
            pass(format!("{good} skills, each bundled with the programs or approved in exactly its state"))
        }
        ([], plain) => unknown(
            format!("they ask for no host, so nobody had to approve them: {}", named(plain)),
            "openclaw skills show NAME",
        ),
        (stray, _) => fail(named(stray), look),
    }
}

/// For what an appliance has and `openclaw run` has not.
pub fn appliance(world: &World) -> Seen<()> {
    match world.place {
        Place::Appliance => Ok(()),
        Place::Container => absent("a container has no units; compose.yaml names its limits"),
        Place::Host => absent("the processes run under `openclaw run`, not as units"),
    }
}
