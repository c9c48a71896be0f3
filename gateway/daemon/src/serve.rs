//! `openclaw serve`: the gateway process. Settings, sockets, store, lock down, runtime, in this order; after the lock
//! down it has no way out but its doors.

mod bots;

use std::{
    collections::HashMap,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use openclaw_confine::{Inherited, Profile, Report, Role};
use openclaw_wire::{
    config::{self, Config},
    door::{Door, Entry},
    facts::FACTS,
};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    command::{Serve, place::Place, run::account},
    egress::Egress,
    files::Shelf,
    ingress::{self, Gate, Listener, Secrets, Source},
    model::Models,
    outbox::{
        file::Opening,
        pace::Pace,
        sender::{Limits, Sender},
    },
    page::{self, Page},
    skill::{Catalog, Executor},
    store::{Prepared, Store},
    turn::{Engine, Hatch, MIGRATIONS, Parts},
};

/// How long turns and sends under way may still take after a stop was asked. What is not done by then is done after
/// the next start: it is in the inbox or the outbox.
const DRAIN: Duration = Duration::from_secs(5);
/// How often free memory goes back to the kernel.
const GIVE_BACK: Duration = Duration::from_secs(10);
/// Events of the outbox that may wait; more are only logged.
const EVENTS: usize = 256;
/// Two workers keep `/stop` answering while one of them is busy with a long text.
const WORKERS: usize = 2;
/// Threads for opening doors and the like.
const BLOCKING: usize = 8;

/// Everything that is opened before the process locks itself down.
struct Opened {
    config: Config,
    webhook: Option<(Listener, Source)>,
    admin: UnixListener,
    page: Option<Entry>,
    egress: Door,
    runner: Door,
    drill: Option<Door>,
    store: Prepared,
    shelf: Shelf,
    catalog: Catalog,
    place: Place,
}

