//! The real programs in a state folder of their own, and what the kernel says about them: CPU time and memory.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use openclaw_tests::gateway::{Process, descendants_of};
use openclaw_wire::facts::FACTS;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    far::Far,
    hook::{BOT, Hook, next_update, request},
};

/// The unprivileged account when root measures.
pub const NOBODY: u32 = 65_534;
/// A start or a stop that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first of the people who may write, and how many there are.
pub const PEOPLE: std::ops::Range<i64> = 5_000_000..5_004_096;
/// Somebody who may not.
pub const STRANGER: i64 = 9_000_000;

/// Programs and skills, where every account can read them.
pub struct Dist(TempDir);

/// Which model server egress speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// Messages.
    Anthropic,
    /// Chat completions.
    Openai,
}

/// One run of the programs.
pub struct Openclaw<'a> {
    dist: &'a Dist,
    folder: TempDir,
    /// Where the webhook listens.
    pub port: u16,
    running: Option<Child>,
}

/// Memory of one process, in KiB.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Memory {
    /// Its program.
    pub program: String,
    /// Proportional set size.
    pub pss: u64,
    /// Of that: neither file nor shared.
    pub anonymous: u64,
}

impl Dist {
    /// Copies the finished folder that `OPENCLAW_DIST` names.
    pub fn new(disk: &Path) -> anyhow::Result<Self> {
        let from = std::env::var_os("OPENCLAW_DIST")
            .context("OPENCLAW_DIST does not name the finished programs\n  mend: `make bench`")?;
        let to = tempfile::Builder::new().prefix("openclaw-bench-dist-").tempdir_in(disk)?;
        fs::set_permissions(to.path(), fs::Permissions::from_mode(0o755))?;
        for part in ["bin", "skills"] {
            copy(&Path::new(&from).join(part), &to.path().join(part))?;
        }
        Ok(Self(to))
    }

    /// Where the programs are.
    pub fn folder(&self) -> PathBuf {
        self.0.path().join("bin")
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("bin").join(&FACTS.programs.gateway)
    }
}

impl<'a> Openclaw<'a> {
    /// Writes configuration and keys; starts nothing.
    pub fn new(dist: &'a Dist, disk: &Path, far: &Far, api: Api) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("openclaw-bench-").tempdir_in(disk)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let this = Self { dist, folder, port, running: None };
        for (path, mode) in
            [("state", 0o700), ("state/egress", 0o700), ("home", 0o755), ("home/documents", 0o755)]
        {
            let path = this.folder.path().join(path);
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            give(&path)?;
        }
        let people: Vec<String> = PEOPLE.map(|id| id.to_string()).collect();
        let (name, path) = match api {
            Api::Anthropic => ("anthropic", ""),
            Api::Openai => ("openai", "/v1"),
        };
        let at = format!("http://127.0.0.1:{}", far.port);
        this.private(
            &FACTS.state.config,
            &format!(
                "[telegram]\napi = \"{at}\"\nprivate = true\nper_second = 1000000\n\
                 [webhook]\nlisten = \"127.0.0.1:{port}\"\n[access]\npeople = [{}]\n\
                 [[telegram.bot]]\nname = \"{BOT}\"\ntoken = \"BOT\"\nupdates = \"webhook\"\n\
                 [[model]]\nname = \"m\"\napi = \"{name}\"\nmodel = \"m\"\nurl = \"{at}{path}\"\nprivate = true\nkey = \"MODEL\"\n\
                 [[price]]\nmodel = \"m\"\ninput = 0.000001\noutput = 0.000001\n",
                people.join(", ")
            ),
        )?;
        this.private(
            &FACTS.state.keys,
            "BOT=4242:AAtest-token-not-real-0000000000\nMODEL=test-model-key-not-real\n",
        )?;
        Ok(this)
    }

