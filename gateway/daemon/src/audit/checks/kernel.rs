//! What this kernel offers and refuses.

use openclaw_wire::audit::{
    Place,
    Severity::{self, High, Low, Medium},
};

use super::doctor;
use crate::audit::{
    verdict::{Check, Verdict, fail, named, pass, unknown},
    world::{Seen, World, hidden},
};
use Wanted::{Is, Least};

/// Every setting that a check asks for.
pub const SYSCTL: [&str; 27] = [
    "dev/tty/ldisc_autoload",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "fs/suid_dumpable",
    "kernel/core_pattern",
    "kernel/dmesg_restrict",
    "kernel/kexec_load_disabled",
    "kernel/kptr_restrict",
    "kernel/perf_event_paranoid",
    "kernel/randomize_va_space",
    "kernel/sysrq",
    "kernel/unprivileged_bpf_disabled",
    "kernel/yama/ptrace_scope",
    "net/core/bpf_jit_harden",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/accept_source_route",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/secure_redirects",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/ip_forward",
    "net/ipv4/tcp_syncookies",
    "net/ipv6/conf/all/accept_redirects",
    "net/ipv6/conf/all/forwarding",
    "vm/unprivileged_userfaultfd",
];

/// In their order.
pub const CHECKS: [Check; 20] = [
    Check::new("landlock", "kernel", High, "The kernel has all of Landlock that we ask for", |world| {
        doctor(world, &["landlock-off", "landlock-old"], "Landlock is there, version 6 or newer")
    }),
    Check::new("user-namespaces", "kernel", High, "Jails can have namespaces of their own", |world| {
        doctor(world, &["user-namespaces"], "user namespaces are allowed")
    }),
    Check::new("seccomp", "kernel", High, "The kernel filters system calls", |world| {
        doctor(world, &["seccomp"], "seccomp has every action that we use")
    }),
    setting("kernel-pointers", Medium, "No process learns the kernel's addresses", |world| {
        settings(
            world,
            &[
                ("kernel/kptr_restrict", Least(1)),
                ("kernel/dmesg_restrict", Least(1)),
                ("kernel/perf_event_paranoid", Least(2)),
            ],
        )
    }),
    setting("kernel-ptrace", Medium, "No process looks into another one of its user's", |world| {
        settings(world, &[("kernel/yama/ptrace_scope", Least(1))])
    }),
    setting("kernel-bpf", Medium, "Ordinary users load no BPF programs", |world| {
        settings(
            world,
            &[("kernel/unprivileged_bpf_disabled", Least(1)), ("net/core/bpf_jit_harden", Least(1))],
        )
    }),
    setting("kernel-aslr", High, "Addresses of programs are random", |world| {
        settings(world, &[("kernel/randomize_va_space", Is("2"))])
    }),
    setting("kernel-links", Medium, "No tricks with links and files in shared folders", |world| {
        settings(
            world,
            &[
                ("fs/protected_symlinks", Is("1")),
                ("fs/protected_hardlinks", Is("1")),
                ("fs/protected_fifos", Least(1)),
                ("fs/protected_regular", Least(1)),
            ],
        )
    }),
    setting("kernel-dumps", Medium, "No dump of a program that changed its user", |world| {
        settings(world, &[("fs/suid_dumpable", Is("0"))])
    }),
    setting("kernel-core", Low, "Crashed programs leave no copy of their memory", core),
    setting("kernel-kexec", Low, "No other kernel is started from this one", |world| {
        settings(world, &[("kernel/kexec_load_disabled", Is("1"))])
    }),
    setting("kernel-sysrq", Low, "No keyboard commands the kernel", |world| {
        settings(world, &[("kernel/sysrq", Is("0"))])
    }),
    setting("kernel-userfaultfd", Low, "Ordinary users can't stop the kernel in a page fault", |world| {
        settings(world, &[("vm/unprivileged_userfaultfd", Is("0"))])
    }),
    setting("kernel-terminals", Low, "Terminal drivers are not loaded on a user's wish", |world| {
        settings(world, &[("dev/tty/ldisc_autoload", Is("0"))])
    }),
    setting("net-forwarding", Low, "This machine passes no packets on", |world| {
        settings(world, &[("net/ipv4/ip_forward", Is("0")), ("net/ipv6/conf/all/forwarding", Is("0"))])
    }),
    setting(
        "net-redirects",
        Medium,
        "Nobody on the network tells this machine where to send packets",
        |world| {
            settings(
                world,
                &[
                    ("net/ipv4/conf/all/accept_redirects", Is("0")),
                    ("net/ipv4/conf/all/secure_redirects", Is("0")),
                    ("net/ipv4/conf/all/send_redirects", Is("0")),
                    ("net/ipv6/conf/all/accept_redirects", Is("0")),
                    ("net/ipv4/conf/all/accept_source_route", Is("0")),
                ],
            )
        },
    ),
    setting("net-weak-host", Medium, "An address is answered on its own interface", |world| {
        settings(
            world,
            &[("net/ipv4/conf/all/rp_filter", Least(1)), ("net/ipv4/conf/all/arp_ignore", Least(1))],
        )
    }),
    setting("net-syncookies", Low, "A flood of half-open connections is borne", |world| {
        settings(world, &[("net/ipv4/tcp_syncookies", Least(1))])
    }),
    setting("cpu-vulnerabilities", Medium, "The processor's weaknesses are mitigated", processor),
    setting("kernel-lockdown", Low, "Not even root changes the running kernel", lockdown),
];

