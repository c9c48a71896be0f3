//! Skills: where each came from, what it was granted, and who could change it.

use openclaw_wire::{
    audit::Severity::{High, Low, Medium},
    skill::{HostGrant, Reach},
};

use crate::audit::{
    verdict::{Check, Fix, Verdict, fixable, named, none, not_applicable, pass, unknown},
    world::{Blind, Found, Kind, Seen, Stat, World},
};

/// In their order. Whether all are vetted is one of the ten points.
pub const CHECKS: [Check; 8] = [
    Check::new("skills-not-writable", "skills", High, "Nobody else changes a skill", writable),
    Check::new("skills-no-links", "skills", Medium, "No link leads out of a skill's folder", links),
    Check::new("skills-valid", "skills", Medium, "Every skill's manifest is understood", valid),
    Check::new("skills-no-tunnel", "skills", Medium, "What skills send is looked at", tunnels).attestable(),
    Check::new("skills-no-wildcard", "skills", Low, "Skills name each host that they reach", wildcards)
        .attestable(),
    Check::new("skills-write", "skills", Low, "Skills change only folders that are meant for them", writes)
        .attestable(),
    Check::new("skills-mcp", "skills", Medium, "Every tool of an MCP server is known", servers).attestable(),
    Check::new("skills-revoked", "skills", Medium, "What was revoked is off", revoked),
];

/// Whether anybody looked at a skill.
pub enum Vetted {
    /// It came along, or its very state is approved.
    Yes,
    /// It asks for no host, so nobody had to.
    Plain,
    /// Nobody did, or it has changed since.
    No(String),
}

/// How a skill stands.
pub fn standing(world: &World, found: &Found) -> Vetted {
    let skill = match &found.skill {
        Ok(skill) => skill,
        // It can't run, whoever wrote it.
        Err(_) => return Vetted::Yes,
    };
    if found.bundled {
        return Vetted::Yes;
    }
    let Some(manifest) = &skill.manifest else { return Vetted::Plain };
    if manifest.permissions.hosts.is_empty() {
        return Vetted::Plain;
    }
    let approved = match &world.approved {
        Ok(approved) => approved,
        Err(Blind::Absent(_)) => return Vetted::No("it names hosts, and nothing is approved".into()),
        Err(Blind::Hidden(why)) => return Vetted::No(format!("what is approved can't be seen: {why}")),
    };
    match approved.operator.iter().find(|each| each.skill == skill.id) {
        _ if approved.revoked.contains(&skill.id) => Vetted::No("it was revoked".into()),
        Some(each) if each.digest == skill.digest => Vetted::Yes,
        Some(_) => Vetted::No("it has changed since it was approved".into()),
        None => Vetted::No("it names hosts, and nobody approved them".into()),
    }
}

fn skills(world: &World) -> Seen<&Vec<Found>> {
    world.see(&world.skills)
}

fn writable(world: &World) -> Seen<Verdict> {
    let skills = skills(world)?;
    let all = || skills.iter().flat_map(|found| &found.files.all);
    let mut wrong: Vec<&Stat> =
        all().filter(|stat| stat.kind != Kind::Link && stat.mode & 0o022 != 0).collect();
    wrong.sort_by(|a, b| a.path.cmp(&b.path));
    wrong.dedup_by(|a, b| a.path == b.path);
    let unseen = skills.iter().flat_map(|found| &found.files.unseen).next();
    match (wrong.as_slice(), unseen) {
        ([], None) => pass(format!("{} files and folders", all().count())),
        ([], Some(path)) => unknown(format!("{} can't be looked into", path.display()), "run it as root"),
        (wrong, _) => {
            let shown = |stat: &&Stat| format!("{} has mode {:04o}", stat.path.display(), stat.mode);
            let fix = |stat: &&Stat| Fix::Narrow { path: stat.path.clone(), without: stat.mode & 0o022 };
            let fixes: Vec<_> = wrong.iter().map(fix).collect();
            let mend = named(&fixes.iter().map(Fix::to_string).collect::<Vec<_>>());
            fixable(named(&wrong.iter().map(shown).collect::<Vec<_>>()), mend, fixes)
        }
    }
}

fn links(world: &World) -> Seen<Verdict> {
    let skills = skills(world)?;
    let links = skills.iter().flat_map(|found| &found.files.all).filter(|stat| stat.kind == Kind::Link);
    let links: Vec<_> = links.map(|stat| stat.path.display().to_string()).collect();
    none(
        &links,
        format!("{} skills", skills.len()),
        "put the file itself there; a skill with a link does not run",
    )
}

