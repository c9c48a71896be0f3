//! A world in which every check holds: an appliance whose bot is called by Telegram through the tunnel.

use std::path::Path;

use openclaw_wire::{
    audit::Place,
    config::Updates as By,
    egress::{Approval, Approved},
    skill::{self, Skill},
};
use serde_json::json;

use crate::{
    audit::{
        checks::{OTHERS, SERVICES, SYSCTL, all},
        nft::Ruleset,
        nft::tests::OURS,
        verdict::GOOD_FOR,
        world::{
            Accounts, Attested, Found, Kind, Listener, Machine, Mount, Process, Settings, Stat, State,
            Updates, Walk, World,
        },
    },
    command::{status::tests::status, tunnel::Point, webhook::Info},
};

pub const NOW: i64 = 2_000_000_000;

pub const CONFIG: &str = r#"profile = "production"
[log]
level = "info"
[telegram]
via = "socks5://127.0.0.1:9050"
[[telegram.bot]]
name = "main"
updates = "webhook"
[webhook]
listen = "unix:/run/openclaw/tunnel/webhook.sock"
peer = "openclaw-tunnel"
public_url = "https://bot.example.com"
[admin]
listen = "vpn"
[access]
owners = [1001]
[spend]
day = 5
ceiling = 2
[files]
days = 30
[skills]
drill_at_start = true
[skills.runtime.python]
path = "/usr/bin/python3"
[skills.private.nas]
url = "https://nas.lan:8443"
[[model]]
name = "claude"
api = "anthropic"
model = "big"
key = "ANTHROPIC_API_KEY"
"#;

pub fn stat(path: &str, kind: Kind, mode: u32, uid: u32) -> Stat {
    Stat { path: path.into(), kind, mode, uid, modified: NOW - 86_400 }
}

pub fn set(text: &str) -> Settings {
    Settings::new("/s/openclaw.toml", text)
}

/// A skill of the operator's with this manifest.
pub fn found(name: &str, manifest: &str) -> Found {
    let manifest = skill::parse(manifest, Path::new("skill.toml")).expect("a good manifest");
    let folder = format!("/s/skills/{name}");
    Found {
        name: name.into(),
        bundled: false,
        off: false,
        skill: Ok(Skill {
            id: name.parse().expect("a name"),
            folder: folder.clone().into(),
            digest: "a".repeat(64),
            manifest: Some(manifest),
        }),
        files: Walk { all: vec![stat(&folder, Kind::Folder, 0o755, 0)], unseen: Vec::new() },
    }
}

pub const TOOL: &str =
    "[[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"fetch\"\narguments = { type = \"object\" }\n";

pub fn weather() -> Found {
    found(
        "weather",
        &format!("program = \"x\"\n[permissions]\nhosts = [{{ host = \"api.example.com\" }}]\n{TOOL}"),
    )
}

fn approval(found: &Found) -> Approval {
    let skill = found.skill.as_ref().expect("loaded");
    let hosts = skill.manifest.as_ref().expect("a manifest").permissions.hosts.clone();
    Approval { skill: skill.id.clone(), digest: skill.digest.clone(), hosts }
}

pub fn process(role: &'static str, uid: u32) -> Process {
    Process { pid: uid, role, uid, no_new_privs: true, seccomp: 2, capabilities: 0, keys: Some(Vec::new()) }
}

