//! The appliance's units as systemd has them in force, a drop-in of somebody else's included.

use std::collections::BTreeMap;

use openclaw_wire::{
    audit::Severity::{High, Low, Medium},
    facts::FACTS,
};

use super::points::appliance;
use crate::audit::{
    verdict::{Check, Fix, Verdict, fail, fixable, named, none, pass, unknown},
    world::{Seen, World, absent},
};

/// Units that must be hardened, and the user that each runs as.
pub const SERVICES: [&str; 5] = [
    "openclaw-gateway.service",
    "openclaw-egress.service",
    "openclaw-runner.service",
    "openclaw-tunnel.service",
    "openclaw-front.service",
];

/// Units that are looked at besides.
pub const OTHERS: [&str; 4] =
    ["openclaw-firewall.service", "openclaw-vpn.service", "openclaw-drill.timer", "openclaw-drill.service"];

/// Properties that are asked for.
pub const PROPERTIES: [&str; 24] = [
    "LoadState",
    "ActiveState",
    "Result",
    "User",
    "NoNewPrivileges",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateNetwork",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectClock",
    "MemoryDenyWriteExecute",
    "LockPersonality",
    "RestrictRealtime",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "SystemCallFilter",
    "MemoryMax",
    "TasksMax",
    "LimitCORE",
    "UMask",
    "DropInPaths",
];

/// In their order.
pub const CHECKS: [Check; 9] = [
    Check::new("units-users", "units", High, "Each unit has a user of its own, which is not root", users),
    Check::new("units-hardened", "units", High, "Each unit gives up what all of them give up", hardened),
    Check::new("units-capabilities", "units", High, "No unit can have a capability", capabilities),
    Check::new("units-network", "units", High, "Gateway, runner and front have no network", network),
    Check::new("units-bounded", "units", Medium, "Each unit's memory and processes are bounded", bounded),
    Check::new("units-unchanged", "units", Medium, "No drop-in of yours changes our units", unchanged),
    Check::new("units-up", "units", Medium, "No unit of ours has failed", up),
    Check::new("firewall-active", "units", High, "The firewall's unit is active", firewall),
    Check::new("drill-timer", "units", Low, "The jails are attacked once a week", timer),
];

type Properties = BTreeMap<String, String>;

/// Those that are installed, of these.
fn installed<'a>(world: &'a World, names: &[&'static str]) -> Seen<Vec<(&'static str, &'a Properties)>> {
    appliance(world)?;
    let all = world.see(&world.units)?;
    let there: Vec<_> = names
        .iter()
        .filter_map(|name| Some((*name, all.get(*name)?)))
        .filter(|(_, unit)| unit.get("LoadState").is_some_and(|state| state == "loaded"))
        .collect();
    match there.is_empty() {
        true => absent("none of our units is installed"),
        false => Ok(there),
    }
}

fn of<'a>(unit: &'a Properties, name: &str) -> &'a str {
    unit.get(name).map_or("", String::as_str)
}

fn short(name: &str) -> &str {
    name.trim_start_matches("openclaw-").trim_end_matches(".service")
}

fn users(world: &World) -> Seen<Verdict> {
    let units = installed(world, &SERVICES)?;
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, unit) in &units {
        match of(unit, "User") {
            "" | "root" | "0" => wrong.push(format!("{} runs as root", short(name))),
            user => {
                if let Some(other) = seen.insert(user, name) {
                    wrong.push(format!("{} and {} are both {user}", short(other), short(name)));
                }
            }
        }
    }
    let shown: Vec<_> =
        units.iter().map(|(name, unit)| format!("{}: {}", short(name), of(unit, "User"))).collect();
    none(&wrong, shown.join(", "), "take User= out of your own drop-ins: systemctl cat NAME shows them")
}

/// What all of them give up (`openclaw-.service.d/00-hardening.conf`), and what none needs back.
const GIVEN_UP: [(&str, &[&str]); 12] = [
    ("NoNewPrivileges", &["yes"]),
    ("ProtectSystem", &["strict"]),
    ("ProtectHome", &["yes", "tmpfs"]),
    ("PrivateTmp", &["yes", "disconnected"]),
    ("PrivateDevices", &["yes"]),
    ("ProtectKernelModules", &["yes"]),
    ("ProtectKernelLogs", &["yes"]),
    ("ProtectClock", &["yes"]),
    ("MemoryDenyWriteExecute", &["yes"]),
    ("LockPersonality", &["yes"]),
    ("RestrictRealtime", &["yes"]),
    ("LimitCORE", &["0"]),
];

