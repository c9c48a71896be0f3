//! Each check with a world in which it holds and with one in which it does not.

mod good;

use std::collections::{BTreeMap, BTreeSet};

use openclaw_wire::{
    admin::Scope,
    audit::{Checked, Outcome, Place, Severity as Bad},
    ignored::Tracked,
};

use self::good::{CONFIG, NOW, TOOL, container, found, good, set, stat, weather};
use crate::{
    audit::{
        checks::{all, looks_like_a_key, names_a_key},
        nft::tests::{open, with},
        verdict::{Fix, fixes, judge},
        world::{Kind, Listener, World, absent, hidden},
    },
    command::doctor::{Finding, Severity},
};

fn of(id: &str, world: &World) -> Checked {
    let check = all().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"));
    judge(check, world)
}

fn config(world: &mut World, from: &str, to: &str) {
    assert!(CONFIG.contains(from), "{from}");
    world.settings = Ok(set(&CONFIG.replace(from, to)));
}

fn named(world: &mut World, name: &'static str, mode: u32) {
    let stat = world.state.named.get_mut(name).expect("named").as_mut().expect("seen");
    stat.mode = mode;
}

fn finding(id: &'static str) -> Finding {
    Finding {
        id,
        severity: Severity::Error,
        what: "what doctor says".into(),
        why: "w",
        mend: "doctor's mend".into(),
    }
}

fn doctor(world: &mut World, id: &'static str) {
    world.doctor = Ok(vec![finding(id)]);
}

fn sysctl(world: &mut World, name: &str, value: &str) {
    let before = world.sysctl.as_mut().expect("seen").insert(name.into(), value.into());
    assert!(before.is_some(), "{name}");
}

fn unit(world: &mut World, unit: &str, name: &str, value: &str) {
    let unit = world.units.as_mut().expect("seen").get_mut(unit).expect("installed");
    assert!(unit.insert(name.into(), value.into()).is_some(), "{name}");
}

fn sshd(world: &mut World, key: &str, value: &str) {
    let before = world.sshd.as_mut().expect("seen").insert(key.into(), vec![value.into()]);
    assert!(before.is_some(), "{key}");
}

fn processes(world: &mut World) -> &mut Vec<crate::audit::world::Process> {
    world.processes.as_mut().expect("seen")
}

fn running(world: &mut World) -> &mut openclaw_wire::admin::Status {
    world.status.as_mut().expect("seen")
}

fn walked(world: &mut World, path: &str, kind: Kind, mode: u32, uid: u32) {
    world.state.walk.as_mut().expect("seen").all.push(stat(path, kind, mode, uid));
}

fn confinement(world: &mut World, process: usize) {
    running(world).processes[process]["layers"][0]["complete"] = false.into();
}

fn skill(world: &mut World, name: &str, permissions: &str) {
    let manifest = format!("program = \"x\"\n[permissions]\n{permissions}\n{TOOL}");
    world.skills.as_mut().expect("seen").push(found(name, &manifest));
}

fn listens(world: &mut World, tcp: bool, address: &str, uid: u32) {
    let address = address.parse().expect("an address");
    world.listeners.as_mut().expect("seen").push(Listener { tcp, address, uid });
}

type Spoil = fn(&mut World);
use Outcome::{Attested, Fail, NotApplicable, Pass, Unknown};

