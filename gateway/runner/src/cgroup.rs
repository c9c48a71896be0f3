//! A cgroup of its own for each call (cgroup v2), where the runner was given a part of the tree to manage: by systemd with
//! `Delegate=`, or by whoever made it. Plain files; never touches a cgroup that this user does not own.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use openclaw_confine::Layer;
use openclaw_wire::skill::Limits;

/// What systemd must give (systemd.resource-control(5)).
pub const MEND: &str = "mend: `Delegate=memory pids cpu` in openclaw-runner.service";

/// What limits a call. Killing one whole needs no controller.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Where the runner itself goes: a cgroup with processes of its own can give none to others (cgroups(7)).
const OWN: &str = "runner";
/// Where a drill goes that the runner has held, with the runner's own limits above it.
const DRILL: &str = "drill";
/// Prefix of the others.
const CALL: &str = "call-";
/// What the jail's first process needs beside the skill.
const OURS: u64 = 8 << 20;
/// The period of `cpu.max`, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;
/// A cgroup can be removed when the last of its killed processes is gone.
const GONE: Duration = Duration::from_secs(5);

/// The runner's part of the tree.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
    controllers: Vec<&'static str>,
    next: AtomicU64,
}

/// One call's.
#[derive(Debug)]
pub struct Leaf(PathBuf);

impl Cgroups {
    /// Takes over the cgroup that this process was started in, if it is this user's own: moves the process down, hands
    /// the controllers on, and removes what an earlier runner left. A drill that the runner has held is started where the
    /// runner has put itself, and gets its place beside it.
    pub fn take() -> Result<Self, String> {
        let own = own()?;
        if !ours(&own)? {
            return Err("the cgroup was not given to this user".into());
        }
        let managed = match own.parent().filter(|_| own.ends_with(OWN)) {
            Some(above) if ours(above)? => made(&above.join(DRILL)).and_then(Self::manage),
            _ => Self::manage(own),
        };
        managed.map_err(|error| format!("manage the cgroup: {error}"))
    }

    fn manage(base: PathBuf) -> io::Result<Self> {
        for entry in fs::read_dir(&base)?.flatten() {
            let name = entry.file_name();
            if name == DRILL || name.as_encoded_bytes().starts_with(CALL.as_bytes()) {
                clear(entry.path())?;
            }
        }
        write(&made(&base.join(OWN))?, "cgroup.procs", "0")?;
        let controllers = CONTROLLERS
            .into_iter()
            .filter(|name| write(&base, "cgroup.subtree_control", &format!("+{name}")).is_ok())
            .collect();
        Ok(Self { base, controllers, next: AtomicU64::new(0) })
    }

    /// After the drill that was held beside this process: nothing of it stays.
    pub fn drilled(&self) -> io::Result<()> {
        clear(self.base.join(DRILL))
    }

    /// It counts processes and says when there were too many.
    pub fn count(&self) -> bool {
        self.controllers.contains(&"pids")
    }

    /// A cgroup with these limits. `weight`: bytes of the skill's own folder, whose copy counts as its memory; `ours`: processes
    /// and threads in it that are not the skill's.
    pub fn leaf(&self, limits: &Limits, weight: u64, ours: u32) -> io::Result<Leaf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let leaf = Leaf(self.base.join(format!("{CALL}{}-{number}", std::process::id())));
        fs::create_dir(&leaf.0)?;
        match self.limit(&leaf, limits, weight, ours) {
            Ok(()) => Ok(leaf),
            Err(error) => {
                leaf.remove()?;
                Err(error)
            }
        }
    }

    fn limit(&self, leaf: &Leaf, limits: &Limits, weight: u64, ours: u32) -> io::Result<()> {
        for controller in &self.controllers {
            match *controller {
                "memory" => {
                    leaf.write("memory.max", limits.memory.0 + weight + OURS)?;
                    // Where there is no swap there is no such file, and nothing to forbid.
                    match leaf.write("memory.swap.max", 0) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => leaf.write("memory.oom.group", 1)?,
                    }
                }
                "pids" => leaf.write("pids.max", limits.processes + ours)?,
                _ => {
                    // One processor stays for the others, if there is more than one.
                    let all = thread::available_parallelism().map_or(1, |count| count.get() as u64);
                    write(&leaf.0, "cpu.max", &format!("{} {PERIOD}", PERIOD * (all - 1).max(1)))?;
                }
            }
        }
        Ok(())
    }

    /// What it limits, for people.
    pub fn words(&self) -> String {
        match self.controllers.is_empty() {
            true => "cgroup: killed whole, without a controller".into(),
            false => format!("cgroup: {}", self.controllers.join(", ")),
        }
    }

    /// For the report.
    pub fn layer(taken: &Result<Self, String>) -> Layer {
        let (enforced, complete) = match taken {
            Ok(groups) => (groups.words(), groups.controllers.len() == CONTROLLERS.len()),
            Err(why) => (format!("nothing: {why}"), false),
        };
        let asked = "memory, processes and CPU time of each call, by cgroup v2".into();
        Layer { name: "cgroup".into(), asked, enforced, complete }
    }
}

impl Leaf {
    /// Moves a process in; all that it starts later is in here too.
    pub fn enter(&self, pid: i32) -> io::Result<()> {
        self.write("cgroup.procs", pid)
    }

    /// Kills every process in here at once, also one that was just being forked (`cgroup.kill`).
    pub fn kill(&self) {
        // Before Linux 5.14 there is no such file; the pid namespace dies with its first process in any case.
        let _older = self.write("cgroup.kill", 1);
    }

    /// The kernel killed something in here for its memory.
    pub fn starved(&self) -> bool {
        self.happened("memory.events", "oom_kill ")
    }

