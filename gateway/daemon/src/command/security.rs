//! `openclaw security audit` is [`audit`]'s. `openclaw security drill` has this machine's jails attacked by `openclaw-runner --drill`,
//! prints what came of it, and tells the gateway, which turns skills off when something got through.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use openclaw_confine::spawn::{Identity, Start};
use openclaw_wire::{
    drill::{Cell, Drill, Mark},
    facts::FACTS,
};

mod audit;

use crate::page::drill::report;

use super::{
    fault,
    place::Place,
    run::account::Account,
    socket::{Socket, block_on},
    status::table,
    terminal::clean,
};

/// What to do about security.
#[derive(Subcommand)]
pub enum SecurityVerb {
    /// Look at everything that must be true: the ten points and more, each with its evidence and its mend
    Audit(audit::AuditArgs),
    /// Attack the jail, whole and with each barrier left out in turn; exit code 1 when something gets through
    Drill {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Hold none: tell the gateway what this report says, which `openclaw-drill.service` wrote
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
}

/// Carries it out.
pub fn security(verb: &SecurityVerb, place: &Place) -> anyhow::Result<ExitCode> {
    match verb {
        SecurityVerb::Audit(args) => audit::audit(args, place),
        SecurityVerb::Drill { json, report } => drill(*json, report.as_deref(), place),
    }
}

fn drill(json: bool, report: Option<&Path>, place: &Place) -> anyhow::Result<ExitCode> {
    let drill = match report {
        Some(file) => std::fs::read_to_string(file)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_str(&text)?))
            .with_context(|| format!("read the report {}", file.display()))?,
        None => match by_systemd(place)? {
            Some(drill) => drill,
            None => hold(place)?,
        },
    };
    let failed = drill.failed();
    match json {
        true => println!("{}", serde_json::to_string(&drill).context("encode")?),
        false => println!("{}", clean(&words(&drill, &failed))),
    }
    let told = block_on(async { Socket::gateway(place).tell(Method::POST, "/drill", Some(&drill)).await });
    match told {
        Ok(()) if !failed.is_empty() => eprintln!("Skills are off until a drill holds."),
        Err(error) if fault::exit_code(&error) != fault::NOT_RUNNING => return Err(error),
        // Nothing runs here that could be turned off.
        _ => {}
    }
    Ok(ExitCode::from(if failed.is_empty() { 0 } else { fault::FAILED }))
}

/// In the appliance: under the very conditions of the unit that makes jails, a cgroup for each call among them. `None` where
/// there is no such door, or it is not this user's.
fn by_systemd(place: &Place) -> anyhow::Result<Option<Drill>> {
    if place.state != FACTS.install.state {
        return Ok(None);
    }
    match UnixStream::connect(&FACTS.unix.drill_for_gateway) {
        Ok(door) => Ok(Some(
            report(door)
                .context("have systemd hold a drill; journalctl -u 'openclaw-drill-door@*' says more")?,
        )),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied => {
                Ok(None)
            }
            _ => Err(error).context("have systemd hold a drill"),
        },
    }
}

/// As the account that the jails run under: root's jails would be others.
fn hold(place: &Place) -> anyhow::Result<Drill> {
    let program = std::env::current_exe().context("find this program's own file")?;
    let program = program.with_file_name(&FACTS.programs.runner);
    let owner = std::fs::metadata(&place.state).ok().filter(|_| rustix::process::geteuid().is_root());
    let mut start = Start::new(&program).arg("--drill");
    let identity = match owner {
        // In the appliance the state is root's; the runner has a user of its own, and a folder on a disk for this.
        Some(data) if data.uid() == 0 => match Account::find(&FACTS.users.runner) {
            Ok(account) => {
                start = start.env("TMPDIR", place.state.join(&FACTS.state.drill).to_string_lossy());
                Some(Identity { uid: account.uid, gid: account.gid })
            }
            Err(_) => None,
        },
        owner => owner.map(|data| Identity { uid: data.uid(), gid: data.gid() }),
    };
    let (read, write) = std::io::pipe().context("make a pipe")?;
    let mut child = start
        .standard(0, File::open("/dev/null")?.into())
        .standard(1, write.into())
        .identity(identity)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let mut text = String::new();
    File::from(std::os::fd::OwnedFd::from(read)).read_to_string(&mut text).context("read the drill")?;
    child.wait().context("wait for the drill")?;
    serde_json::from_str(&text).context("read the drill: are all programs of one release?")
}

fn words(drill: &Drill, failed: &[String]) -> String {
    let mut lines = table();
    let columns = ["probe", "outside", "in the jail"].map(str::to_owned).into_iter();
    lines.set_header(columns.chain(drill.barriers.iter().map(|name| format!("no {name}"))));
    for row in &drill.probes {
        let outside = if row.proven() { "works" } else { "-" };
        let cells = [format!("{}: {}", row.group, row.name), outside.into(), cell(&row.whole)];
        lines.add_row(cells.into_iter().chain(row.without.iter().map(cell)));
    }
    let proven = drill.probes.iter().filter(|row| row.proven()).count();
    let verdict = match failed {
        [] => "The jail held, also with any one barrier missing.".to_owned(),
        _ => format!("FAILED:\n  {}", failed.join("\n  ")),
    };
    format!(
        "{lines}\n\n{} probes, {proven} of which work outside; {:.1} s.\n\
         held: refused; open: it got through; alone: the missing barrier is the only one against it, and it leads to \
         nothing outside.\n{verdict}",
        drill.probes.len(),
        drill.took_ms as f64 / 1000.0
    )
}

fn cell(cell: &Cell) -> String {
    match cell.mark {
        Mark::Held => "held",
        Mark::Open => "OPEN",
        Mark::Alone => "alone",
        Mark::Untried => "",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use openclaw_wire::drill::{Cell, Drill, Mark, Row};

    #[test]
    fn a_breach_is_named_and_too_few_probes_are_no_drill() {
        let cell = |mark| Cell { mark, said: String::new() };
        let row = |name: &str, whole, without| Row {
            group: "files".into(),
            name: name.into(),
            control: cell(Mark::Open),
            whole: cell(whole),
            without: vec![cell(without)],
        };
        let mut drill = Drill {
            barriers: vec!["seccomp".into()],
            probes: (0..60).map(|n| row(&n.to_string(), Mark::Held, Mark::Alone)).collect(),
            problem: None,
            took_ms: 1,
        };
        assert!(drill.failed().is_empty());
        assert!(super::words(&drill, &[]).contains("The jail held"));
        drill.probes[3].without[0].mark = Mark::Open;
        drill.probes[4].whole.mark = Mark::Untried;
        assert_eq!(drill.failed(), ["files: 3", "files: 4"]);
        assert!(super::words(&drill, &drill.failed()).contains("FAILED:\n  files: 3"));
        drill.probes.truncate(10);
        assert!(drill.failed().iter().any(|text| text.contains("only 10 probes work")));
    }
}
