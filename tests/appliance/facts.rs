//! No port, path, user or range is written twice unseen: what units, drop-ins and the tunnel's configuration name is
//! compared with `gateway/appliance.toml`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use openclaw_wire::{
    config::{Config, From, Listen, Page, Profile},
    facts::FACTS,
};

/// A file of the repository.
fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// All values of a setting in a unit.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

fn value<'a>(text: &'a str, name: &str) -> &'a str {
    match values(text, name).as_slice() {
        [one] => one,
        other => panic!("{name} stands {} times in:\n{text}", other.len()),
    }
}

#[test]
fn each_socket_has_the_path_and_the_owner_of_the_facts() {
    let (unix, users, state) = (&FACTS.unix, &FACTS.users, &FACTS.install.state);
    for (unit, path, name, owner, mode) in [
        ("egress-gateway", unix.egress_for_gateway.clone(), "gateway", &users.gateway, "0600"),
        ("egress-runner", unix.egress_for_runner.clone(), "runner", &users.runner, "0600"),
        ("egress-front", unix.egress_for_front.clone(), "front", &users.front, "0600"),
        ("gateway-front", unix.webhook_for_front.clone(), "front", &users.gateway, "0660"),
        ("egress-operator", state.join(&FACTS.state.operator_socket), "operator", &users.egress, "0600"),
        ("runner-gateway", unix.runner_for_gateway.clone(), "gateway", &users.gateway, "0600"),
        ("gateway-admin", state.join(&FACTS.state.admin_socket), "admin", &users.gateway, "0600"),
        ("gateway-webhook", unix.webhook_for_tunnel.clone(), "webhook", &users.gateway, "0660"),
        ("gateway-page", unix.page_for_listeners.clone(), "page", &users.gateway, "0600"),
    ] {
        let text = file(&format!("systemd/system/openclaw-{unit}.socket"));
        assert_eq!(value(&text, "ListenStream"), path.to_str().expect("text"), "{unit}");
        assert_eq!(value(&text, "FileDescriptorName"), name, "{unit}");
        assert_eq!(value(&text, "SocketUser"), owner.as_str(), "{unit}");
        assert_eq!(value(&text, "SocketMode"), mode, "{unit}");
        let group = match unit {
            "gateway-webhook" => &users.tunnel,
            "gateway-front" => &users.front,
            _ => owner,
        };
        assert_eq!(value(&text, "SocketGroup"), group.as_str(), "{unit}");
        // The service takes it over.
        let service = file(&format!("systemd/system/{}", value(&text, "Service")));
        assert!(value(&service, "Sockets").contains(&format!("openclaw-{unit}.socket")), "{unit}");
    }
}

/// On the VPN's interfaces and nowhere else, bound to each (incident 18).
#[test]
fn the_page_listens_on_the_vpns_interfaces() {
    let (vpn, port) = (&FACTS.vpn, FACTS.admin.port);
    for (unit, address, interface) in [
        ("vpn", format!("{}:{port}", vpn.address), &vpn.interface),
        ("tailscale", format!("0.0.0.0:{port}"), &vpn.tailscale),
    ] {
        let text = file(&format!("systemd/system/openclaw-page-{unit}.socket"));
        assert_eq!(value(&text, "ListenStream"), address);
        assert_eq!(value(&text, "BindToDevice"), interface.as_str());
        let device = format!("sys-subsystem-net-devices-{}.device", interface.replace('-', "\\x2d"));
        assert_eq!(value(&text, "WantedBy"), device);
        assert_eq!(value(&text, "Service"), format!("openclaw-page@{unit}.service"));
    }
    let up = file("systemd/system/openclaw-vpn.service");
    let book = FACTS.install.state.join(&FACTS.state.vpn);
    assert_eq!(value(&up, "ConditionPathExists"), book.to_str().expect("text"));
}

/// What listens in public, and what opens the firewall, is there in direct mode only: the firewall says so.
#[test]
fn direct_mode_has_its_ports_its_word_and_its_helper() {
    let (direct, users) = (&FACTS.direct, &FACTS.users);
    let flag = direct.flag.to_str().expect("text");
    for (unit, port, name) in
        [("front-https", direct.port, "https"), ("front-challenge", direct.challenge, "challenge")]
    {
        let text = file(&format!("systemd/system/openclaw-{unit}.socket"));
        assert_eq!(value(&text, "ListenStream"), port.to_string(), "{unit}");
        assert_eq!(value(&text, "FileDescriptorName"), name, "{unit}");
        assert_eq!(value(&text, "ConditionPathExists"), flag, "{unit}");
        let service = file(&format!("systemd/system/{}", value(&text, "Service")));
        assert!(value(&service, "Sockets").contains(&format!("openclaw-{unit}.socket")), "{unit}");
        assert_eq!(value(&service, "ConditionPathExists"), flag);
    }
    let host = file("systemd/system/openclaw-host.socket");
    assert_eq!(value(&host, "ListenStream"), FACTS.unix.host_for_front.to_str().expect("text"));
    assert_eq!((value(&host, "SocketUser"), value(&host, "SocketMode")), (users.front.as_str(), "0600"));
    assert_eq!((value(&host, "ConditionPathExists"), value(&host, "MaxConnections")), (flag, "1"));
    let helper = FACTS.install.programs.join(&FACTS.programs.host);
    let service = file("systemd/system/openclaw-host@.service");
    assert_eq!(value(&service, "ExecStart"), format!("{} --nft /usr/sbin/nft", helper.display()));
    let firewall = file("systemd/system/openclaw-firewall.service");
    let prints = firewall.lines().filter(|line| line.contains("firewall print"));
    assert_eq!(
        prints.filter(|line| line.ends_with(&format!(" --flag {flag}"))).count(),
        2,
        "start and reload"
    );
}

