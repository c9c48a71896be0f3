//! What a skill may ask. Ordinary programs in any language run: files, processes, threads, pipes, timers.
//! Never a socket (but a pair with its own children, and with a way out TCP to its own loopback), a namespace, a mount, or
//! memory that no limit counts.

use libc::{AF_INET, AF_UNIX, SOCK_STREAM};

use super::{
    Rules,
    allow::{NAMESPACES, common, eq, masked, rule, wide},
};

/// Processes of the skill's own, within its limit.
const PROCESSES: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_getpgid,
    libc::SYS_setpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_close_range,
];

/// Code: dynamic linking, just-in-time compilers.
const CODE: &[i64] = &[libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_set_tid_address];

/// Threads beyond the plain kind, and their scheduling.
const THREADS: &[i64] = &[
    libc::SYS_get_robust_list,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_getcpu,
    libc::SYS_msync,
    libc::SYS_mincore,
];

/// Signals and timers of its own.
const SIGNALS: &[i64] = &[
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_times,
];

/// Files in the folders that Landlock leaves.
const FILES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmodat,
    libc::SYS_truncate,
    libc::SYS_utimensat,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_sync_file_range,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_readahead,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait2,
];

/// A pair of unix sockets with its own children.
const PAIRS: &[i64] = &[
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// Who am I.
const ASKING: &[i64] = &[
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    // Its descriptors are pipes, plain files and four devices without ioctls; Landlock refuses device ioctls. Those of a
    // TCP socket change nothing without a capability.
    libc::SYS_ioctl,
];

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_arch_prctl,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_select,
    libc::SYS_creat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_rmdir,
    libc::SYS_chmod,
    libc::SYS_getdents,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_eventfd,
    libc::SYS_epoll_create,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[libc::SYS_getrlimit];

/// The plain calls, which the runner must be allowed too: its filter is inherited.
pub(super) fn plain() -> Rules {
    let mut rules = common();
    let groups = [PROCESSES, CODE, THREADS, SIGNALS, FILES, PAIRS, ASKING, OLD];
    rules.extend(groups.into_iter().flatten().map(|call| (*call, Vec::new())));
    rules.insert(libc::SYS_socketpair, vec![rule([eq(0, AF_UNIX as u64)])]);
    rules
}

/// TCP over IPv4, to the proxy on the jail's own loopback: Landlock leaves that port, and there is no other interface.
pub(super) fn tcp(rules: &mut Rules) {
    // The type's low bits; above them are SOCK_NONBLOCK and SOCK_CLOEXEC.
    let tcp = rule([eq(0, AF_INET as u64), masked(1, 0xf, SOCK_STREAM as u64)]);
    rules.entry(libc::SYS_socket).or_default().push(tcp);
    // The first process accepts, the skill connects.
    for call in [libc::SYS_connect, libc::SYS_accept4] {
        rules.insert(call, Vec::new());
    }
}

/// The jail; `way`: with a way out.
pub(super) fn rules(way: bool) -> Rules {
    let mut rules = plain();
    if way {
        tcp(&mut rules);
    }
    // A process or a thread, never a namespace. `memfd_create` and System V shared memory are absent: without a
    // memory cgroup nothing would count them.
    rules.insert(libc::SYS_clone, vec![rule([wide(0, NAMESPACES, 0)])]);
    let options = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_SET_VMA,
        libc::PR_SET_PDEATHSIG,
        libc::PR_GET_PDEATHSIG,
        libc::PR_SET_DUMPABLE,
        libc::PR_GET_DUMPABLE,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_GET_SECCOMP,
        libc::PR_CAPBSET_READ,
        libc::PR_SET_CHILD_SUBREAPER,
        libc::PR_SET_TIMERSLACK,
        libc::PR_SET_THP_DISABLE,
    ];
    rules.insert(libc::SYS_prctl, options.iter().map(|option| rule([eq(0, *option as u64)])).collect());
    // Its own limits, downwards: the hard ones are set.
    rules.insert(libc::SYS_prlimit64, vec![rule([eq(0, 0)])]);
    rules
}
