//! Gathers the facts. Reads, asks, and changes nothing; decides nothing either: what a fact means is the checks' part.

mod files;
mod proc;
mod system;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use http::Method;
use openclaw_wire::{
    admin::Status,
    audit::Place as Kind,
    config::{Config, From, Updates},
    egress::{self, Approval, Approved, KeyList},
    facts::FACTS,
};
use serde::Deserialize;

use super::attest;
use crate::{
    audit::world::{Blind, Seen, Settings, World, absent, hidden, nothing_runs},
    command::{
        doctor, fault,
        place::Place,
        socket::{Socket, block_on},
        tunnel,
        webhook::{self, Info},
    },
};

/// All facts that can be had from here.
pub fn world(place: &Place) -> anyhow::Result<World> {
    let kind = kind(place);
    let root = rustix::process::geteuid().is_root();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (config, findings) = doctor::standing(place);
    let running = running(place)?;
    let status = running.status.as_ref().ok();
    let (tunnel, skills) = (tunnel_of(&config), files::skills(&config, status));
    Ok(World {
        place: kind,
        now: i64::try_from(now)?,
        state: files::state(place),
        settings: settings(place),
        doctor: Ok(findings),
        processes: proc::processes(place),
        listeners: proc::listeners(),
        firewall: system::firewall(kind, root),
        sysctl: proc::sysctl(),
        units: system::units(kind),
        sshd: system::sshd(kind, root),
        accounts: system::accounts(),
        skills,
        updates: system::updates(kind),
        machine: proc::machine(kind),
        attested: attest::read(place)?,
        own_uid: None,
        tunnel,
        status: running.status,
        keys: running.keys,
        egress: running.egress,
        webhooks: running.webhooks,
        approved: running.approved,
    })
}

/// A machine of its own, a container, or anything else.
fn kind(place: &Place) -> Kind {
    let units = ["/usr/lib/systemd/system", "/etc/systemd/system"];
    let unit = |folder: &&str| Path::new(folder).join("openclaw-gateway.service").exists();
    if Path::new("/run/systemd/system").is_dir()
        && units.iter().any(unit)
        && place.state == FACTS.install.state
    {
        return Kind::Appliance;
    }
    // podman, docker, and whatever else starts one program as the first.
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let marks = ["/run/.containerenv", "/.dockerenv"];
    match marks.iter().any(|mark| Path::new(mark).exists()) || first.trim() == FACTS.programs.gateway {
        true => Kind::Container,
        false => Kind::Host,
    }
}

fn settings(place: &Place) -> Seen<Settings> {
    match std::fs::read_to_string(&place.config) {
        Ok(text) => Ok(Settings::new(&place.config, &text)),
        // Then every default holds.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::new(&place.config, "")),
        Err(error) => hidden(format!("{}: {error}; run it as root", place.config.display())),
    }
}

/// What only a running appliance tells.
struct Running {
    status: Seen<Status>,
    keys: Seen<KeyList>,
    egress: Seen<egress::Status>,
    webhooks: Seen<BTreeMap<String, Info>>,
    approved: Seen<Approved>,
}

fn running(place: &Place) -> anyhow::Result<Running> {
    let (gateway, far) = (Socket::gateway(place), Socket::egress(place));
    block_on(async {
        let none = None::<&()>;
        let status: Seen<Status> =
            gateway.ask(Method::GET, "/status", none).await.map_err(|error| unheard(&error));
        let approved = far.ask(Method::GET, "/skills", none).await;
        let webhooks = match &status {
            Ok(status) => Ok(told(&far, status).await),
            Err(blind) => Err(blind.clone()),
        };
        Ok(Running {
            status,
            keys: far.ask(Method::GET, "/keys", none).await.map_err(|error| unheard(&error)),
            egress: far.ask(Method::GET, "/status", none).await.map_err(|error| unheard(&error)),
            webhooks,
            approved: approved.or_else(|_| written(place)),
        })
    })
}

/// That nothing runs is no reason to believe anything.
fn unheard(error: &anyhow::Error) -> Blind {
    match fault::exit_code(error) {
        fault::NOT_RUNNING => nothing_runs(),
        _ => Blind::Hidden(format!("{error:#}")),
    }
}

async fn told(egress: &Socket, status: &Status) -> BTreeMap<String, Info> {
    let mut all = BTreeMap::new();
    for bot in status.bots.iter().filter(|bot| bot.updates == Updates::Webhook) {
        // One that Telegram says nothing of is missing here, and that is no pass.
        if let Ok(info) = webhook::info(egress, &bot.name).await {
            all.insert(bot.name.to_string(), info);
        }
    }
    all
}

/// Egress's own file, when it does not run.
fn written(place: &Place) -> Seen<Approved> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        approved: Vec<Approval>,
    }
    let path = place.state.join(&FACTS.state.approved).join("approved.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => match toml::from_str::<Written>(&text) {
            Ok(written) => Ok(Approved { operator: written.approved, ..Approved::default() }),
            Err(_) => hidden(format!("{} is not understood", path.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Approved::default()),
        Err(error) => hidden(format!("{}: {error}; run it as root", path.display())),
    }
}

/// Asks the public DNS and the edge, so only where there is a tunnel to ask about.
fn tunnel_of(config: &Config) -> Seen<Vec<tunnel::Point>> {
    let called = config.telegram.bot.iter().any(|bot| bot.updates == Updates::Webhook);
    if !called || config.webhook.from != From::Tunnel {
        return absent("no bot is called through a tunnel");
    }
    Ok(tunnel::look(config))
}
