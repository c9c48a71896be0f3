//! What keeps a machine well: accounts, updates, backups, its clock; and of a container what it was given.

use openclaw_wire::audit::{
    Place,
    Severity::{Critical, High, Low, Medium},
};

use super::units;
use crate::audit::{
    verdict::{Check, Verdict, fail, none, not_applicable, pass, unknown},
    world::{Seen, World, absent, hidden},
};

/// In their order.
pub const CHECKS: [Check; 15] = [
    Check::new("accounts-root", "machine", Critical, "Only root is root", root),
    Check::new("accounts-passwords", "machine", High, "No account is open without a password", passwords),
    Check::new("accounts-shells", "machine", Low, "Nobody logs in as one of our users", shells),
    Check::new("root-sockets", "machine", High, "No socket makes everybody root", sockets),
    Check::new("updates-on", "machine", High, "Security updates come by themselves", updates),
    Check::new("updates-recent", "machine", Medium, "Updates came within the last two weeks", recent),
    Check::new("reboot-pending", "machine", Medium, "No update waits for a restart", reboot),
    Check::new("clock-set", "machine", Low, "The clock is right", clock),
    Check::new("secure-boot", "machine", Low, "The firmware starts only what is signed", boot),
    Check::new("backup-recent", "machine", Medium, "There is a backup of the last week, elsewhere", backup)
        .attestable(),
    Check::new("backup-tried", "machine", Low, "A backup was restored once, to see that it works", backup)
        .attestable(),
    Check::new("container-read-only", "container", Medium, "The container's root is read-only", read_only),
    Check::new(
        "container-capabilities",
        "container",
        High,
        "The container could give few capabilities",
        bounding,
    ),
    Check::new(
        "container-sockets",
        "container",
        Critical,
        "The container has no way to its host's daemon",
        no_daemon,
    ),
    Check::new("container-user", "container", High, "OpenClaw is no root in its container", container_user),
];

fn root(world: &World) -> Seen<Verdict> {
    let accounts = world.see(&world.accounts)?;
    let wrong = accounts.users.iter().filter(|(name, uid, _)| *uid == 0 && name != "root");
    let wrong: Vec<_> = wrong.map(|(name, ..)| name.clone()).collect();
    none(&wrong, format!("{} accounts", accounts.users.len()), "userdel NAME, once you know whose it is")
}

fn passwords(world: &World) -> Seen<Verdict> {
    match &world.see(&world.accounts)?.open {
        None => hidden("the shadow file is root's; run it as root"),
        Some(open) => none(open, "each account has a password or is locked", "passwd -l NAME"),
    }
}

fn shells(world: &World) -> Seen<Verdict> {
    let accounts = world.see(&world.accounts)?;
    let ours: Vec<_> = accounts
        .users
        .iter()
        .filter(|(name, ..)| units::names().contains(&name.as_str()) || name == "openclaw")
        .collect();
    let login = |shell: &str| !shell.ends_with("nologin") && !shell.ends_with("/false");
    let wrong: Vec<_> = ours
        .iter()
        .filter(|(.., shell)| login(shell))
        .map(|(name, _, shell)| format!("{name}: {shell}"))
        .collect();
    match ours.is_empty() {
        true => absent("this machine has no account of ours"),
        false => none(
            &wrong,
            format!("{} accounts, without a shell", ours.len()),
            "usermod --shell /usr/sbin/nologin NAME",
        ),
    }
}

fn sockets(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.machine.root_sockets)?;
    let open = all.iter().filter(|stat| stat.mode & 0o002 != 0);
    let open: Vec<_> =
        open.map(|stat| format!("{} has mode {:04o}", stat.path.display(), stat.mode)).collect();
    none(
        &open,
        format!("{} such sockets, open to root or a group", all.len()),
        "chmod o-rw on it, and find out who opened it",
    )
}

fn container(world: &World) -> Seen<()> {
    match world.place {
        Place::Container => Ok(()),
        _ => absent("this is no container"),
    }
}

