//! System calls that a jail refuses, asked with arguments that change nothing where they are allowed. For the drill: it
//! asks outside, to see that the kernel is reached, and inside, to see that it is not.

use std::io;

/// One call with its fixed arguments.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// As in the manual.
    pub name: &'static str,
    /// The filter kills whoever asks; otherwise it answers `EPERM` or `ENOSYS`.
    pub fatal: bool,
    number: i64,
    arguments: [i64; 5],
}

const fn kills(name: &'static str, number: i64, arguments: [i64; 5]) -> Attempt {
    Attempt { name, fatal: true, number, arguments }
}

const fn refuses(name: &'static str, number: i64, arguments: [i64; 5]) -> Attempt {
    Attempt { name, fatal: false, number, arguments }
}

/// A socket of a family and a kind.
const fn socket(name: &'static str, family: i32, kind: i32) -> Attempt {
    refuses(name, libc::SYS_socket, [family as i64, kind as i64, 0, 0, 0])
}

/// No such descriptor, flag, request or number.
const NO: i64 = -1;
const RAW: i32 = libc::SOCK_RAW;
const STREAM: i32 = libc::SOCK_STREAM;
const DATAGRAM: i32 = libc::SOCK_DGRAM;
const XDP: i32 = 44; // linux/socket.h

