//! The SSH server, by what `sshd -T` says is in force. Whether it takes passwords is one of the ten points.

use std::collections::BTreeMap;

use openclaw_wire::audit::Severity::{High, Low, Medium};

use crate::audit::{
    verdict::{Check, Fix, Verdict, fail, fixable, named, none, pass},
    world::{Seen, World},
};

/// In their order.
pub const CHECKS: [Check; 6] = [
    Check::new("ssh-root", "ssh", Medium, "Root comes in by key at most", root),
    Check::new("ssh-empty-passwords", "ssh", High, "No account without a password comes in", |world| {
        is(world, &[("permitemptypasswords", "no")])
    }),
    Check::new("ssh-forwarding", "ssh", Medium, "A login is no way to this machine's loopback", |world| {
        is(
            world,
            &[
                ("allowtcpforwarding", "no"),
                ("allowstreamlocalforwarding", "no"),
                ("allowagentforwarding", "no"),
                ("x11forwarding", "no"),
                ("permittunnel", "no"),
            ],
        )
    }),
    Check::new("ssh-algorithms", "ssh", Medium, "Only modern algorithms are spoken", algorithms),
    Check::new("ssh-guessing", "ssh", Low, "Guessing is slow", guessing),
    Check::new("ssh-key-files", "ssh", High, "Nobody else adds a key to those that may come in", key_files),
];

type Sshd = BTreeMap<String, Vec<String>>;

/// The first value of a keyword.
pub fn first<'a>(sshd: &'a Sshd, key: &str) -> &'a str {
    sshd.get(key).and_then(|values| values.first()).map_or("", String::as_str)
}

fn root(world: &World) -> Seen<Verdict> {
    let sshd = world.see(&world.sshd)?;
    let value = first(sshd, "permitrootlogin");
    let shown = format!("permitrootlogin {value}");
    match value {
        "no" | "prohibit-password" | "without-password" | "forced-commands-only" => pass(shown),
        _ => fail(
            shown,
            "write `PermitRootLogin prohibit-password` into /etc/ssh/sshd_config.d/10-openclaw.conf",
        ),
    }
}

fn is(world: &World, wanted: &[(&str, &str)]) -> Seen<Verdict> {
    let sshd = world.see(&world.sshd)?;
    let wrong: Vec<_> = wanted
        .iter()
        .filter(|(key, good)| first(sshd, key) != *good)
        .map(|(key, _)| format!("{key} {}", first(sshd, key)))
        .collect();
    let good: Vec<_> = wanted.iter().map(|(key, good)| format!("{key} {good}")).collect();
    none(&wrong, good.join(", "), format!("in /etc/ssh/sshd_config.d/10-openclaw.conf: {}", good.join(", ")))
}

/// Parts of names that no algorithm of today has.
const WEAK: [&str; 12] = [
    "sha1",
    "md5",
    "3des",
    "arcfour",
    "cbc",
    "blowfish",
    "cast128",
    "ssh-dss",
    "umac-64",
    "group1-",
    "group14-sha1",
    "nistp",
];

fn algorithms(world: &World) -> Seen<Verdict> {
    let sshd = world.see(&world.sshd)?;
    let mut weak = Vec::new();
    for key in ["kexalgorithms", "ciphers", "macs", "hostkeyalgorithms", "pubkeyacceptedalgorithms"] {
        let names = first(sshd, key).split(',');
        let found = names.filter(|name| {
            WEAK.iter().any(|part| name.contains(part)) || (key != "kexalgorithms" && *name == "ssh-rsa")
        });
        weak.extend(found.map(|name| format!("{key}: {name}")));
    }
    none(
        &weak,
        "no SHA-1, MD5, CBC, DSA or curves of NIST",
        "take the lists of systemd/sshd_config.d/10-openclaw.conf, then systemctl reload ssh",
    )
}

fn guessing(world: &World) -> Seen<Verdict> {
    let sshd = world.see(&world.sshd)?;
    let number = |key| first(sshd, key).parse::<u64>().unwrap_or(u64::MAX);
    let (tries, grace) = (number("maxauthtries"), number("logingracetime"));
    let shown = format!("maxauthtries {tries}, logingracetime {grace}");
    match tries <= 6 && (1..=120).contains(&grace) {
        true => pass(shown),
        false => fail(
            shown,
            "write `MaxAuthTries 3` and `LoginGraceTime 20` into /etc/ssh/sshd_config.d/10-openclaw.conf",
        ),
    }
}

fn key_files(world: &World) -> Seen<Verdict> {
    world.see(&world.sshd)?;
    let files = &world.see(&world.accounts)?.ssh_keys;
    let wrong: Vec<_> = files.iter().filter(|stat| stat.mode & 0o022 != 0).collect();
    match wrong.as_slice() {
        [] => pass(format!("{} files of keys, none of which others can write", files.len())),
        wrong => {
            let shown = |stat: &&crate::audit::world::Stat| {
                format!("{} has mode {:04o}", stat.path.display(), stat.mode)
            };
            let fix = |stat: &&crate::audit::world::Stat| Fix::Narrow {
                path: stat.path.clone(),
                without: stat.mode & 0o022,
            };
            fixable(
                named(&wrong.iter().map(shown).collect::<Vec<_>>()),
                "chmod go-w on each",
                wrong.iter().map(fix).collect(),
            )
        }
    }
}
