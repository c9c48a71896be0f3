//! The first boot of a machine that was told what it needs: everything that the image promises, seen in it and around it.

use std::{fs, process::Command};

use openclaw_wire::{audit::Outcome, drill::Drill};

use super::{
    limits,
    machine::{FAR, Machine, NEAR, Parts, copy, folder, image},
    way_in,
};
use crate::{
    inside::Inside,
    started::{audited, confined, files, watched, webhook},
    tree::{repository, run},
};

/// A public address, as seen from the machine; it ends at the test's end of the cable.
const PUBLIC: &str = "9.9.9.9";
const KEY: &str = "test-key-not-real-b7e1c0";

#[test]
#[ignore = "make image-test"]
fn the_image_boots_verified_closed_and_confined() {
    let work = tempfile::tempdir_in(folder()).expect("a folder");
    let disk = work.path().join("disk");
    copy(&image(), &disk, 1024);
    let login = work.path().join("login");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&login));
    let public = fs::read_to_string(login.with_extension("pub")).expect("a key");
    let setup = format!(
        "# What this machine needs.\r\nOPENAI_API_KEY={KEY}\r\nADMIN_SSH_KEY={public}VPN_PEER=phone\nVPN_ENDPOINT={FAR}\n"
    );
    write_to_boot_partition(&disk, &setup);
    assert!(holds(&disk, KEY), "the key is on the medium");

    let skill = limits::disk(work.path());
    let credentials = vec![("systemd.extra-unit.test-skill.service", limits::UNIT)];
    let machine = Machine::boot(&disk, &Parts { credentials, disk: Some(&skill) });
    assert_eq!(machine.run("systemctl list-units --failed --plain --no-legend"), "");
    let step = |what: &str| println!("{what}");
    drilled_at_start(&machine);
    step("verified, provisioned");
    verified(&machine);
    provisioned(&machine);
    step("confined, limited");
    confined(&machine, true);
    webhook(&machine);
    limited(&machine);
    step("closed");
    closed(&machine);
    by_user(&machine);
    by_key_alone(&machine, &fs::read_to_string(&login).expect("a key"));
    step("the way in");
    way_in::is_the_vpn_alone(&machine, &login);
    step("skills end at their limits");
    limits::each_ends_the_skill_alone(&machine);
    step("drilled");
    drilled(&machine);
    step("audited");
    audit(&machine);
    step("production without cgroups");
    limits::production_needs_them(&machine);
    step("watched, tampered");
    files(&machine);
    machine.run("systemctl service-watchdogs yes");
    watched(&machine);
    tampered(&machine);
    drop(machine);
    assert!(!holds(&disk, KEY), "the key is nowhere on the disk as it was given");
}

/// As any computer writes it: the partition is FAT.
fn write_to_boot_partition(disk: &std::path::Path, content: &str) {
    let file = disk.with_extension("setup");
    fs::write(&file, content).expect("write");
    let at = format!("{}@@1M", disk.display());
    run(Command::new("mcopy").args(["-i", &at]).arg(&file).arg("::openclaw.setup"));
}

fn holds(disk: &std::path::Path, words: &str) -> bool {
    let found = Command::new("grep").args(["-qaF", words]).arg(disk).status().expect("grep runs");
    found.success()
}

/// The root is the one whose hash the kernel was given, and nobody writes to it; /var has the rest of the disk.
fn verified(machine: &Machine) {
    let hash = fs::read_to_string(folder().join("out/roothash")).expect("the root's hash");
    let line = machine.run("cat /proc/cmdline");
    assert!(line.contains(&format!("roothash={}", hash.trim())), "{line}");
    let root = machine.run("findmnt -no SOURCE,FSTYPE,OPTIONS /");
    assert!(root.starts_with("/dev/mapper/root erofs ro"), "{root}");
    let kind = machine.run("cat /sys/class/block/dm-0/dm/uuid");
    assert!(kind.starts_with("CRYPT-VERITY-"), "{kind}");
    machine.tries("touch /usr/lib/openclaw/x").expect_err("the root is read-only");
    machine.run("touch /var/lib/x && rm /var/lib/x");
    let size: u64 = machine.run("df --output=size -BM /var | tail -1 | tr -dc 0-9").parse().expect("MiB");
    assert!(size > 1400, "it grew by the GiB that the disk is larger than the image: {size} MiB");
}

/// What was given is where it belongs, sealed, and no longer on the medium.
fn provisioned(machine: &Machine) {
    let keys = machine.run("openclaw keys list");
    assert!(keys.contains("OPENAI_API_KEY"), "{keys}");
    machine.run("test ! -e /boot/openclaw.setup && test -d /boot/EFI/Linux");
    let sealed = machine.run(
        "cat /etc/credstore.encrypted/openclaw.keys.setup.env; stat -c %a /var/lib/credstore.encrypted/*",
    );
    assert!(!sealed.contains(KEY) && sealed.trim().ends_with("600"), "{sealed}");
    let peers = machine.run("openclaw vpn list");
    assert!(peers.contains("phone"), "{peers}");
    machine.shows("OpenClaw is set up");
    let console = machine.whole_console();
    assert!(!console.contains(KEY), "{console}");
    let said = machine.run("journalctl -b --no-pager");
    assert!(!said.contains(KEY), "the journal holds no key");
}

