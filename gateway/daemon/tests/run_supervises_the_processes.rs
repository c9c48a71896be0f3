//! The real `openclaw run` with its real gateway; egress and runner are small scripts that tell what they were given.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use openclaw_confine::memory::TUNABLES;
use rustix::process::{Pid, Signal, kill_process};

const KEY: &str = "test-key-not-real";

/// Appends one line for each start and each stop to `$STATE/egress/<name>`. The descriptors of egress are 3 gateway,
/// 4 runner, 5 operator, 6 keys.
const STAND_IN: &str = r#"#!/bin/sh
name=${0##*/openclaw-}
while [ "$1" != --state ]; do shift; done
tell="$2/egress/$name"
env=$(tr '\0' ' ' < /proc/$$/environ)
case $LISTEN_FDNAMES in *keys*) keys=$(cat <&6);; esac
trap 'echo "stop $name" >> "$2/egress/stops"; exit 0' TERM
echo "$$ env=[$env] keys=[$keys]" >> "$tell"
while :; do sleep 0.05; done
"#;

struct Run {
    dir: tempfile::TempDir,
    child: Child,
}

impl Run {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("openclaw-run-").tempdir().expect("dir");
        open(dir.path());
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("bin");
        open(&bin);
        fs::copy(env!("CARGO_BIN_EXE_openclaw"), bin.join("openclaw")).expect("copy");
        for name in ["openclaw-egress", "openclaw-runner", "skill-jail", "mcp-client"] {
            fs::write(bin.join(name), STAND_IN).expect("write");
            open(&bin.join(name));
        }
        fs::create_dir(dir.path().join("home")).expect("home");
        let child = command(dir.path(), "run")
            .arg("--home")
            .arg(dir.path().join("home"))
            .env("ANTHROPIC_API_KEY", KEY)
            .env("UNRELATED_API_KEY", "test-unrelated-not-real")
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).expect("log"))
            .spawn()
            .expect("starts");
        Self { dir, child }
    }

    fn told(&self, name: &str) -> Vec<String> {
        let path = self.dir.path().join("state/egress").join(name);
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("log")
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            if let Some(status) = self.child.try_wait().expect("wait") {
                panic!("ended with {status} before {what}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "{what} did not come:\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    fn ready(&mut self) {
        self.until("the start", |run| {
            run.log().contains("process=\"gateway\"")
                && !run.told("egress").is_empty()
                && !run.told("runner").is_empty()
        });
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Its children die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Root may start it only for another account, and gives the files to nobody.
fn command(dir: &Path, verb: &str) -> Command {
    let mut command = Command::new(dir.join("bin/openclaw"));
    command.arg(verb).arg("--state").arg(dir.join("state"));
    if verb == "run" && rustix::process::geteuid().is_root() {
        command.args(["--user", "nobody"]);
    }
    command
}

fn open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}

fn pid(line: &str) -> Pid {
    Pid::from_raw(line.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid")).expect("a pid")
}

#[test]
fn keys_reach_egress_alone_and_no_environment() {
    let mut run = Run::start();
    run.ready();
    let (egress, runner) = (run.told("egress").remove(0), run.told("runner").remove(0));
    let thrifty = format!("env=[{}={}", TUNABLES.0, TUNABLES.1);
    assert!(egress.contains(&format!("keys=[ANTHROPIC_API_KEY={KEY}]")), "only what can be used: {egress}");
    assert!(
        egress.contains(&format!("{thrifty} LISTEN_FDS=4 LISTEN_FDNAMES=gateway:runner:operator:keys ]")),
        "{egress}"
    );
    assert!(
        runner.contains(&format!("{thrifty} LISTEN_FDS=2 LISTEN_FDNAMES=gateway:egress ] keys=[]")),
        "{runner}"
    );
    // Control: a program that keeps its environment shows the key there.
    let mut keeps =
        Command::new("/bin/sleep").arg("60").env("ANTHROPIC_API_KEY", KEY).spawn().expect("starts");
    let shows = |pid: u32, file: &str| {
        let bytes = fs::read(PathBuf::from(format!("/proc/{pid}/{file}"))).expect("of our own child");
        String::from_utf8_lossy(&bytes).contains("not-real")
    };
    // Its spawn returns a moment before the kernel has set the new program's environment.
    run.until("the control's environment", |_| shows(keeps.id(), "environ"));
    keeps.kill().and_then(|()| keeps.wait()).expect("ends");
    assert!(!shows(run.child.id(), "environ") && !shows(run.child.id(), "cmdline"));
    assert!(!run.log().contains("not-real"));
}

#[test]
fn a_killed_process_comes_back_with_its_keys_and_a_second_instance_is_refused() {
    let mut run = Run::start();
    run.ready();
    kill_process(pid(&run.told("egress")[0]), Signal::KILL).expect("kill");
    run.until("a second egress", |run| run.told("egress").len() == 2);
    let (first, second) = (run.told("egress").remove(0), run.told("egress").remove(1));
    assert_eq!(first.split_once(' ').map(|(_, rest)| rest), second.split_once(' ').map(|(_, rest)| rest));
    assert_eq!(run.told("runner").len(), 1, "the others go on");

    let other = command(run.dir.path(), "run").arg("--home").arg(run.dir.path()).output().expect("starts");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("another openclaw runs on it (pid {})", run.child.id())), "{said}");
}

#[test]
fn a_stop_ends_the_gateway_first_and_leaves_nobody_behind() {
    let mut run = Run::start();
    run.ready();
    run.until("the gateway", |run| run.log().contains("the gateway serves"));
    kill_process(Pid::from_raw(run.child.id() as i32).expect("pid"), Signal::TERM).expect("stop");
    let status = run.child.wait().expect("ends");
    assert!(status.success(), "{}", run.log());
    assert_eq!(run.told("stops"), ["stop runner", "stop egress"], "in this order, after the gateway");
    for name in ["egress", "runner"] {
        let gone = rustix::process::test_kill_process(pid(&run.told(name)[0]));
        assert_eq!(gone, Err(rustix::io::Errno::SRCH), "{name}");
    }
}

#[test]
fn root_is_refused_without_another_account() {
    if !rustix::process::geteuid().is_root() {
        // What is refused here is root; an ordinary user is refused the opposite.
        let output = Command::new(env!("CARGO_BIN_EXE_openclaw")).args(["run", "--user", "nobody"]).output();
        let output = output.expect("starts");
        assert!(String::from_utf8_lossy(&output.stderr).contains("only root can change the user"));
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_openclaw")).arg("run").output().expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no process of OpenClaw runs as root"));
}
