//! The units as the image's own systemd reads them: without a complaint, and with little left to an attacker.

use crate::tree::Tree;

#[test]
#[ignore = "needs root: it changes into the image's tree"]
fn systemd_finds_nothing_to_complain_about() {
    let tree = Tree::new();
    // A template is looked at as one of its instances, each of which has a socket of its own.
    let units = "cd /usr/lib/systemd/system && systemd-analyze verify --man=no \
                 $(ls openclaw*.service | sed 's/page@/page@vpn/') openclaw*.socket openclaw*.timer openclaw.target 2>&1";
    let said = tree.run(&format!("{{ {units}; }} | grep -i openclaw || true"));
    assert_eq!(said, "", "systemd-analyze verify");
    // It would complain.
    tree.run(
        "printf '[Service]\\nUsr=x\\n' > /usr/lib/systemd/system/openclaw-gateway.service.d/60-wrong.conf",
    );
    let said = tree.run(&format!("{{ {units}; }} | grep -i openclaw || true"));
    assert!(said.contains("Usr"), "a wrong setting is seen: {said}");
    for config in ["systemd-tmpfiles --create --dry-run", "systemd-sysusers --dry-run"] {
        tree.run(&format!("{config} openclaw.conf"));
    }
}

/// `systemd-analyze security --offline`: 0 is nothing left, 10 is everything.
#[test]
#[ignore = "needs root: it changes into the image's tree"]
fn little_is_left_to_an_attacker() {
    let tree = Tree::new();
    let version = tree.run("systemctl --version");
    assert!(version.starts_with("systemd 257"), "the figures are those of 257: {version}");
    for (unit, most) in [
        ("gateway", 1.0),
        ("egress", 1.2),
        ("tunnel", 1.2),
        ("tunnel-token", 1.2),
        ("runner", 2.8),
        ("drill", 2.8),
        ("drill-report", 1.0),
        ("front", 1.0),
        ("host@1", 1.8),
        ("firewall", 1.8),
        ("vpn", 1.8),
        ("page@vpn", 1.0),
        ("drill-door@1", 2.8),
    ] {
        let said = tree.run(&format!(
            "systemd-analyze security --offline=true --no-pager openclaw-{unit}.service | tail -1"
        ));
        let found = said.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
        let found: f64 =
            found.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("{unit}: {said}"));
        println!("openclaw-{unit}.service: {found}");
        assert!(found <= most, "{unit}: {found}, at most {most}");
    }
}

/// A unit that fails again and again stays down: each service has a bound on its starts and a growing pause.
#[test]
#[ignore = "needs root: it changes into the image's tree"]
fn nothing_is_started_for_ever() {
    let tree = Tree::new();
    for unit in ["gateway", "egress", "runner", "tunnel", "tunnel-token", "front"] {
        let text = tree.run(&format!(
            "cd /usr/lib/systemd/system; cat openclaw-.service.d/*.conf openclaw-{unit}.service"
        ));
        for setting in
            ["StartLimitIntervalSec=15min", "StartLimitBurst=8", "RestartMaxDelaySec=", "Restart=always"]
        {
            assert!(text.contains(setting), "{unit}: {setting}");
        }
    }
}
