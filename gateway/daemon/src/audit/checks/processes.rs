//! Our processes: what they say that the kernel enforces on them, and what the kernel itself says.

use openclaw_wire::audit::{
    Place,
    Severity::{Critical, High, Low, Medium},
};

use super::doctor_running;
use crate::{
    audit::{
        verdict::{Check, Verdict, fail, named, none, not_applicable, pass, unknown},
        world::{Process, Seen, World, nothing_runs},
    },
    command::status::reports,
};

/// In their order.
pub const CHECKS: [Check; 14] = [
    Check::new(
        "confinement-gateway",
        "processes",
        High,
        "All barriers are in force on the gateway",
        |world| confined(world, "gateway"),
    ),
    Check::new("confinement-egress", "processes", High, "All barriers are in force on egress", |world| {
        confined(world, "egress")
    }),
    Check::new("confinement-runner", "processes", High, "All barriers are in force on the runner", |world| {
        confined(world, "runner")
    }),
    Check::new(
        "kernel-says-filtered",
        "processes",
        High,
        "The kernel says: each process has a filter of system calls",
        |world| each(world, "Seccomp is 2", "no filter", |one| one.seccomp == 2),
    ),
    Check::new(
        "kernel-says-bound",
        "processes",
        High,
        "The kernel says: no process can gain rights",
        |world| each(world, "NoNewPrivs is 1", "it can gain rights", |one| one.no_new_privs),
    ),
    Check::new(
        "kernel-says-powerless",
        "processes",
        High,
        "The kernel says: no process has a capability",
        |world| each(world, "no capability", "it has capabilities", |one| one.capabilities == 0),
    ),
    Check::new("users-apart", "processes", Medium, "Gateway, egress and runner are different users", apart),
    Check::new(
        "account-own",
        "processes",
        Medium,
        "The account that runs OpenClaw is no way to root",
        account,
    ),
    Check::new(
        "environment-clean",
        "keys",
        High,
        "No process of ours has a key in its environment",
        environment,
    ),
    Check::new("commands-clean", "keys", Critical, "No command line on this machine holds a key", commands),
    Check::new("skills-running", "skills", Low, "Every skill that is there can be used", |world| {
        doctor_running(world, &["skill", "skills-off"], "no skill has a problem")
    }),
    Check::new("drill-held", "skills", High, "The last drill held, and is not older than five weeks", drill),
    Check::new("models-real", "config", Low, "A real model answers", |world| {
        doctor_running(world, &["rehearsal", "no-model", "model"], "each model can be used")
    }),
    Check::new(
        "page-token",
        "network",
        Low,
        "Whoever opens the status page needs a token that exists",
        |world| {
            if !world.see(&world.status)?.page.on {
                return not_applicable("the status page is off");
            }
            doctor_running(world, &["page-token"], "there is one, and the gateway keeps its digest alone")
        },
    ),
];

fn confined(world: &World, process: &str) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    let Some(report) = reports(status).into_iter().find(|report| report.process == process) else {
        return unknown(format!("{process} does not report"), "openclaw doctor");
    };
    let missing: Vec<_> = report
        .layers
        .iter()
        .filter(|layer| !layer.complete)
        .map(|layer| format!("{}: {}", layer.name, layer.enforced))
        .collect();
    let names: Vec<_> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
    none(
        &missing,
        names.join(", "),
        "openclaw status --confinement; openclaw doctor says what this kernel lacks",
    )
}

/// Those that confine themselves: the supervisor only starts them, and cloudflared is its unit's affair.
fn own(world: &World) -> Seen<Vec<&Process>> {
    let all = world.see(&world.processes)?;
    let own: Vec<_> = all.iter().filter(|one| !["supervisor", "tunnel"].contains(&one.role)).collect();
    match own.is_empty() {
        true => Err(nothing_runs()),
        false => Ok(own),
    }
}

fn each(world: &World, good: &str, bad: &str, holds: fn(&Process) -> bool) -> Seen<Verdict> {
    let own = own(world)?;
    let name = |one: &Process| format!("{} (pid {})", one.role, one.pid);
    let wrong: Vec<_> =
        own.iter().filter(|one| !holds(one)).map(|one| format!("{}: {bad}", name(one))).collect();
    let seen = own.iter().map(|one| name(one)).collect::<Vec<_>>();
    none(&wrong, format!("{good}: {}", named(&seen)), "openclaw status --confinement; openclaw doctor")
}