/// For each check: what is spoilt, what comes of it, and a part of what it says.
fn table() -> Vec<(&'static str, Spoil, Outcome, &'static str)> {
    vec![
        ("process-user", |w| processes(w)[1].uid = 0, Fail, "egress (pid 991) as 0"),
        ("key-file-private", |w| named(w, "keys", 0o644), Fail, "mode 0644"),
        (
            "key-file-private",
            |w| w.state.named.get_mut("keys").expect("named").as_mut().expect("seen").uid = 5,
            Fail,
            "uid 5",
        ),
        (
            "key-file-ignored",
            |w| w.state.tracked = Ok(Some(Tracked::Git { tree: "/t".into(), rule: "/e".into() })),
            Fail,
            "no rule ignores it",
        ),
        (
            "key-file-ignored",
            |w| w.state.tracked = Ok(Some(Tracked::Other { tree: "/t".into(), name: ".hg" })),
            Fail,
            ".hg",
        ),
        ("spend-limits", |w| config(w, "day = 5", "day = \"none\""), Fail, "no limit for day"),
        (
            "spend-limits",
            |w| config(w, "[[model]]", "[[cap]]\nkey = \"A\"\nday = \"none\"\n[[model]]"),
            Fail,
            "no limit for A",
        ),
        ("keys-separate", |w| w.state.shared_keys = Ok(1), Fail, "1 keys"),
        (
            "webhook-sources",
            |w| {
                config(w, "peer = \"openclaw-tunnel\"", "from = \"direct\"\npeer = \"openclaw-front\"");
                w.firewall = Ok(with(&open(443)));
            },
            Fail,
            "open to everybody",
        ),
        ("ssh-keys-only", |w| sshd(w, "passwordauthentication", "yes"), Fail, "passwordauthentication yes"),
        (
            "webhook-tls",
            |w| {
                let told = w.webhooks.as_mut().expect("seen").get_mut("main").expect("asked");
                told.last_error_message = Some("SSL error {certificate verify failed}".into());
            },
            Fail,
            "certificate verify failed",
        ),
        ("webhook-tls", |w| w.webhooks.as_mut().expect("seen").clear(), Unknown, "not asked"),
        ("tunnel-hidden", |w| w.tunnel.as_mut().expect("seen")[4].good = Some(false), Fail, "origin"),
        ("tunnel-hidden", |w| w.tunnel.as_mut().expect("seen")[4].good = None, Unknown, "origin"),
        (
            "skills-vetted",
            |w| skill(w, "other", "hosts = [{ host = \"a.example.com\" }]"),
            Fail,
            "nobody approved",
        ),
        (
            "skills-vetted",
            |w| w.approved.as_mut().expect("seen").operator[0].digest = "b".repeat(64),
            Fail,
            "changed since it was approved",
        ),
        ("state-private", |w| w.state.folder.as_mut().expect("seen").mode = 0o777, Fail, "0777"),
        ("state-private", |w| named(w, "gateway", 0o750), Fail, "0750"),
        ("state-owner", |w| doctor(w, "state-owner"), Fail, "what doctor says"),
        ("database-private", |w| named(w, "database", 0o640), Fail, "0640"),
        ("config-private", |w| named(w, "config", 0o644), Fail, "0644"),
        ("page-tokens-private", |w| named(w, "page-tokens", 0o604), Fail, "0604"),
        ("vpn-key-private", |w| named(w, "vpn", 0o644), Fail, "0644"),
        ("approved-private", |w| named(w, "approved", 0o620), Fail, "0620"),
        ("ledger-private", |w| named(w, "ledger", 0o666), Fail, "0666"),
        ("sockets-private", |w| named(w, "operator-socket", 0o666), Fail, "0666"),
        ("state-no-links", |w| walked(w, "/s/gateway/link", Kind::Link, 0o777, 990), Fail, "/s/gateway/link"),
        (
            "state-one-owner",
            |w| walked(w, "/s/gateway/strange", Kind::File, 0o600, 7),
            Fail,
            "/s/gateway/strange",
        ),
        ("state-not-writable", |w| walked(w, "/s/files/open", Kind::File, 0o666, 0), Fail, "/s/files/open"),
        (
            "state-not-writable",
            |w| w.state.walk.as_mut().expect("seen").unseen.push("/s/egress".into()),
            Unknown,
            "/s/egress",
        ),
        ("state-no-setuid", |w| walked(w, "/s/files/tool", Kind::File, 0o4755, 0), Fail, "/s/files/tool"),
        ("programs-not-writable", |w| w.state.programs.as_mut().expect("seen")[0].mode = 0o775, Fail, "0775"),
        ("programs-owner", |w| w.state.programs.as_mut().expect("seen")[0].uid = 992, Fail, "openclaw"),
        (
            "state-mount",
            |w| w.state.mount.as_mut().expect("seen").options.retain(|option| option != "nosuid"),
            Fail,
            "ext4",
        ),
        ("disk-room", |w| doctor(w, "disk"), Fail, "what doctor says"),
        ("keys-in-force", |w| w.keys.as_mut().expect("seen").problem = Some("line 3".into()), Fail, "line 3"),
        (
            "keys-needed",
            |w| w.keys.as_mut().expect("seen").keys[0].used_by.clear(),
            Unknown,
            "ANTHROPIC_API_KEY",
        ),
        (
            "keys-age",
            |w| {
                w.state.named.get_mut("keys").expect("named").as_mut().expect("seen").modified =
                    NOW - 400 * 86_400
            },
            Fail,
            "400 days",
        ),
        (
            "keys-retired",
            |w| {
                w.attested.clear();
                let one = serde_json::json!({"number": 1, "names": ["OLD"], "since": 1, "last_used": null, "requests": 0, "safe_to_revoke": true});
                w.keys.as_mut().expect("seen").retired.push(serde_json::from_value(one).expect("one"));
            },
            Unknown,
            "OLD",
        ),
        (
            "keys-leaked",
            |w| {
                let alarm = openclaw_wire::egress::Alarm { at: 1, what: "skill x".into() };
                w.egress.as_mut().expect("seen").alarms.push(alarm);
            },
            Fail,
            "skill x",
        ),
        (
            "keys-place",
            |w| {
                w.state.named.get_mut("keys").expect("named").as_mut().expect("seen").path =
                    "/var/www/.env".into()
            },
            Fail,
            "/var/www",
        ),
        (
            "logs-clean",
            |w| w.state.leaking_logs = Ok(vec!["/s/log/openclaw.log".into()]),
            Fail,
            "openclaw.log",
        ),
        (
            "swap-private",
            |w| {
                w.attested.clear();
                w.machine.swaps = Ok(vec!["/dev/sda2".into()]);
            },
            Unknown,
            "/dev/sda2",
        ),
        (
            "disk-encrypted",
            |w| {
                w.attested.clear();
                w.state.mount.as_mut().expect("seen").encrypted = Some(false);
            },
            Unknown,
            "no dm-crypt",
        ),
        ("provider-limits", |w| w.attested.clear(), Unknown, "console"),
        ("accounts-two-factor", |w| w.attested.clear(), Unknown, "elsewhere"),
        ("config-valid", |w| doctor(w, "config"), Fail, "what doctor says"),
        ("profile-production", |w| doctor(w, "profile-development"), Fail, "what doctor says"),
        ("log-quiet", |w| config(w, "level = \"info\"", "level = \"debug\""), Fail, "level debug"),
        (
            "admin-listen",
            |w| config(w, "listen = \"vpn\"", "listen = \"0.0.0.0:8788\""),
            Fail,
            "0.0.0.0:8788",
        ),
        ("admin-listen", |w| config(w, "listen = \"vpn\"", "listen = \"[::]:8788\""), Fail, "[::]"),
        (
            "webhook-listen",
            |w| config(w, "unix:/run/openclaw/tunnel/webhook.sock", "192.168.1.2:80"),
            Fail,
            "192.168.1.2",
        ),
        ("access-no-wildcard", |w| config(w, "[1001]", "[1001, \"*\"]"), Fail, "\"*\""),
        ("access-no-wildcard", |w| config(w, "[1001]", "[1001]\npeople = [\"@anna\", -5]"), Fail, "@anna"),
        ("access-owner", |w| running(w).owner_paired = false, Fail, "no owner"),
        (
            "config-no-secret",
            |w| config(w, "[log]", "# sk-ant-api03-0123456789abcdefghijklmn\n[log]"),
            Fail,
            "line 2",
        ),
        (
            "telegram-official",
            |w| config(w, "[telegram]\n", "[telegram]\napi = \"https://bots.example.com\"\n"),
            Fail,
            "bots.example.com",
        ),
        (
            "models-encrypted",
            |w| {
                config(
                    w,
                    "model = \"big\"",
                    "model = \"big\"\nurl = \"http://192.168.1.3/v1\"\nprivate = true",
                )
            },
            Fail,
            "192.168.1.3",
        ),
        (
            "private-endpoints-encrypted",
            |w| config(w, "https://nas.lan", "http://nas.lan"),
            Fail,
            "http://nas.lan",
        ),
        (
            "exits-known",
            |w| {
                w.attested.clear();
                config(w, "127.0.0.1:9050", "proxy.example.com:9050");
            },
            Unknown,
            "proxy.example.com",
        ),
        (
            "extra-roots",
            |w| {
                w.attested.clear();
                config(w, "[log]", "[network]\nextra_roots = \"/etc/ca.pem\"\n[log]");
            },
            Unknown,
            "/etc/ca.pem",
        ),
        ("spend-ceiling", |w| config(w, "ceiling = 2", "ceiling = 50"), Fail, "ceiling = 50"),
        ("spend-chat-skill", |w| config(w, "day = 5", "day = 5\nchat_day = \"none\""), Fail, "chat_day"),
        (
            "spend-free",
            |w| config(w, "[[model]]", "[[price]]\nhost = \"a.example.com\"\ncall = 0\n[[model]]"),
            Fail,
            "a.example.com",
        ),
        ("turn-budgets", |w| config(w, "[log]", "[turn]\nsteps = 1000\n[log]"), Fail, "1000 model calls"),
        ("files-retention", |w| config(w, "days = 30", "days = 3000"), Fail, "3000"),
        (
            "webhook-peer",
            |w| {
                config(
                    w,
                    "listen = \"unix:/run/openclaw/tunnel/webhook.sock\"\npeer = \"openclaw-tunnel\"",
                    "listen = \"127.0.0.1:8787\"",
                )
            },
            Unknown,
            "127.0.0.1:8787",
        ),
        ("drill-at-start", |w| config(w, "drill_at_start = true", "drill_at_start = false"), Fail, "false"),
        ("runtimes-system", |w| config(w, "/usr/bin/python3", "/home/a/python3"), Fail, "/home/a/python3"),
        ("confinement-gateway", |w| confinement(w, 0), Fail, "seccomp"),
        ("confinement-egress", |w| confinement(w, 1), Fail, "seccomp"),
        ("confinement-runner", |w| drop(running(w).processes.pop()), Unknown, "does not report"),
        ("confinement-runner", |w| confinement(w, 2), Fail, "seccomp"),
        ("kernel-says-filtered", |w| processes(w)[0].seccomp = 0, Fail, "gateway (pid 990): no filter"),
        ("kernel-says-bound", |w| processes(w)[3].no_new_privs = false, Fail, "zygote"),
        ("kernel-says-powerless", |w| processes(w)[2].capabilities = 1 << 21, Fail, "runner"),
        ("users-apart", |w| processes(w)[1].uid = 990, Fail, "egress 990"),
        (
            "account-own",
            |w| w.accounts.as_mut().expect("seen").groups[0].1.push("openclaw-gateway".into()),
            Fail,
            "in the group sudo",
        ),
        (
            "environment-clean",
            |w| processes(w)[1].keys = Some(vec!["OPENAI_API_KEY".into()]),
            Fail,
            "OPENAI_API_KEY",
        ),
        ("environment-clean", |w| processes(w)[1].keys = None, Unknown, "not readable"),
        ("environment-clean", |w| w.machine.own_keys.push("OPENAI_API_KEY".into()), Fail, "this shell"),
        ("commands-clean", |w| w.machine.leaking_commands = Ok(vec![7]), Fail, "pid 7"),
        ("skills-running", |w| running(w).skills[0].problem = Some("digest".into()), Fail, "digest"),
        ("drill-held", |w| running(w).last_drill.as_mut().expect("one").failed = 2, Fail, "2 of 120"),
        ("drill-held", |w| running(w).last_drill = None, Unknown, "no drill"),
        ("drill-held", |w| w.now += 40 * 86_400, Unknown, "changed since"),
        ("models-real", |w| running(w).models[0].problem = Some("no key".into()), Fail, "no key"),
        ("page-token", |w| running(w).page.tokens.retain(|scope| *scope == Scope::Metrics), Fail, "no token"),
        ("listeners-ours", |w| listens(w, true, "0.0.0.0:9", 991), Fail, "0.0.0.0:9"),
        ("listeners-ours", |w| processes(w).clear(), Unknown, "nothing runs"),
        ("listeners-others", |w| listens(w, true, "0.0.0.0:3306", 5), Fail, "3306 (uid 5)"),
        ("listeners-udp", |w| listens(w, false, "0.0.0.0:5353", 0), Fail, "5353"),
        (
            "page-listens",
            |w| running(w).page.listens.push("http://192.168.1.2:8788/".into()),
            Fail,
            "192.168.1.2",
        ),
        (
            "firewall-input",
            |w| w.firewall.as_mut().expect("seen").chains.retain(|chain| chain.name != "input"),
            Fail,
            "no chain",
        ),
        (
            "firewall-forward",
            |w| {
                w.firewall.as_mut().expect("seen").chains.retain(|chain| chain.name != "forward");
                sysctl(w, "net/ipv4/ip_forward", "1");
            },
            Fail,
            "pass through",
        ),
        (
            "firewall-output",
            |w| w.firewall.as_mut().expect("seen").chains.retain(|chain| chain.name != "output"),
            Fail,
            "gateway, runner and front",
        ),
        ("firewall-ours", |w| w.firewall.as_mut().expect("seen").chains[1].drops = false, Fail, "forward"),
        ("firewall-admin", |w| w.firewall = Ok(with(&open(22))), Fail, "port 22"),
        ("webhook-secret", |w| running(w).bots[0].webhook_secret_sha256.clear(), Fail, "main"),
        (
            "webhook-old-secret",
            |w| {
                let old = openclaw_wire::egress::Previous { sha256: "0".into(), seconds: 60 };
                running(w).bots[0].webhook_previous = Some(old);
            },
            Fail,
            "the one before",
        ),
        ("tunnel-sound", |w| w.tunnel.as_mut().expect("seen")[0].good = Some(false), Fail, "credential"),
        ("ssh-root", |w| sshd(w, "permitrootlogin", "yes"), Fail, "yes"),
        ("ssh-empty-passwords", |w| sshd(w, "permitemptypasswords", "yes"), Fail, "yes"),
        ("ssh-forwarding", |w| sshd(w, "allowtcpforwarding", "yes"), Fail, "allowtcpforwarding yes"),
        ("ssh-algorithms", |w| sshd(w, "macs", "hmac-sha1,hmac-sha2-512"), Fail, "hmac-sha1"),
        ("ssh-guessing", |w| sshd(w, "logingracetime", "0"), Fail, "logingracetime 0"),
        ("ssh-key-files", |w| w.accounts.as_mut().expect("seen").ssh_keys[0].mode = 0o664, Fail, "0664"),
        (
            "units-users",
            |w| unit(w, "openclaw-egress.service", "User", "openclaw-gateway"),
            Fail,
            "both openclaw-gateway",
        ),
        ("units-users", |w| unit(w, "openclaw-egress.service", "User", ""), Fail, "egress runs as root"),
        (
            "units-hardened",
            |w| unit(w, "openclaw-runner.service", "ProtectSystem", "no"),
            Fail,
            "runner: ProtectSystem=no",
        ),
        (
            "units-capabilities",
            |w| unit(w, "openclaw-tunnel.service", "CapabilityBoundingSet", "cap_net_admin"),
            Fail,
            "cap_net_admin",
        ),
        ("units-network", |w| unit(w, "openclaw-gateway.service", "PrivateNetwork", "no"), Fail, "gateway"),
        (
            "units-bounded",
            |w| unit(w, "openclaw-egress.service", "MemoryMax", "infinity"),
            Fail,
            "egress: MemoryMax",
        ),
        (
            "units-unchanged",
            |w| {
                unit(
                    w,
                    "openclaw-egress.service",
                    "DropInPaths",
                    "/etc/systemd/system/openclaw-egress.service.d/override.conf",
                )
            },
            Unknown,
            "override.conf",
        ),
        (
            "units-up",
            |w| unit(w, "openclaw-vpn.service", "ActiveState", "failed"),
            Fail,
            "openclaw-vpn.service",
        ),
        (
            "firewall-active",
            |w| unit(w, "openclaw-firewall.service", "ActiveState", "inactive"),
            Fail,
            "inactive",
        ),
        ("drill-timer", |w| unit(w, "openclaw-drill.timer", "ActiveState", "inactive"), Fail, "inactive"),
        (
            "skills-not-writable",
            |w| w.skills.as_mut().expect("seen")[0].files.all[0].mode = 0o775,
            Fail,
            "0775",
        ),
        (
            "skills-no-links",
            |w| {
                w.skills.as_mut().expect("seen")[0].files.all.push(stat(
                    "/s/skills/weather/x",
                    Kind::Link,
                    0o777,
                    0,
                ))
            },
            Fail,
            "/s/skills/weather/x",
        ),
        (
            "skills-valid",
            |w| w.skills.as_mut().expect("seen")[0].skill = Err("line 3".into()),
            Fail,
            "line 3",
        ),
        (
            "skills-no-tunnel",
            |w| {
                w.attested.clear();
                skill(w, "pins", "hosts = [{ host = \"a.example.com\", tunnel = true }]");
            },
            Unknown,
            "pins: a.example.com",
        ),
        (
            "skills-no-wildcard",
            |w| {
                w.attested.clear();
                skill(w, "wide", "hosts = [{ host = \"*.example.com\" }]");
            },
            Unknown,
            "wide: *.example.com",
        ),
        (
            "skills-write",
            |w| {
                w.attested.clear();
                skill(w, "writes", "write = [\"~/out\"]");
            },
            Unknown,
            "writes: ~/out",
        ),
        (
            "skills-mcp",
            |w| {
                w.attested.clear();
                w.skills.as_mut().expect("seen").push(found("server", "program = \"x\"\nmcp = true\n"));
            },
            Unknown,
            "server",
        ),
        (
            "skills-revoked",
            |w| w.approved.as_mut().expect("seen").revoked.push("weather".parse().expect("a name")),
            Unknown,
            "weather",
        ),
        ("landlock", |w| doctor(w, "landlock-off"), Fail, "what doctor says"),
        ("user-namespaces", |w| doctor(w, "user-namespaces"), Fail, "what doctor says"),
        ("seccomp", |w| doctor(w, "seccomp"), Fail, "what doctor says"),
        ("kernel-pointers", |w| sysctl(w, "kernel/kptr_restrict", "0"), Fail, "kernel.kptr_restrict is 0"),
        ("kernel-ptrace", |w| sysctl(w, "kernel/yama/ptrace_scope", "0"), Fail, "is 0"),
        (
            "kernel-ptrace",
            |w| drop(w.sysctl.as_mut().expect("seen").remove("kernel/yama/ptrace_scope")),
            Unknown,
            "no such setting",
        ),
        ("kernel-bpf", |w| sysctl(w, "kernel/unprivileged_bpf_disabled", "0"), Fail, "is 0"),
        ("kernel-aslr", |w| sysctl(w, "kernel/randomize_va_space", "1"), Fail, "is 1"),
        ("kernel-links", |w| sysctl(w, "fs/protected_symlinks", "0"), Fail, "is 0"),
        ("kernel-dumps", |w| sysctl(w, "fs/suid_dumpable", "2"), Fail, "is 2"),
        ("kernel-core", |w| sysctl(w, "kernel/core_pattern", "core"), Fail, "core"),
        ("kernel-kexec", |w| sysctl(w, "kernel/kexec_load_disabled", "0"), Fail, "is 0"),
        ("kernel-sysrq", |w| sysctl(w, "kernel/sysrq", "438"), Fail, "is 438"),
        ("kernel-userfaultfd", |w| sysctl(w, "vm/unprivileged_userfaultfd", "1"), Fail, "is 1"),
        ("kernel-terminals", |w| sysctl(w, "dev/tty/ldisc_autoload", "1"), Fail, "is 1"),
        ("net-forwarding", |w| sysctl(w, "net/ipv4/ip_forward", "1"), Fail, "is 1"),
        ("net-redirects", |w| sysctl(w, "net/ipv4/conf/all/send_redirects", "1"), Fail, "is 1"),
        ("net-weak-host", |w| sysctl(w, "net/ipv4/conf/all/arp_ignore", "0"), Fail, "arp_ignore is 0"),
        ("net-syncookies", |w| sysctl(w, "net/ipv4/tcp_syncookies", "0"), Fail, "is 0"),
        (
            "cpu-vulnerabilities",
            |w| w.machine.vulnerable = Ok(vec!["meltdown: Vulnerable".into()]),
            Fail,
            "meltdown",
        ),
        ("kernel-lockdown", |w| w.machine.lockdown = Ok("none".into()), Fail, "none"),
        (
            "accounts-root",
            |w| w.accounts.as_mut().expect("seen").users.push(("toor".into(), 0, "/bin/sh".into())),
            Fail,
            "toor",
        ),
        (
            "accounts-passwords",
            |w| w.accounts.as_mut().expect("seen").open = Some(vec!["anna".into()]),
            Fail,
            "anna",
        ),
        ("accounts-passwords", |w| w.accounts.as_mut().expect("seen").open = None, Unknown, "as root"),
        (
            "accounts-shells",
            |w| w.accounts.as_mut().expect("seen").users[1].2 = "/bin/bash".into(),
            Fail,
            "/bin/bash",
        ),
        (
            "root-sockets",
            |w| w.machine.root_sockets = Ok(vec![stat("/run/docker.sock", Kind::Other, 0o666, 0)]),
            Fail,
            "docker",
        ),
        ("updates-on", |w| w.updates.as_mut().expect("seen").on = false, Fail, "is off"),
        (
            "updates-recent",
            |w| w.updates.as_mut().expect("seen").succeeded = Some(NOW - 30 * 86_400),
            Fail,
            "30 days",
        ),
        ("updates-recent", |w| w.updates.as_mut().expect("seen").succeeded = None, Unknown, "does not say"),
        ("reboot-pending", |w| w.updates.as_mut().expect("seen").reboot = true, Fail, "restart"),
        ("clock-set", |w| w.machine.clock = Ok(false), Fail, "nothing sets it"),
        ("secure-boot", |w| w.machine.secure_boot = Ok(false), Fail, "off"),
        ("backup-recent", |w| w.attested.clear(), Unknown, "not seen"),
        ("backup-tried", |w| w.attested.clear(), Unknown, "not seen"),
    ]
}

