//! What only a kernel with cgroups of version 2 shows: each call in a cgroup of its own with its limits, ended by the kernel where
//! nothing else counts, and gone with the call. The skill is the jail suite's probe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use super::machine::Machine;
use crate::{inside::Inside, tree::run};

/// The runner's part of the tree.
const RUNNER: &str = "/sys/fs/cgroup/system.slice/openclaw-runner.service";

const MANIFEST: &str = r#"program = "bin/glutton"
[permissions]
write = ["~/out"]
[limits]
memory = "64 MiB"
cpu = "2 s"
wall = "8 s"
processes = 8
output = "64 KiB"
disk = "40 MiB"
[[tool]]
name = "probe"
description = "Uses up what it can."
effect = "read"
arguments = { type = "object", properties = { act = { type = "string" }, count = { type = "integer" }, each = { type = "integer" }, mib = { type = "integer" }, value = { type = "string" } }, required = ["act"], additionalProperties = false }
"#;

/// Copies the skill from the second disk to where an operator's skills are, before anybody looks for it.
pub const UNIT: &str = "[Unit]\nDescription=test skill\nRequiresMountsFor=/var/lib/openclaw\n\
    After=systemd-tmpfiles-setup.service dev-vdb.device\nRequires=dev-vdb.device\nBefore=openclaw-runner.service openclaw-gateway.service\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\n\
    ExecStart=/bin/bash -euc 'mkdir /run/skill; mount -o ro /dev/vdb /run/skill; cp -rT /run/skill/glutton /var/lib/openclaw/skills/glutton; \
    umount /run/skill; install -d -m 2770 -o root -g openclaw-runner /var/lib/openclaw/files/out'\n";

/// The second disk, with the skill on it.
pub fn disk(work: &Path) -> PathBuf {
    let folder = work.join("skill/glutton");
    fs::create_dir_all(folder.join("bin")).expect("a folder");
    fs::copy(env!("CARGO_BIN_EXE_test-glutton"), folder.join("bin/glutton")).expect("copy");
    fs::write(folder.join("skill.toml"), MANIFEST).expect("write");
    fs::write(folder.join("SKILL.md"), "---\nname: glutton\ndescription: uses up what it can\n---\n")
        .expect("write");
    let disk = work.join("skill.disk");
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"])
        .arg(work.join("skill"))
        .arg(&disk)
        .arg("64M"));
    disk
}

/// One call; what it said, and whether it was well.
fn call(machine: &Machine, arguments: &Value) -> Result<String, String> {
    machine.tries(&format!("openclaw skills run glutton probe '{arguments}' 2>&1"))
}

/// The reason that the operator is told for the last one.
fn reason(machine: &Machine) -> String {
    let calls: Value =
        serde_json::from_str(&machine.run("openclaw skills logs glutton --json")).expect("JSON");
    calls[0]["reason"].as_str().unwrap_or_default().to_owned()
}

fn counted(machine: &Machine, file: &str, what: &str) -> u64 {
    let said = machine.run(&format!("sed -n 's/^{what} //p' {RUNNER}/{file}"));
    said.trim().parse().unwrap_or_else(|_| panic!("{what} of {file}: {said:?}"))
}

/// Cgroups below the runner's.
fn below(machine: &Machine) -> String {
    machine.run(&format!("cd {RUNNER} && find . -mindepth 1 -type d"))
}