/// The kernel's limits of each unit are those that its file names.
fn limited(machine: &Machine) {
    for (unit, memory, tasks) in [("gateway", 512_u64, 64), ("egress", 256, 32), ("runner", 2560, 1024)] {
        let group = format!("/sys/fs/cgroup/system.slice/openclaw-{unit}.service");
        let found = machine.run(&format!("cat {group}/memory.max {group}/pids.max"));
        assert_eq!(found, format!("{}\n{tasks}\n", memory << 20), "{unit}");
    }
}

/// Before it served, the runner attacked its jails, in cgroups beside its own, to the end and within its unit's own patience.
fn drilled_at_start(machine: &Machine) {
    let times = machine.run(
        "systemctl show --value -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic openclaw-runner.service",
    );
    let mut times: Vec<u64> = times.lines().map(|time| time.parse().expect("microseconds")).collect();
    times.sort_unstable();
    println!("    the runner serves after {} s, its drill among them", (times[1] - times[0]) / 1_000_000);
    // What the kernel says of probes that its filter of system calls killed.
    let killed =
        machine.run(r#"journalctl -b -k --no-pager | grep -c 'exe="/skill/bin/probe" sig=31' || true"#);
    assert_ne!(killed.trim(), "0", "its probes were killed by the kernel");
    let status = machine.run("openclaw status");
    assert!(status.contains("glutton") && !status.contains("OFF"), "{status}");
}

/// The drill of the jails, with cgroups this time, as the timer has it held and as the operator has: nothing gets through, and each
/// of its calls had a cgroup with its limits.
fn drilled(machine: &Machine) {
    let pids = "systemctl show --value -p MainPID openclaw-gateway openclaw-egress openclaw-runner";
    let before = machine.run(pids);
    machine.run("systemctl start --no-block openclaw-drill.service");
    // The shell's own words alone: a call of the drill lives for a moment.
    let limit = machine.run(
        "cd /sys/fs/cgroup/system.slice; while ((SECONDS < 1200)); do for file in openclaw-drill.service/call-*/memory.max; do \
         { read -r limit <$file; } 2>/dev/null; [[ $limit == [0-9]* ]] && echo $limit && exit; done; done; echo none",
    );
    assert_ne!(limit, "none\n", "each call is limited");
    machine.run("while test \"$(systemctl show --value -p ActiveState openclaw-drill.service)\" = activating; do sleep 1; done");
    let held = machine.tries("systemctl is-failed openclaw-drill.service");
    let log = || machine.run("journalctl -b --no-pager -u 'openclaw-drill*' | tail -40");
    assert!(held.is_err(), "{held:?}: {}", log());
    let report = machine.run("cat /run/openclaw/drill.json");
    let by_hand = machine.tries("openclaw security drill --json");
    for report in [Ok(report), by_hand] {
        let report = report.unwrap_or_else(|said| panic!("{said}: {}", log()));
        let drill: Drill = serde_json::from_str(&report).expect("JSON");
        println!("    the drill: {} probes in {} ms", drill.probes.len(), drill.took_ms);
        assert_eq!(drill.failed(), [""; 0]);
    }
    assert_eq!(machine.run(pids), before, "nobody else was hit");
    let status = machine.run("openclaw status");
    assert!(status.contains("read-documents") && !status.contains("OFF"), "{status}");
}

/// What fails is what image/README.md names, each for its reason. A skill that is not ours is unknown until the operator vouches
/// for it.
fn audit(machine: &Machine) {
    machine.run("openclaw admin token");
    audited(machine, Outcome::Unknown);
    machine.run("openclaw security audit --attest skills-vetted --note 'a test' || true");
    let found = audited(machine, Outcome::Attested);
    let these = |outcome: Outcome| -> Vec<_> {
        found.checks.iter().filter(|check| check.outcome == outcome).map(|check| check.id.as_str()).collect()
    };
    println!("    unknown: {:?}", these(Outcome::Unknown));
    assert_eq!(these(Outcome::Fail), ["clock-set", "secure-boot"]);
    let readme = fs::read_to_string(repository().join("image/README.md")).expect("image/README.md");
    for id in these(Outcome::Fail).iter().chain(&these(Outcome::Unknown)) {
        assert!(readme.contains(&format!("`{id}`")), "image/README.md does not name {id}");
    }
}

/// From outside no port answers. The same scan finds one where no firewall is.
fn closed(machine: &Machine) {
    let rules = machine.run("nft list table inet openclaw");
    assert_eq!(rules.matches("policy drop").count(), 3, "{rules}");
    let scan = || {
        let scanned = machine
            .network
            .command("nmap")
            .args([
                "-n",
                "-Pn",
                "-sS",
                "-p-",
                "--min-rate",
                "2000",
                "--max-retries",
                "1",
                "--open",
                "-oG",
                "-",
                FAR,
            ])
            .output()
            .expect("nmap runs");
        let said = String::from_utf8_lossy(&scanned.stdout).into_owned();
        said.lines().filter(|line| line.contains("/open/")).map(str::to_owned).collect::<Vec<_>>()
    };
    machine.run("nft list table inet openclaw > /run/rules && nft delete table inet openclaw");
    let open = scan();
    assert!(open.iter().any(|line| line.contains("22/open/tcp")), "without a firewall SSH answers: {open:?}");
    machine.run("systemctl reload openclaw-firewall");
    assert_eq!(scan(), Vec::<String>::new());
}

/// Who reaches what is outside, by user.
fn by_user(machine: &Machine) {
    machine.network.ip(&format!("addr add {PUBLIC}/32 dev lo"));
    for port in [443, 7844, 8080] {
        machine.network.listens(&format!("{PUBLIC}:{port}"));
    }
    machine.network.listens(&format!("{NEAR}:443"));
    let reaches = |user: &str, address: &str, port: u16| {
        let greets = format!("exec 3<>/dev/tcp/{address}/{port} && head -c5 <&3");
        let script = format!(
            "setpriv --reuid {user} --regid {user} --clear-groups timeout 10 bash -c '{greets}' 2>/dev/null || true"
        );
        machine.run(&script) == "hello"
    };
    for (user, address, port, expected) in [
        ("root", PUBLIC, 443, true),
        ("openclaw-egress", PUBLIC, 443, true),
        ("openclaw-egress", PUBLIC, 8080, false),
        ("openclaw-egress", NEAR, 443, false),
        ("openclaw-tunnel", PUBLIC, 7844, true),
        ("openclaw-tunnel", PUBLIC, 8080, false),
        ("openclaw-tunnel", NEAR, 443, false),
        ("openclaw-gateway", PUBLIC, 443, false),
        ("openclaw-runner", PUBLIC, 443, false),
    ] {
        assert_eq!(reaches(user, address, port), expected, "{user} to {address}:{port}");
    }
    machine.run("nft delete table inet openclaw");
    assert!(reaches("openclaw-gateway", PUBLIC, 443), "it is the firewall that holds the gateway's user");
    assert!(reaches("openclaw-egress", NEAR, 443), "and keeps egress out of the network at home");
    machine.run("systemctl reload openclaw-firewall");
}

/// SSH takes the key that was given at the first boot, and no password.
fn by_key_alone(machine: &Machine, key: &str) {
    machine.run(&format!("umask 077; cat > /run/login <<'END'\n{key}END"));
    let ssh = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/run/known -o BatchMode=no -o NumberOfPasswordPrompts=1";
    assert_eq!(machine.run(&format!("{ssh} -i /run/login root@127.0.0.1 id -un 2>/dev/null")), "root\n");
    let refused = machine.tries(&format!(
        "{ssh} -o PubkeyAuthentication=no -o PreferredAuthentications=password,keyboard-interactive root@127.0.0.1 id"
    ));
    let said = refused.expect_err("no password");
    assert!(said.contains("Permission denied (publickey)"), "{said}");
}

/// What is changed on the disk behind the root's back is not read.
fn tampered(machine: &Machine) {
    // Whatever lies 64 MiB into the root; put back afterwards, because the machine lives on it.
    let said = machine.run(
        "exec 2>&1; set -e; cd /run; at=$((64 << 8)); read -r slave < <(for path in /sys/class/block/dm-0/slaves/*; do \
           test $(cat $path/size) -gt 500000 && echo ${path##*/}; done); \
         block() { dd of=$2 if=$1 bs=4096 count=1 status=none \"${@:3}\"; }; \
         block /dev/dm-0 before skip=$at iflag=direct; block /dev/$slave kept skip=$at iflag=direct; cmp before kept && echo same; \
         block /dev/zero /dev/$slave seek=$at oflag=direct conv=notrunc; \
         block /dev/dm-0 after skip=$at iflag=direct || echo refused; dmesg | grep -c 'verity.*corrupted'; \
         block kept /dev/$slave seek=$at oflag=direct conv=notrunc; block /dev/dm-0 after skip=$at iflag=direct && echo mended",
    );
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.first(), Some(&"same"), "{said}");
    assert!(said.contains("Input/output error") && lines.contains(&"refused"), "{said}");
    assert_eq!(lines.last(), Some(&"mended"), "{said}");
}
