//! Files of the state and the programs: who can read, write or replace them.

use std::path::Path;

use openclaw_wire::audit::{
    Place,
    Severity::{Critical, High, Low, Medium},
};

use super::{as_doctor_says, doctor};
use crate::audit::{
    verdict::{Check, Fix, Verdict, fail, fixable, named, none, not_applicable, pass, unknown},
    world::{Blind, Kind, Seen, Stat, Walk, World},
};

/// In their order.
pub const CHECKS: [Check; 17] = [
    Check::new("state-private", "files", High, "The state folder is open to its owner alone", state),
    Check::new(
        "state-owner",
        "files",
        High,
        "The state folder belongs to the account that runs OpenClaw",
        owner,
    ),
    Check::new(
        "database-private",
        "files",
        High,
        "The conversations are open to the gateway alone",
        |world| {
            as_doctor_says(
                world,
                "database-mode",
                private(world, "database", 0o7177, "the gateway makes it at its first start"),
            )
        },
    ),
    Check::new("config-private", "files", High, "Nobody but the operator changes the configuration", config),
    Check::new(
        "page-tokens-private",
        "files",
        High,
        "The status page's tokens are open to the gateway alone",
        |world| private(world, "page-tokens", 0o7177, "no token was made"),
    ),
    Check::new(
        "vpn-key-private",
        "files",
        Critical,
        "The VPN's private key is open to its owner alone",
        |world| private(world, "vpn", 0o7177, "this machine has no VPN of ours"),
    ),
    Check::new("approved-private", "files", High, "Nobody but egress changes what is approved", |world| {
        private(world, "approved", 0o7177, "the operator approved nothing yet")
    }),
    Check::new(
        "ledger-private",
        "files",
        Medium,
        "Nobody but egress changes the ledger of what was spent",
        |world| private(world, "ledger", 0o7177, "nothing was spent yet"),
    ),
    Check::new(
        "sockets-private",
        "files",
        Critical,
        "Only the operator opens the operator's sockets",
        sockets,
    ),
    Check::new("state-no-links", "files", High, "No link leads out of the state folder", links),
    Check::new(
        "state-one-owner",
        "files",
        Medium,
        "What lies in a folder of the state belongs to its owner",
        one_owner,
    ),
    Check::new(
        "state-not-writable",
        "files",
        High,
        "No file of the state can be changed by others",
        writable,
    ),
    Check::new("state-no-setuid", "files", High, "No file of the state is set-uid or set-gid", set_uid),
    Check::new(
        "programs-not-writable",
        "files",
        Critical,
        "Nobody can put another program in the place of ours",
        programs,
    ),
    Check::new(
        "programs-owner",
        "files",
        Medium,
        "Our processes can't change their own programs",
        programs_owner,
    ),
    Check::new("state-mount", "files", Low, "The state's file system runs no set-uid program", mount),
    Check::new("disk-room", "files", Medium, "There is room on the disk", |world| {
        doctor(world, &["disk"], "there is more than 1 GiB")
    }),
];

/// For the key file, see the ten points.
fn private(world: &World, name: &str, wide: u32, missing: &str) -> Seen<Verdict> {
    let stat = match world.state.stat(name) {
        Ok(stat) => stat,
        Err(Blind::Absent(_)) => return not_applicable(missing),
        Err(blind) => return Err(blind),
    };
    narrow(&[stat], wide)
}

fn shown(stat: &Stat) -> String {
    format!("{} has mode {:04o}", stat.path.display(), stat.mode)
}

/// None of these files may have any of these bits.
fn narrow(stats: &[Stat], wide: u32) -> Seen<Verdict> {
    narrow_each(&stats.iter().map(|stat| (stat, wide)).collect::<Vec<_>>())
}

fn narrow_each(stats: &[(&Stat, u32)]) -> Seen<Verdict> {
    let wrong: Vec<_> = stats.iter().filter(|(stat, wide)| stat.mode & wide != 0).collect();
    let modes = |stats: &mut dyn Iterator<Item = &Stat>| named(&stats.map(shown).collect::<Vec<_>>());
    if wrong.is_empty() {
        return pass(modes(&mut stats.iter().map(|(stat, _)| *stat)));
    }
    let fix =
        |(stat, wide): &&(&Stat, u32)| Fix::Narrow { path: stat.path.clone(), without: stat.mode & wide };
    let fixes: Vec<_> = wrong.iter().map(fix).collect();
    let mend = named(&fixes.iter().map(Fix::to_string).collect::<Vec<_>>());
    fixable(modes(&mut wrong.iter().map(|(stat, _)| *stat)), mend, fixes)
}

fn state(world: &World) -> Seen<Verdict> {
    let top = world.see(&world.state.folder)?;
    // In the appliance each process has its own folder in it, and the folder itself is root's.
    let wide = if world.place == Place::Appliance { 0o022 } else { 0o077 };
    let inner: Vec<_> =
        ["gateway", "egress"].into_iter().filter_map(|name| world.state.stat(name).ok()).collect();
    let all: Vec<_> = [(top, wide)].into_iter().chain(inner.iter().map(|stat| (stat, 0o077))).collect();
    as_doctor_says(world, "state-mode", narrow_each(&all))
}

fn owner(world: &World) -> Seen<Verdict> {
    let top = world.see(&world.state.folder)?;
    doctor(
        world,
        &["state-owner", "state-root"],
        &format!("{} belongs to uid {}", top.path.display(), top.uid),
    )
}