const fn setting(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    judge: fn(&World) -> Seen<Verdict>,
) -> Check {
    Check::new(id, "kernel", severity, title, judge)
}

/// What a setting should be.
#[derive(Clone, Copy)]
enum Wanted {
    /// This.
    Is(&'static str),
    /// This number or more.
    Least(i64),
}

/// All of them; one that this kernel has not is no setting of it, but of all of them at least one must be there.
fn settings(world: &World, wanted: &[(&str, Wanted)]) -> Seen<Verdict> {
    let all = world.see(&world.sysctl)?;
    let (mut seen, mut wrong, mut mends) = (Vec::new(), Vec::new(), Vec::new());
    for (name, wanted) in wanted {
        let Some(value) = all.get(*name) else { continue };
        let dotted = name.replace('/', ".");
        let (good, asked) = match wanted {
            Is(text) => (value == text, (*text).to_owned()),
            Least(least) => (value.parse::<i64>().is_ok_and(|number| number >= *least), least.to_string()),
        };
        let shown = format!("{dotted} is {value}");
        seen.push(shown.clone());
        if !good {
            wrong.push(shown);
            mends.push(format!("{dotted} = {asked}"));
        }
    }
    match (seen.as_slice(), wrong.as_slice()) {
        ([], _) => hidden("this kernel shows no such setting"),
        (seen, []) => pass(named(seen)),
        (_, wrong) => fail(named(wrong), write(world, &mends.join(", "))),
    }
}

/// A container has its host's kernel.
fn write(world: &World, lines: &str) -> String {
    let place = if world.place == Place::Container { "on the container's host " } else { "" };
    format!("{place}write into /etc/sysctl.d/60-openclaw.conf: {lines}; then sysctl --system")
}

fn core(world: &World) -> Seen<Verdict> {
    let all = world.see(&world.sysctl)?;
    let Some(pattern) = all.get("kernel/core_pattern") else {
        return hidden("this kernel shows no core_pattern");
    };
    let shown = format!("kernel.core_pattern is {pattern}; our own processes are not dumpable");
    match pattern.is_empty() || pattern == "|/bin/false" {
        true => pass(shown),
        false => fail(shown, write(world, "kernel.core_pattern = |/bin/false")),
    }
}

fn processor(world: &World) -> Seen<Verdict> {
    match world.see(&world.machine.vulnerable)?.as_slice() {
        [] => pass("the kernel calls none of them Vulnerable"),
        wrong => {
            fail(named(wrong), "boot without mitigations=off, and bring microcode and kernel up to date")
        }
    }
}

fn lockdown(world: &World) -> Seen<Verdict> {
    match world.see(&world.machine.lockdown)?.as_str() {
        "none" => fail("lockdown is none", "boot with `lockdown=integrity` on the kernel's command line"),
        "integrity" | "confidentiality" => {
            pass(format!("lockdown is {}", world.see(&world.machine.lockdown)?))
        }
        other => unknown(format!("lockdown is {other:?}"), "cat /sys/kernel/security/lockdown"),
    }
}