fn updates(world: &World) -> Seen<Verdict> {
    if world.place == Place::Container {
        return not_applicable("an image is replaced as a whole: pull it, and start the container anew");
    }
    let updates = world.see(&world.updates)?;
    match updates.on {
        true => pass(format!("{} is on", updates.by)),
        false => fail(
            format!("{} is off", updates.by),
            "apt install unattended-upgrades, then dpkg-reconfigure -plow unattended-upgrades; or what your system has for it",
        ),
    }
}

/// Two weeks, in days.
const RECENT: i64 = 14;

fn recent(world: &World) -> Seen<Verdict> {
    if world.place == Place::Container {
        return not_applicable("an image is replaced as a whole");
    }
    let updates = world.see(&world.updates)?;
    let Some(at) = updates.succeeded else {
        return unknown(format!("{} does not say when it last succeeded", updates.by), "look at its log");
    };
    let days = (world.now - at).max(0) / 86_400;
    let shown = format!("{} last succeeded {days} days ago", updates.by);
    match days > RECENT {
        true => fail(shown, "look at its log; is the machine on the internet?"),
        false => pass(shown),
    }
}

fn reboot(world: &World) -> Seen<Verdict> {
    if world.place == Place::Container {
        return not_applicable("the host's kernel is the host's affair");
    }
    match world.see(&world.updates)?.reboot {
        true => fail("an update waits for a restart of the machine", "systemctl reboot"),
        false => pass("none is marked to wait"),
    }
}

fn clock(world: &World) -> Seen<Verdict> {
    match world.see(&world.machine.clock)? {
        true => pass("it is set from elsewhere"),
        false => {
            fail("nothing sets it: certificates and spending limits go by it", "timedatectl set-ntp true")
        }
    }
}

fn boot(world: &World) -> Seen<Verdict> {
    match world.see(&world.machine.secure_boot)? {
        true => pass("Secure Boot is on"),
        false => fail("Secure Boot is off", "switch it on in the firmware, with keys for what you boot"),
    }
}

fn backup(_: &World) -> Seen<Verdict> {
    unknown(
        "where copies lie is not seen here",
        "copy the state folder while it is stopped, and keep it elsewhere",
    )
}

fn read_only(world: &World) -> Seen<Verdict> {
    container(world)?;
    match world.see(&world.machine.read_only_root)? {
        true => pass("it is mounted ro"),
        false => fail("it is mounted rw", "read_only: true in compose.yaml, or podman run --read-only"),
    }
}

/// What OpenClaw's supervisor uses of them: to become another user, and to drop the rest (capabilities(7)).
const USED: [u32; 4] = [6, 7, 8, 1];

fn bounding(world: &World) -> Seen<Verdict> {
    container(world)?;
    let set = *world.see(&world.machine.bounding)?;
    let more = (0..64).filter(|bit| set >> bit & 1 == 1 && !USED.contains(bit)).count();
    match more {
        0 => pass(format!("bounding set {set:x}")),
        more => fail(
            format!("bounding set {set:x}: {more} more than it uses"),
            "cap_drop: [ALL] and cap_add: [SETUID, SETGID, SETPCAP] in compose.yaml",
        ),
    }
}

fn no_daemon(world: &World) -> Seen<Verdict> {
    container(world)?;
    let all = world.see(&world.machine.root_sockets)?;
    let there: Vec<_> = all.iter().map(|stat| stat.path.display().to_string()).collect();
    none(&there, "no socket of docker, podman or containerd", "take the volume out of compose.yaml")
}

fn container_user(world: &World) -> Seen<Verdict> {
    container(world)?;
    let roots = world.running()?.iter().filter(|one| one.uid == 0 && one.role != "supervisor");
    let roots: Vec<_> = roots.map(|one| format!("{} (pid {})", one.role, one.pid)).collect();
    none(&roots, "its processes are another user", "start it with --user openclaw, as the image does")
}
