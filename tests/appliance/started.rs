//! The appliance's tree, booted in a container: every unit starts, is confined, is watched, and its jails hold.

use openclaw_wire::{
    audit::{Audit, Outcome, Place},
    drill::Drill,
};
use serde_json::Value;

use crate::{
    inside::Inside,
    tree::{Booted, Tree},
};

/// Whether this machine's kernel lets a container limit memory by cgroup v2. Where it does not (the controllers belong to
/// version 1), `production` would rightly refuse to run skills, so that all else is tried under `development`.
fn controllers() -> bool {
    std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|list| {
        ["memory", "pids", "cpu"].iter().all(|name| list.split_whitespace().any(|has| has == *name))
    })
}

#[test]
#[ignore = "needs root: it boots a container"]
fn it_boots_confined_and_stays_up() {
    let tree = Tree::new();
    if !controllers() {
        println!("NOT CHECKED: limits by cgroup v2 and the profile production; this kernel has cgroup v1");
        tree.run("sed -i 's/^profile = .*/profile = \"development\"/' /usr/lib/openclaw/openclaw.toml");
    }
    // In the tunnel's place, with a credential that only a test has: says what it can reach, then stays.
    let reaches = include_str!("reaches.sh");
    std::fs::write(tree.path("/usr/lib/openclaw/bin/cloudflared".as_ref()), reaches).expect("write");
    tree.run(
        "mkdir -p /etc/credstore && echo '{\"test\": \"not-real\"}' > /etc/credstore/openclaw.tunnel.json",
    );
    tree.run("mkdir -p /etc/credstore && echo 'OPENAI_API_KEY=test-key-not-real' > /etc/credstore/openclaw.keys.env");
    tree.run("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key");
    let booted = Booted::new(tree);

    let failed = booted.run("systemctl list-units --failed --plain --no-legend");
    assert_eq!(failed, "", "{}", booted.run("journalctl -b --no-pager -u 'openclaw*' | tail -60"));
    for unit in ["gateway", "egress", "runner", "tunnel", "firewall"] {
        let unit = format!("openclaw-{unit}.service");
        assert_eq!(booted.run(&format!("systemctl is-active {unit}")).trim(), "active", "{unit}");
    }

    // The firewall came before whatever listens.
    let when = |unit: &str, what: &str| -> u64 {
        let said = booted.run(&format!("systemctl show --value -p {what} {unit}"));
        said.trim().parse().unwrap_or_else(|_| panic!("{unit} {what}: {said}"))
    };
    let stood = when("openclaw-firewall.service", "ActiveEnterTimestampMonotonic");
    for unit in ["openclaw-gateway-webhook.socket", "openclaw-gateway-admin.socket", "ssh.service"] {
        let listened = when(unit, "InactiveExitTimestampMonotonic");
        assert!(stood <= listened, "{unit} at {listened}, the firewall at {stood}");
    }
    let rules = booted.run("nft list table inet openclaw");
    assert!(rules.matches("policy drop").count() == 3, "{rules}");

    confined(&booted, controllers());
    webhook(&booted);
    tunnel(&booted);
    page(&booted);
    let keys = booted.run("openclaw keys list");
    assert!(keys.contains("OPENAI_API_KEY"), "the credential's key: {keys}");

    renewed(&booted);

    // Its jails hold, under the very conditions of the unit that makes them.
    let held = booted.tries("systemctl start openclaw-drill.service");
    assert!(
        held.is_ok(),
        "{held:?}: {}",
        booted.run("journalctl -b --no-pager -u 'openclaw-drill*' | tail -40")
    );
    let status = booted.run("openclaw status");
    assert!(status.contains("read-documents") && !status.contains("OFF"), "{status}");

    files(&booted);
    audited(&booted, Outcome::Pass);
    watched(&booted);
    direct(&booted);
}