/// Those that are about containers alone.
fn contained() -> Vec<(&'static str, Spoil, Outcome, &'static str)> {
    vec![
        ("container-read-only", |w| w.machine.read_only_root = Ok(false), Fail, "rw"),
        ("container-capabilities", |w| w.machine.bounding = Ok(1 << 21), Fail, "1 more"),
        (
            "container-sockets",
            |w| w.machine.root_sockets = Ok(vec![stat("/run/docker.sock", Kind::Other, 0o660, 0)]),
            Fail,
            "docker",
        ),
        ("container-user", |w| processes(w)[0].uid = 0, Fail, "gateway"),
    ]
}

#[test]
fn each_check_holds_in_a_good_world_and_fails_in_one_that_is_spoilt() {
    let mut seen = BTreeSet::new();
    for (table, world) in [(table(), good as fn() -> World), (contained(), container)] {
        for (id, spoil, expected, part) in table {
            let before = of(id, &world());
            assert!(matches!(before.outcome, Pass | Attested), "{id} in a good world: {before:?}");
            let mut spoilt = world();
            spoil(&mut spoilt);
            let after = of(id, &spoilt);
            assert_eq!(after.outcome, expected, "{id}: {after:?}");
            assert!(after.evidence.contains(part), "{id}: {part:?} in {after:?}");
            assert!(!after.mend.is_empty() || after.outcome != Fail, "{id} names no mend: {after:?}");
            seen.insert(id);
        }
    }
    let all: BTreeSet<_> = all().map(|check| check.id).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new(), "without a case");
    assert!(all.len() >= 100, "{}", all.len());
}