#[test]
fn a_drill_is_asked_for_by_the_gateway_and_made_as_the_others_are() {
    let text = file("systemd/system/openclaw-drill-door.socket");
    assert_eq!(value(&text, "ListenStream"), FACTS.unix.drill_for_gateway.to_str().expect("text"));
    assert_eq!(value(&text, "SocketUser"), FACTS.users.gateway.as_str());
    assert_eq!((value(&text, "SocketMode"), value(&text, "MaxConnections")), ("0600", "1"));
    let [asked, timed] =
        ["drill-door@", "drill"].map(|unit| file(&format!("systemd/system/openclaw-{unit}.service")));
    for setting in ["User", "Group", "ExecStart"] {
        assert_eq!(value(&asked, setting), value(&timed, setting), "{setting}");
    }
}

#[test]
fn each_process_has_its_user_program_and_paths() {
    let (users, install) = (&FACTS.users, &FACTS.install);
    let show = |path: &PathBuf| path.display().to_string();
    let (state, skills, files) = (show(&install.state), show(&install.skills), show(&install.files));
    let config = show(&install.state.join(&FACTS.state.config));
    let program = |name: &str| show(&install.programs.join(name));
    let programs = &FACTS.programs;
    for (unit, user, start) in [
        (
            "gateway",
            &users.gateway,
            format!("{} serve --state {state} --skills {skills}", program(&programs.gateway)),
        ),
        (
            "egress",
            &users.egress,
            format!("{} --config {config} --state {state} --bundled {skills}", program(&programs.egress)),
        ),
        (
            "runner",
            &users.runner,
            format!(
                "{} --config {config} --state {state} --skills {skills} --home {files}",
                program(&programs.runner)
            ),
        ),
        ("front", &users.front, format!("{} --config {config} --state {state}", program(&programs.front))),
        ("drill", &users.runner, format!("{} --drill", program(&programs.runner))),
    ] {
        let text = file(&format!("systemd/system/openclaw-{unit}.service"));
        assert_eq!(value(&text, "User"), user.as_str(), "{unit}");
        assert_eq!(value(&text, "Group"), user.as_str(), "{unit}");
        assert_eq!(value(&text, "ExecStart"), start, "{unit}");
    }
    for unit in ["tunnel", "tunnel-token"] {
        let text = file(&format!("systemd/system/openclaw-{unit}.service"));
        assert_eq!(value(&text, "User"), users.tunnel.as_str());
        assert!(value(&text, "ExecStart").starts_with(&program("cloudflared")), "{text}");
    }
    let sysusers = file("systemd/sysusers.d/openclaw.conf");
    for user in [&users.gateway, &users.egress, &users.runner, &users.tunnel, &users.front] {
        assert!(sysusers.lines().any(|line| line.starts_with(&format!("u {user} "))), "{user} in {sysusers}");
    }
    // Who may read the configuration: all but the tunnel.
    let readers: BTreeSet<_> = sysusers
        .lines()
        .filter_map(|line| line.strip_prefix("m "))
        .filter_map(|line| line.strip_suffix(&format!(" {}", users.readers)).map(str::trim))
        .collect();
    assert_eq!(readers, BTreeSet::from([users.gateway.as_str(), &users.egress, &users.runner, &users.front]));
    let folders = file("systemd/tmpfiles.d/openclaw.conf");
    let own = [&FACTS.state.egress, &FACTS.state.front].map(|folder| show(&install.state.join(folder)));
    for path in [&state, &config, &files].into_iter().chain(&own) {
        assert!(folders.lines().any(|line| line.split(' ').any(|word| word == path)), "{path} in {folders}");
    }
}

#[test]
fn the_first_configuration_is_strict_and_meant_for_the_tunnel() {
    let config =
        Config::parse(&file("systemd/openclaw.toml"), "systemd/openclaw.toml".as_ref()).expect("valid");
    assert_eq!(config.profile, Profile::Production);
    assert_eq!(config.webhook.listen, Listen::Unix(FACTS.unix.webhook_for_tunnel.clone()));
    assert_eq!(config.webhook.from, From::Tunnel);
    assert_eq!(config.webhook.peer.as_deref(), Some(FACTS.users.tunnel.as_str()));
    assert_eq!(config.skills.home.as_ref(), Some(&FACTS.install.files));
    assert_eq!(config.admin.listen, Page::Vpn);
    assert!(config.skills.drill_at_start);
}

#[test]
fn services_are_as_thrifty_as_the_supervisors_children() {
    let (name, value_) = openclaw_confine::memory::TUNABLES;
    let hardening = file("systemd/system/openclaw-.service.d/00-hardening.conf");
    assert_eq!(value(&hardening, "Environment"), format!("{name}={value_}"));
}

#[test]
fn the_tunnel_leads_to_the_webhook_and_nowhere_else() {
    let text = file("cloudflared/config.yml");
    let services: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("service: "))
        .collect();
    let socket = format!("unix:{}", FACTS.unix.webhook_for_tunnel.display());
    assert_eq!(services, [socket.as_str(), "http_status:404"]);
    let setting = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(setting("metrics:"), Some(FACTS.tunnel.metrics.to_string().as_str()));
    assert_eq!(setting("no-autoupdate:"), Some("true"));
    assert!(text.contains(&format!("path: ^{}[a-z0-9-]+$", FACTS.webhook.path)), "{text}");
    let needs = file("systemd/system/openclaw-tunnel.service.d/50-needs.conf");
    assert_eq!(value(&needs, "SocketBindAllow"), format!("ipv4:tcp:{}", FACTS.tunnel.metrics.port()));
}