fn state() -> State {
    let named = [
        ("keys", stat("/s/egress/.env", Kind::File, 0o600, 991)),
        ("egress", stat("/s/egress", Kind::Folder, 0o700, 991)),
        ("gateway", stat("/s/gateway", Kind::Folder, 0o700, 990)),
        ("database", stat("/s/gateway/openclaw.db", Kind::File, 0o600, 990)),
        ("config", stat("/s/openclaw.toml", Kind::File, 0o640, 0)),
        ("vpn", stat("/s/vpn/vpn.toml", Kind::File, 0o600, 0)),
        ("page-tokens", stat("/s/gateway/page-tokens", Kind::File, 0o600, 990)),
        ("approved", stat("/s/egress/approved/approved.toml", Kind::File, 0o600, 991)),
        ("ledger", stat("/s/egress/ledger/ledger.db", Kind::File, 0o600, 991)),
        ("admin-socket", stat("/s/gateway/admin.sock", Kind::Other, 0o600, 990)),
        ("operator-socket", stat("/s/egress/operator.sock", Kind::Other, 0o600, 991)),
    ];
    let all = vec![
        stat("/s", Kind::Folder, 0o755, 0),
        stat("/s/gateway", Kind::Folder, 0o700, 990),
        stat("/s/gateway/openclaw.db", Kind::File, 0o600, 990),
        stat("/s/files", Kind::Folder, 0o2770, 0),
    ];
    State {
        folder: Ok(stat("/s", Kind::Folder, 0o755, 0)),
        named: named.into_iter().map(|(name, stat)| (name, Ok(stat))).collect(),
        walk: Ok(Walk { all, unseen: Vec::new() }),
        tracked: Ok(None),
        shared_keys: Ok(0),
        leaking_logs: Ok(Vec::new()),
        programs: Ok(vec![
            stat("/usr/lib/openclaw/bin/openclaw", Kind::File, 0o755, 0),
            stat("/usr/lib/openclaw/bin", Kind::Folder, 0o755, 0),
        ]),
        mount: Ok(Mount {
            at: "/var".into(),
            kind: "ext4".into(),
            options: ["rw", "nosuid", "nodev"].map(str::to_owned).into(),
            encrypted: Some(true),
        }),
    }
}

pub fn good() -> World {
    let mut running = status("production", true);
    running.owner_paired = true;
    running.bots[0].updates = By::Webhook;
    running.bots[0].webhook_secret_sha256 = "0".repeat(64);
    running.bots[0].problem = None;
    if let Some(drill) = &mut running.last_drill {
        drill.at = NOW - 86_400;
    }
    let keys = json!({
        "file": "/s/egress/.env", "retired": [], "problem": null,
        "keys": [{"name": "ANTHROPIC_API_KEY", "source": "file", "used_by": ["model claude"], "last_used": null,
                  "aside_until": null}],
    });
    let egress = json!({"confinement": {}, "models": [], "bots": []});
    let weather = weather();
    let server = found("files", &format!("program = \"x\"\nmcp = true\n{TOOL}"));
    let mut bundled = found("notes", &format!("program = \"x\"\n{TOOL}"));
    bundled.bundled = true;
    let mut server_known = server;
    server_known.bundled = true;
    let way = |what| Point { what, good: Some(true), found: "good".into(), mend: "m" };
    let listener =
        |tcp, address: &str, uid| Listener { tcp, address: address.parse().expect("an address"), uid };
    World {
        place: Place::Appliance,
        now: NOW,
        state: state(),
        settings: Ok(set(CONFIG)),
        doctor: Ok(Vec::new()),
        status: Ok(running),
        keys: Ok(serde_json::from_value(keys).expect("a list")),
        egress: Ok(serde_json::from_value(egress).expect("a status")),
        webhooks: Ok([(
            "main".to_owned(),
            Info { url: "https://bot.example.com/x".into(), ..Info::default() },
        )]
        .into()),
        tunnel: Ok(["credential", "configuration", "registration", "public name", "origin"].map(way).into()),
        processes: Ok(vec![
            process("gateway", 990),
            process("egress", 991),
            process("runner", 992),
            process("zygote", 992),
        ]),
        listeners: Ok(vec![
            listener(true, "127.0.0.1:8787", 990),
            listener(true, "10.77.0.1:8788", 0),
            listener(true, "0.0.0.0:22", 0),
            listener(false, "0.0.0.0:51820", 0),
        ]),
        firewall: Ok(Ruleset::parse(OURS).expect("rules")),
        sysctl: Ok(SYSCTL.iter().map(|name| ((*name).to_owned(), setting(name).to_owned())).collect()),
        units: Ok(units()),
        sshd: Ok(sshd()),
        accounts: Ok(Accounts {
            users: [
                ("root", 0),
                ("openclaw-gateway", 990),
                ("openclaw-egress", 991),
                ("openclaw-runner", 992),
            ]
            .map(|(name, uid)| (name.to_owned(), uid, "/usr/sbin/nologin".to_owned()))
            .into(),
            groups: vec![("sudo".into(), Vec::new()), ("openclaw".into(), vec!["openclaw-gateway".into()])],
            open: Some(Vec::new()),
            ssh_keys: vec![stat("/root/.ssh/authorized_keys", Kind::File, 0o600, 0)],
        }),
        approved: Ok(Approved {
            operator: vec![approval(&weather)],
            bundled: Vec::new(),
            revoked: vec!["gone".parse().expect("a name")],
        }),
        skills: Ok(vec![weather, bundled, server_known]),
        updates: Ok(Updates {
            by: "systemd-sysupdate".into(),
            on: true,
            succeeded: Some(NOW - 86_400),
            reboot: false,
        }),
        machine: Machine {
            vulnerable: Ok(Vec::new()),
            secure_boot: Ok(true),
            lockdown: Ok("integrity".into()),
            swaps: Ok(vec!["/dev/zram0".into()]),
            clock: Ok(true),
            root_sockets: Ok(Vec::new()),
            leaking_commands: Ok(Vec::new()),
            own_keys: Vec::new(),
            read_only_root: Ok(true),
            bounding: Ok(0),
        },
        own_uid: None,
        attested: all()
            .filter(|check| check.attestable)
            .map(|check| (check.id.to_owned(), Attested { at: NOW - GOOD_FOR / 2, note: "I looked".into() }))
            .collect(),
    }
}

