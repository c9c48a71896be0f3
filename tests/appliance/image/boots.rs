//! The first boot of a machine that was told what it needs: everything that the image promises, seen in it and around it.

use std::{fs, process::Command};

use serde_json::Value;

use super::machine::{FAR, Machine, NEAR, Parts, copy, folder, image};
use crate::{
    inside::Inside,
    started::{confined, watched, webhook},
    tree::run,
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
        "# What this machine needs.\r\nOPENAI_API_KEY={KEY}\r\nADMIN_SSH_KEY={public}VPN_PEER=phone\n"
    );
    write_to_boot_partition(&disk, &setup);
    assert!(holds(&disk, KEY), "the key is on the medium");

    let machine = Machine::boot(&disk, &Parts::default());
    assert_eq!(machine.run("systemctl list-units --failed --plain --no-legend"), "");
    let step = |what: &str| println!("{what}");
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
    step("drilled");
    drilled(&machine);
    step("watched, tampered");
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
    let console = machine.whole_console();
    assert!(console.contains("OpenClaw is set up") && !console.contains(KEY), "{console}");
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

/// The drill of the jails, with cgroups this time: nothing gets through, and the cgroup did its part.
fn drilled(machine: &Machine) {
    let pids = "systemctl show --value -p MainPID openclaw-gateway openclaw-egress openclaw-runner";
    let before = machine.run(pids);
    // What the unit's cgroup counted, read when the drill is over and before it is removed.
    machine.run(
        "mkdir -p /run/systemd/system/openclaw-drill.service.d && printf '[Service]\\nExecStopPost=+/bin/sh -c \
         \"cd /sys/fs/cgroup/system.slice/openclaw-drill.service && grep . memory.events pids.events > /run/counted\"\\n' \
         > /run/systemd/system/openclaw-drill.service.d/90-test.conf && systemctl daemon-reload",
    );
    let held = machine.tries("systemctl start openclaw-drill.service");
    assert!(
        held.is_ok(),
        "{held:?}: {}",
        machine.run("journalctl -b --no-pager -u 'openclaw-drill*' | tail -40")
    );
    let drill: Value = serde_json::from_str(&machine.run("cat /run/openclaw/drill.json")).expect("JSON");
    println!(
        "the drill: {} probes in {} ms",
        drill["probes"].as_array().expect("probes").len(),
        drill["took_ms"]
    );
    let counted = machine.run("cat /run/counted");
    let of = |what: &str| -> u64 {
        let line = counted.lines().find_map(|line| line.strip_prefix(what));
        line.and_then(|figure| figure.trim().parse().ok()).unwrap_or_else(|| panic!("{what} in {counted}"))
    };
    assert!(of("memory.events:oom_kill ") > 0, "memory.max stopped an allocation: {counted}");
    assert!(of("pids.events:max ") > 0, "pids.max stopped a fork bomb: {counted}");
    assert_eq!(machine.run(pids), before, "nobody else was hit");
    let status = machine.run("openclaw status");
    assert!(status.contains("read-documents") && !status.contains("OFF"), "{status}");
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
    let reads = "cat /usr/lib/x86_64-linux-gnu/gconv/*.so | wc -c";
    assert!(machine.run(reads).trim().parse::<u64>().expect("bytes") > 1 << 20);
    let refused = machine.run(
        "root=$(ls -d /sys/class/block/dm-0/slaves/* | while read -r path; do \
           test $(cat $path/size) -gt 500000 && echo /dev/${path##*/}; done); \
         dd if=/dev/zero of=$root bs=1M seek=8 count=100 oflag=direct conv=notrunc 2>/dev/null; \
         echo 3 > /proc/sys/vm/drop_caches; cat /usr/lib/x86_64-linux-gnu/gconv/*.so 2>&1 >/dev/null | tail -1; dmesg | grep -c 'verity.*corrupted'",
    );
    assert!(refused.contains("Input/output error"), "{refused}");
}