fn apart(world: &World) -> Seen<Verdict> {
    if world.place != Place::Appliance {
        return not_applicable(
            "under `openclaw run` they are one user, with no path between them but what they were handed",
        );
    }
    let own = own(world)?;
    let mut users = Vec::new();
    for role in ["gateway", "egress", "runner"] {
        if let Some(one) = own.iter().find(|one| one.role == role) {
            users.push((role, one.uid));
        }
    }
    let shown: Vec<_> = users.iter().map(|(role, uid)| format!("{role} {uid}")).collect();
    let mut numbers: Vec<_> = users.iter().map(|(_, uid)| *uid).collect();
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.len() == users.len() {
        true => pass(shown.join(", ")),
        false => fail(shown.join(", "), "take User= out of your own drop-ins of the openclaw units"),
    }
}

/// Groups whose members become root when they like.
const ROOT: [&str; 8] = ["sudo", "wheel", "admin", "docker", "lxd", "disk", "libvirt", "shadow"];

fn account(world: &World) -> Seen<Verdict> {
    let accounts = world.see(&world.accounts)?;
    let mut users: Vec<u32> = match &world.processes {
        Ok(all) if !all.is_empty() => {
            all.iter().filter(|one| one.role != "supervisor").map(|one| one.uid).collect()
        }
        _ => vec![world.see(&world.state.folder)?.uid],
    };
    users.sort_unstable();
    users.dedup();
    let names: Vec<_> = users.iter().filter_map(|uid| accounts.name(*uid)).collect();
    let mut wrong = Vec::new();
    for (group, members) in accounts.groups.iter().filter(|(group, _)| ROOT.contains(&group.as_str())) {
        for name in names.iter().filter(|name| members.iter().any(|member| member == *name)) {
            wrong.push(format!("{name} is in the group {group}"));
        }
    }
    let shown = if names.is_empty() { format!("{users:?}") } else { names.join(", ") };
    none(
        &wrong,
        format!("{shown}: in none of {}", ROOT.join(", ")),
        "run it with an account of its own: `sudo make run` makes one",
    )
}

fn environment(world: &World) -> Seen<Verdict> {
    let own = own(world)?;
    let mut wrong: Vec<_> = own
        .iter()
        .flat_map(|one| {
            one.keys.iter().flatten().map(move |name| format!("{} (pid {}): {name}", one.role, one.pid))
        })
        .collect();
    let mend = "give keys by openclaw keys add NAME, and take them out of the environment";
    wrong.extend(world.machine.own_keys.iter().map(|name| format!("this shell: {name}")));
    match (wrong.as_slice(), own.iter().all(|one| one.keys.is_some())) {
        ([], true) => pass(format!("{} processes were looked at", own.len())),
        ([], false) => unknown("their environments are not readable from here", "run it as root"),
        (wrong, _) => fail(named(wrong), mend),
    }
}

fn commands(world: &World) -> Seen<Verdict> {
    let found = world.see(&world.machine.leaking_commands)?;
    let found: Vec<_> = found.iter().map(|pid| format!("pid {pid}")).collect();
    none(
        &found,
        "nothing on a command line has the form of a key",
        "everybody on this machine can read it: end that program, and make a new key at its provider",
    )
}

/// Five weeks, in seconds: the drill's timer runs each week.
const FIVE_WEEKS: i64 = 35 * 24 * 3600;

fn drill(world: &World) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    match &status.last_drill {
        None => unknown("no drill was held yet", "openclaw security drill"),
        Some(last) if last.failed > 0 => {
            fail(format!("{} of {} probes got through", last.failed, last.probes), "openclaw security drill")
        }
        Some(last) => {
            let days = (world.now - last.at).max(0) / 86_400;
            let shown = format!("{days} days ago {} probes were held off", last.probes);
            match world.now - last.at > FIVE_WEEKS {
                false => pass(shown),
                true => {
                    unknown(format!("{shown}; this machine has changed since"), "openclaw security drill")
                }
            }
        }
    }
}
