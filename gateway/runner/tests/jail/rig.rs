//! A real runner with the probe as its skills, in folders of its own, reached through a door as the gateway reaches it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use openclaw_confine::spawn::{Child, Identity, Start};
use openclaw_wire::{
    door::{Door, pair},
    frame,
    runner::{Call, Failure, Outcome, Reply, Request},
    skill,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Limits of the probe's manifests.
pub const MEMORY: u64 = 64 << 20;
pub const OUTPUT: usize = 64 << 10;
pub const DISK: u64 = 40 << 20;

/// A running runner.
pub struct Rig {
    pub folder: tempfile::TempDir,
    runner: Child,
    door: Door,
    digests: Mutex<BTreeMap<String, String>>,
}

/// How to start one.
#[derive(Default, Clone, Copy)]
pub struct Setup {
    /// Another user; the invoking one by default.
    pub identity: Option<Identity>,
    /// `production` instead of `development`.
    pub production: bool,
    /// As systemd starts it.
    pub notify: bool,
    /// A system call that the kernel shall not have, and its errno.
    pub without: Option<(i64, i32)>,
}

impl Rig {
    /// Starts one. `change` sees the folders first.
    pub fn start(setup: Setup, change: impl FnOnce(&Path)) -> Self {
        Self::start_in(setup, None, change)
    }

    /// Starts one in a cgroup.
    pub fn start_in(setup: Setup, group: Option<&Path>, change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("jail-").tempdir().unwrap();
        let root = folder.path();
        fs::set_permissions(root, PermissionsExt::from_mode(0o755)).unwrap();
        for name in [
            "bin",
            "state/egress",
            "state/gateway",
            "home/documents/sub",
            "home/out",
            "home/secret",
            "skills",
        ] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for (name, program) in [
            ("openclaw-runner", env!("CARGO_BIN_EXE_openclaw-runner").into()),
            ("skill-jail", env!("CARGO_BIN_EXE_skill-jail").into()),
            ("launcher", std::env::current_exe().unwrap()),
        ] {
            fs::copy(program, root.join("bin").join(name)).unwrap();
        }
        let profile = if setup.production { "production" } else { "development" };
        fs::write(root.join("openclaw.toml"), format!("profile = {profile:?}\n")).unwrap();
        fs::write(root.join("state/egress/.env"), "NAME=test-key-not-real\n").unwrap();
        fs::write(root.join("home/documents/note.txt"), "a note").unwrap();
        fs::write(root.join("home/secret/key.txt"), "test-key-not-real").unwrap();
        let outside = root.join("home/secret/key.txt");
        std::os::unix::fs::symlink(&outside, root.join("home/documents/absolute")).unwrap();
        std::os::unix::fs::symlink("../secret/key.txt", root.join("home/documents/relative")).unwrap();
        std::os::unix::fs::symlink("/proc/1/environ", root.join("home/documents/proc")).unwrap();
        skill(root, "probe");
        change(root);
        let log = fs::File::create(root.join("log")).unwrap();
        if let Some(Identity { uid, gid }) = setup.identity {
            let status = Command::new("/bin/chown").args(["-R", &format!("{uid}:{gid}")]).arg(root).status();
            assert!(status.unwrap().success());
        }

        let (ours, theirs) = pair().unwrap();
        let program = root.join("bin/openclaw-runner");
        let (go, gone) = std::io::pipe().unwrap();
        let start = match setup.without {
            None if group.is_some() => {
                Start::new(root.join("bin/launcher")).arg("--when-told").arg(program).standard(0, go.into())
            }
            None => Start::new(program),
            Some((call, errno)) => Start::new(root.join("bin/launcher"))
                .arg("--without")
                .arg(call.to_string())
                .arg(errno.to_string())
                .arg(program),
        };
        let start = match setup.notify {
            true => start.env("NOTIFY_SOCKET", root.join("notify").to_str().unwrap()),
            false => start,
        };
        let runner = start
            .arg("--config")
            .arg(root.join("openclaw.toml"))
            .arg("--state")
            .arg(root.join("state"))
            .arg("--skills")
            .arg(root.join("skills"))
            .arg("--home")
            .arg(root.join("home"))
            .standard(2, log.into())
            .fd("gateway", theirs)
            .identity(setup.identity)
            .spawn()
            .unwrap();
        if let Some(group) = group {
            fs::write(group.join("cgroup.procs"), runner.id().to_string()).unwrap();
            std::io::Write::write_all(&mut &gone, b"g").unwrap();
        }
        Self { runner, door: Door::Pair(ours), digests: Mutex::default(), folder }
    }

    /// Waits for a runner that cannot start, and returns what it logged.
    pub fn refuses_to_start(mut self) -> String {
        assert!(!self.runner.wait().unwrap().success());
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Kills the runner as the kernel would, without a word.
    pub fn kill(&mut self) {
        self.runner.signal(Signal::KILL).unwrap();
        self.runner.wait().unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.runner.id()
    }

    /// What the runner says of itself.
    pub fn status(&self) -> (Value, Option<String>) {
        let stream = self.door.open().unwrap();
        frame::write(&stream, &Request::Status).unwrap();
        match frame::read(&stream).unwrap() {
            Some(Reply::Status { confinement, skills_off, .. }) => (confinement, skills_off),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a call and waits until the skill runs.
    pub fn begin(&self, skill: &str, arguments: Value) -> Result<UnixStream, Outcome> {
        // Approved once, as an operator does.
        let digest = self
            .digests
            .lock()
            .unwrap()
            .entry(skill.to_owned())
            .or_insert_with(|| skill::digest(&self.path("skills").join(skill)).unwrap_or_default())
            .clone();
        self.begin_with(skill, arguments, digest)
    }

    pub fn begin_with(&self, skill: &str, arguments: Value, digest: String) -> Result<UnixStream, Outcome> {
        let stream = self.door.open().unwrap();
        let call = Call {
            id: "1".into(),
            skill: skill.parse().unwrap(),
            digest,
            tool: "probe".into(),
            arguments,
            definition: None,
            attached: Vec::new(),
            makes: false,
        };
        frame::write(&stream, &Request::Call(call)).unwrap();
        match frame::read(&stream).unwrap() {
            Some(Reply::Started) => Ok(stream),
            Some(Reply::Finished(outcome)) => Err(outcome),
            other => panic!("{other:?}"),
        }
    }

    pub fn call_skill(&self, skill: &str, arguments: Value) -> Outcome {
        match self.begin(skill, arguments) {
            Ok(stream) => finished(&stream),
            Err(outcome) => outcome,
        }
    }

    /// The whole call of the probe.
    pub fn call(&self, arguments: Value) -> Outcome {
        self.call_skill("probe", arguments)
    }

    /// What the probe answered.
    pub fn ask(&self, arguments: Value) -> Value {
        match self.call(arguments.clone()) {
            Outcome::Output(text) => answer(&text),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    /// The errno with which an act of the probe was refused.
    pub fn errno(&self, arguments: Value) -> i32 {
        let said = self.ask(arguments.clone());
        let errno = said["errno"].as_i64().unwrap_or_else(|| panic!("{arguments} was not refused: {said}"));
        errno as i32
    }

    /// Why a call failed.
    pub fn failure(&self, arguments: Value) -> (Failure, String) {
        match self.call(arguments.clone()) {
            Outcome::Failed { reason, detail } => (reason, detail),
            other => panic!("{arguments}: {other:?}"),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last frame of a call.
pub fn finished(stream: &UnixStream) -> Outcome {
    match frame::read(stream).unwrap() {
        Some(Reply::Finished(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

/// The probe outside every jail: what it can do where no barrier stands.
pub fn outside(arguments: Value) -> Value {
    let mut command = Command::new(std::env::current_exe().unwrap());
    std::os::unix::process::CommandExt::arg0(&mut command, "skill");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env("CANARY", "in the environment")
        .spawn()
        .unwrap();
    let task = json!({ "tool": "probe", "arguments": arguments });
    serde_json::to_writer(child.stdin.take().unwrap(), &task).unwrap();
    let output = child.wait_with_output().unwrap();
    answer(&String::from_utf8_lossy(&output.stdout))
}

/// What stands in an answer of the probe.
pub fn answer(text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("no answer: {text:?}"));
    serde_json::from_str(answer["text"].as_str().unwrap()).unwrap()
}

/// Makes a skill out of this very program.
pub fn skill(root: &Path, name: &str) {
    let folder = root.join("skills").join(name);
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), folder.join("bin/probe")).unwrap();
    fs::write(folder.join("SKILL.md"), format!("---\nname: {name}\ndescription: tries to get out\n---\n"))
        .unwrap();
    let manifest = format!(
        r#"program = "bin/probe"
[permissions]
read = ["~/documents"]
write = ["~/out"]
[limits]
memory = "{MEMORY} B"
cpu = "1 s"
wall = "60 s"
processes = 8
output = "{OUTPUT} B"
disk = "{DISK} B"
files = 64
[[tool]]
name = "probe"
description = "tries to get out"
effect = "read"
arguments = {{ type = "object" }}
"#
    );
    fs::write(folder.join("skill.toml"), manifest).unwrap();
}
