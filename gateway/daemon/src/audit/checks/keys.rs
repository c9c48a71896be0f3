//! Keys: whether each is needed, how old they are, whether one turned up where it should not.

use openclaw_wire::audit::Severity::{Critical, High, Low, Medium};

use crate::audit::{
    verdict::{Check, Verdict, fail, named, none, not_applicable, pass, unknown},
    world::{Blind, Seen, World},
};

/// In their order.
pub const CHECKS: [Check; 11] = [
    Check::new("keys-in-force", "keys", Medium, "The key file is what egress works with", in_force),
    Check::new("keys-needed", "keys", Low, "Every key has a use", needed),
    Check::new("keys-age", "keys", Medium, "Keys were changed within the last year", age).attestable(),
    Check::new(
        "keys-retired",
        "keys",
        Medium,
        "No key that was exchanged still waits to be revoked",
        retired,
    )
    .attestable(),
    Check::new("keys-leaked", "keys", Critical, "No key was found in something that was to leave", leaked),
    Check::new("keys-place", "keys", High, "The key file lies where nobody is handed it", place),
    Check::new("logs-clean", "keys", High, "No log holds a key", logs),
    Check::new("swap-private", "keys", Low, "Memory is swapped to nothing that can be read later", swap)
        .attestable(),
    Check::new("disk-encrypted", "keys", Low, "The state's disk is encrypted", encrypted).attestable(),
    Check::new(
        "provider-limits",
        "keys",
        Medium,
        "The providers know a limit of their own for each key",
        |world| vouch(world, "what a provider is told is known to its console alone"),
    )
    .attestable(),
    Check::new(
        "accounts-two-factor",
        "keys",
        Medium,
        "The owner's accounts at Telegram and the providers have a second factor",
        |world| vouch(world, "how somebody logs in elsewhere is not seen here"),
    )
    .attestable(),
];

fn vouch(_: &World, why: &str) -> Seen<Verdict> {
    unknown(why, "look there")
}

fn in_force(world: &World) -> Seen<Verdict> {
    let list = world.see(&world.keys)?;
    match &list.problem {
        None => pass(format!("{} keys, as {} has them", list.keys.len(), list.file.display())),
        Some(problem) => fail(
            format!("egress works with an older state: {problem}"),
            "mend the key file; openclaw keys list",
        ),
    }
}

fn needed(world: &World) -> Seen<Verdict> {
    let list = world.see(&world.keys)?;
    let idle = list.keys.iter().filter(|key| {
        // Addresses and names of models stand among the keys.
        key.used_by.is_empty() && !key.name.ends_with("_URL") && !key.name.ends_with("_MODEL")
    });
    let idle: Vec<_> = idle.map(|key| key.name.clone()).collect();
    match idle.as_slice() {
        [] => pass(format!("{} keys, each with a use", list.keys.len())),
        idle => unknown(
            format!("no model and no bot uses: {}", named(idle)),
            "openclaw keys retire NAME, unless a skill's manifest names it",
        ),
    }
}

/// In days.
const OLD: i64 = 365;

fn age(world: &World) -> Seen<Verdict> {
    let stat = match world.state.stat("keys") {
        Ok(stat) => stat,
        Err(Blind::Absent(_)) if world.keys.as_ref().is_ok_and(|list| list.keys.is_empty()) => {
            return not_applicable("there is no key");
        }
        Err(Blind::Absent(_)) => {
            return unknown(
                "keys that are credentials do not say how old they are",
                "look at your providers",
            );
        }
        Err(blind) => return Err(blind),
    };
    let days = (world.now - stat.modified).max(0) / 86_400;
    let shown = format!("{} was last changed {days} days ago", stat.path.display());
    match days > OLD {
        true => fail(shown, "openclaw keys rotate NAME, for each"),
        false => pass(shown),
    }
}

fn retired(world: &World) -> Seen<Verdict> {
    let retired = &world.see(&world.keys)?.retired;
    let waits: Vec<_> =
        retired.iter().filter(|one| one.safe_to_revoke).flat_map(|one| one.names.clone()).collect();
    let busy: Vec<_> =
        retired.iter().filter(|one| !one.safe_to_revoke).flat_map(|one| one.names.clone()).collect();
    match (waits.as_slice(), busy.as_slice()) {
        ([], []) => pass("none was exchanged since egress started"),
        ([], busy) => unknown(
            format!("requests still go on with the old {}", named(busy)),
            "wait, then revoke it at its provider",
        ),
        (waits, _) => unknown(
            format!("out of use since the exchange: {}", named(waits)),
            "revoke the old one at its provider",
        ),
    }
}

fn leaked(world: &World) -> Seen<Verdict> {
    let alarms = &world.see(&world.egress)?.alarms;
    let what: Vec<_> = alarms.iter().map(|alarm| alarm.what.clone()).collect();
    none(
        &what,
        "egress, which looks into all that leaves, has nothing to tell",
        "make a new key at its provider, openclaw keys rotate NAME; then find out how it came there",
    )
}

fn place(world: &World) -> Seen<Verdict> {
    let stat = match world.state.stat("keys") {
        Ok(stat) => stat,
        Err(Blind::Absent(_)) => return not_applicable("there is no key file"),
        Err(blind) => return Err(blind),
    };
    let served = ["/var/www", "/srv/www", "/srv/http", "/srv/ftp", "/usr/share/nginx"];
    let named = ["public_html", "Public"];
    let inside = served.iter().any(|folder| stat.path.starts_with(folder))
        || stat.path.iter().any(|part| named.iter().any(|name| part == *name));
    match inside {
        true => fail(
            format!("{} lies in a folder that others get to read", stat.path.display()),
            "move it, and take `file` out of section [keys]",
        ),
        false => pass(stat.path.display().to_string()),
    }
}

fn logs(world: &World) -> Seen<Verdict> {
    let found = world.see(&world.state.leaking_logs)?;
    let found: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
    none(
        &found,
        "nothing in the log folder has the form of a key",
        "remove the file, make a new key at its provider, and report how it came there",
    )
}

fn swap(world: &World) -> Seen<Verdict> {
    let swaps = world.see(&world.machine.swaps)?;
    let disks: Vec<_> = swaps.iter().filter(|name| !name.contains("zram")).cloned().collect();
    match disks.as_slice() {
        [] => pass("nothing, or compressed memory"),
        disks => unknown(
            format!("{}; keys are locked in memory, conversations are not", named(disks)),
            "swap to zram, or to an encrypted device",
        ),
    }
}

fn encrypted(world: &World) -> Seen<Verdict> {
    let mount = world.see(&world.state.mount)?;
    match mount.encrypted {
        Some(true) => pass(format!("{} lies on dm-crypt", mount.at.display())),
        _ => unknown(
            format!("{} lies on no dm-crypt that is seen from here", mount.at.display()),
            "install on an encrypted disk, or vouch for the host's",
        ),
    }
}
