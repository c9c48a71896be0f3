//! `openclaw-egress`: holds every key and is the only process that reaches the internet.
//!
//! It forwards the gateway's requests to the hosts of a fixed table, adds the key, and streams the answer back. It
//! executes nothing, follows no redirect, and never lets a request choose where it goes.

mod log;
mod keys;
mod private_file;
mod defaults;
mod table;
mod webhook;
mod serve;
mod proxy;
mod route;
mod address;
mod dial;
mod mask;
mod spend;
mod refuse;
mod operator;
mod notify;

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
    dial::Clients,
    keys::Keys,
    mask::Masks,
    notify::Notify,
    proxy::Egress,
    serve::Served,
    spend::Ledger,
    table::Table,
    webhook::{Place, WebhookSecret},
};

/// How long requests under way may still take after a stop was asked; systemd kills after 90 s.
const DRAIN: Duration = Duration::from_secs(10);
/// How often free memory goes back to the kernel.
const GIVE_BACK: Duration = Duration::from_secs(30);
/// Threads that wait for the system's resolver; everything else is one thread.
const RESOLVERS: usize = 4;

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
    let Arguments { config: config_file, state } = arguments(std::env::args_os().skip(1))?;
    let config = Config::read(&config_file)?;
    log::start(&config.log);

    // Secrets.
    let keys = Keys::read(&state, inherited.take_fd("keys"))?;
    for (name, source) in keys.names() {
        tracing::debug!(name, ?source, "key");
    }
    let folder = state.join(&FACTS.state.egress);
    let table = Table::new(&config, &keys, |bot| WebhookSecret::of(&folder, &bot.name))?;
    let masks = Masks::new(keys.values().chain(table.bots.iter().map(|bot| bot.webhook.secret())));
    drop(keys);

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
    drop(inherited);

    // Store.
    let ledger_file = state.join(&FACTS.state.ledger);
    let ledger_folder = ledger_file.parent().context("the ledger is in a folder")?.to_owned();
    private_file::check_folders(&folder, ledger_folder.strip_prefix(&folder)?)?;
    let ledger = Ledger::prepare(&ledger_file, &config)?;

    let notify = Notify::connect().context("connect to systemd")?;

    // Lock down.
    let report = openclaw_confine::enforce(&Profile {
        process: "egress",
        required: config.profile == config::Profile::Production,
        // Configuration, keys and webhook secrets are in memory by now.
        read: resolver_files(),
        // The ledger, in a folder without keys.
        write: vec![ledger_folder],
        role: Role::Egress,
        ..Profile::default()
    })?;
    if !report.complete() {
        tracing::warn!("the kernel enforces less than was asked; `openclaw status --confinement` shows what");
    }

    // Runtime.
    let ledger = ledger.start().context("start the ledger's writer")?;
    let egress = Arc::new(Egress {
        table,
        ledger: ledger.clone(),
        clients: Clients::new()?,
        masks: Arc::new(masks),
        confinement: serde_json::to_value(&report)?,
    });
    let place = Arc::new(Place::new(&config));
    // One thread: it moves bytes and waits, and a second one would cost memory and wake-ups.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS).build()?;
    runtime.block_on(serve(egress, place, gateway, runner, operator, notify))?;
    // What is still under way is dropped here and counts with its most.
    runtime.shutdown_background();
    ledger.end();
    Ok(())
}

async fn serve(
    egress: Arc<Egress>,
    place: Arc<Place>,
    gateway: Entry,
    runner: Option<Entry>,
    operator: Option<Entry>,
    notify: Notify,
) -> anyhow::Result<()> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let ledger = egress.ledger.clone();
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;

    let door = Served::new("gateway", gateway, |_| true).context("serve the gateway's door")?;
    let shared = egress.clone();
    let mut main_door = tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
        let egress = shared.clone();
        async move { egress.gateway(request).await }
    }));
    if let Some(entry) = runner {
        let door = Served::new("runner", entry, |_| true).context("serve the runner's door")?;
        let shared = egress.clone();
        tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
            let egress = shared.clone();
            async move { egress.runner(request).await }
        }));
    }
    if let Some(entry) = operator {
        let door =
            Served::new("operator", entry, operator::allowed).context("serve the operator's socket")?;
        let shared = egress.clone();
        tasks.spawn(door.run(tasks.clone(), stop.clone(), move |request| {
            let (egress, place) = (shared.clone(), place.clone());
            async move { egress.operator(&place, request).await }
        }));
    }

    let (models, bots) = (egress.table.models.len(), egress.table.bots.len());
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

struct Arguments {
    config: PathBuf,
    state: PathBuf,
}

/// `--config FILE --state DIR`, both needed, both absolute or not; nothing is looked for in the working directory.
fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> anyhow::Result<Arguments> {
    const USAGE: &str = "usage: openclaw-egress --config FILE --state DIR (`openclaw run` starts it)";
    let (mut config, mut state, mut given) = (None, None, given);
    while let Some(name) = given.next() {
        let slot = match name.to_str() {
            Some("--config") => &mut config,
            Some("--state") => &mut state,
            _ => bail!("unknown argument {name:?}\n  {USAGE}"),
        };
        *slot =
            Some(PathBuf::from(given.next().with_context(|| format!("{name:?} needs a value\n  {USAGE}"))?));
    }
    match (config, state) {
        (Some(config), Some(state)) => Ok(Arguments { config, state }),
        _ => bail!("{USAGE}"),
    }
}
