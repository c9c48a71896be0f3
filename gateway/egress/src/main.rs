//! `openclaw-egress`: holds every key and is the only process that reaches the internet.
//!
//! It forwards the gateway's requests to the hosts of a fixed table, adds the key, and streams the answer back. It
//! executes nothing, follows no redirect, and never lets a request choose where it goes.

mod keys;
mod ignored;
mod private_file;
mod secret;
mod seen;
mod alarm;
mod decoy;
mod revoked;
mod defaults;
mod table;
mod webhook;
mod live;
mod exchange;
mod attempt;
mod serve;
mod proxy;
mod route;
mod failover;
mod lease;
mod address;
mod names;
mod roots;
mod breaker;
mod dial;
mod mask;
mod spend;
mod refuse;
mod operator;
mod notify;
mod way;
mod acme;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use openclaw_confine::{Inherited, Profile, Role};
use openclaw_wire::{
    config::{self, Config},
    door::Entry,
    facts::FACTS,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    acme::Authority,
    dial::Outside,
    exchange::{Exchange, Watch},
    keys::{KeyFile, Keys},
    notify::Notify,
    proxy::Egress,
    revoked::Revoked,
    roots::Trust,
    serve::Served,
    spend::Ledger,
    way::{Endpoints, Ways},
    webhook::Place,
};

/// How long requests under way may still take after a stop was asked; systemd kills after 90 s.
const DRAIN: Duration = Duration::from_secs(10);
/// How often free memory goes back to the kernel.
const GIVE_BACK: Duration = Duration::from_secs(10);
/// Threads that wait for the system's resolver; everything else is one thread.
const RESOLVERS: usize = 4;

/// Keys pass through buffers of libraries that know nothing of secrets; none outlives its buffer.
#[global_allocator]
static ALLOCATOR: openclaw_confine::wipe::WipeOnFree = openclaw_confine::wipe::WipeOnFree;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openclaw-egress: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    openclaw_confine::memory::be_thrifty();

    // Settings.
    let mut inherited = Inherited::take().context("take over the descriptors that were handed to us")?;
    let Arguments { config: config_file, state, bundled } = arguments(std::env::args_os().skip(1))?;
    let config = Config::read(&config_file)?;
    openclaw_log::start(&config.log, env!("CARGO_CRATE_NAME"));

    // Secrets.
    let key_memory = openclaw_confine::locked::layer();
    let file = key_file(&config, &state);
    // Before the keys are read, so that no change goes unnoticed.
    let watch = Watch::begin(&file)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let keys = Keys::read(&file, credentials.as_deref(), inherited.take_fd("keys"))?;
    for key in keys.iter() {
        tracing::debug!(name = key.name, source = ?key.source, "key");
    }
    let outside = Outside::new(Trust::read(&config.network)?)?;
    let (folder, key_folder) = (state.join(&FACTS.state.egress), file.folder().to_owned());
    let (place, required) = (Place::new(&config), config.profile == config::Profile::Production);
    let (ledger_file, settings) = (state.join(&FACTS.state.ledger), config.clone());
    let endpoints = Endpoints::read(&config, &outside)?;
    let authority = Authority::new(&config, &outside)?;
    let revoked = Arc::new(Revoked::open(&folder)?);
    let approved = way::Store::open(&state, &FACTS.state.approved, &bundled, revoked.clone())?;
    let exchange = Arc::new(Exchange::new(config, file, folder.clone(), keys, outside, revoked)?);

    // Sockets.
    let mut entry = |name: &str| match inherited.take_fd(name) {
        Some(fd) => Entry::from_fd(fd).map(Some).with_context(|| format!("use the socket {name:?}")),
        None => Ok(None),
    };
    let Some(gateway) = entry("gateway")? else {
        bail!(
            "no socket named \"gateway\" was handed over\n  mend: start it with `openclaw run` or its systemd socket units"
        );
    };
    let (runner, operator) = (entry("runner")?, entry("operator")?);
    // It is there under systemd whether or not there is an openclaw-front.
    let front = entry("front")?.zip(authority);
    drop(inherited);

    // Store.
    let ledger_folder = ledger_file.parent().context("the ledger is in a folder")?;
    private_file::check_folders(&folder, ledger_folder.strip_prefix(&folder)?)?;
    let ledger = Ledger::prepare(&ledger_file, &settings)?;
    let notify = Notify::connect().context("connect to systemd")?;

    // Lock down.
    let report = openclaw_confine::enforce(&Profile {
        process: "egress",
        required,
        read: resolver_files(),
        // The key file when it is changed, webhook secrets when they are exchanged, the list of seen keys, what the operator
        // approves, the ledger.
        write: vec![folder, key_folder],
        role: Role::Egress,
        own: vec![key_memory],
        ..Profile::default()
    })?;
    if !report.complete() {
        tracing::warn!("the kernel enforces less than was asked; `openclaw status --confinement` shows what");
    }

    // Runtime.
    let ledger = ledger.start().context("start the ledger's writer")?;
    let ways = Arc::new(Ways::new(approved, endpoints, exchange.clone(), ledger.clone()));
    let confinement = serde_json::to_value(&report)?;
    let egress = Arc::new(Egress { exchange, place, ledger: ledger.clone(), ways, confinement });
    // One thread: it moves bytes and waits, and a second one would cost memory and wake-ups.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS).build()?;
    runtime.block_on(serve(egress, watch, gateway, runner, front, operator, notify))?;
    // What is still under way is dropped here and counts with its most.
    runtime.shutdown_background();
    ledger.end();
    Ok(())
}