    /// The kernel refused something in here another process or thread.
    pub fn crowded(&self) -> bool {
        self.happened("pids.events", "max ")
    }

    fn happened(&self, file: &str, what: &str) -> bool {
        let events = fs::read_to_string(self.0.join(file)).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix(what).is_some_and(|count| count != "0"))
    }

    /// Removes it, when all its processes are gone.
    pub fn remove(self) -> io::Result<()> {
        let end = Instant::now() + GONE;
        loop {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // A process that has been waited for is counted a moment longer.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(1));
                }
                other => return other,
            }
        }
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        write(&self.0, file, &value.to_string())
    }
}

/// Whether this user owns it. Root owns every cgroup, so that says nothing; no process of ours is root.
fn ours(folder: &Path) -> Result<bool, String> {
    let data = fs::metadata(folder).map_err(|error| format!("look at {}: {error}", folder.display()))?;
    Ok(data.uid() != 0 && data.uid() == rustix::process::geteuid().as_raw())
}

fn made(folder: &Path) -> io::Result<PathBuf> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder.to_owned()),
    }
}

/// Kills what is in a cgroup and below, and removes it all. One that is not there is gone.
fn clear(folder: PathBuf) -> io::Result<()> {
    let leaf = Leaf(folder);
    leaf.kill();
    for entry in fs::read_dir(&leaf.0).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            clear(entry.path())?;
        }
    }
    leaf.remove()
}

fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("write {value} to {file}: {error}"));
    let mut file = OpenOptions::new().write(true).open(folder.join(file)).map_err(named)?;
    file.write_all(value.as_bytes()).map_err(named)
}

/// The folder of this process's own cgroup.
fn own() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"));
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    place(&groups, &mounts).ok_or_else(|| "this process is in no cgroup of version 2 but the root".into())
}

/// From `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc_pid_mountinfo(5)).
fn place(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| *path != "/")?;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        after.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    });
    let (root, point) = mount?;
    let below = path.strip_prefix(root.trim_end_matches('/'))?;
    Some(Path::new(point).join(below.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::process::ExitStatusExt,
        path::{Path, PathBuf},
        process::Command,
    };

    use super::{Cgroups, place, write};

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let mounts = "25 1 0:23 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      26 1 0:24 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        for (groups, mounts, found) in [
            (
                "8:pids:/\n0::/system.slice/x.service\n",
                mounts,
                Some("/sys/fs/cgroup/unified/system.slice/x.service"),
            ),
            ("0::/\n", mounts, None),
            ("8:pids:/\n", mounts, None),
            ("0::/a\n", "", None),
            ("0::/a/b\n", "26 1 0:24 /a /mnt rw - cgroup2 none rw\n", Some("/mnt/b")),
            ("0::/c\n", "26 1 0:24 /a /mnt rw - cgroup2 none rw\n", None),
        ] {
            assert_eq!(place(groups, mounts).as_deref(), found.map(Path::new), "{groups} {mounts}");
        }
    }

    /// A real part of a tree of version 2: the one that is mounted, or one that is mounted for the test.
    fn tree(folder: &Path) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let there = mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4).map(PathBuf::from))?
        });
        let root = there.unwrap_or_else(|| {
            let mounted = Command::new("mount").args(["-t", "cgroup2", "none"]).arg(folder).status();
            assert!(mounted.expect("mount runs").success(), "mount cgroup2");
            folder.to_owned()
        });
        let own = root.join(format!("openclaw-test-{}", std::process::id()));
        fs::create_dir(&own).expect("a cgroup of the test's own");
        own
    }

    #[test]
    #[ignore = "needs root to make a cgroup; `make test` runs it as root"]
    fn a_call_is_entered_killed_whole_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("dir");
        let base = tree(folder.path());
        let left = base.join("call-1-1");
        fs::create_dir(&left).expect("what an earlier runner left");
        // Not through `manage`: this process, whose other tests start processes, stays where it is.
        let groups = Cgroups { base: base.clone(), controllers: Vec::new(), next: Default::default() };
        let leaf = groups.leaf(&Default::default(), 0, 1).expect("a leaf");
        let path = leaf.0.clone();
        let script = "read go; trap '' TERM; sleep 600 & sleep 600 & echo ready; wait";
        let mut shell = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        leaf.enter(shell.id() as i32).expect("enters");
        use std::io::{BufRead, Write};
        shell.stdin.take().expect("piped").write_all(b"go\n").expect("goes");
        let mut line = String::new();
        std::io::BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("reads");
        let inside = fs::read_to_string(path.join("cgroup.procs")).expect("lists");
        assert_eq!(inside.lines().count(), 3, "the shell and what it started");
        assert!(!leaf.starved() && !leaf.crowded());
        leaf.kill();
        assert_eq!(shell.wait().expect("ends").signal(), Some(9));
        leaf.remove().expect("is removed");
        assert!(!path.exists());
        // A controller that the tree has is limited, and one that it lacks is an error that leaves nothing behind.
        let lacking = Cgroups { base: base.clone(), controllers: vec!["memory"], next: Default::default() };
        match write(&base, "cgroup.subtree_control", "+memory") {
            Ok(()) => lacking.leaf(&Default::default(), 0, 1).expect("limited").remove().expect("removed"),
            Err(_) => assert!(lacking.leaf(&Default::default(), 0, 1).is_err()),
        }
        fs::remove_dir(&left).expect("removed");
        assert_eq!(
            fs::read_dir(&base)
                .expect("lists")
                .filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir()))
                .count(),
            0
        );
        fs::remove_dir(&base).expect("removed");
    }
}