fn config(world: &World) -> Seen<Verdict> {
    let stat = world.state.stat("config")?;
    // Its group may read it in the appliance; it names keys and holds none.
    narrow(&[stat], if world.place == Place::Appliance { 0o7137 } else { 0o7177 })
}

fn sockets(world: &World) -> Seen<Verdict> {
    let both: Vec<_> =
        ["admin-socket", "operator-socket"].into_iter().map(|name| world.state.stat(name)).collect();
    let there: Vec<_> = both.iter().filter_map(|stat| stat.clone().ok()).collect();
    match (there.as_slice(), both.into_iter().find_map(|stat| stat.err())) {
        ([], Some(Blind::Absent(_)) | None) => not_applicable("nothing runs on this state folder"),
        ([], Some(blind)) => Err(blind),
        (there, _) => narrow(there, 0o077),
    }
}

/// Everything in the state folder; what could not be listed is no pass.
fn walk(world: &World, wrong: impl Fn(&Stat) -> bool) -> Seen<(&Walk, Vec<Stat>)> {
    let walk = world.see(&world.state.walk)?;
    let found: Vec<_> = walk.all.iter().filter(|stat| wrong(stat)).cloned().collect();
    match (found.is_empty(), walk.unseen.first()) {
        (true, Some(first)) => Err(Blind::Hidden(format!(
            "{} folders could not be listed, {} among them; run it as root",
            walk.unseen.len(),
            first.display()
        ))),
        _ => Ok((walk, found)),
    }
}

fn looked_at(walk: &Walk) -> String {
    format!("{} files and folders were looked at", walk.all.len())
}

fn paths(stats: &[Stat]) -> Vec<String> {
    stats.iter().map(|stat| stat.path.display().to_string()).collect()
}

fn links(world: &World) -> Seen<Verdict> {
    let (walk, found) = walk(world, |stat| stat.kind == Kind::Link)?;
    none(&paths(&found), looked_at(walk), "look where each leads, then put what it leads to in its place")
}

fn one_owner(world: &World) -> Seen<Verdict> {
    let top = world.see(&world.state.folder)?.clone();
    let folders = &world.see(&world.state.walk)?.all;
    // What is given to a process alone: the folders of skills' files belong to root, and skills make files in them.
    let private = |path: &Path| {
        folders
            .iter()
            .chain([&top])
            .find(|folder| folder.kind == Kind::Folder && Some(folder.path.as_path()) == path.parent())
    };
    let foreign = |stat: &Stat| {
        private(&stat.path).is_some_and(|folder| folder.uid != stat.uid && folder.mode & 0o077 == 0)
    };
    let (walk, found) = self::walk(world, foreign)?;
    match found.is_empty() {
        true => pass(looked_at(walk)),
        false => {
            let fix = |stat: &Stat| {
                let uid = private(&stat.path).map_or(stat.uid, |folder| folder.uid);
                Fix::Owner { path: stat.path.clone(), uid }
            };
            let fixes: Vec<_> = found.iter().map(fix).collect();
            let mend = named(&fixes.iter().map(Fix::to_string).collect::<Vec<_>>());
            fixable(named(&paths(&found)), mend, fixes)
        }
    }
}

fn writable(world: &World) -> Seen<Verdict> {
    let (walk, found) = walk(world, |stat| stat.kind != Kind::Link && stat.mode & 0o002 != 0)?;
    match found.as_slice() {
        [] => pass(looked_at(walk)),
        found => narrow(found, 0o002),
    }
}

fn set_uid(world: &World) -> Seen<Verdict> {
    // A folder's set-gid bit only says which group its new files have.
    let (walk, found) = walk(world, |stat| stat.kind == Kind::File && stat.mode & 0o6000 != 0)?;
    match found.as_slice() {
        [] => pass(looked_at(walk)),
        found => narrow(found, 0o6000),
    }
}

fn programs(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.state.programs)?;
    // A sticky folder lets nobody touch what is not his own; a group may be a user's own one.
    let wrong: Vec<_> = all
        .iter()
        .filter(|stat| match stat.kind {
            Kind::Folder => stat.mode & 0o1002 == 0o002,
            _ => stat.mode & 0o022 != 0,
        })
        .cloned()
        .collect();
    match wrong.as_slice() {
        [] => pass(named(&all.iter().take(2).map(shown).collect::<Vec<_>>())),
        wrong => narrow(wrong, 0o022),
    }
}

fn programs_owner(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.state.programs)?;
    let users: Vec<u32> = match &world.processes {
        Ok(processes) if !processes.is_empty() => processes.iter().map(|one| one.uid).collect(),
        _ => vec![world.see(&world.state.folder)?.uid],
    };
    let own: Vec<_> = all.iter().filter(|stat| stat.uid != 0 && users.contains(&stat.uid)).cloned().collect();
    match own.as_slice() {
        [] => pass("they belong to none of the accounts that run them"),
        own => fail(
            format!("they belong to the account that runs them: {}", named(&paths(own))),
            "install them as root: `sudo make run` does, with an account of its own",
        ),
    }
}

fn mount(world: &World) -> Seen<Verdict> {
    let mount = world.see(&world.state.mount)?;
    let shown = format!("{} ({}) is mounted {}", mount.at.display(), mount.kind, mount.options.join(","));
    if mount.at == Path::new("/") {
        return unknown(shown, "put the state on a file system of its own, mounted nosuid,nodev");
    }
    match ["nosuid", "nodev"].iter().all(|option| mount.options.iter().any(|has| has == option)) {
        true => pass(shown),
        false => {
            fail(shown, format!("mount -o remount,nosuid,nodev {}, and so in /etc/fstab", mount.at.display()))
        }
    }
}
