//! What a call may use up, and how its end is told.

use std::time::Instant;

use openclaw_wire::runner::{Failure, Outcome};
use serde_json::json;

use crate::{
    life::{self, jails},
    rig::{self, OUTPUT, Rig},
};

pub fn limits(rig: &Rig) {
    let failure = |act: &str| rig.failure(json!({ "act": act }));
    for (act, reason) in [
        ("spin", Failure::Cpu),
        ("spin_many", Failure::Cpu),
        ("flood", Failure::Output),
        ("memory", Failure::Memory),
        ("memory_shared", Failure::Memory),
        ("memory_at_once", Failure::Memory),
    ] {
        let (got, detail) = failure(act);
        assert_eq!(got, reason, "{act}: {detail}");
        assert!(!detail.is_empty());
    }
    // Also one that ignores every signal that can be ignored.
    for act in ["sleep", "stubborn"] {
        let begun = Instant::now();
        match rig.call_skill("brief", json!({ "act": act })) {
            Outcome::Failed { reason: Failure::Time, detail } => {
                assert!(detail.starts_with("longer than 1 s (in its skill.toml: [limits] wall"), "{detail}")
            }
            other => panic!("{other:?}"),
        }
        println!("    {act}: ended and answered {} ms after its limit", begun.elapsed().as_millis() - 1000);
    }
    assert_eq!(jails(rig), 0);
    let filled = rig.ask(json!({ "act": "fill_tmp" }));
    assert_eq!(filled["errno"], libc::ENOSPC, "{filled}");
    assert!(filled["written"].as_u64().unwrap() <= rig::MEMORY / 2);
    // A disk is filled by one large file, or by many small ones; a child's count as well.
    for each in [1 << 30, 1 << 20] {
        let (reason, detail) = rig.failure(json!({ "act": "fill_out", "each": each }));
        assert_eq!(reason, Failure::Disk, "{detail}");
        assert!(detail.contains("[limits] disk = \"40 MiB\""), "{detail}");
        let mut bytes = 0;
        for file in std::fs::read_dir(rig.path("home/out")).unwrap().flatten() {
            bytes += file.metadata().unwrap().len();
            std::fs::remove_file(file.path()).unwrap();
        }
        assert!(bytes >= rig::DISK / 2, "{bytes}");
    }
    // Three are standard input, output and error.
    assert_eq!(rig.ask(json!({ "act": "open_many" })), 61);
    // As much as the limit goes through; a task larger than a pipe too.
    let long = "x".repeat(OUTPUT - 4096);
    assert_eq!(rig.ask(json!({ "act": "echo", "value": long })), json!(long));
    let much = "y".repeat(1 << 20);
    assert_eq!(rig.failure(json!({ "act": "echo", "value": much })).0, Failure::Output);
}

pub fn endings(rig: &Rig) {
    let (reason, detail) = rig.failure(json!({ "act": "fail" }));
    assert_eq!(reason, Failure::Crashed);
    assert!(detail.contains("exit status: 3") && detail.contains("no such document"), "{detail}");
    let (reason, detail) = rig.failure(json!({ "act": "flood_errors" }));
    assert_eq!(reason, Failure::Crashed);
    assert!(detail.len() < 8192 && detail.ends_with("the end"), "{}", detail.len());
    assert_eq!(rig.failure(json!({ "act": "abort" })).0, Failure::Crashed);
    // The first process cannot be killed from inside; everything else of the jail can.
    assert_eq!(rig.ask(json!({ "act": "kill_first" }))["ok"], 0);
    assert_eq!(rig.ask(json!({ "act": "kill_all" }))["errno"], libc::ESRCH);
}

/// The fork bomb: stopped at the limit, typed, everything of it is gone, and no other call with it.
pub fn fork_bomb(rig: &Rig) {
    let other = rig.begin("probe", json!({ "act": "sleep" })).unwrap();
    // A jail that waits for a call has no child.
    let running = || -> Vec<u32> {
        let firsts = life::children(life::zygote(rig)).into_iter();
        firsts.filter(|first| !life::tree(*first).is_empty()).collect()
    };
    let before = running();
    assert_eq!(before.len(), 1);
    match rig.call(json!({ "act": "fork_bomb" })) {
        // An ordinary user's forks fail at the limit, and the bomb burns its CPU time. The kernel does not limit root's:
        // the watchdog counts them.
        Outcome::Failed { reason: Failure::Cpu, .. } => {}
        Outcome::Failed { reason: Failure::Processes, detail } => {
            assert!(detail.contains("[limits] processes = 8"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(running(), before, "of the bomb nothing is left, and the other call runs on");
    drop(other);
}

/// For an ordinary user the kernel itself says no at the limit.
pub fn process_limit(rig: &Rig) {
    let made = rig.ask(json!({ "act": "fork_few", "count": 20 })).as_i64().unwrap();
    assert_eq!(made, 7, "eight processes, the skill's first included");
    let made = rig.ask(json!({ "act": "threads", "count": 20 })).as_i64().unwrap();
    assert_eq!(made, 7);
}