/// Runs the gateway until it is told to stop.
pub fn run(args: Serve) -> anyhow::Result<()> {
    openclaw_confine::memory::be_thrifty();
    let opened = open(&args)?;
    let report = lock_down(&args, &opened)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(serve(opened, report));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn open(args: &Serve) -> anyhow::Result<Opened> {
    // Settings.
    let mut inherited = Inherited::take().context("take over the descriptors that were handed to us")?;
    let config = Config::read(&args.config)?;
    openclaw_log::start(&config.log, env!("CARGO_CRATE_NAME"));

    // Sockets.
    // Under systemd the tunnel and openclaw-front have a socket each, and one of them is served.
    let front = inherited.take_fd("front");
    let webhook = front.filter(|_| config.has_front()).or_else(|| inherited.take_fd("webhook"));
    let webhook = webhook.map(listener).transpose().context("use the socket \"webhook\"")?;
    let webhook = webhook.map(|listener| anyhow::Ok((listener, source(&config.webhook)?))).transpose()?;
    let Some(admin) = inherited.take_fd("admin").map(UnixListener::from) else {
        bail!(
            "no socket named \"admin\" was handed over\n  mend: start it with `openclaw run` or its systemd socket units"
        );
    };
    // Here listening sockets for the status page come in.
    let page =
        inherited.take_fd("page").map(Entry::from_fd).transpose().context("use the socket \"page\"")?;
    let page = page.filter(|_| config.admin.listen != config::Page::Off);
    let mut door = |name: &str, path: &PathBuf| match inherited.take_fd(name) {
        Some(fd) => Door::Pair(fd),
        None => Door::Path(path.clone()),
    };
    let egress = door("egress", &FACTS.unix.egress_for_gateway);
    let runner = door("runner", &FACTS.unix.runner_for_gateway);
    let drill = page.is_some().then(|| door("drill", &FACTS.unix.drill_for_gateway));

    // Store.
    let database = args.state.join(&FACTS.state.database);
    let store =
        Store::prepare(&database, &MIGRATIONS).with_context(|| format!("open {}", database.display()))?;
    let files = args.state.join(&FACTS.state.files);
    let shelf = Shelf::open(&files).with_context(|| format!("open the folder {}", files.display()))?;
    // As the runner does: what was named at the start, then what the configuration names besides.
    let mut folders = args.skills.clone();
    folders.extend(config.skills.folders.iter().filter(|folder| !args.skills.contains(folder)).cloned());
    let catalog = Catalog::load(&folders, &config.skills.disabled);
    for (name, problem) in catalog.problems() {
        warn!(name, problem, "a skill was not loaded");
    }
    let place = Place { state: args.state.clone(), config: args.config.clone() };
    Ok(Opened { config, webhook, admin, page, egress, runner, drill, store, shelf, catalog, place })
}

fn listener(fd: OwnedFd) -> std::io::Result<Listener> {
    Ok(match rustix::net::sockopt::socket_domain(&fd)? {
        rustix::net::AddressFamily::UNIX => Listener::Unix(fd.into()),
        _ => Listener::Tcp(fd.into()),
    })
}

/// Who may connect to the webhook. Read before the lock down, behind which there is no `/etc/passwd`.
fn source(webhook: &config::Webhook) -> anyhow::Result<Source> {
    let own = rustix::process::geteuid().as_raw();
    let peer = webhook.peer.as_deref().map(account::number_of).transpose().context("[webhook] peer")?;
    // What openclaw-front says of a sender is believed, so it is nobody but openclaw-front.
    let own = Some(own).filter(|_| webhook.from == config::From::Tunnel);
    let users = own.into_iter().chain(peer).collect();
    Ok(Source { from: webhook.from, ranges: FACTS.telegram.ranges.clone(), users })
}

fn lock_down(args: &Serve, opened: &Opened) -> anyhow::Result<Report> {
    let folder = args.state.join(&FACTS.state.database);
    let folder = folder.parent().context("the database is in a folder")?;
    let report = openclaw_confine::enforce(&Profile {
        process: "gateway",
        required: opened.config.profile == config::Profile::Production,
        write: vec![folder.to_owned()],
        connect: Some(Vec::new()),
        role: Role::Gateway,
        paths: matches!(opened.egress, Door::Path(_)),
        ..Profile::default()
    })?;
    if !report.complete() {
        warn!("the kernel enforces less than was asked; `openclaw status --confinement` shows what");
    }
    Ok(report)
}

async fn serve(opened: Opened, report: Report) -> anyhow::Result<()> {
    let Opened { config, webhook, admin, page, egress, runner, drill, store, shelf, catalog, place } = opened;
    let store = store.start()?;
    let started = jiff::Timestamp::now().as_second().unsigned_abs();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let egress = Egress::new(egress);
    let api = Arc::new(egress.clone());
    let (events, outbox_events) = mpsc::channel(EVENTS);
    let limits = Limits { pace: Pace::from(&config.telegram), ..Limits::default() };
    let opening = shelf.clone();
    let opening: Opening = Arc::new(move |file| opening.whole(file.session, &file.name, &file.digest));
    let sender = Sender::start(store.clone(), api.clone(), opening, limits, events).await?;
    let models = Models::new(egress.clone());
    let parts = Parts {
        models: models.clone(),
        egress: egress.clone(),
        shelf,
        executor: Executor::new(runner, egress.clone()),
        api: api.clone(),
        catalog,
        sender: sender.clone(),
        store,
        config: config.clone(),
    };
    let engine = Engine::new(parts, stop.clone())?;
    engine.recover().await?;
    tasks.spawn(Arc::clone(&engine).tidy());
    tasks.spawn(Arc::clone(&engine).watch_skills());
    tasks.spawn(Arc::clone(&engine).look_at_servers());
    tasks.spawn(Arc::clone(&engine).hear(outbox_events));
    tasks.spawn(Arc::clone(&engine).hear_of_money());

    let secrets = Arc::new(Secrets::default());
    if let Some((listener, source)) = webhook {
        let limit = Duration::from_secs(config.webhook.read_timeout);
        let gate = Gate::new(source, Arc::clone(&secrets), config.webhook.max_body, limit);
        let (hatch, tell) = Hatch::new(Arc::clone(&engine));
        let serving = ingress::serve(listener, Arc::new(gate), Arc::new(hatch), stop.clone());
        let serving = or_end("webhook", serving, stop.clone());
        on_own_thread("webhook", async {
            tokio::spawn(tell);
            serving.await
        })?;
    }
    let polls = Arc::new(std::sync::Mutex::new(HashMap::new()));
    let (engine_, polls_) = (Arc::clone(&engine), Arc::clone(&polls));
    tasks.spawn(bots::keep(egress.clone(), engine_, models, secrets, polls_, stop.clone()));
    let tokens = place.state.join(&FACTS.state.page_tokens);
    let shown = page.as_ref().map(|_| page::Tokens::read(tokens.clone())).transpose();
    let shown = shown.with_context(|| {
        format!("read {}; mend: openclaw admin token, after it was removed", tokens.display())
    })?;
    let shown = shown.map(|tokens| Arc::new(Page::new(&config.admin.names, tokens, drill)));
    let admin_ = Arc::new(Admin {
        engine: Arc::clone(&engine),
        egress,
        report,
        started,
        keys: config.keys.file.clone().unwrap_or_else(|| place.state.join(&FACTS.state.keys)),
        page: shown.clone(),
        problems: Box::new(move || bots::problems(&polls)),
    });
    if let (Some(entry), Some(shown)) = (page, shown) {
        let serving = page::listen(entry, shown, Arc::clone(&admin_), stop.clone());
        tasks.spawn(or_end("page", serving, stop.clone()));
    }
    tasks.spawn(or_end("admin", admin::serve(admin, admin_, stop.clone()), stop.clone()));

    tasks.spawn(give_back(stop.clone()));

    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    info!("the gateway serves");
    let watchdog = sd_notify::watchdog_enabled();
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            () = stop.cancelled() => break,
            () = alive(watchdog) => notify(&[NotifyState::Watchdog]),
        }
    }
    notify(&[NotifyState::Stopping]);
    stop.cancel();
    engine.ends_well().await;
    tasks.close();
    let drained = async {
        tasks.wait().await;
        engine.idle().await;
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        info!("some turns go on after the next start");
    }
    sender.stop(DRAIN).await;
    Ok(())
}

/// After a burst its memory goes back to the kernel.
async fn give_back(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(GIVE_BACK)).await.is_some() {
        openclaw_confine::memory::give_back();
    }
}

/// Serves on a thread and a runtime of its own, so that what comes in waits behind no turn. It lives as long as the
/// process: requests under way at a stop end while the turns do.
fn on_own_thread(
    name: &'static str,
    serving: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .with_context(|| format!("start the runtime for {name}"))?;
    let serve = move || {
        runtime.block_on(async {
            serving.await;
            std::future::pending::<()>().await
        })
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(serve)
        .with_context(|| format!("start the thread {name}"))?;
    Ok(())
}

/// A process that can't listen any more ends, so that it is started again, instead of being deaf.
async fn or_end(what: &str, serving: impl Future<Output = std::io::Result<()>>, stop: CancellationToken) {
    if let Err(error) = serving.await {
        tracing::error!(%error, what, "can't serve any more");
        stop.cancel();
    }
}

/// Half the interval in which systemd wants to hear from us; for ever when it does not.
async fn alive(watchdog: Option<Duration>) {
    match watchdog {
        Some(interval) => tokio::time::sleep(interval / 2).await,
        None => std::future::pending().await,
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "could not notify systemd");
    }
}