fn valid(world: &World) -> Seen<Verdict> {
    let skills = skills(world)?;
    let wrong = skills.iter().filter(|found| !found.off);
    let wrong: Vec<_> = wrong.filter_map(|found| found.skill.as_ref().err().cloned()).collect();
    none(
        &wrong,
        format!("{} skills", skills.len()),
        "openclaw skills check DIR, or openclaw skills disable NAME",
    )
}

/// Hosts of skills that can run, with the skill's name.
fn hosts(world: &World) -> Seen<Vec<(&str, &HostGrant)>> {
    let running = skills(world)?.iter().filter(|found| !found.off);
    let loaded = running
        .filter_map(|found| Some((found.name.as_str(), found.skill.as_ref().ok()?.manifest.as_ref()?)));
    Ok(loaded
        .flat_map(|(name, manifest)| manifest.permissions.hosts.iter().map(move |host| (name, host)))
        .collect())
}

fn word(name: &str, grant: &HostGrant) -> String {
    match &grant.reach {
        Reach::Host(host) => format!("{name}: {}", host.as_str()),
        Reach::Argument(argument) => format!("{name}: any host in its argument {argument}"),
    }
}

fn tunnels(world: &World) -> Seen<Verdict> {
    let hosts = hosts(world)?;
    let unseen = hosts.iter().filter(|(_, grant)| grant.tunnel);
    let unseen: Vec<_> = unseen.map(|(name, grant)| word(name, grant)).collect();
    match unseen.as_slice() {
        [] => pass(format!("{} hosts, none through a tunnel", hosts.len())),
        unseen => unknown(
            format!("through a tunnel nobody sees what passes: {}", named(unseen)),
            "openclaw skills show NAME; ask its author for one without `tunnel = true`",
        ),
    }
}

fn wildcards(world: &World) -> Seen<Verdict> {
    let hosts = hosts(world)?;
    let wide = hosts.iter().filter(|(_, grant)| match &grant.reach {
        Reach::Host(host) => host.is_wildcard(),
        // One host in each call, and the owner's words name it.
        Reach::Argument(_) => false,
    });
    let wide: Vec<_> = wide.map(|(name, grant)| word(name, grant)).collect();
    match wide.as_slice() {
        [] => pass(format!("{} hosts", hosts.len())),
        wide => unknown(named(wide), "openclaw skills show NAME"),
    }
}

fn writes(world: &World) -> Seen<Verdict> {
    let running = skills(world)?.iter().filter(|found| !found.off && !found.bundled);
    let mut wide = Vec::new();
    for found in running {
        let Some(manifest) = found.skill.as_ref().ok().and_then(|skill| skill.manifest.as_ref()) else {
            continue;
        };
        wide.extend(
            manifest
                .permissions
                .write
                .iter()
                .map(|path| format!("{}: {}", found.name, String::from(path.clone()))),
        );
    }
    match wide.as_slice() {
        [] => pass("of yours none may write anywhere"),
        wide => unknown(format!("may write: {}", named(wide)), "openclaw skills show NAME"),
    }
}

fn servers(world: &World) -> Seen<Verdict> {
    let running = skills(world)?.iter().filter(|found| !found.off);
    let servers = running.filter_map(|found| Some((found, found.skill.as_ref().ok()?.manifest.as_ref()?)));
    let servers: Vec<_> = servers.filter(|(_, manifest)| manifest.mcp).collect();
    if servers.is_empty() {
        return not_applicable("no skill is an MCP server");
    }
    let open = servers.iter().filter(|(_, manifest)| manifest.tool.is_empty());
    let open: Vec<_> = open.map(|(found, _)| found.name.clone()).collect();
    match open.as_slice() {
        [] => pass(format!("{} servers, each with the effects of its tools", servers.len())),
        open => unknown(
            format!("their tools count as the most dangerous kind: {}", named(open)),
            "write a [[tool]] with its effect for each into skill.toml",
        ),
    }
}

fn revoked(world: &World) -> Seen<Verdict> {
    let revoked = &world.see(&world.approved)?.revoked;
    let skills = skills(world)?;
    let on = skills.iter().filter(|found| !found.off);
    let on = on.filter(|found| found.skill.as_ref().is_ok_and(|skill| revoked.contains(&skill.id)));
    let on: Vec<_> = on.map(|found| found.name.clone()).collect();
    match (revoked.is_empty(), on.as_slice()) {
        (true, _) => not_applicable("nothing was revoked"),
        (_, []) => pass(format!("{} skills were revoked", revoked.len())),
        (_, on) => unknown(
            format!("they reach nothing any more, but run: {}", named(on)),
            "openclaw skills disable NAME",
        ),
    }
}
