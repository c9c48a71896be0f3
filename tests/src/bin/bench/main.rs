//! `make bench`: what the real programs cost, beside what the same machine does at most in the same run. Absolute
//! figures say more about the machine than about us; the ratios are what counts.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

mod accept;
mod far;
mod floor;
mod hook;
mod program;
mod report;
mod spawn;
mod through;
mod turns;
mod upstream;
mod way;

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    accept::settle,
    far::Far,
    program::{Api, Dist, Memory, Openclaw, PEOPLE},
    report::Report,
};

/// Measures speed and memory of the finished programs (`OPENCLAW_DIST`), with stand-ins at the far ends.
#[derive(Parser)]
struct Arguments {
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// 100,000 messages for the growth of memory
    #[arg(long)]
    full: bool,
    /// Messages for the growth of memory
    #[arg(long, default_value_t = 5_000)]
    soak: u64,
    /// Messages for CPU time
    #[arg(long, default_value_t = 8_192)]
    messages: u64,
    /// Updates in one round of accepts
    #[arg(long, default_value_t = 8_000)]
    updates: u64,
    /// Rounds of accepts; the middle counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Starts; the middle counts
    #[arg(long, default_value_t = 7)]
    starts: usize,
    /// Cold calls of each kind; the middle counts
    #[arg(long, default_value_t = 300)]
    spawns: usize,
    /// Requests of a skill, and for a model
    #[arg(long, default_value_t = 2_000)]
    requests: usize,
    /// Streamed answers of each kind; the middle counts
    #[arg(long, default_value_t = 3)]
    streams: usize,
    /// What the model server speaks
    #[arg(long, value_enum, default_value = "anthropic")]
    api: Api,
    /// A folder on the disk to measure [default: the folder for temporary files]
    #[arg(long)]
    disk: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(clap::Subcommand)]
enum Inner {
    /// A floor program, which the measurement starts itself
    #[command(hide = true, subcommand)]
    Floor(floor::Kind),
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Accepts,
    Cost,
    Delay,
    Start,
    Memory,
    Spawn,
    Way,
    Through,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Inner::Floor(kind)) = &arguments.inner {
        return floor::main(kind);
    }
    let report = measure(&arguments)?;
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", report.table()),
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let disk = tempfile::Builder::new()
        .prefix("openclaw-bench-")
        .tempdir_in(arguments.disk.clone().unwrap_or_else(std::env::temp_dir))?;
    std::fs::set_permissions(disk.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let (disk, far) = (disk.path(), Far::start()?);
    let dist = Dist::new(disk)?;
    let new = || Openclaw::new(&dist, disk, &far, arguments.api);
    let mut report = Report::default();

    if wanted(Part::Spawn) {
        eprintln!("{} calls of /bin/true", arguments.spawns);
        report.spawn = Some(spawn::measure(&dist, disk, arguments.spawns)?);
    }
    if wanted(Part::Way) {
        eprintln!("{} requests of a skill", arguments.requests);
        report.way = Some(way::measure(arguments.requests)?);
    }
    if wanted(Part::Through) {
        eprintln!("{} requests and {} streams through egress", arguments.requests, arguments.streams);
        report.through = through::measure(arguments.requests, arguments.streams)?;
    }
    if wanted(Part::Start) {
        eprintln!("starting {} times", arguments.starts + 1);
        let mut openclaw = new()?;
        report.first_start = Some(openclaw.start()?.as_secs_f64() * 1e3);
        let mut starts = Vec::new();
        for _ in 0..arguments.starts {
            openclaw.stop()?;
            starts.push(openclaw.start()?.as_secs_f64() * 1e3);
        }
        report.start = Some(middle(starts));
    }
    if wanted(Part::Memory) {
        let soak = if arguments.full { 100_000 } else { arguments.soak };
        eprintln!("{soak} messages for the growth of memory");
        let mut openclaw = new()?;
        openclaw.start()?;
        rest(&openclaw, Duration::from_secs(10))?;
        report.idle = Some(openclaw.memory()?);
        let people = PEOPLE.start..PEOPLE.start + 1_024;
        // Lanes in groups of 64, so that Telegram's pace of each chat is not what is waited for.
        let mut done = 0;
        while done < soak {
            for first in people.clone().step_by(64) {
                let count = 64.min(soak - done);
                turns::exchange(&far, openclaw.port, &openclaw.secret()?, first..first + 64, count)?;
                done += count;
            }
        }
        rest(&openclaw, Duration::from_secs(100))?;
        report.soaked = Some((soak, openclaw.memory()?));
    }
    if wanted(Part::Accepts) || wanted(Part::Cost) || wanted(Part::Delay) {
        let mut openclaw = new()?;
        openclaw.start()?;
        settle(&openclaw)?;
        if wanted(Part::Delay) {
            eprintln!("one message at a time");
            report.delay = Some(turns::delay(&openclaw, &far, disk, 300)?);
        }
        if wanted(Part::Cost) {
            eprintln!("{} messages over {} chats", arguments.messages, turns::CHATS);
            report.cost = Some(turns::cost(&openclaw, &far, disk, arguments.messages)?);
        }
        if wanted(Part::Accepts) {
            eprintln!("{} accepts in {} rounds", arguments.updates, arguments.rounds);
            report.accepts =
                Some(accept::measure(&openclaw, &far, disk, arguments.updates, arguments.rounds)?);
        }
    }
    report.model_calls = far.model_calls();
    Ok(report)
}

/// Comes to rest. After a burst it is a minute until the last idle connection is closed and its memory given back.
fn rest(openclaw: &Openclaw<'_>, time: Duration) -> anyhow::Result<()> {
    settle(openclaw)?;
    std::thread::sleep(time);
    Ok(())
}

/// The middle of some figures.
fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All of them together, in KiB.
fn total(memory: &[Memory]) -> u64 {
    memory.iter().map(|one| one.pss).sum()
}