fn hardened(world: &World) -> Seen<Verdict> {
    let units = installed(world, &SERVICES)?;
    let mut wrong = Vec::new();
    for (name, unit) in &units {
        for (property, good) in GIVEN_UP {
            let value = of(unit, property);
            if !good.contains(&value) {
                wrong.push(format!("{}: {property}={value}", short(name)));
            }
        }
        if of(unit, "SystemCallFilter").is_empty() {
            wrong.push(format!("{}: no SystemCallFilter", short(name)));
        }
        if of(unit, "UMask") != "0077" {
            wrong.push(format!("{}: UMask={}", short(name), of(unit, "UMask")));
        }
    }
    none(
        &wrong,
        format!("{} units: {} settings each", units.len(), GIVEN_UP.len() + 2),
        "take your own drop-ins away: systemctl revert NAME",
    )
}

fn capabilities(world: &World) -> Seen<Verdict> {
    let units = installed(world, &SERVICES)?;
    let wrong: Vec<_> = units
        .iter()
        .flat_map(|(name, unit)| {
            ["CapabilityBoundingSet", "AmbientCapabilities"]
                .map(|property| (*name, property, of(unit, property)))
        })
        .filter(|(.., value)| !value.is_empty())
        .map(|(name, property, value)| format!("{}: {property}={value}", short(name)))
        .collect();
    none(&wrong, format!("{} units, with empty sets", units.len()), "systemctl revert NAME")
}

fn network(world: &World) -> Seen<Verdict> {
    let units =
        installed(world, &["openclaw-gateway.service", "openclaw-runner.service", "openclaw-front.service"])?;
    let wrong: Vec<_> = units
        .iter()
        .filter(|(_, unit)| of(unit, "PrivateNetwork") != "yes")
        .map(|(name, unit)| format!("{}: PrivateNetwork={}", short(name), of(unit, "PrivateNetwork")))
        .collect();
    none(&wrong, format!("PrivateNetwork=yes for {} units", units.len()), "systemctl revert NAME")
}

fn bounded(world: &World) -> Seen<Verdict> {
    let units = installed(world, &SERVICES)?;
    let endless = |value: &str| matches!(value, "" | "infinity" | "18446744073709551615");
    let wrong: Vec<_> = units
        .iter()
        .flat_map(|(name, unit)| {
            ["MemoryMax", "TasksMax"].map(|property| (*name, property, of(unit, property)))
        })
        .filter(|(.., value)| endless(value))
        .map(|(name, property, _)| format!("{}: {property} is infinite", short(name)))
        .collect();
    none(&wrong, format!("{} units, each with MemoryMax and TasksMax", units.len()), "systemctl revert NAME")
}

fn unchanged(world: &World) -> Seen<Verdict> {
    let units = installed(world, &SERVICES)?;
    // /run/systemd/generator and the like are not somebody's; `systemctl edit` and `set-property` write into these.
    let edited =
        ["/etc/systemd/system/openclaw", "/etc/systemd/system.control/", "/run/systemd/system.control/"];
    let mut wrong: Vec<String> = units
        .iter()
        .flat_map(|(_, unit)| of(unit, "DropInPaths").split_whitespace())
        .filter(|path| edited.iter().any(|place| path.starts_with(place)))
        // On NixOS ours are there as well, under the names that we gave them.
        .filter(|path| !path.ends_with("/00-hardening.conf") && !path.ends_with("/50-needs.conf"))
        .map(str::to_owned)
        .collect();
    wrong.sort();
    wrong.dedup();
    match wrong.as_slice() {
        [] => pass("only the drop-ins that came with the units"),
        wrong => unknown(
            named(wrong),
            "systemctl cat NAME shows what each changes; systemctl revert NAME takes it back",
        ),
    }
}

fn up(world: &World) -> Seen<Verdict> {
    let units = installed(world, &[SERVICES.as_slice(), OTHERS.as_slice()].concat())?;
    let wrong: Vec<_> = units
        .iter()
        .filter(|(_, unit)| of(unit, "ActiveState") == "failed")
        .map(|(name, unit)| format!("{name}: {}", of(unit, "Result")))
        .collect();
    none(
        &wrong,
        format!("{} units", units.len()),
        "journalctl -u NAME says why; systemctl reset-failed 'openclaw*', then systemctl start openclaw.target",
    )
}

fn firewall(world: &World) -> Seen<Verdict> {
    let units = installed(world, &["openclaw-firewall.service"])?;
    match of(units[0].1, "ActiveState") {
        "active" => pass("openclaw-firewall.service is active"),
        state => fixable(
            format!("openclaw-firewall.service is {state}"),
            "systemctl start openclaw-firewall",
            vec![Fix::Start { unit: "openclaw-firewall.service" }],
        ),
    }
}

fn timer(world: &World) -> Seen<Verdict> {
    let units = installed(world, &["openclaw-drill.timer"])?;
    match of(units[0].1, "ActiveState") {
        "active" => pass("openclaw-drill.timer is active"),
        state => {
            fail(format!("openclaw-drill.timer is {state}"), "systemctl enable --now openclaw-drill.timer")
        }
    }
}

/// The users of our units.
pub fn names() -> [&'static str; 5] {
    let users = &FACTS.users;
    [&users.gateway, &users.egress, &users.runner, &users.tunnel, &users.front].map(String::as_str)
}
