//! What this kernel offers: Landlock, user namespaces, seccomp. Asks; takes nothing away from this process.

use std::fs;

use super::{Finding, Severity};

/// The Landlock version that `production` asks for: the first with scopes, Linux 6.12 (landlock(7)).
const LANDLOCK: i32 = 6;

/// Looks at all three.
pub fn look() -> Vec<Finding> {
    let sysctl = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut findings: Vec<Finding> = landlock(openclaw_confine::landlock_version()).into_iter().collect();
    findings.extend(namespaces(
        sysctl("/proc/sys/user/max_user_namespaces").as_deref(),
        sysctl("/proc/sys/kernel/unprivileged_userns_clone").as_deref(),
        sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref(),
    ));
    findings.extend(seccomp(sysctl("/proc/sys/kernel/seccomp/actions_avail").as_deref()));
    findings
}

fn landlock(version: i32) -> Option<Finding> {
    let why = "it keeps each process to its own files, ports and processes; skills do not run without it";
    match version {
        LANDLOCK.. => None,
        0 => Some(Finding::new(
            Severity::Error,
            "landlock-off",
            "this kernel has no Landlock, or it is switched off",
            why,
            "boot with `lsm=landlock,...` on the kernel's command line; Linux 6.12 or newer is best",
        )),
        older => Some(Finding::new(
            Severity::Warning,
            "landlock-old",
            format!("this kernel has Landlock version {older}; all barriers need version {LANDLOCK}"),
            "`production` does not start with less; `development` starts and says what is missing",
            "install Linux 6.12 or newer (Debian 13, Ubuntu 25.04)",
        )),
    }
}

/// The kernel's own limit; the switch that Debian's and Ubuntu's kernels add; AppArmor's, since Ubuntu 23.10.
fn namespaces(most: Option<&str>, clone: Option<&str>, apparmor: Option<&str>) -> Option<Finding> {
    let (what, mend) = if most == Some("0") {
        ("user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=10000")
    } else if most.is_none() {
        ("this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS")
    } else if clone == Some("0") {
        ("kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1")
    } else if apparmor == Some("1") {
        (
            "AppArmor forbids user namespaces to programs without a profile (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "give openclaw-runner an AppArmor profile with `userns,`, or for the whole machine: \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else {
        return None;
    };
    let why = "each call of a skill gets namespaces of its own; without them no skill runs";
    Some(Finding::new(Severity::Error, "user-namespaces", what, why, mend))
}

fn seccomp(actions: Option<&str>) -> Option<Finding> {
    let needed = ["allow", "errno", "kill_process"];
    let offered: Vec<&str> = actions.unwrap_or_default().split_whitespace().collect();
    let missing: Vec<&str> = needed.into_iter().filter(|action| !offered.contains(action)).collect();
    if missing.is_empty() {
        return None;
    }
    Some(Finding::new(
        Severity::Error,
        "seccomp",
        format!("this kernel's seccomp lacks: {}", missing.join(", ")),
        "it leaves each process only the system calls that it needs",
        "use Linux 4.14 or newer with CONFIG_SECCOMP_FILTER",
    ))
}

#[cfg(test)]
mod tests {
    use super::{landlock, namespaces, seccomp};

    #[test]
    fn each_way_to_switch_a_barrier_off_is_named_with_its_own_mend() {
        let mend = |finding: Option<super::Finding>| finding.map(|finding| finding.mend).unwrap_or_default();
        assert_eq!(namespaces(Some("96365"), None, None), None);
        assert_eq!(namespaces(Some("96365"), Some("1"), Some("0")), None);
        assert!(mend(namespaces(Some("0"), None, None)).contains("max_user_namespaces"));
        assert!(mend(namespaces(None, None, None)).contains("CONFIG_USER_NS"));
        assert!(mend(namespaces(Some("9"), Some("0"), None)).contains("userns_clone=1"));
        assert!(mend(namespaces(Some("9"), Some("1"), Some("1"))).contains("AppArmor"));
        assert_eq!((landlock(6), landlock(7)), (None, None));
        assert!(mend(landlock(0)).contains("lsm=landlock"));
        assert_eq!(landlock(2).map(|finding| finding.id), Some("landlock-old"));
        assert_eq!(seccomp(Some("kill_process kill_thread trap errno user_notif trace log allow")), None);
        assert!(seccomp(Some("errno allow")).is_some_and(|finding| finding.what.ends_with("kill_process")));
        assert!(seccomp(None).is_some());
    }
}
