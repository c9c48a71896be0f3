//! What a serving process may ask: memory, threads, its open descriptors, its files. One group for each reason.
//! Never a process, a namespace or, for the gateway, a way to make a socket that goes out.

use libc::{AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_STREAM};
use seccompiler::{SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompRule};

use super::Rules;

/// All flags of `clone` that make a namespace (clone(2)), `CLONE_NEWTIME` included.
pub(super) const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64
    | 0x80;

/// Memory, apart from what can make code.
const MEMORY: &[i64] = &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk];

/// Threads of tokio and the standard library, their locks and their end.
const THREADS: &[i64] = &[
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
];

/// Signals to oneself: SIGTERM handling, stack overflow handling, abort.
const SIGNALS: &[i64] =
    &[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack];

/// Clocks where the vDSO has none, and sleeping.
const TIME: &[i64] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
];

/// Descriptors that are open already, and waiting for them.
const DESCRIPTORS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl, // SQLite's locks, O_NONBLOCK
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
];

/// Looking at files that Landlock leaves.
const READING: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
];

/// Changing files that Landlock leaves: SQLite's database, journal and shared memory, egress's ledger.
const WRITING: &[i64] = &[
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchown, // SQLite as root gives the journal the database's owner
    libc::SYS_umask,
];

/// Connections that were handed over or accepted.
const SOCKETS: &[i64] = &[
    libc::SYS_accept4,
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

/// Who and where am I, and random numbers.
const ASKING: &[i64] = &[
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getppid,
];

/// The same acts under the numbers that only x86-64 has; musl and older libc use them.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_accept,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[libc::SYS_accept];

/// What every process of ours needs, jails included.
pub(super) fn common() -> Rules {
    let groups = [MEMORY, THREADS, SIGNALS, TIME, DESCRIPTORS, READING, WRITING, ASKING, OLD];
    let mut rules: Rules = groups.into_iter().flatten().map(|call| (*call, Vec::new())).collect();
    // SOCK_STREAM or SOCK_SEQPACKET pairs between our own processes and threads; the family is fixed.
    rules.insert(libc::SYS_socketpair, vec![rule([eq(0, AF_UNIX as u64)])]);
    rules
}

/// The gateway. `paths`: under systemd its doors are socket paths, so it may make and connect unix sockets.
pub(super) fn gateway(paths: bool) -> Rules {
    let mut rules = serving();
    if paths {
        rules.insert(libc::SYS_socket, vec![rule([eq(0, AF_UNIX as u64)])]);
        rules.insert(libc::SYS_connect, Vec::new());
    }
    rules
}

/// Egress: TCP to the hosts of its table, UDP to the resolver. No `listen`: nobody calls it from outside.
pub(super) fn egress(paths: bool) -> Rules {
    let mut rules = serving();
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            // The type's low bits; above them are SOCK_NONBLOCK and SOCK_CLOEXEC. Raw sockets stay refused.
            sockets.push(rule([eq(0, family as u64), masked(1, 0xf, kind as u64)]));
        }
    }
    if paths {
        sockets.push(rule([eq(0, AF_UNIX as u64)]));
    }
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_connect, Vec::new());
    // glibc's resolver sends both questions at once.
    rules.insert(libc::SYS_sendmmsg, Vec::new());
    // musl's binds the socket that its questions leave from. For TCP Landlock still refuses every port.
    #[cfg(target_env = "musl")]
    rules.insert(libc::SYS_bind, Vec::new());
    rules
}

/// What gateway and egress share: no new process, no new code.
fn serving() -> Rules {
    let mut rules = common();
    rules.extend(SOCKETS.iter().map(|call| (*call, Vec::new())));
    // A thread, never a process and never a namespace.
    let thread = NAMESPACES | libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule([wide(0, thread, libc::CLONE_THREAD as u64)])]);
    // No page becomes executable: all code was loaded before.
    let data = || vec![rule([masked(2, libc::PROT_EXEC as u64, 0)])];
    rules.insert(libc::SYS_mmap, data());
    rules.insert(libc::SYS_mprotect, data());
    // Abort and raise; nobody else's threads.
    rules.insert(libc::SYS_tgkill, vec![rule([eq(0, u64::from(std::process::id()))])]);
    #[allow(clippy::unnecessary_cast, reason = "their type is the C library's; with musl it is another")]
    let ioctls = [libc::FIONBIO, libc::FIOCLEX, libc::FIONREAD, libc::TCGETS].map(|request| request as u64);
    rules.insert(libc::SYS_ioctl, ioctls.iter().map(|request| rule([eq(1, *request)])).collect());
    // Thread names, names of memory areas (glibc's malloc), and the flag that the report reads back.
    let options = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_GET_DUMPABLE];
    rules.insert(libc::SYS_prctl, options.iter().map(|option| rule([eq(0, *option as u64)])).collect());
    // Reading one's own limits; a third argument would set them.
    rules.insert(libc::SYS_prlimit64, vec![rule([eq(0, 0), wide(2, u64::MAX, 0)])]);
    rules
}

/// All conditions hold.
pub(super) fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> SeccompRule {
    SeccompRule::new(conditions.into()).expect("a rule has conditions")
}

/// The low 32 bits of an argument are this value (the kernel ignores the others for an `int`).
pub(super) fn eq(argument: u8, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Len::Dword, Op::Eq, value & 0xffff_ffff).expect("six arguments at most")
}

/// Of the low 32 bits, those under the mask are these.
pub(super) fn masked(argument: u8, mask: u64, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Len::Dword, Op::MaskedEq(mask), value).expect("six arguments at most")
}

/// Of all 64 bits, those under the mask are these.
pub(super) fn wide(argument: u8, mask: u64, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Len::Qword, Op::MaskedEq(mask), value).expect("six arguments at most")
}
