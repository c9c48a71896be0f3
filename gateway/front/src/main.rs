//! `openclaw-front`: without a tunnel it stands where the tunnel stands otherwise. It speaks TLS with whoever delivers, hands
//! the bytes on to the gateway with the address that they came from, and keeps the certificate for it: asks for one, answers
//! the challenge, renews it in time.
//!
//! It has no network but the two listening sockets that it was given; to whoever signs it speaks by way of egress. It never
//! looks into what it passes on, and executes nothing.

mod kept;
mod certificate;
mod challenge;
mod tls;
mod pass;
mod renew;
mod acme;
mod egress;
mod firewall;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use openclaw_confine::{Inherited, Profile, Role};
use openclaw_wire::{
    config::{self, Config, Listen},
    door::Door,
    facts::FACTS,
};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    acme::Authority, certificate::Shown, challenge::Challenges, egress::Egress, kept::Kept, renew::Renewal,
    tls::Front,
};

/// How long connections may still take after a stop was asked; what Telegram got no answer to it sends again.
const DRAIN: Duration = Duration::from_secs(5);

/// The certificate's key passes through buffers of libraries that know nothing of secrets; none outlives its buffer.
#[global_allocator]
static ALLOCATOR: openclaw_confine::wipe::WipeOnFree = openclaw_confine::wipe::WipeOnFree;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openclaw-front: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    openclaw_confine::memory::be_thrifty();

    // Settings.
    let mut inherited = Inherited::take().context("take over the descriptors that were handed to us")?;
    let (config_file, state) = arguments(std::env::args_os().skip(1))?;
    let config = Config::read(&config_file)?;
    openclaw_log::start(&config.log, env!("CARGO_CRATE_NAME"));
    let (Some(domain), Listen::Unix(gateway)) = (config.domain(), &config.webhook.listen) else {
        bail!(
            "{} is not meant for openclaw-front\n  mend: set from = \"direct\" in [webhook], or stop it: the tunnel is in its place",
            config_file.display()
        );
    };

    // Secrets.
    let kept = Kept::open(&state.join(&FACTS.state.front))?;
    let certificate = kept.certificate()?;

    // Sockets.
    let mut listener = |name: &str| -> anyhow::Result<TcpListener> {
        let Some(fd) = inherited.take_fd(name) else {
            bail!(
                "no socket named {name:?} was handed over\n  mend: start it with its systemd socket units, once `systemctl reload \
                 openclaw-firewall` has seen the configuration"
            );
        };
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let (https, http) = (listener("https")?, listener("challenge")?);
    let door = inherited
        .take_fd("egress")
        .map_or_else(|| Door::Path(FACTS.unix.egress_for_front.clone()), Door::Pair);
    drop(inherited);

    // Lock down.
    let report = openclaw_confine::enforce(&Profile {
        process: "front",
        required: config.profile == config::Profile::Production,
        write: vec![kept.folder().to_owned()],
        connect: Some(Vec::new()),
        role: Role::Gateway,
        // Its doors to gateway, egress and firewall.
        paths: true,
        ..Profile::default()
    })?;
    if !report.complete() {
        tracing::warn!("the kernel enforces less than was asked; {} shows what", kept.standing().display());
    }

    // Runtime: one thread, it moves bytes and waits.
    let shown = Arc::new(Shown::default());
    let challenges = Arc::new(Challenges::default());
    let front = Arc::new(Front::new(shown.clone(), challenges.clone(), gateway.clone())?);
    let authority = Authority {
        direct: config.direct.clone(),
        domain: domain.to_owned(),
        egress: Arc::new(Egress::new(door, &config.direct.directory)),
        challenges: challenges.clone(),
    };
    let renewal = Renewal::new(authority, kept, shown, certificate, &report);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
    runtime.block_on(serve(front, challenges, https, http, renewal))?;
    runtime.shutdown_background();
    Ok(())
}

async fn serve(
    front: Arc<Front>,
    challenges: Arc<Challenges>,
    https: TcpListener,
    http: TcpListener,
    renewal: Renewal,
) -> anyhow::Result<()> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let (https, http) = (tokio::net::TcpListener::from_std(https)?, tokio::net::TcpListener::from_std(http)?);
    tasks.spawn(front.serve(https, tasks.clone(), stop.clone()));
    tasks.spawn(challenge::serve(challenges, http, stop.clone()));
    // Not waited for: an order that was given up is begun anew.
    tokio::spawn(renewal.run());

    notify(&[NotifyState::Ready]);
    let watchdog = sd_notify::watchdog_enabled();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = alive(watchdog) => notify(&[NotifyState::Watchdog]),
        }
    }
    notify(&[NotifyState::Stopping]);
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::info!(open = tasks.len(), "stopped with connections open");
    }
    Ok(())
}

/// Half the interval in which systemd wants to hear from us; for ever when it does not.
async fn alive(watchdog: Option<Duration>) {
    match watchdog {
        Some(interval) => tokio::time::sleep(interval / 2).await,
        None => std::future::pending().await,
    }
}

/// Says something to systemd.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "could not notify systemd");
    }
}

/// `--config FILE --state DIR`, both needed.
fn arguments(given: impl Iterator<Item = std::ffi::OsString>) -> anyhow::Result<(PathBuf, PathBuf)> {
    const USAGE: &str = "usage: openclaw-front --config FILE --state DIR (its systemd unit starts it)";
    let given: Vec<_> = given.collect();
    let value = |name: &str| {
        let at = given.iter().position(|word| word == name)?;
        given.get(at + 1).map(|value| Path::new(value).to_owned())
    };
    match (value("--config"), value("--state"), given.len()) {
        (Some(config), Some(state), 4) => Ok((config, state)),
        _ => bail!("{USAGE}"),
    }
}