/// Without the tunnel: front, its ports and its helper are there once the firewall was made for them, and not before.
fn direct(booted: &Booted) {
    let listens = || booted.run("ss -H -ltn 'sport = :443 or sport = :80' | wc -l").trim().to_owned();
    let active = |unit: &str| booted.run(&format!("systemctl is-active {unit} || true")).trim().to_owned();
    assert_eq!(listens(), "0", "with a tunnel");
    let units = ["front.service", "front-https.socket", "front-challenge.socket", "host.socket"];
    for unit in units.map(|unit| format!("openclaw-{unit}")) {
        assert_eq!(active(&unit), "inactive", "{unit}");
    }
    booted.run(
        "sed -i -e 's|tunnel/webhook.sock|front/webhook.sock|' -e 's/^from = .*/from = \"direct\"/' \
             -e 's|^peer = .*|peer = \"openclaw-front\"\\npublic_url = \"https://bot.example.com\"|' /var/lib/openclaw/openclaw.toml
         openclaw config check && systemctl stop openclaw-tunnel.service
         systemctl reload openclaw-firewall.service && systemctl restart openclaw.target",
    );
    for unit in units.map(|unit| format!("openclaw-{unit}")) {
        assert_eq!(active(&unit), "active", "{unit}: {}", booted.run("journalctl -b --no-pager | tail -30"));
    }
    assert_eq!(listens(), "2");
    // Its network is empty, and what it is confined by is written where the operator sees it.
    let pid = booted.run("systemctl show --value -p MainPID openclaw-front.service").trim().to_owned();
    let links = booted.run(&format!("nsenter -t {pid} -n ip -o link | wc -l"));
    assert_eq!(links.trim(), "1", "loopback, and nothing besides");
    let standing = booted.run("cat /var/lib/openclaw/front/standing.json");
    let standing: Value = serde_json::from_str(&standing).expect("JSON");
    let layers = standing["confinement"]["layers"].as_array().expect("a report");
    let lacking: Vec<_> = layers.iter().filter(|layer| layer["complete"] != true).collect();
    assert!(layers.len() > 5 && lacking.is_empty(), "{lacking:?}");

    // Its user has the firewall opened, for a while; another one has not.
    let asks = |user: &str| {
        booted.run(&format!(
            "printf '\\0\\0\\0\\024{{\"challenge\":\"http\"}}' | setpriv --reuid {user} --regid {user} --clear-groups \
             curl -s -m 10 --unix-socket /run/openclaw/host.sock telnet://host/ | tr -dc 'a-z0-9:'
             nft list set inet openclaw challenge | grep -c 'elements' || true"
        ))
    };
    let refused = asks("root");
    assert_eq!(refused.trim(), "0", "root, which may open every file: {refused}");
    let opened = asks("openclaw-front");
    assert!(opened.contains("for:120") && opened.trim().ends_with('1'), "{opened}");

    // There is no authority here: it says so, and what mends it.
    let said = booted.run(
        "for number in $(seq 100); do grep -q '\"mend\"' /var/lib/openclaw/front/standing.json && break; sleep 0.3; done
         openclaw doctor || true",
    );
    assert!(said.contains("ERROR [certificate]"), "{said}");
    let failed = booted.run("systemctl list-units --failed --plain --no-legend");
    assert_eq!(failed, "", "{}", booted.run("journalctl -b --no-pager -u 'openclaw-*' | tail -40"));
}