#[test]
fn ids_are_unique_and_the_ten_points_come_first() {
    let ids: Vec<_> = all().map(|check| check.id).collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len());
    let points: Vec<_> = all().filter_map(|check| check.point).collect();
    assert_eq!(points, (1..=10).collect::<Vec<_>>());
    for check in all() {
        let good = check.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(good && !check.title.ends_with('.'), "{}", check.id);
        // Nobody vouches for what a program sees.
        assert!(!check.attestable || check.severity < Bad::Critical, "{}", check.id);
    }
}

#[test]
fn what_is_hidden_is_never_a_pass() {
    let world = World::blind(Place::Appliance, NOW, "dark");
    for check in all() {
        let found = judge(check, &world);
        let container_only = check.area == "container";
        assert!(
            found.outcome == Unknown || (container_only && found.outcome == NotApplicable),
            "{}: {found:?}",
            check.id
        );
    }
}

#[test]
fn what_is_not_there_is_not_applicable() {
    let mut world = good();
    world.sshd = absent("no SSH server");
    world.firewall = hidden("root's");
    world.state.named.insert("vpn", absent("no VPN"));
    for id in ["ssh-keys-only", "ssh-root", "ssh-key-files", "vpn-key-private"] {
        assert_eq!(of(id, &world).outcome, NotApplicable, "{id}");
    }
    assert_eq!(of("firewall-input", &world).outcome, Unknown);
    config(&mut world, "updates = \"webhook\"", "updates = \"poll\"");
    running(&mut world).bots[0].updates = openclaw_wire::config::Updates::Poll;
    for id in
        ["webhook-sources", "webhook-tls", "tunnel-hidden", "webhook-peer", "webhook-secret", "tunnel-sound"]
    {
        assert_eq!(of(id, &world).outcome, NotApplicable, "{id}");
    }
    world.place = Place::Host;
    for id in ["units-users", "firewall-ours", "users-apart", "container-user"] {
        assert_eq!(of(id, &world).outcome, NotApplicable, "{id}");
    }
}

