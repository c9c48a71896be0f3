//! What no program of ours asks for. Asking is a sign that somebody else is in control: the process dies (`SIGSYS`).
//! Never a home for calls that an ordinary library may try: those are refused with an errno.

use crate::Role;

/// The calls that kill.
pub(super) fn calls(role: Role) -> impl Iterator<Item = i64> {
    let building: &'static [i64] = if role == Role::Runner { &[] } else { &BUILDING };
    let executing: &'static [i64] =
        if matches!(role, Role::Gateway | Role::Egress) { &EXECUTING } else { &[] };
    [&ALWAYS, building, executing, OLD].into_iter().flatten().copied()
}

const ALWAYS: [i64; 38] = [
    // Another process's memory and registers.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // Code and tracing in the kernel; the usual way from a bug to root.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    // Keyrings are shared over namespaces.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Files by handle: past every mount namespace and path rule.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Joining a namespace that somebody else made.
    libc::SYS_setns,
    // The machine's state.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    // Moving memory and files of others, marking filesystems.
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    // Only mknod of devices needs a capability, but nobody makes a node at all.
    libc::SYS_mknodat,
];

/// Building a jail: only the runner's children do that.
const BUILDING: [i64; 13] = [
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_sethostname,
];

/// The reader and the key holder execute nothing, ever.
const EXECUTING: [i64; 2] = [libc::SYS_execve, libc::SYS_execveat];

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    // Ports and segment tables of the processor.
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_kexec_file_load,
    libc::SYS_mknod,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// Calls that libraries try and live without.
pub(super) fn absent() -> impl Iterator<Item = i64> {
    [
        // glibc falls back to `clone`, whose flags a filter can read; those of `clone3` are behind a pointer.
        libc::SYS_clone3,
        // Every operation through a ring is one that this filter does not see.
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        // NUMA hints of allocators.
        libc::SYS_get_mempolicy,
        libc::SYS_set_mempolicy,
        libc::SYS_mbind,
    ]
    .into_iter()
}
