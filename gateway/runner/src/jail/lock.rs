//! The jail's locks: everything that [`openclaw_confine::enforce`] has, on the first process and so on the skill; and what
//! each process of the skill may use up.

use std::io;

use anyhow::bail;
use openclaw_confine::{Barrier, Evidence, Profile, Report, Role, enforce_with, landlock_version, mend};
use openclaw_runner::spec::Spec;
use openclaw_wire::facts::FACTS;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::root::Root;

/// Compiles the filters of all jails, so that none has to.
pub fn prepare() {
    for connect in [Vec::new(), vec![FACTS.jail.proxy.port()]] {
        openclaw_confine::compile_ahead(&Profile {
            connect: Some(connect),
            role: Role::Jail,
            ..Profile::default()
        });
    }
}

/// Locks down. Namespaces, Landlock and seccomp are required everywhere; `spec.required` wants every part of them.
pub fn down(spec: &Spec, root: &Root, evidence: &mut Evidence) -> anyhow::Result<Report> {
    let version = landlock_version();
    if version == 0 {
        bail!("the kernel has no Landlock, or it is off; mend: boot with `landlock` in the lsm= list");
    }
    let report = enforce_with(
        &Profile {
            process: "jail",
            required: spec.required,
            read: root.read.clone(),
            write: root.write.clone(),
            execute: root.execute.clone(),
            connect: Some(spec.authority.iter().map(|_| FACTS.jail.proxy.port()).collect()),
            files: Some(spec.limits.files.into()),
            role: Role::Jail,
            without: spec.without.clone(),
            ..Profile::default()
        },
        evidence,
    )?;
    if !spec.without.is_empty() {
        return Ok(report);
    }
    // An older Landlock has no device ioctls, TCP rules or scopes. In here others hold the same: no such device, no
    // socket at all, namespaces of its own.
    let elsewhere = |name: &str| name.starts_with("landlock-") && version < 6;
    match report.layers.iter().find(|layer| !layer.complete && !elsewhere(&layer.name)) {
        Some(layer) => {
            bail!(
                "{}: asked {}, enforced {}; mend: {}",
                layer.name,
                layer.asked,
                layer.enforced,
                mend(&layer.name)
            )
        }
        None => Ok(report),
    }
}

/// Limits of the skill's processes, set in its first one before the program starts.
pub fn hold(spec: &Spec) -> io::Result<()> {
    if !spec.with(Barrier::Rlimits) {
        return Ok(());
    }
    let limits = spec.limits;
    for (resource, most) in [
        // Private memory that can be written to. Address space would be the wrong measure: many runtimes reserve far
        // more than they use. Twice the limit, because thread stacks count in full; the watchdog counts what is used.
        (Resource::Data, limits.memory.saturating_mul(2)),
        (Resource::Stack, 8 << 20),
        // One file. The watchdog counts what all of them take.
        (Resource::Fsize, limits.disk),
        // More than asked: what is ours is counted too. The kernel exempts the host's root.
        (Resource::Nproc, u64::from(limits.processes + spec.ours())),
        (Resource::Sigpending, 256),
        (Resource::Msgqueue, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // SIGXCPU at the limit, SIGKILL a second later for those who catch it.
    setrlimit(Resource::Cpu, Rlimit { current: Some(limits.cpu), maximum: Some(limits.cpu + 1) })?;
    Ok(())
}
