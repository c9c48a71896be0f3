//! The system call filter: an allowlist for each kind of process (seccomp(2)).
//!
//! Three answers besides "allowed". What only an attacker asks for kills the process ([`never`]). What a program may
//! try and live without, and every call newer than this list, answers `ENOSYS`, so that libc falls back. All else, and a
//! known call with other arguments than allowed, answers `EPERM`. Refusals are logged by the kernel (audit), except a
//! jail's, where a stranger could flood the log.

mod allow;
mod never;
mod jail;
mod runner;

use std::{collections::BTreeMap, io};

use rustix::net::AddressFamily;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use crate::{Layer, Profile, Role, probe, status::Status};

/// Rules by call number: empty is "with any arguments".
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// First number of the table that all architectures share, and past the last that may come soon.
const NEWER: std::ops::Range<i64> = 424..640;

/// Installs the filter for good.
pub(crate) fn apply(profile: &Profile) -> io::Result<()> {
    let program = compile(profile)
        .map_err(|error| io::Error::other(format!("the filter does not compile: {error}")))?;
    let flags = if profile.role == Role::Jail { 0 } else { libc::SECCOMP_FILTER_FLAG_LOG };
    let len = u16::try_from(program.len()).map_err(|_| io::Error::other("the filter is too long"))?;
    let descriptor =
        libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `descriptor` points to `len` instructions that outlive the call; the kernel copies and never writes them.
    // seccompiler's `sock_filter` is the C struct (repr(C), same fields).
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &descriptor) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What was asked and what holds.
pub(crate) fn layer(profile: &Profile, applied: &io::Result<()>, before: &Status, now: &Status) -> Layer {
    // Some may make AF_INET sockets, so of them a family that nobody may make is tried.
    let tried = probe::no_socket(match tcp(profile) {
        true => AddressFamily::NETLINK,
        false => AddressFamily::INET,
    });
    let (enforced, complete) = match (applied, tried) {
        (Err(error), _) => (format!("nothing: {error}"), false),
        _ if now.seccomp != 2 => (format!("nothing: /proc says mode {}", now.seccomp), false),
        _ if now.filters <= before.filters && now.filters != 0 => ("nothing was added".into(), false),
        (Ok(()), Err(open)) => (format!("a filter, but {open}"), false),
        (Ok(()), Ok(())) => (format!("filter in force ({} stacked), tried", now.filters.max(1)), true),
    };
    let rules = rules(profile).len();
    Layer {
        name: "seccomp".into(),
        asked: format!("{rules} system calls, all else refused"),
        enforced,
        complete,
    }
}

/// Whether the filter leaves TCP sockets: egress its way out, the runner and a jail with a way out the jail's own loopback.
fn tcp(profile: &Profile) -> bool {
    match profile.role {
        Role::Gateway => false,
        Role::Egress | Role::Runner => true,
        Role::Jail => profile.connect.as_ref().is_none_or(|ports| !ports.is_empty()),
    }
}

fn rules(profile: &Profile) -> Rules {
    match profile.role {
        Role::Gateway => allow::gateway(profile.paths),
        Role::Egress => allow::egress(profile.paths),
        Role::Runner => runner::rules(profile.paths),
        Role::Jail => jail::rules(tcp(profile)),
    }
}

/// One program out of three lists: what the first does not decide falls through to the next.
fn compile(profile: &Profile) -> Result<BpfProgram, seccompiler::Error> {
    let allowed = rules(profile);
    let kept = |call: &i64| !allowed.contains_key(call);
    let never: Rules = never::calls(profile.role).filter(kept).map(|call| (call, Vec::new())).collect();
    let absent: Rules = never::absent()
        .chain(NEWER)
        .filter(|call| kept(call) && !never.contains_key(call))
        .map(|call| (call, Vec::new()))
        .collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let mut program = part(allowed, refused.clone(), SeccompAction::Allow)?;
    for (rules, action) in [(never, SeccompAction::KillProcess), (absent, missing)] {
        // The last instruction of a part is its default answer; without it the next part follows.
        program.pop();
        program.extend(part(rules, refused.clone(), action)?);
    }
    Ok(program)
}

fn part(
    rules: Rules,
    other: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, other, matching, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::{compile, never, rules};
    use crate::{Profile, Role};

    const ROLES: [Role; 4] = [Role::Gateway, Role::Egress, Role::Runner, Role::Jail];

    #[test]
    fn every_filter_compiles_and_fits_the_kernel() {
        for role in ROLES {
            for paths in [false, true] {
                let program = compile(&Profile { role, paths, ..Profile::default() }).expect("compiles");
                // BPF_MAXINSNS (linux/bpf_common.h)
                assert!(program.len() < 4096, "{role:?} {}", program.len());
            }
        }
    }

    #[test]
    fn nobody_is_allowed_what_nobody_may() {
        for role in ROLES {
            let allowed = rules(&Profile { role, paths: true, ..Profile::default() });
            for call in never::calls(role) {
                assert!(!allowed.contains_key(&call), "{role:?} {call}");
            }
        }
    }

    #[test]
    fn whatever_a_jail_may_do_the_runner_may_too() {
        let runner = rules(&Profile { role: Role::Runner, ..Profile::default() });
        for connect in [Vec::new(), vec![1]] {
            let jail = Profile { role: Role::Jail, connect: Some(connect), ..Profile::default() };
            for (call, how) in rules(&jail) {
                let outer = runner.get(&call).unwrap_or_else(|| panic!("the runner lacks {call}"));
                assert!(outer.is_empty() || *outer == how, "the runner's filter is stricter at {call}");
            }
        }
    }
}
