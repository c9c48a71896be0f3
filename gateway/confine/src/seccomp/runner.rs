//! What the runner may ask: all that a jail may, and what building one takes. Never an IP socket but TCP, for the proxy on
//! a jail's loopback: the runner's own network namespace is empty, so for itself such a socket leads nowhere.
//! `skill-jail` inherits this filter and adds the jail's own before the skill starts.

use libc::AF_UNIX;

use super::{
    Rules, allow,
    allow::{eq, rule},
    jail,
};

/// Namespaces, a root of its own, its mounts.
const BUILDING: &[i64] = &[
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_sethostname,
    libc::SYS_setgroups,
];

/// Giving rights up; none of these can give one back.
const GIVING_UP: &[i64] = &[
    libc::SYS_capset,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
];

/// Connections from the gateway.
const SERVING: &[i64] = &[libc::SYS_accept4];

/// The proxy's socket on a jail's loopback.
const LISTENING: &[i64] = &[libc::SYS_bind, libc::SYS_listen];

pub(super) fn rules(paths: bool) -> Rules {
    let mut rules = jail::plain();
    let groups = [BUILDING, GIVING_UP, SERVING, LISTENING, OLD];
    rules.extend(groups.into_iter().flatten().map(|call| (*call, Vec::new())));
    // The flags of the jail's own first process.
    rules.insert(libc::SYS_clone, Vec::new());
    jail::tcp(&mut rules);
    if paths {
        // systemd's notification socket, and the door to egress.
        rules.entry(libc::SYS_socket).or_default().push(rule([eq(0, AF_UNIX as u64)]));
    }
    debug_assert!(allow::common().keys().all(|call| rules.contains_key(call)), "the runner serves too");
    rules
}

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[libc::SYS_accept, libc::SYS_setrlimit];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[libc::SYS_accept];
