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
    cgroup::{self, Cgroups},
    drill,
    serve::Runner,
    settings::Settings,
    skills::{Ready, Skills},
    spec::{self, NAMESPACES, Spec},
    watch,
    way::Egress,
};
use openclaw_wire::{door::Entry, facts::FACTS, skill};
use rustix::fs::OFlags;
use sd_notify::NotifyState;
use tracing::{error, warn};

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args.iter().map(String::as_str).next() {
        // Neither is the runner: the operator's drill, and what it runs in its jails.
        Some("--drill") => {
            return drill::main(|groups| Ok(Jailer::start(open_jail()?, groups)?));
        }
        Some(drill::PROBE) => return drill::probe::main(&args[1..]),
        _ => {}
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openclaw-runner: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    openclaw_confine::memory::be_thrifty();
    let mut inherited = Inherited::take().context("take the inherited descriptors")?;
    let settings = Settings::read(std::env::args_os().skip(1))?;
    openclaw_log::start(&settings.log, env!("CARGO_CRATE_NAME"));
    let gateway = inherited.take_fd("gateway").context(
        "no descriptor named gateway was handed over; openclaw-runner is started by `openclaw run` or by systemd",
    )?;
    let entry = Entry::from_fd(gateway).context("use the gateway's socket")?;
    let egress = Egress::new(inherited.take_fd("egress"));
    drop(inherited);

    let groups = Cgroups::take();
    // Before this process gives anything up, because a drill shows first what works where nothing stops it.
    let drilled = if settings.drill { drill::as_child() } else { Ok(()) };
    if let Some(error) = groups.as_ref().ok().and_then(|groups| groups.drilled().err()) {
        warn!(%error, "the drill's cgroup stays");
    }
    let folders = settings.hidden.clone();
    let hidden = namespaces::hide(&folders);
    let cgroup = Cgroups::layer(&groups);
    let systemd = std::env::var_os("NOTIFY_SOCKET").is_some();
    let limits = limits(&groups);
    let program = open_jail()?;
    let groups = groups.ok();
    let skills = Skills::load(settings);
    // Whole programs were read for their digests.
    openclaw_confine::memory::give_back();
    let required = skills.required();

    let mut report = enforce(&Profile {
        process: "runner",
        required,
        // Landlock is inherited, so the port of a jail's proxy is left here too; this network namespace is empty.
        bind: vec![FACTS.jail.proxy.port()],
        connect: Some(vec![FACTS.jail.proxy.port()]),
        role: Role::Runner,
        paths: systemd,
        ..Profile::default()
    })?;
    report.layers.push(hidden_layer(&folders, &hidden));
    // A laptop has none, and rlimits and the watchdog hold; the appliance is made to have one.
    if systemd || groups.is_some() {
        report.layers.push(cgroup);
    }
    if required && !report.complete() {
        let missing = report.layers.iter().find(|layer| !layer.complete);
        let missing = missing
            .map(|layer| format!("{}: asked {}, enforced {}", layer.name, layer.asked, layer.enforced));
        anyhow::bail!("{}; {NAMESPACES}; {}", missing.unwrap_or_default(), cgroup::MEND);
    }
    let jailer = hidden
        .map_err(|error| format!("make a namespace for the runner: {error}; {NAMESPACES}"))
        .and_then(|()| Jailer::start(program, groups).map_err(|error| format!("start skill-jail: {error}")))
        .and_then(|jailer| {
            add(&mut report, try_jail(&jailer, required)?);
            jailer.make_ahead();
            drilled.map(|()| jailer)
        });
    let (count, wrong) = skills.summary();
    for why in wrong {
        warn!(%why, "a skill was left out");
    }
    let status = match &jailer {
        Ok(_) => format!("{count} skills"),
        Err(why) => {
            error!(%why, "skills are off");
            "skills are off".to_owned()
        }
    };
    let runner = Runner::new(skills, jailer, egress, report, limits);
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
        limits: spec::Limits::of(&limits),
        attached: Vec::new(),
        makes: None,
        authority: None,
        without: Vec::new(),
    };
    jailer.trial(&Ready { spec, limits, weight: 0, hosts: false })
}

/// The jail's layers beside the runner's own.
fn add(report: &mut Report, jail: Report) {
    let renamed =
        jail.layers.into_iter().map(|layer| Layer { name: format!("jail: {}", layer.name), ..layer });
    report.layers.extend(renamed);
}

fn limits(groups: &Result<Cgroups, String>) -> String {
    let each = match groups {
        Ok(groups) => groups.words(),
        Err(why) => format!("no cgroup ({why})"),
    };
    let every = watch::EVERY.as_millis();
    match watch::works() {
        true => format!("per process by rlimits, per call by a watchdog every {every} ms; {each}"),
        false => format!(
            "per process by rlimits; {each}; this kernel hides process trees (CONFIG_PROC_CHILDREN) from the watchdog"
        ),
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