/// All of them. INVARIANT: every pointer is null and every number invalid or a question, so that a call which gets
/// through fails in the kernel, or changes nothing.
pub const ATTEMPTS: &[Attempt] = &[
    // Another process's memory and descriptors.
    kills("ptrace", libc::SYS_ptrace, [NO, 0, 0, 0, 0]),
    kills("process_vm_readv", libc::SYS_process_vm_readv, [0, 0, 0, 0, 0]),
    kills("process_vm_writev", libc::SYS_process_vm_writev, [0, 0, 0, 0, 0]),
    kills("pidfd_getfd", libc::SYS_pidfd_getfd, [NO, 0, 0, 0, 0]),
    kills("kcmp", libc::SYS_kcmp, [0, 0, NO, 0, 0]),
    // Code in the kernel.
    kills("bpf", libc::SYS_bpf, [NO, 0, 0, 0, 0]),
    kills("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, NO, NO]),
    kills("userfaultfd", libc::SYS_userfaultfd, [NO, 0, 0, 0, 0]),
    kills("init_module", libc::SYS_init_module, [0, 0, 0, 0, 0]),
    kills("finit_module", libc::SYS_finit_module, [NO, 0, 0, 0, 0]),
    kills("delete_module", libc::SYS_delete_module, [0, 0, 0, 0, 0]),
    kills("kexec_load", libc::SYS_kexec_load, [0, 0, 0, NO, 0]),
    // Keyrings.
    kills("keyctl", libc::SYS_keyctl, [NO, 0, 0, 0, 0]),
    kills("add_key", libc::SYS_add_key, [0, 0, 0, 0, 0]),
    kills("request_key", libc::SYS_request_key, [0, 0, 0, 0, 0]),
    // Files by handle, devices.
    kills("open_by_handle_at", libc::SYS_open_by_handle_at, [NO, 0, 0, 0, 0]),
    kills("name_to_handle_at", libc::SYS_name_to_handle_at, [NO, 0, 0, 0, NO]),
    kills("mknodat", libc::SYS_mknodat, [NO, 0, 0, 0, 0]),
    // Namespaces and mounts.
    kills("unshare", libc::SYS_unshare, [NO, 0, 0, 0, 0]),
    kills("setns", libc::SYS_setns, [NO, 0, 0, 0, 0]),
    kills("mount", libc::SYS_mount, [0, 0, 0, 0, 0]),
    kills("umount2", libc::SYS_umount2, [0, NO, 0, 0, 0]),
    kills("pivot_root", libc::SYS_pivot_root, [0, 0, 0, 0, 0]),
    kills("chroot", libc::SYS_chroot, [0, 0, 0, 0, 0]),
    kills("open_tree", libc::SYS_open_tree, [NO, 0, NO, 0, 0]),
    kills("move_mount", libc::SYS_move_mount, [NO, 0, NO, 0, NO]),
    kills("mount_setattr", libc::SYS_mount_setattr, [NO, 0, NO, 0, 0]),
    kills("fsopen", libc::SYS_fsopen, [0, NO, 0, 0, 0]),
    kills("fsmount", libc::SYS_fsmount, [NO, NO, NO, 0, 0]),
    // The machine.
    kills("sethostname", libc::SYS_sethostname, [0, NO, 0, 0, 0]),
    kills("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0]),
    kills("swapon", libc::SYS_swapon, [0, NO, 0, 0, 0]),
    kills("clock_settime", libc::SYS_clock_settime, [NO, 0, 0, 0, 0]),
    kills("syslog", libc::SYS_syslog, [NO, 0, 0, 0, 0]),
    kills("fanotify_init", libc::SYS_fanotify_init, [NO, NO, 0, 0, 0]),
    // What libraries may try, and programs live without.
    refuses("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0, 0]),
    refuses("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0]),
    refuses("memfd_create", libc::SYS_memfd_create, [0, NO, 0, 0, 0]),
    refuses("shmget", libc::SYS_shmget, [0, 0, 0, 0, 0]),
    refuses("msgget", libc::SYS_msgget, [0x6f63_6c77, 0, 0, 0, 0]),
    refuses("semget", libc::SYS_semget, [0, 0, 0, 0, 0]),
    refuses("personality", libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
    refuses("capset", libc::SYS_capset, [0, 0, 0, 0, 0]),
    refuses("setresuid", libc::SYS_setresuid, [NO, NO, NO, 0, 0]),
    refuses("setresgid", libc::SYS_setresgid, [NO, NO, NO, 0, 0]),
    refuses("seccomp", libc::SYS_seccomp, [NO, 0, 0, 0, 0]),
    refuses("bind", libc::SYS_bind, [NO, 0, 0, 0, 0]),
    refuses("listen", libc::SYS_listen, [NO, 0, 0, 0, 0]),
    refuses("sched_setscheduler", libc::SYS_sched_setscheduler, [0, NO, 0, 0, 0]),
    // Families of sockets.
    socket("socket inet raw", libc::AF_INET, RAW),
    socket("socket inet datagram", libc::AF_INET, DATAGRAM),
    socket("socket inet6", libc::AF_INET6, STREAM),
    socket("socket unix", libc::AF_UNIX, STREAM),
    socket("socket netlink", libc::AF_NETLINK, RAW),
    socket("socket packet", libc::AF_PACKET, RAW),
    socket("socket vsock", libc::AF_VSOCK, STREAM),
    socket("socket alg", libc::AF_ALG, libc::SOCK_SEQPACKET),
    socket("socket bluetooth", libc::AF_BLUETOOTH, RAW),
    socket("socket key", libc::AF_KEY, RAW),
    socket("socket xdp", XDP, RAW),
];

impl Attempt {
    /// Asks the kernel.
    pub fn make(&self) -> io::Result<i64> {
        let [a, b, c, d, e] = self.arguments;
        // SAFETY: null pointers and numbers, none of which names memory of this process; see `ATTEMPTS`.
        match unsafe { libc::syscall(self.number, a, b, c, d, e, 0_i64) } {
            -1 => Err(io::Error::last_os_error()),
            value => Ok(value),
        }
    }
}

/// Whether a descriptor of this number is open. For the drill, which looks for what was inherited by accident.
pub fn is_open(number: i32) -> bool {
    // SAFETY: asks for flags only.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Starts a child with namespaces of its own, as `clone` and not as `unshare`; it ends at once. For the drill.
pub fn clone_into(flags: i32) -> io::Result<()> {
    let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without a stack of its own the child is a copy, as after a fork, and calls nothing but _exit.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the child without running anything that the parent registered.
        0 => unsafe { libc::_exit(0) },
        child => {
            // SAFETY: waits for that child; the status is not asked for.
            unsafe { libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0) };
            Ok(())
        }
    }
}