/// A finding of doctor's is found once: its words are the audit's, whether or not the audit saw it by itself.
#[test]
fn what_doctor_found_is_said_in_its_words() {
    for (id, finding, path) in [
        ("key-file-private", "keys-mode", "keys"),
        ("database-private", "database-mode", "database"),
        ("state-private", "state-mode", "gateway"),
    ] {
        let mut world = good();
        doctor(&mut world, finding);
        let found = of(id, &world);
        assert!(
            found.outcome == Fail && found.evidence == "what doctor says" && found.fix.is_empty(),
            "{found:?}"
        );
        named(&mut world, path, 0o666);
        let found = of(id, &world);
        assert!(found.mend == "doctor's mend" && !found.fix.is_empty(), "{found:?}");
    }
}

/// Without a right to look, egress's own word stands for what it would not run without.
#[test]
fn what_egress_vouches_for_is_attested() {
    let mut world = good();
    world.state.named.insert("keys", hidden("denied"));
    world.state.tracked = hidden("denied");
    world.state.shared_keys = hidden("denied");
    for id in ["key-file-private", "key-file-ignored", "keys-separate"] {
        assert_eq!(of(id, &world).outcome, Attested, "{id}");
    }
    running(&mut world).processes.remove(1);
    for id in ["key-file-private", "key-file-ignored", "keys-separate"] {
        assert_eq!(of(id, &world).outcome, Unknown, "{id}");
    }
}