/// Credentials, a sealed one too, are a copy from the unit's start: a restart renews them, and whoever asks egress without a
/// pause meanwhile is answered each time.
fn renewed(booted: &Booted) {
    let keys = booted.run("openclaw keys list");
    assert!(!keys.contains("SEALED_KEY"), "{keys}");
    booted.run(
        "mkdir -p /etc/credstore.encrypted && echo 'SEALED_KEY=test-sealed-key-not-real' | systemd-creds encrypt \
         --with-key=host --name=openclaw.keys.sealed.env - /etc/credstore.encrypted/openclaw.keys.sealed.env",
    );
    let sealed = booted.run("cat /etc/credstore.encrypted/openclaw.keys.sealed.env");
    assert!(!sealed.contains("SEALED_KEY"), "{sealed}");
    let asked = booted.run(
        "setpriv --reuid openclaw-gateway --regid openclaw-gateway --clear-groups bash -c '
            for number in $(seq 400); do
              curl -s -m 60 -o /dev/null -w \"%{http_code}\\n\" --unix-socket /run/openclaw/egress-gateway.sock http://egress/status
            done' > /run/asked &
         for number in 1 2 3; do sleep 0.5; systemctl restart openclaw-egress.service; done
         wait; sort /run/asked | uniq -c",
    );
    assert_eq!(asked.trim(), "400 200", "each was answered");
    let keys = booted.run("openclaw keys list");
    assert!(keys.contains("SEALED_KEY") && keys.contains("OPENAI_API_KEY"), "{keys}");
    assert!(!booted.run("journalctl -b --no-pager -o cat").contains("sealed-key-not-real"));
}

/// The ten points are as an appliance without a webhook has them, with this said of its skills, and nothing that is ours fails.
pub fn audited(booted: &impl Inside, skills: Outcome) -> Audit {
    let text = booted.run("openclaw security audit --json || true");
    let found: Audit = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(found.place, Place::Appliance);
    let points: Vec<_> = found.checks.iter().filter(|check| check.point.is_some()).collect();
    let outcomes: Vec<_> = points.iter().map(|check| check.outcome).collect();
    use Outcome::{NotApplicable, Pass};
    let expected =
        [Pass, NotApplicable, Pass, Pass, Pass, NotApplicable, Pass, NotApplicable, NotApplicable, skills];
    assert_eq!(outcomes, expected, "{points:#?}");
    let ours = ["files", "network", "ssh", "units"];
    let failed = found.checks.iter().filter(|check| check.outcome == Outcome::Fail);
    let failed: Vec<_> = failed.filter(|check| ours.contains(&check.area.as_str())).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    found
}

