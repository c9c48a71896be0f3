//! Capabilities: all five sets empty (capabilities(7)), and no way to get one back (`no_new_privs`).
//! Never keeps one "for later": what needs a capability happens before this.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{Layer, status::Status};

/// Names of the sets, in the order of [`Status::capabilities`].
const SETS: [&str; 5] = ["inheritable", "permitted", "effective", "bounding", "ambient"];
/// Index of the bounding set.
const BOUNDING: usize = 3;

/// Empties the sets, as far as the kernel lets this user: without `CAP_SETPCAP` the bounding set stays.
pub(crate) fn drop_all() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    empty_bounding_set();
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(())
}

/// Hands on what this process has to whatever it executes, as if nothing had been dropped. For the drill alone.
pub(crate) fn keep_all() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?.permitted;
    let all = CapabilitySets { effective: held, permitted: held, inheritable: held };
    rustix::thread::set_capabilities(None, all)?;
    held.iter().try_for_each(|one| Ok(rustix::thread::configure_capability_in_ambient_set(one, true)?))
}

/// So that nothing executed from here on can hold a capability, whatever it executes. Takes effect for root only.
pub(crate) fn empty_bounding_set() {
    // Up to the kernel's last capability, of which a newer kernel has more than we know.
    for capability in 0..64 {
        // SAFETY: no pointers; the kernel checks the number.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) } {
            0 => {}
            // EINVAL: past the last one. EPERM: an ordinary user; the report says what is left.
            _ => break,
        }
    }
}

/// Nothing that is executed from here on can gain a privilege (prctl(2), `PR_SET_NO_NEW_PRIVS`).
pub(crate) fn no_new_privs() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// What was asked and what holds.
///
/// `required`: the bounding set must be empty. Otherwise it may also be void, which it is under `no_new_privs`: it only
/// bounds what an `execve` could add, and that is nothing.
pub(crate) fn layer(status: &Status, required: bool) -> Layer {
    let held = |at: usize| status.capabilities[at] != 0;
    let names: Vec<String> = (0..5)
        .filter(|at| held(*at))
        .map(|at| format!("{} {:x}", SETS[at], status.capabilities[at]))
        .collect();
    let void = !required && status.no_new_privs;
    Layer {
        name: "capabilities".into(),
        asked: match required {
            true => "none, in all five sets".into(),
            false => "none; the bounding set empty or void".into(),
        },
        enforced: match (names.is_empty(), void) {
            (true, _) => "none, in all five sets".into(),
            (false, true) => format!("left: {} (void: no_new_privs)", names.join(", ")),
            (false, false) => format!("left: {}", names.join(", ")),
        },
        complete: (0..5).all(|at| !held(at) || (at == BOUNDING && void)),
    }
}

/// The `no_new_privs` line of the report.
pub(crate) fn no_new_privs_layer(status: &Status) -> Layer {
    Layer {
        name: "no_new_privs".into(),
        asked: "on".into(),
        enforced: if status.no_new_privs { "on" } else { "off" }.into(),
        complete: status.no_new_privs,
    }
}

#[cfg(test)]
mod tests {
    use super::layer;
    use crate::status::Status;

    #[test]
    fn only_a_void_bounding_set_may_be_left_and_never_in_production() {
        let with = |capabilities, no_new_privs| Status {
            threads: 1,
            capabilities,
            no_new_privs,
            seccomp: 2,
            filters: 1,
        };
        for (sets, nnp, required, complete) in [
            ([0, 0, 0, 0, 0], true, true, true),
            ([0, 0, 0, 9, 0], true, true, false),
            ([0, 0, 0, 9, 0], true, false, true),
            ([0, 0, 0, 9, 0], false, false, false),
            ([0, 0, 1, 0, 0], true, false, false),
            ([0, 0, 0, 0, 1], true, false, false),
        ] {
            assert_eq!(layer(&with(sets, nnp), required).complete, complete, "{sets:?} {nnp} {required}");
        }
    }
}