async fn serve(
    egress: Arc<Egress>,
    watch: Watch,
    gateway: Entry,
    runner: Option<Entry>,
    front: Option<(Entry, Authority)>,
    operator: Option<Entry>,
    notify: Notify,
) -> anyhow::Result<()> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ledger = egress.ledger.clone();
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;

    let allowed = serve::owner(&gateway).context("look at the gateway's door")?;
    let door = Served::new("gateway", gateway, allowed).context("serve the gateway's door")?;
    let shared = egress.clone();
    let mut main_door = tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
        let egress = shared.clone();
        async move { egress.gateway(request).await }
    }));
    if let Some(entry) = runner {
        let allowed = serve::owner(&entry).context("look at the runner's door")?;
        let door = Served::new("runner", entry, allowed).context("serve the runner's door")?;
        tasks.spawn(egress.ways.clone().serve(door, tasks.clone(), stop.clone()));
    }
    if let Some((entry, authority)) = front {
        let allowed = serve::owner(&entry).context("look at front's door")?;
        let door = Served::new("front", entry, allowed).context("serve front's door")?;
        let (outside, authority) = (egress.exchange.outside.clone(), Arc::new(authority));
        tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
            let (outside, authority) = (outside.clone(), authority.clone());
            async move { authority.answer(&outside, request).await }
        }));
    }
    if let Some(entry) = operator {
        let door = Served::new("operator", entry, Box::new(operator::allowed))
            .context("serve the operator's socket")?;
        let shared = egress.clone();
        tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
            let egress = shared.clone();
            async move { egress.operator(request).await }
        }));
    }

    // None is waited for at the end: what they do is finished at the next start.
    tokio::spawn(watch.run(Arc::clone(&egress.exchange)));
    let shared = egress.clone();
    tokio::spawn(async move { shared.finish_webhooks().await });
    let exchange = egress.exchange.clone();
    tokio::spawn(async move { exchange.tell_alarms().await });

    let live = egress.exchange.current.get();
    let (models, bots) = (live.table.models.len(), live.table.bots.len());
    drop(live);
    tracing::info!(models, bots, "ready");
    notify.say(&format!("READY=1\nSTATUS={models} models, {bots} bots"));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Without the gateway there is nobody to serve.
        _ = &mut main_door => {}
        () = notify.stay_alive() => {}
        () = give_back() => {}
    }

    notify.say("STOPPING=1");
    stop.cancel();
    ledger.hush();
    tasks.close();
    tokio::select! {
        () = tasks.wait() => tracing::info!("stopped"),
        () = tokio::time::sleep(DRAIN) => tracing::warn!(open = tasks.len(), "stopped with requests under way"),
        _ = terminate.recv() => tracing::warn!(open = tasks.len(), "stopped at once"),
    }
    Ok(())
}

/// After a burst its memory goes back to the kernel.
async fn give_back() {
    loop {
        tokio::time::sleep(GIVE_BACK).await;
        openclaw_confine::memory::give_back();
    }
}

/// What the system's resolver reads at each new connection: the only files that are open after the lock-down.
///
/// It is the system's resolver and not one of our own, so that `/etc/hosts`, split DNS and a VPN's names work
/// as everywhere else on the machine. Its optional NSS modules are not listed: one that can't be loaded is skipped, and
/// `files` and `dns` are part of libc. The folder in which `resolv.conf` really lies is listed, because the
/// file is replaced by another one whenever the network changes.
fn resolver_files() -> Vec<PathBuf> {
    const RESOLV: &str = "/etc/resolv.conf";
    let files = [RESOLV, "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
    let mut paths: Vec<PathBuf> = files.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    let real = std::fs::canonicalize(RESOLV).ok();
    paths.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
    paths
}

/// Where the keys are. Skills are read by the runner, and what a skill may read is below the home that is set.
fn key_file(config: &Config, state: &Path) -> KeyFile {
    let mut served = config.skills.folders.clone();
    served.extend(config.skills.home.iter().map(|home| home.join("documents")));
    KeyFile::new(state, config.keys.file.as_deref(), &served)
}

struct Arguments {
    config: PathBuf,
    state: PathBuf,
    /// Folders of skills that came with the programs: their manifests are approved.
    bundled: Vec<PathBuf>,
}

/// `--config FILE --state DIR`, both needed, `--bundled DIR` as often as there are some; nothing is looked for in the
/// working directory.
fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> anyhow::Result<Arguments> {
    const USAGE: &str =
        "usage: openclaw-egress --config FILE --state DIR [--bundled DIR]... (`openclaw run` starts it)";
    let (mut config, mut state, mut bundled, mut given) = (None, None, Vec::new(), given);
    while let Some(name) = given.next() {
        let value = given.next().map(PathBuf::from);
        let value = value.with_context(|| format!("{name:?} needs a value\n  {USAGE}"))?;
        match name.to_str() {
            Some("--config") => config = Some(value),
            Some("--state") => state = Some(value),
            Some("--bundled") => bundled.push(value),
            _ => bail!("unknown argument {name:?}\n  {USAGE}"),
        }
    }
    match (config, state) {
        (Some(config), Some(state)) => Ok(Arguments { config, state, bundled }),
        _ => bail!("{USAGE}"),
    }
}
