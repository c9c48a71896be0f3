//! How long a call takes: the full jail around `/bin/true`, through the real runner, beside `bwrap --unshare-all` with a
//! minimal root around the same program, turn and turn about. Cold, when everything of the jail is made for the call; and as
//! it is unless calls come at once, with the jail's namespaces made ahead.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use openclaw_confine::spawn::{Child, Identity, Start};
use openclaw_wire::{
    door::{Door, pair},
    facts::FACTS,
    frame,
    runner::{Call, Outcome, Reply, Request},
    skill,
};
use rustix::process::{Pid, Signal};
use serde::Serialize;

use crate::{
    middle,
    program::{Dist, NOBODY, give},
};

/// Milliseconds, p50.
#[derive(Debug, Serialize)]
pub struct Spawn {
    /// From the request to the end of the call, with no jail made ahead.
    pub cold: f64,
    /// The same with one.
    pub waiting: f64,
    /// From the fork to the end of the program; only its libraries are mounted.
    pub bwrap: f64,
    /// The same with devices and a writable `/tmp`, as the jail has them.
    pub bwrap_more: f64,
    /// The program without anything around it.
    pub bare: f64,
}

/// What a minimal root takes: the program, its loader and its library.
const ROOT: [&str; 8] =
    ["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/lib"];
const MORE: [&str; 4] = ["--dev", "/dev", "--tmpfs", "/tmp"];
const PROGRAM: &str = "/usr/bin/true";
/// Longer than making a jail, or its end, takes.
const SETTLED: Duration = Duration::from_millis(15);

/// Measures so many of each.
pub fn measure(dist: &Dist, disk: &Path, count: usize) -> anyhow::Result<Spawn> {
    let runner = Runner::start(dist, disk)?;
    let bwrap = |more: &[&str]| {
        let mut command = Command::new("bwrap");
        command.arg("--unshare-all").args(ROOT).arg("/lib").args(more).arg(PROGRAM);
        command
    };
    let mut figures: [Vec<f64>; 5] = Default::default();
    // The first of each warms the caches and is not counted.
    for round in 0..=count {
        runner.take_waiting()?;
        let cold = runner.call()?;
        runner.wait_for_waiting()?;
        let took = [cold, runner.call()?, run(bwrap(&[]))?, run(bwrap(&MORE))?, run(Command::new(PROGRAM))?];
        if round > 0 {
            figures.iter_mut().zip(took).for_each(|(all, one)| all.push(one));
        }
    }
    let [cold, waiting, bwrap, bwrap_more, bare] = figures.map(middle);
    Ok(Spawn { cold, waiting, bwrap, bwrap_more, bare })
}

fn run(mut command: Command) -> anyhow::Result<f64> {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let begun = Instant::now();
    let status = command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("start {:?}; mend: install bubblewrap", command.get_program()))?;
    ensure!(status.success(), "{:?}: {status}", command.get_program());
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

struct Runner {
    child: Child,
    door: Door,
    digest: String,
}

impl Runner {
    fn start(dist: &Dist, disk: &Path) -> anyhow::Result<Self> {
        let root = disk.join("spawn");
        let folder = root.join("skills/true");
        fs::create_dir_all(folder.join("bin"))?;
        fs::create_dir_all(root.join("state"))?;
        fs::copy(PROGRAM, folder.join("bin/true"))?;
        fs::write(
            folder.join("skill.toml"),
            "program = \"bin/true\"\n[[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"read\"\n\
             arguments = { type = \"object\" }\n",
        )?;
        let config = root.join("openclaw.toml");
        fs::write(&config, "")?;
        give(&root.join("state"))?;
        let (ours, theirs) = pair()?;
        let identity = rustix::process::geteuid().is_root().then_some(Identity { uid: NOBODY, gid: NOBODY });
        let log = fs::File::create(root.join("log"))?;
        let child = Start::new(dist.folder().join(&FACTS.programs.runner))
            .arg("--config")
            .arg(config)
            .arg("--state")
            .arg(root.join("state"))
            .arg("--skills")
            .arg(root.join("skills"))
            .standard(2, log.into())
            .fd("gateway", theirs)
            .identity(identity)
            .spawn()?;
        Ok(Self { child, door: Door::Pair(ours), digest: skill::digest(&folder)? })
    }

    /// The jail that was made ahead, a child of the zygote, if it is there.
    fn waiting(&self) -> anyhow::Result<Option<Pid>> {
        let child = |of: i32| -> anyhow::Result<Option<i32>> {
            let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children"))?;
            Ok(text.split_whitespace().next().map(str::parse).transpose()?)
        };
        let Some(zygote) = child(self.child.id() as i32)? else { return Ok(None) };
        Ok(child(zygote)?.and_then(Pid::from_raw))
    }

    fn wait_for_waiting(&self) -> anyhow::Result<Pid> {
        for _ in 0..1000 {
            if let Some(waiting) = self.waiting()? {
                // It is there before it has made everything.
                thread::sleep(SETTLED);
                return Ok(waiting);
            }
            thread::sleep(Duration::from_millis(1));
        }
        bail!("the runner makes no jail ahead")
    }

    /// Ends it, so that the next call finds none.
    fn take_waiting(&self) -> anyhow::Result<()> {
        // What was seen may be a jail that was just ending.
        while let Err(error) = rustix::process::kill_process(self.wait_for_waiting()?, Signal::KILL) {
            ensure!(error == rustix::io::Errno::SRCH, "{error}");
        }
        // What the kernel does for its end is no part of the call.
        thread::sleep(SETTLED);
        Ok(())
    }

    fn call(&self) -> anyhow::Result<f64> {
        let call = Call {
            id: "bench".into(),
            skill: "true".parse()?,
            digest: self.digest.clone(),
            tool: "t".into(),
            arguments: serde_json::json!({}),
            definition: None,
            attached: Vec::new(),
            makes: false,
        };
        let begun = Instant::now();
        let stream = self.door.open()?;
        frame::write(&stream, &Request::Call(call))?;
        loop {
            match frame::read(&stream)? {
                Some(Reply::Started) => {}
                Some(Reply::Finished(Outcome::Output(_))) => return Ok(begun.elapsed().as_secs_f64() * 1e3),
                other => bail!("the call of /bin/true: {other:?}"),
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // It keeps nothing that an orderly end would save.
        let _ = self.child.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