/// Bundled skills that work with files have their folders.
pub fn files(booted: &impl Inside) {
    booted.run("echo 'the moon is far' > /var/lib/openclaw/files/documents/moon.txt");
    let listed = booted.run("openclaw skills run read-documents list_documents");
    assert!(listed.contains("moon.txt"), "{listed}");
    booted.run(r#"openclaw skills run notes write_note '{"title": "moon", "text": "far"}'"#);
    let notes = booted.run("openclaw skills run notes list_notes");
    assert!(notes.contains("moon"), "{notes}");
}

/// Everything that was asked of the kernel is in force, in all three processes.
pub fn confined(booted: &impl Inside, limited: bool) {
    let text = booted.run("openclaw status --confinement --json");
    let reports: Value = serde_json::from_str(&text).expect("JSON");
    let mut lacking = Vec::new();
    let mut seen = 0;
    for report in reports
        .as_array()
        .cloned()
        .unwrap_or_else(|| reports.as_object().expect("reports").values().cloned().collect())
    {
        seen += 1;
        for layer in report["layers"].as_array().expect("layers") {
            if layer["complete"] != true {
                lacking.push(format!("{}: {}", report["process"], layer["name"]));
            }
        }
    }
    assert_eq!(seen, 3, "{text}");
    let expected: &[&str] = if limited { &[] } else { &["\"runner\": \"cgroup\""] };
    assert_eq!(lacking, expected, "{text}");
}

/// The gateway answers the tunnel and itself; another user does not get as far as the socket, and root, which does, is
/// refused by the kernel's word for who it is.
pub fn webhook(booted: &impl Inside) {
    // Perl is part of every Debian; curl is not part of the image.
    let post = r#"perl -MIO::Socket::UNIX -e '$SIG{ALRM} = sub { exit }; alarm 60;
        my $s = IO::Socket::UNIX->new(Peer => "/run/openclaw/tunnel/webhook.sock") or do { print "000"; exit };
        $s->autoflush(1);
        print $s "POST /telegram/main HTTP/1.1\r\nHost: bot\r\nCF-Connecting-IP: 149.154.160.1\r\nContent-Length: 0\r\n\r\n";
        print $1 if <$s> =~ m{^HTTP/1.1 (\d+)}'"#;
    for (user, expected) in
        [("openclaw-tunnel", "503"), ("openclaw-gateway", "503"), ("openclaw-runner", "000"), ("root", "403")]
    {
        let status = booted.run(&format!("setpriv --reuid {user} --regid {user} --clear-groups {post}"));
        assert_eq!(status.trim(), expected, "{user}");
    }
}

/// What the tunnel's process could reach if whoever configures it from afar wanted it to.
fn tunnel(booted: &Booted) {
    let said = booted.run("journalctl -b --no-pager -o cat -u openclaw-tunnel.service");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("reaches ")).collect();
    let expected = [
        "reaches webhook yes",
        "reaches credential yes",
        "reaches egress-door no",
        "reaches runner-door no",
        "reaches admin no",
        "reaches operator no",
        "reaches system-bus no",
        "reaches journal no",
        "reaches ssh no",
        "reaches configuration no",
        "reaches keys no",
    ];
    assert_eq!(lines, expected, "{said}");
    // All of it is there for root of the same machine.
    let there = booted.run("for path in /run/openclaw/egress-gateway.sock /run/openclaw/runner-gateway.sock \
        /var/lib/openclaw/gateway/admin.sock /var/lib/openclaw/egress/operator.sock /run/dbus/system_bus_socket \
        /var/lib/openclaw/openclaw.toml; do test -e $path || echo $path; done; \
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/22; head -c3 <&3'");
    assert_eq!(there, "SSH");
}

/// The status page is on, and the drill that its button asks for is held by a process that the gateway could not start. Nobody
/// else may ask for one.
fn page(booted: &Booted) {
    println!(
        "NOT CHECKED: openclaw-page-vpn.socket; it waits for its interface's device, and a container has no udev that sees one"
    );
    let token = booted.run("openclaw admin token");
    assert!(token.contains("The page listens nowhere yet"), "{token}");
    let ask = |user: &str| {
        let curl = "curl -s -m 300 --http0.9 --unix-socket /run/openclaw/drill.sock http://drill/";
        // What curl says of the end is no matter: nobody reads its question.
        booted.run(&format!("setpriv --reuid {user} --regid {user} --clear-groups {curl} || true"))
    };
    for user in ["openclaw-tunnel", "openclaw-egress"] {
        assert_eq!(ask(user), "", "{user} gets no drill");
    }
    let report = ask("openclaw-gateway");
    let held = serde_json::from_str::<Drill>(&report).ok();
    let log = || booted.run("journalctl -b --no-pager -u 'openclaw-drill*' | tail -40");
    assert!(held.is_some_and(|drill| drill.failed().is_empty()), "{report:?}\n{}", log());
}

/// A gateway that does not answer any more is started again.
pub fn watched(booted: &impl Inside) {
    let pid = || booted.run("systemctl show --value -p MainPID openclaw-gateway.service").trim().to_owned();
    let before = pid();
    booted.run(&format!("kill -STOP {before}"));
    let wait = "for second in $(seq 180); do sleep 1; test \"$(systemctl show --value -p MainPID openclaw-gateway)\" != BEFORE \
                && systemctl -q is-active openclaw-gateway && exit 0; done; exit 1";
    booted.run(&wait.replace("BEFORE", &before));
    assert_ne!(pid(), before);
    let said = booted.run("journalctl -b --no-pager -o cat -u openclaw-gateway.service");
    assert!(said.contains("Watchdog timeout"), "{said}");
    booted.run("openclaw status");
}
