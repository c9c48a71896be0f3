//! `openclaw-runner`: settings, sockets, skills, lock down, trial, sd-notify, serve. Plain threads; no key, no IP socket.

use std::{
    fs::OpenOptions,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use anyhow::Context as _;
use openclaw_confine::{Inherited, Layer, Profile, Report, Role, enforce, namespaces};
use openclaw_runner::{
    call::Jailer,
    log,
    serve::Runner,
    settings::Settings,
    skills::{Ready, Skills},
    spec::{self, NAMESPACES, Spec},
    watch,
};
use openclaw_wire::{door::Entry, facts::FACTS, skill};
use rustix::fs::OFlags;
use sd_notify::NotifyState;
use tracing::{error, warn};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openclaw-runner: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut inherited = Inherited::take().context("take the inherited descriptors")?;
    let settings = Settings::read(std::env::args_os().skip(1))?;
    log::start(&settings.log);
    let gateway = inherited.take_fd("gateway").context(
        "no descriptor named gateway was handed over; openclaw-runner is started by `openclaw run` or by systemd",
    )?;
    let entry = Entry::from_fd(gateway).context("use the gateway's socket")?;
    drop(inherited);

    let folders = settings.hidden.clone();
    let hidden = namespaces::hide(&folders);
    let jailer = Jailer::new(open_jail()?);
    let skills = Skills::load(settings);
    let required = skills.required();

    let mut report = enforce(&Profile {
        process: "runner",
        required,
        connect: Some(Vec::new()),
        role: Role::Runner,
        paths: std::env::var_os("NOTIFY_SOCKET").is_some(),
        ..Profile::default()
    })?;
    report.layers.push(hidden_layer(&folders, &hidden));
    if required && !report.complete() {
        anyhow::bail!("close the folders of the other processes: {:?}; {NAMESPACES}", hidden);
    }
    let trial = match hidden {
        Ok(()) => try_jail(&jailer, required),
        Err(error) => Err(format!("make a namespace for the runner: {error}; {NAMESPACES}")),
    };
    let skills_off = match trial {
        Ok(jail) => {
            add(&mut report, jail);
            None
        }
        Err(why) => Some(why),
    };
    let (count, wrong) = skills.summary();
    for why in wrong {
        warn!(%why, "a skill was left out");
    }
    if let Some(why) = &skills_off {
        error!(%why, "skills are off");
    }
    let status = match &skills_off {
        None => format!("{count} skills"),
        Some(_) => "skills are off".to_owned(),
    };
    let runner = Runner::new(skills, jailer, report, skills_off, limits());
    keep_watchdog_quiet()?;
    // Without systemd there is nobody to tell.
    let _nobody = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    runner.serve(&entry).context("serve the gateway")
}

/// What of the other processes' folders can still be listed, tried.
fn hidden_layer(folders: &[PathBuf], hidden: &std::io::Result<()>) -> Layer {
    let open = folders.iter().find(|folder| std::fs::read_dir(folder).is_ok());
    let (enforced, complete) = match (hidden, open) {
        (Err(error), _) => (format!("nothing: {error}"), false),
        (_, Some(folder)) => (format!("{} can still be listed", folder.display()), false),
        (Ok(()), None) => ("closed in a mount namespace, tried".to_owned(), true),
    };
    let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Layer { name: "hidden".into(), asked: format!("no way into {}", names.join(" and ")), enforced, complete }
}

/// Opens `skill-jail`, beside this program.
fn open_jail() -> anyhow::Result<OwnedFd> {
    let own = std::env::current_exe().context("find my own program")?;
    let path: PathBuf = own.with_file_name(&FACTS.programs.jail);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::PATH | OFlags::CLOEXEC).bits() as i32)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    Ok(file.into())
}

/// Builds a jail around nothing: what it lacks, every call would lack.
fn try_jail(jailer: &Jailer, required: bool) -> Result<Report, String> {
    let limits = skill::Limits::default();
    let spec = Spec {
        skill: None,
        grants: Vec::new(),
        required,
        limits: spec::Limits { memory: limits.memory.0, cpu: 1, processes: limits.processes },
    };
    jailer.trial(&Ready { spec, limits })
}

/// The jail's layers beside the runner's own.
fn add(report: &mut Report, jail: Report) {
    let renamed =
        jail.layers.into_iter().map(|layer| Layer { name: format!("jail: {}", layer.name), ..layer });
    report.layers.extend(renamed);
}

fn limits() -> String {
    let every = watch::EVERY.as_millis();
    match watch::works() {
        true => format!("per process by rlimits, per call by a watchdog every {every} ms; no cgroup"),
        false => {
            "per process by rlimits; no cgroup, and this kernel hides process trees (CONFIG_PROC_CHILDREN) \
                  from the watchdog"
                .to_owned()
        }
    }
}

/// Tells systemd's watchdog, where there is one, that this process lives.
fn keep_watchdog_quiet() -> anyhow::Result<()> {
    let Some(most) = sd_notify::watchdog_enabled() else { return Ok(()) };
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            loop {
                let _nobody = sd_notify::notify(&[NotifyState::Watchdog]);
                thread::sleep(most / 2);
            }
        })
        .context("start the watchdog's thread")?;
    Ok(())
}