    /// Starts it; the time until the first update was accepted.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        ensure!(self.running.is_none(), "it runs already");
        let home = self.folder.path().join("home");
        let mut command = Command::new(self.dist.program());
        command.arg("run").arg("--state").arg(self.state()).arg("--home").arg(&home);
        command.current_dir("/").env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin");
        if rustix::process::geteuid().is_root() {
            command.args(["--user", &NOBODY.to_string()]);
        }
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = Instant::now();
        self.running = Some(command.spawn().context("start openclaw")?);
        match self.first_accept(started) {
            Ok(at) => Ok(at.duration_since(started)),
            Err(error) => {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                Err(error.context(tail.into_iter().rev().collect::<Vec<_>>().join("\n")))
            }
        }
    }

    fn first_accept(&mut self, started: Instant) -> anyhow::Result<Instant> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut secret = String::new();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.running.as_mut().context("started")?.try_wait()? {
                bail!("openclaw ended while it was starting: {status}");
            }
            if secret.is_empty() {
                // The first start makes it. Nothing is sent without it: that would count as a guess.
                secret = self.secret().unwrap_or_default();
            } else {
                let update = request(&secret, next_update(), STRANGER, "hello");
                let status = runtime.block_on(async { Hook::connect(self.port).await?.post(&update).await });
                if matches!(status, Ok(200)) {
                    return Ok(Instant::now());
                }
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        bail!("openclaw accepted nothing within {} s", PATIENCE.as_secs())
    }

    /// The webhook's secret, which egress makes. Needs root or the account that it runs as.
    pub fn secret(&self) -> anyhow::Result<String> {
        let path = self.state().join(&FACTS.state.egress).join(format!("webhook-{BOT}"));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// The supervisor and its three children. Jails come and go.
    pub fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let supervisor = self.running.as_ref().context("it does not run")?.id();
        let mut all = vec![Process(supervisor)];
        let programs = &FACTS.programs;
        let ours = [&programs.gateway, &programs.egress, &programs.runner].map(|name| name.as_str());
        all.extend(
            descendants_of(supervisor).into_iter().filter(|one| ours.contains(&one.program().as_str())),
        );
        Ok(all)
    }

    /// CPU time of all its processes so far, by program.
    pub fn cpu(&self) -> anyhow::Result<Vec<(String, Duration)>> {
        let processes = self.processes()?;
        ensure!(processes.len() == 4, "expected four processes, found {}", processes.len());
        processes.into_iter().enumerate().map(|(at, one)| Ok((named(at, one), cpu(one.0)?))).collect()
    }

    /// Memory of all its processes.
    pub fn memory(&self) -> anyhow::Result<Vec<Memory>> {
        let read = |(at, one): (usize, Process)| {
            let path = format!("/proc/{}/smaps_rollup", one.0);
            let text = fs::read_to_string(&path).with_context(|| format!("read {path} (needs root)"))?;
            let number = |key: &str| {
                let line = text.lines().find(|line| line.split(':').next() == Some(key));
                line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
            };
            Ok(Memory { program: named(at, one), pss: number("Pss"), anonymous: number("Pss_Anon") })
        };
        self.processes()?.into_iter().enumerate().map(read).collect()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.running.take() else { return Ok(()) };
        let children = descendants_of(child.id());
        Process(child.id()).signal(Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                children.into_iter().for_each(|child| child.signal(Signal::KILL));
                child.kill()?;
                child.wait()?;
                bail!("openclaw did not stop within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("stderr.log")
    }

    fn private(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let path = self.state().join(path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        give(&path)
    }
}

impl Drop for Openclaw<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// User and system time of a process so far, threads that have ended included.
pub fn cpu(process: u32) -> anyhow::Result<Duration> {
    let text =
        fs::read_to_string(format!("/proc/{process}/stat")).context("read the CPU time of a process")?;
    let rest = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux (proc_pid_stat(5)).
    Ok(Duration::from_millis(10 * ticks))
}

/// Supervisor and gateway are the same program.
fn named(at: usize, process: Process) -> String {
    match at {
        0 => "supervisor".into(),
        _ => match process.program() {
            program if program == FACTS.programs.gateway => "gateway".into(),
            program => program.trim_start_matches("openclaw-").into(),
        },
    }
}

pub fn give(path: &Path) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a name")?);
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => drop(fs::copy(&path, &target)?),
        }
    }
    Ok(())
}
