//! A runner in a cgroup of its own: each call has a leaf, is killed through it, and leaves none. And a runner under systemd
//! without one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    life::zygote,
    rig::{Rig, Setup},
};

/// A part of the mounted tree of version 2 that belongs to the runner's user; given back when dropped.
pub struct Part(pub PathBuf);

impl Part {
    pub fn make(uid: u32) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4).map(PathBuf::from))?
        });
        let root = root.expect("a mounted cgroup2; mend: mount -t cgroup2 none /mnt");
        let part = Self(root.join(format!("openclaw-jail-test-{}", std::process::id())));
        fs::create_dir(&part.0).unwrap();
        // What `Delegate=` does (systemd.resource-control(5)).
        for path in [part.0.clone(), part.0.join("cgroup.procs"), part.0.join("cgroup.subtree_control")] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
        }
        part
    }

    fn below(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten().filter(|entry| entry.path().is_dir());
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _killed = fs::write(self.0.join("cgroup.kill"), "1");
        let end = Instant::now() + Duration::from_secs(10);
        while self.0.exists() && Instant::now() < end {
            for below in self.below() {
                let _busy = fs::remove_dir(self.0.join(below));
            }
            let _busy = fs::remove_dir(&self.0);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn processes(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

pub fn a_leaf_for_each_call(setup: Setup) {
    let part = Part::make(setup.identity.unwrap().uid);
    fs::create_dir(part.0.join("call-1-7")).unwrap();
    std::os::unix::fs::chown(part.0.join("call-1-7"), Some(12345), Some(12345)).unwrap();
    let rig = Rig::start_in(setup, Some(&part.0), |_| ());
    let (report, off) = rig.status();
    assert_eq!(off, None);
    let layer = report["layers"].as_array().unwrap().iter().find(|layer| layer["name"] == "cgroup").unwrap();
    assert!(layer["enforced"].as_str().unwrap().starts_with("cgroup: "), "{layer}");
    assert_eq!(part.below(), ["runner"], "what an earlier runner left is gone");
    let runner = processes(&part.0.join("runner"));
    assert!(runner.contains(&rig.pid()) && runner.contains(&zygote(&rig)), "{runner:?}");

    let stream = rig.begin("probe", json!({ "act": "stubborn" })).unwrap();
    let leaves: Vec<_> = part.below().into_iter().filter(|name| name != "runner").collect();
    assert_eq!(leaves.len(), 1);
    assert!(processes(&part.0.join(&leaves[0])).len() >= 2, "first, skill");
    drop(stream);
    let end = Instant::now() + Duration::from_secs(10);
    while part.below() != ["runner"] {
        assert!(Instant::now() < end, "{:?} outlived its call", part.below());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(rig.ask(json!({ "act": "echo", "value": 1 })), 1);
    assert_eq!(part.below(), ["runner"]);
}

/// In production under systemd the runner does not start without its cgroup, and says what its unit lacks (incident 77).
pub fn production_under_systemd_wants_one(setup: Setup) {
    let log = Rig::start(Setup { production: true, notify: true, ..setup }, |_| ()).refuses_to_start();
    assert!(log.contains("cgroup: asked") && log.contains("Delegate=memory pids cpu"), "{log}");
}
