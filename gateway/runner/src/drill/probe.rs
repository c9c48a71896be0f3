//! The program that attacks: this very program, inside a jail and outside. Each probe that asks is a process of its own,
//! because the filter kills for some.

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode, Stdio},
};

use serde::Deserialize;

use super::{
    PROBE,
    probes::{self, Act, Told},
    scene::Places,
};

/// What it is told, as a [`openclaw_wire::runner::Task`].
#[derive(Deserialize)]
struct Asked {
    tool: String,
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    places: Places,
    #[serde(default)]
    name: String,
}

/// Its `main`: `rest` is what follows [`PROBE`].
pub fn main(rest: &[String]) -> ExitCode {
    let done = match rest {
        [name, places] => {
            serde_json::from_str(places).map_err(io::Error::from).and_then(|places| one(name, &places))
        }
        _ => serde_json::from_reader(io::stdin().lock()).map_err(io::Error::from).and_then(task),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn one(name: &str, places: &Places) -> io::Result<()> {
    let probe = probes::all().into_iter().find(|probe| probe.name == name).ok_or(io::ErrorKind::NotFound)?;
    Ok(serde_json::to_writer(io::stdout().lock(), &probe.run(places))?)
}

fn task(told: Asked) -> io::Result<()> {
    let places = &told.arguments.places;
    if told.tool == "amount" {
        return one(&told.arguments.name, places);
    }
    let mut seen = BTreeMap::new();
    for probe in probes::all() {
        if !matches!(probe.act, Act::Amount(_)) {
            let told = alone(&probe.name, places)?;
            seen.insert(probe.name, told);
        }
    }
    Ok(serde_json::to_writer(io::stdout().lock(), &seen)?)
}

/// Runs one in a process of its own.
fn alone(name: &str, places: &Places) -> io::Result<Told> {
    let places_ = serde_json::to_string(places)?;
    let output = Command::new(places.skill.join("bin/probe"))
        .args([PROBE, name, &places_])
        .stdin(Stdio::null())
        .output()?;
    match output.status.signal() {
        Some(signal) => Ok(Told::Killed(signal)),
        None => serde_json::from_slice(&output.stdout)
            .map_err(|_| io::Error::other(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}
