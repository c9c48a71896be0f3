//! The system call filter: an allowlist for each kind of process (seccomp(2)).
//!
//! Three answers besides "allowed". What only an attacker asks for kills the process ([`never`]). What a program may
//! try and live without, and every call newer than this list, answers `ENOSYS`, so that libc falls back. All else, and a
//! known call with other arguments than allowed, answers `EPERM`. Refusals are logged by the kernel (audit), except a
//! jail's, where a stranger could flood the log.

mod allow;
mod never;
mod tree;
mod jail;
mod runner;

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
};

use rustix::net::AddressFamily;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use crate::{Layer, Profile, Role, probe, status::Status};

/// Rules by call number: empty is "with any arguments".
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// First number of the table that all architectures share, and past the last that may come soon.
const NEWER: std::ops::Range<i64> = 424..640;

/// Programs that were compiled ahead, by what they depend on.
static AHEAD: Mutex<Vec<(Key, BpfProgram)>> = Mutex::new(Vec::new());

/// The role, whether TCP is left, and whether doors are paths.
type Key = (Role, bool, bool);

fn key(profile: &Profile) -> Key {
    (profile.role, tcp(profile), profile.paths)
}

/// Compiles the filter of a profile for all that this process forks later. One that does not compile is an error when it is
/// installed.
pub fn compile_ahead(profile: &Profile) {
    if let Ok(program) = compile(profile) {
        AHEAD.lock().unwrap_or_else(PoisonError::into_inner).push((key(profile), program));
    }
}

/// Installs the filter for good.
pub(crate) fn apply(profile: &Profile) -> io::Result<()> {
    let ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner);
    let program = match ahead.iter().find(|(of, _)| *of == key(profile)) {
        Some((_, program)) => program.clone(),
        None => compile(profile)
            .map_err(|error| io::Error::other(format!("the filter does not compile: {error}")))?,
    };
    drop(ahead);
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

/// One program out of three lists.
fn compile(profile: &Profile) -> Result<BpfProgram, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    // A call that stands in two lists has the answer of the later one.
    let lists = [
        (NEWER.chain(never::absent()).collect::<Vec<_>>(), SeccompAction::Errno(libc::ENOSYS as u32)),
        (never::calls(profile.role).collect(), SeccompAction::KillProcess),
    ];
    let mut answers = BTreeMap::new();
    for (calls, action) in lists {
        answers.extend(calls.into_iter().map(|call| (call, vec![tree::answer(action.clone())])));
    }
    for (call, how) in rules(profile) {
        let answer = match how.is_empty() {
            true => vec![tree::answer(SeccompAction::Allow)],
            false => {
                let rules = BTreeMap::from([(call, how)]);
                SeccompFilter::new(rules, refused.clone(), SeccompAction::Allow, arch)?.try_into()?
            }
        };
        answers.insert(call, answer);
    }
    Ok(tree::program(answers, refused, arch))
}