/// Of a mode only bits go, and none that is not too much; an owner is that of the folder; a value gets stricter.
#[test]
fn what_can_be_mended_only_ever_closes() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (table, world) in [(table(), good as fn() -> World), (contained(), container)] {
        for (id, spoil, ..) in table {
            let mut spoilt = world();
            spoil(&mut spoilt);
            let check = all().find(|check| check.id == id).expect("there");
            for fix in fixes(check, &spoilt) {
                let kind = match fix {
                    Fix::Narrow { without, .. } => {
                        assert!(
                            without != 0 && without & 0o600 == 0,
                            "{id}: its owner keeps his rights: {without:o}"
                        );
                        "narrow"
                    }
                    Fix::Owner { uid, .. } => {
                        assert!([990, 991].contains(&uid), "{id}");
                        "owner"
                    }
                    Fix::Ignore { .. } => "ignore",
                    Fix::Setting { .. } => "setting",
                    Fix::Start { unit } => {
                        assert_eq!(unit, "openclaw-firewall.service", "{id}");
                        "start"
                    }
                };
                *kinds.entry(kind).or_default() += 1;
            }
        }
    }
    assert_eq!(
        kinds.keys().copied().collect::<Vec<_>>(),
        ["ignore", "narrow", "owner", "setting", "start"],
        "{kinds:?}"
    );
}