/// The same programs in a container.
pub fn container() -> World {
    let mut world = good();
    world.place = Place::Container;
    world.state.folder = Ok(stat("/s", Kind::Folder, 0o700, 990));
    world
}

fn setting(name: &str) -> &'static str {
    match name {
        "kernel/core_pattern" => "|/bin/false",
        "kernel/randomize_va_space" | "kernel/perf_event_paranoid" => "2",
        "fs/suid_dumpable" | "kernel/sysrq" | "dev/tty/ldisc_autoload" | "vm/unprivileged_userfaultfd" => "0",
        name if name.ends_with("redirects") || name.ends_with("route") || name.contains("forward") => "0",
        _ => "1",
    }
}

fn units() -> std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> {
    let users =
        ["openclaw-gateway", "openclaw-egress", "openclaw-runner", "openclaw-tunnel", "openclaw-front"];
    let pairs = |user: &str, network: &str| {
        [
            ("LoadState", "loaded"),
            ("ActiveState", "active"),
            ("Result", "success"),
            ("User", user),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("PrivateDevices", "yes"),
            ("PrivateNetwork", network),
            ("ProtectKernelModules", "yes"),
            ("ProtectKernelLogs", "yes"),
            ("ProtectClock", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
            ("LockPersonality", "yes"),
            ("RestrictRealtime", "yes"),
            ("CapabilityBoundingSet", ""),
            ("AmbientCapabilities", ""),
            ("SystemCallFilter", "read write"),
            ("MemoryMax", "536870912"),
            ("TasksMax", "64"),
            ("LimitCORE", "0"),
            ("UMask", "0077"),
            ("DropInPaths", "/usr/lib/systemd/system/openclaw-.service.d/00-hardening.conf"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    };
    let services = SERVICES.iter().zip(users).map(|(name, user)| {
        let network = if user.ends_with("egress") || user.ends_with("tunnel") { "no" } else { "yes" };
        ((*name).to_owned(), pairs(user, network))
    });
    services.chain(OTHERS.iter().map(|name| ((*name).to_owned(), pairs("", "no")))).collect()
}

fn sshd() -> std::collections::BTreeMap<String, Vec<String>> {
    [
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("permitrootlogin", "without-password"),
        ("permitemptypasswords", "no"),
        ("allowtcpforwarding", "no"),
        ("allowstreamlocalforwarding", "no"),
        ("allowagentforwarding", "no"),
        ("x11forwarding", "no"),
        ("permittunnel", "no"),
        ("kexalgorithms", "mlkem768x25519-sha256,curve25519-sha256"),
        ("ciphers", "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com"),
        ("macs", "hmac-sha2-512-etm@openssh.com"),
        ("hostkeyalgorithms", "ssh-ed25519"),
        ("pubkeyacceptedalgorithms", "ssh-ed25519,rsa-sha2-512"),
        ("maxauthtries", "3"),
        ("logingracetime", "20"),
    ]
    .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
    .into()
}