#[cfg(test)]
mod tests {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    };
    use seccompiler::{SeccompAction, sock_filter};

    use super::{NEWER, allow, compile, never, rules};
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

    /// What the kernel makes of a program (linux/filter.h), as far as these go; also how many steps it took.
    fn judge(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut value) = (0, 0);
        for steps in 1.. {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            let on = |yes: bool| 1 + usize::from(if yes { jt } else { jf });
            at += match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = data[k as usize / 4];
                    1
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => {
                    value &= k;
                    1
                }
                code if code == BPF_JMP | BPF_JA => 1 + k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => on(value == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => on(value >= k),
                code if code == BPF_JMP | BPF_JGT | BPF_K => on(value > k),
                code if code == BPF_RET | BPF_K => return (k, steps),
                other => panic!("a step that the kernel would not cache: {other:#x}"),
            };
        }
        unreachable!("the kernel allows no loop")
    }

    fn asked(arch: u32, number: u32, arguments: &[u64]) -> [u32; 16] {
        let mut data = [0; 16];
        (data[0], data[1]) = (number, arch);
        for (at, argument) in arguments.iter().enumerate() {
            (data[4 + 2 * at], data[5 + 2 * at]) = (*argument as u32, (*argument >> 32) as u32);
        }
        data
    }

    #[cfg(target_arch = "x86_64")]
    const HERE: u32 = 0xC000_003E;
    #[cfg(target_arch = "aarch64")]
    const HERE: u32 = 0xC000_00B7;

    #[test]
    fn every_call_gets_the_answer_of_its_list_in_few_steps() {
        let kills = u32::from(SeccompAction::KillProcess);
        let [refused, missing] =
            [libc::EPERM, libc::ENOSYS].map(|errno| u32::from(SeccompAction::Errno(errno as u32)));
        for role in ROLES {
            let profile = Profile { role, paths: true, connect: Some(vec![1]), ..Profile::default() };
            let program = compile(&profile).expect("compiles");
            let allowed = rules(&profile);
            let never: Vec<_> = never::calls(role).collect();
            let absent: Vec<_> = never::absent().chain(NEWER).collect();
            for call in 0..1024 {
                let wanted = match allowed.get(&call) {
                    Some(how) if how.is_empty() => SeccompAction::Allow.into(),
                    // What depends on arguments is asked below.
                    Some(_) => continue,
                    None if never.contains(&call) => kills,
                    None if absent.contains(&call) => missing,
                    None => refused,
                };
                let (answer, steps) = judge(&program, &asked(HERE, call as u32, &[]));
                assert_eq!(answer, wanted, "{role:?} {call}");
                assert!(steps <= 24, "{role:?} {call}: {steps} steps");
            }
            // The x32 numbers, a number that is none, and another architecture.
            for number in [0x4000_0000, 0x4000_0001, u32::MAX] {
                assert_eq!(judge(&program, &asked(HERE, number, &[])).0, refused, "{role:?} {number}");
            }
            for arch in [0x4000_0003, 0] {
                assert_eq!(judge(&program, &asked(arch, 0, &[])).0, kills, "{role:?} {arch}");
            }
        }
    }

    #[test]
    fn arguments_decide_where_a_rule_names_them() {
        let (yes, no) =
            (u32::from(SeccompAction::Allow), u32::from(SeccompAction::Errno(libc::EPERM as u32)));
        let jail = |connect| Profile { role: Role::Jail, connect: Some(connect), ..Profile::default() };
        let way = compile(&jail(vec![1])).expect("compiles");
        let closed = compile(&jail(Vec::new())).expect("compiles");
        let high = 1 << 40;
        let nonblocking = (libc::SOCK_STREAM | libc::SOCK_NONBLOCK) as u64;
        for (program, call, arguments, wanted) in [
            (&way, libc::SYS_socket, vec![libc::AF_INET as u64, nonblocking], yes),
            (&way, libc::SYS_socket, vec![libc::AF_INET as u64 | high, 1], yes),
            (&way, libc::SYS_socket, vec![libc::AF_INET as u64, libc::SOCK_DGRAM as u64], no),
            (&way, libc::SYS_socket, vec![libc::AF_UNIX as u64, 1], no),
            (&closed, libc::SYS_socket, vec![libc::AF_INET as u64, 1], no),
            (&closed, libc::SYS_socketpair, vec![libc::AF_UNIX as u64, 1], yes),
            (&closed, libc::SYS_socketpair, vec![libc::AF_INET as u64, 1], no),
            (&closed, libc::SYS_clone, vec![libc::SIGCHLD as u64], yes),
            (&closed, libc::SYS_clone, vec![allow::NAMESPACES & 0x80], no),
            (&closed, libc::SYS_clone, vec![libc::CLONE_NEWUSER as u64 | high], no),
            (&closed, libc::SYS_prctl, vec![libc::PR_SET_NAME as u64], yes),
            (&closed, libc::SYS_prctl, vec![libc::PR_SET_SECCOMP as u64], no),
            (&closed, libc::SYS_prlimit64, vec![0], yes),
            (&closed, libc::SYS_prlimit64, vec![1], no),
        ] {
            let (answer, _) = judge(program, &asked(HERE, call as u32, &arguments));
            assert_eq!(answer, wanted, "{call} {arguments:x?}");
        }
    }
}