#[test]
fn the_form_of_a_key_is_known_and_other_words_are_left_alone() {
    for text in [
        "TELEGRAM_BOT_TOKEN=1234567890:AAabcdefghijklmnopqrstuvwxyz-012345",
        "curl -H 'x-api-key: sk-ant-api03-abcdefghijklmnopqrstuvwxyz'",
        "key = \"sk-proj-abcdefghijklmnopqrstuvwxyz\"",
        "https://api.telegram.org/bot",
    ] {
        assert_eq!(looks_like_a_key(text), !text.ends_with("bot"), "{text}");
    }
    for text in
        ["2026-11-29T12:34:56", "127.0.0.1:8787", "key = \"OPENAI_API_KEY\"", "sk-ant-", "12345678:short"]
    {
        assert!(!looks_like_a_key(text), "{text}");
    }
    assert!(names_a_key("OPENAI_API_KEY") && names_a_key("TELEGRAM_BOT_TOKEN"));
    assert!(!names_a_key("PATH") && !names_a_key("SSH_AUTH_SOCK") && !names_a_key("keys_TOKEN"));
}

#[test]
fn a_skill_that_asks_for_no_host_can_be_vouched_for() {
    let mut world = good();
    skill(&mut world, "plain", "");
    assert_eq!(of("skills-vetted", &world).outcome, Attested);
    world.attested.clear();
    let found = of("skills-vetted", &world);
    assert!(found.outcome == Unknown && found.evidence.contains("plain"), "{found:?}");
    // One that nobody vouched for is worse, whatever the operator said of the others.
    let mut other = weather();
    other.name = "other".into();
    other.skill.as_mut().expect("loaded").id = "other".parse().expect("a name");
    world.skills.as_mut().expect("seen").push(other);
    assert_eq!(of("skills-vetted", &world).outcome, Fail);
    world.skills = Ok(Vec::new());
    assert_eq!(of("skills-vetted", &world).outcome, Pass);
}