/// Each limit ends the skill that passes it, with its reason, and nobody else.
pub fn each_ends_the_skill_alone(machine: &Machine) {
    let pids = "systemctl show --value -p MainPID openclaw-gateway openclaw-egress openclaw-runner";
    let before = machine.run(pids);
    assert_eq!(below(machine), "./runner\n");
    in_force(machine);
    let well = call(machine, &json!({ "act": "echo", "value": "hello" }));
    assert!(well.as_ref().is_ok_and(|said| said.contains("hello")), "{well:?}");
    // As many processes as the manifest says; whoever does without the others ends well.
    for count in [7, 20] {
        let made = call(machine, &json!({ "act": "fork_few", "count": count }));
        assert!(made.as_ref().is_ok_and(|made| made.trim() == "7"), "{made:?}");
    }

    for (act, expected) in [
        (json!({ "act": "fork_bomb" }), "processes"),
        (json!({ "act": "memory_at_once" }), "memory"),
        (json!({ "act": "memory" }), "memory"),
        (json!({ "act": "memory_shared" }), "memory"),
        (json!({ "act": "fill_out", "each": 1 << 30 }), "disk"),
        (json!({ "act": "fill_out", "each": 1 << 20 }), "disk"),
        (json!({ "act": "spin" }), "cpu"),
        (json!({ "act": "spin_many" }), "cpu"),
        (json!({ "act": "flood" }), "output"),
        (json!({ "act": "stubborn" }), "time"),
    ] {
        let begun = Instant::now();
        let said = call(machine, &act).expect_err("it is ended");
        let (took, reason) = (begun.elapsed().as_millis(), reason(machine));
        assert_eq!(reason, expected, "{act}: {said}");
        assert!(said.contains("in its skill.toml: [limits]") || reason == "memory", "{act}: {said}");
        println!("    {act}: {reason} after {took} ms: {}", said.lines().next().unwrap_or_default());
        machine.run("rm -f /var/lib/openclaw/files/out/*");
        assert_eq!(below(machine), "./runner\n", "{act}");
    }

    // Half in files, which no process has and no limit of a process counts: the cgroup's word alone.
    let killed = || counted(machine, "memory.events", "oom_kill");
    let earlier = killed();
    let little = call(machine, &json!({ "act": "memory_and_files", "mib": 16 }));
    assert!(little.is_ok(), "within the limit it is well: {little:?}");
    assert_eq!(killed(), earlier);
    call(machine, &json!({ "act": "memory_and_files", "mib": 60 })).expect_err("killed");
    assert_eq!(reason(machine), "memory");
    assert!(killed() > earlier, "by the kernel");

    assert_eq!(machine.run(pids), before, "nobody else was hit");
    machine.run("for i in $(seq 50); do openclaw skills run glutton probe '{\"act\":\"echo\",\"value\":\"x\"}' >/dev/null || exit 1; done");
    assert_eq!(below(machine), "./runner\n", "after many calls");
}

/// The kernel's own figures for a call that runs, and that they hold for whoever is in there.
fn in_force(machine: &Machine) {
    // Starts twenty, or as many as it may.
    let forks = "for (1..20) { my $p = fork; if (!defined $p) { print qq(stopped after $n: $!\\n); exit } if (!$p) { sleep 2; exit } $n++ } \
                 print qq(made $n\\n)";
    assert_eq!(machine.run(&format!("perl -e '{forks}'")), "made 20\n");
    machine.run(
        "systemd-run --quiet --collect --unit=test-call openclaw skills run glutton probe '{\"act\":\"sleep\"}'",
    );
    let found = machine.run(&format!(
        "cd {RUNNER}; until call=$(ls -d call-* 2>/dev/null) && test $(wc -l <$call/cgroup.procs) -ge 2; do sleep 0.1; done; cd $call; \
         cat memory.max memory.oom.group pids.max cpu.max; \
         perl -e 'open F, q(>cgroup.procs); print F $$; close F; {forks}'"
    ));
    println!("    a call's own cgroup: {}", found.lines().collect::<Vec<_>>().join(", "));
    let lines: Vec<_> = found.lines().collect();
    let memory: u64 = lines[0].parse().expect("bytes");
    assert!((72 << 20..96 << 20).contains(&memory), "64 MiB, the skill's folder, and ours: {found}");
    // Eight of the skill's and one of ours; two were there already, and root's own bomb is one itself.
    let stopped = "stopped after 6: Resource temporarily unavailable";
    assert_eq!(lines[1..], ["1", "9", "100000 100000", stopped], "{found}");
    machine.run("while systemctl -q is-active test-call; do sleep 0.2; done");
    // What was refused in there counts as the call's, whoever asked.
    assert_eq!(reason(machine), "processes");
}

/// A runner of the profile `production` without a part of the tree does not start, and says what its unit lacks. Leaves one that
/// starts without a drill.
pub fn production_needs_them(machine: &Machine) {
    machine.run("sed -i 's/^drill_at_start = true/drill_at_start = false/' /var/lib/openclaw/openclaw.toml");
    let unit = "/run/systemd/system/openclaw-runner.service.d";
    machine.run(&format!(
        "mkdir -p {unit}; printf '[Service]\nDelegate=no\n' >{unit}/90-test.conf; systemctl daemon-reload"
    ));
    machine.tries("systemctl restart openclaw-runner.service").expect_err("without cgroups");
    let said = machine.run("journalctl -b --no-pager -o cat -u openclaw-runner.service | tail -20");
    assert!(said.contains("Delegate=memory pids cpu"), "{said}");
    machine.run(&format!(
        "rm {unit}/90-test.conf; systemctl daemon-reload; systemctl reset-failed openclaw-runner.service; \
         systemctl restart openclaw-runner.service"
    ));
    let well = call(machine, &json!({ "act": "echo", "value": "again" }));
    assert!(well.as_ref().is_ok_and(|said| said.contains("again")), "{well:?}");
}
