//! The drill: attacks a real jail, whole and with each barrier left out in turn, and shows first that each attack works where
//! nothing stops it. Touches nothing but its own folder, sockets and processes.
//!
//! [`probes`] is what is tried, [`scene`] what it is tried on; [`probe`] is the program inside, which is this program again.

mod amounts;
mod files;
mod network;
mod own;
pub mod probe;
mod probes;
mod processes;
mod race;
mod scene;

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use openclaw_confine::Barrier;
use openclaw_wire::{
    drill::{Cell, Drill, Mark, Row},
    runner::{Outcome, Task},
    skill::{Limits, Size, Span},
};
use serde_json::json;

use crate::{
    call::Jailer,
    cgroup::Cgroups,
    running::Handed,
    skills::Ready,
    spec::{self, Grant, Skill, Spec},
};
use probes::{Act, Probe, Told};
use scene::Scene;

/// The argument with which this program becomes the probe.
pub const PROBE: &str = "--probe";

/// Holds a drill and prints it as JSON. Succeeds when the jail held.
pub fn main(jailer: impl FnOnce(Option<Cgroups>) -> anyhow::Result<Jailer>) -> ExitCode {
    let begun = Instant::now();
    let held = jailer(Cgroups::take().ok()).and_then(|jailer| hold(&jailer));
    let (probes, problem) = match held {
        Ok(probes) => (probes, None),
        Err(error) => (Vec::new(), Some(format!("hold a drill: {error:#}"))),
    };
    let barriers = Barrier::ALL.map(|barrier| barrier.word().to_owned()).into();
    let drill = Drill { barriers, probes, problem, took_ms: begun.elapsed().as_millis() as u64 };
    let failed = drill.failed();
    let printed = serde_json::to_writer(std::io::stdout().lock(), &drill);
    let _closed = writeln!(std::io::stdout());
    match printed.is_ok() && failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Has a process of its own hold a drill; an error says what got through.
pub fn as_child() -> Result<(), String> {
    let held = || -> anyhow::Result<Vec<String>> {
        let own = std::env::current_exe()?;
        let output = Command::new(own).arg("--drill").stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        Ok(serde_json::from_slice::<Drill>(&output.stdout)?.failed())
    };
    match held() {
        Ok(failed) if failed.is_empty() => Ok(()),
        Ok(failed) => Err(format!(
            "the drill failed ({}); mend: `openclaw security drill` shows each probe",
            failed.iter().take(5).cloned().collect::<Vec<_>>().join("; ")
        )),
        Err(error) => Err(format!("the drill could not be held: {error:#}")),
    }
}

/// What every probe came to in one jail.
type Seen = BTreeMap<String, Told>;

fn hold(jailer: &Jailer) -> anyhow::Result<Vec<Row>> {
    let scene = Scene::make()?;
    let probes = probes::all();
    let outside = scene.outside()?;
    // Namespaces stay, so that what only root of a namespace can do is shown without doing it to the machine.
    let bare: Vec<_> = Barrier::ALL.into_iter().filter(|barrier| *barrier != Barrier::Namespaces).collect();
    let bare = all_in(jailer, &scene, &bare)?;
    let whole = all_in(jailer, &scene, &[])?;
    let mut without = Vec::new();
    for barrier in Barrier::ALL {
        without.push((barrier, all_in(jailer, &scene, &[barrier])?));
    }
    let mut rows: Vec<Row> = probes
        .iter()
        .map(|probe| Row {
            group: probe.group.into(),
            name: probe.name.clone(),
            control: control(probe, [&outside, &bare]),
            whole: cell(probe, &whole, None),
            without: without.iter().map(|(barrier, seen)| cell(probe, seen, Some(*barrier))).collect(),
        })
        .collect();
    rows.push(race::row(jailer, &scene)?);
    Ok(rows)
}

/// Runs every probe in one jail: those that ask in one, and each amount in its own.
fn all_in(jailer: &Jailer, scene: &Scene, without: &[Barrier]) -> anyhow::Result<Seen> {
    scene.fill()?;
    let places = scene.places(without);
    let task = Task { tool: "all".into(), arguments: json!({ "places": places }) };
    let ready = ready(scene, without, limits(None));
    let task = serde_json::to_vec(&task)?;
    let mut seen: Seen = match jailer.run(&ready, task, Handed::default(), None, |_| ()).outcome {
        Outcome::Output(text) => serde_json::from_str(&text)?,
        Outcome::Failed { detail, .. } => anyhow::bail!("a jail for the probes: {detail}"),
    };
    // The amounts are about two of the barriers.
    if !without.iter().all(|barrier| [Barrier::Rlimits, Barrier::Watchdog].contains(barrier)) {
        return Ok(seen);
    }
    for probe in probes::all() {
        let Act::Amount(amount) = probe.act else { continue };
        scene.fill()?;
        let task = Task { tool: "amount".into(), arguments: json!({ "places": places, "name": probe.name }) };
        let ready = self::ready(scene, without, limits(Some(amount)));
        let task = serde_json::to_vec(&task)?;
        let told = match jailer.run(&ready, task, Handed::default(), None, |_| ()).outcome {
            Outcome::Output(text) => serde_json::from_str(&text)?,
            Outcome::Failed { reason, detail } => Told::Refused(format!("{reason:?}: {detail}")),
        };
        seen.insert(probe.name, told);
    }
    Ok(seen)
}

/// What a call of the drill may use up: little, so that each amount is soon reached, but time for all the probes.
fn limits(amount: Option<amounts::Amount>) -> Limits {
    use std::time::Duration;
    let seconds = |seconds| Span(Duration::from_secs(seconds));
    let wall = if amount == Some(amounts::Amount::Time) { 1 } else { 120 };
    Limits {
        memory: Size(if amount.is_some() { 64 << 20 } else { 512 << 20 }),
        cpu: seconds(if amount.is_some() { 1 } else { 60 }),
        wall: seconds(wall),
        processes: if amount.is_some() { 8 } else { 64 },
        output: Size(if amount.is_some() { 64 << 10 } else { 1 << 20 }),
        disk: Size(if amount.is_some() { 8 << 20 } else { 1 << 30 }),
        files: 64,
    }
}

fn ready(scene: &Scene, without: &[Barrier], limits: Limits) -> Ready {
    let grant = |name: &str, write| Grant {
        name: format!("~/{name}"),
        host: scene.folder().join(name),
        inside: format!("/files/{name}").into(),
        write,
    };
    let spec = Spec {
        skill: Some(Skill {
            folder: scene.folder().join("skill"),
            digest: scene.digest().to_owned(),
            program: "bin/probe".into(),
            runtime: None,
            args: vec![PROBE.into()],
            client: None,
        }),
        grants: vec![grant("documents", false), grant("out", true)],
        required: false,
        limits: spec::Limits::of(&limits),
        without: without.to_vec(),
        attached: Vec::new(),
        makes: None,
        authority: None,
    };
    Ready { spec, limits, weight: scene.weight(), hosts: false }
}

/// Works in one of the places where nothing stops it.
fn control(probe: &Probe, places: [&Seen; 2]) -> Cell {
    let told: Vec<_> = places.iter().filter_map(|seen| seen.get(&probe.name)).collect();
    match told.iter().find(|told| told.open()).or(told.first()) {
        Some(told) if told.open() => Cell { mark: Mark::Open, said: told.words() },
        Some(told) => {
            Cell { mark: Mark::Untried, said: format!("cannot be shown on this machine: {}", told.words()) }
        }
        None => Cell { mark: Mark::Untried, said: "not tried".into() },
    }
}

fn cell(probe: &Probe, seen: &Seen, left_out: Option<Barrier>) -> Cell {
    let Some(told) = seen.get(&probe.name) else {
        return Cell { mark: Mark::Untried, said: String::new() };
    };
    let alone = left_out.is_some_and(|barrier| probe.alone(barrier));
    let mark = match (told.open(), alone) {
        (false, _) => Mark::Held,
        (true, true) => Mark::Alone,
        (true, false) => Mark::Open,
    };
    Cell { mark, said: told.words() }
}
