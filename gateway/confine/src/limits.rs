//! Resource limits and the dump flag: no core file, no tracing by the same user, no locked memory, a bound on descriptors.
//! Never raises a hard limit.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

use crate::{Layer, Profile, Role};

/// What each kind of process may hold open. The gateway's is the number of half-open webhook connections that it
/// outlives; the runner's is a few for each of its concurrent calls.
fn descriptors(role: Role) -> u64 {
    match role {
        Role::Gateway => 65_536,
        Role::Egress => 16_384,
        Role::Runner => 4_096,
        Role::Jail => 256,
    }
}

/// Soft and hard limits, and why. `RLIMIT_NPROC` is not here: it counts all processes of a user, and under
/// `openclaw run` the user is a person with a desktop; a jail has its own user namespace and sets it there.
fn wanted(profile: &Profile) -> [(Resource, &'static str, u64); 3] {
    [
        // A core file would hold conversations or keys.
        (Resource::Core, "core", 0),
        // Nothing of ours locks more memory from now on (what egress locked stays locked); io_uring and BPF would.
        (Resource::Memlock, "memlock", 0),
        (Resource::Nofile, "nofile", profile.files.unwrap_or(descriptors(profile.role))),
    ]
}

/// Sets the limits; a hard limit that is already lower stays.
pub(crate) fn apply(profile: &Profile) -> io::Result<()> {
    for (resource, _, most) in wanted(profile) {
        let limit = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

/// Not dumpable: no core, and `/proc/<pid>` of this process belongs to root (prctl(2), `PR_SET_DUMPABLE`).
pub(crate) fn not_dumpable() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// What was asked and what `getrlimit` and `PR_GET_DUMPABLE` say.
pub(crate) fn layers(profile: &Profile) -> [Layer; 2] {
    let mut asked = Vec::new();
    let mut enforced = Vec::new();
    let mut complete = true;
    for (resource, name, most) in wanted(profile) {
        let now = getrlimit(resource);
        let low = |limit: Option<u64>| limit.is_some_and(|limit| limit <= most);
        complete &= low(now.current) && low(now.maximum);
        asked.push(format!("{name} ≤ {most}"));
        enforced.push(match now.maximum {
            Some(hard) => format!("{name} {hard}"),
            None => format!("{name} unlimited"),
        });
    }
    let dumpable = rustix::process::dumpable_behavior();
    let off = matches!(dumpable, Ok(DumpableBehavior::NotDumpable));
    [
        Layer { name: "rlimits".into(), asked: asked.join(", "), enforced: enforced.join(", "), complete },
        Layer {
            name: "dumpable".into(),
            asked: "no".into(),
            enforced: if off { "no".into() } else { format!("{dumpable:?}") },
            complete: off,
        },
    ]
}
