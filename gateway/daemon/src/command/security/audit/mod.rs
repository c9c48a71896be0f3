//! `openclaw security audit`: the ten points and every further check, with evidence and mend. Looks only, unless `--fix` is given;
//! tells the gateway what it found, which shows it on the status page.

mod attest;
mod edit;
mod fix;
mod gather;
mod run;
mod sarif;
mod show;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};
use http::Method;
use openclaw_wire::audit::{self, Audit, Outcome};

use crate::{
    audit::{checks, hold, verdict},
    command::{
        fault,
        place::Place,
        socket::{Socket, block_on},
        terminal::clean,
    },
};

/// Options of `openclaw security audit`.
#[derive(Args)]
pub struct AuditArgs {
    /// Mend what can be mended without opening anything, and say what was done
    #[arg(long, conflicts_with_all = ["list", "attest", "withdraw"])]
    fix: bool,
    /// List those that passed, too
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
    /// Let only what is this bad, or worse, decide the exit code
    #[arg(long, value_name = "SEVERITY", default_value = "low")]
    severity: Least,
    /// Print every check that there is, and look at nothing
    #[arg(long, conflicts_with_all = ["attest", "withdraw", "sarif"])]
    list: bool,
    /// Vouch for a check that no program can see; your word counts for half a year
    #[arg(long, value_name = "ID", requires = "note")]
    attest: Option<String>,
    /// What you looked at, or did
    #[arg(long, value_name = "TEXT", requires = "attest")]
    note: Option<String>,
    /// Take your word back
    #[arg(long, value_name = "ID", conflicts_with = "attest")]
    withdraw: Option<String>,
}

/// A severity on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Least {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Least> for audit::Severity {
    fn from(least: Least) -> Self {
        match least {
            Least::Low => Self::Low,
            Least::Medium => Self::Medium,
            Least::High => Self::High,
            Least::Critical => Self::Critical,
        }
    }
}

/// Carries it out.
pub fn audit(args: &AuditArgs, place: &Place) -> anyhow::Result<ExitCode> {
    if args.list {
        match args.json {
            true => println!("{}", serde_json::to_string_pretty(&described()).context("encode the list")?),
            false => println!("{}", show::list()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(id) = args.attest.as_ref().or(args.withdraw.as_ref()) {
        attest::write(place, id, args.note.as_deref())?;
        println!(
            "{id}: {}",
            if args.note.is_some() { "written down, for half a year" } else { "taken back" }
        );
        return Ok(ExitCode::SUCCESS);
    }
    let world = gather::world(place)?;
    let mut found = hold(&world);
    if args.fix {
        let done = mend(&world);
        found = hold(&gather::world(place)?);
        for check in &mut found.checks {
            check.fixed = done.get(check.id.as_str()).cloned().unwrap_or_default();
        }
    }
    match (args.json, args.sarif) {
        (true, _) => println!("{}", serde_json::to_string_pretty(&found).context("encode the audit")?),
        (_, true) => {
            println!(
                "{}",
                serde_json::to_string_pretty(&sarif::Log::of(&found)).context("encode the audit")?
            );
        }
        _ => print!("{}", clean(&show::words(&found, args.all, args.fix))),
    }
    tell(&found, place);
    Ok(ExitCode::from(code(&found, args.severity.into())))
}

/// Every check, with nothing known of it.
fn described() -> Vec<serde_json::Value> {
    let describe = |check: &verdict::Check| {
        serde_json::json!({
            "id": check.id, "point": check.point, "area": check.area, "severity": check.severity,
            "title": check.title, "attestable": check.attestable,
        })
    };
    checks::all().map(describe).collect()
}

/// Unknown is no pass, and it is no failure either: scripts get to know which it was.
fn code(found: &Audit, least: audit::Severity) -> u8 {
    match (found.count(Outcome::Fail, least), found.count(Outcome::Unknown, least)) {
        (0, 0) => 0,
        (0, _) => fault::NOT_KNOWN,
        _ => fault::FAILED,
    }
}

/// What was done about each check that failed. Two checks may name one file; it is mended once.
fn mend(world: &crate::audit::world::World) -> BTreeMap<&'static str, Vec<String>> {
    let mut done = BTreeMap::new();
    for check in checks::all() {
        let acts: Vec<String> = verdict::fixes(check, world)
            .iter()
            .map(|fix| fix::carry_out(fix).unwrap_or_else(|error| format!("could not: {error:#}")))
            .collect();
        if !acts.is_empty() {
            done.insert(check.id, acts);
        }
    }
    done
}

/// For the status page. That nothing runs, or that it is of another release, changes nothing about what was found.
fn tell(found: &Audit, place: &Place) {
    let told = block_on(async { Socket::gateway(place).tell(Method::POST, "/audit", Some(found)).await });
    if let Err(error) = told
        && fault::exit_code(&error) != fault::NOT_RUNNING
    {
        eprintln!("openclaw: the status page does not get to know of this audit: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::audit::{Audit, Checked, Outcome, Place, Severity};

    use super::{code, sarif, show};

    pub fn audit(outcomes: &[(Outcome, Severity)]) -> Audit {
        let check = |(at, (outcome, severity)): (usize, &(Outcome, Severity))| Checked {
            id: format!("check-{at}"),
            point: (at == 0).then_some(1),
            area: "keys".into(),
            severity: *severity,
            title: format!("title {at}"),
            outcome: *outcome,
            evidence: "evidence".into(),
            mend: if *outcome == Outcome::Fail { "mend it".into() } else { String::new() },
            fix: Vec::new(),
            fixed: Vec::new(),
        };
        Audit {
            at: 1_800_000_000,
            version: "0.1.0".into(),
            place: Place::Host,
            checks: outcomes.iter().enumerate().map(check).collect(),
        }
    }

    #[test]
    fn unknown_is_no_pass() {
        use Outcome::{Attested, Fail, NotApplicable, Pass, Unknown};
        use Severity::{Critical, High, Low};
        for (outcomes, least, expected) in [
            ([(Pass, High), (NotApplicable, High)], Low, 0),
            ([(Pass, High), (Attested, High)], Low, 0),
            ([(Pass, High), (Unknown, High)], Low, 4),
            ([(Fail, Low), (Unknown, High)], Low, 1),
            ([(Fail, Low), (Unknown, High)], High, 4),
            ([(Fail, Low), (Unknown, High)], Critical, 0),
        ] {
            assert_eq!(code(&audit(&outcomes), least), expected, "{outcomes:?}");
        }
    }

    #[test]
    fn people_read_the_points_first_and_then_what_is_wrong() {
        let found = audit(&[
            (Outcome::Pass, Severity::High),
            (Outcome::Fail, Severity::High),
            (Outcome::Pass, Severity::Low),
        ]);
        let text = show::words(&found, false, false);
        for part in [
            " 1 pass",
            "title 0 [check-0, high]",
            "Failed\n   FAIL      title 1",
            "mend: mend it",
            "Passed: 2, failed: 1",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("title 2"), "{text}");
        assert!(show::words(&found, true, false).contains("title 2"));
        assert!(show::list().contains("key-file-private"));
    }

    #[test]
    fn only_a_failure_has_a_level_in_sarif() {
        use Outcome::{Attested, Fail, NotApplicable, Pass, Unknown};
        let found =
            audit(&[Pass, Fail, Attested, Unknown, NotApplicable].map(|outcome| (outcome, Severity::High)));
        let log = serde_json::to_value(sarif::Log::of(&found)).expect("encodes");
        let results = log["runs"][0]["results"].as_array().expect("results");
        let pairs: Vec<_> = results.iter().map(|one| (one["kind"].as_str(), one["level"].as_str())).collect();
        let expected = [
            ("pass", "none"),
            ("fail", "error"),
            ("review", "none"),
            ("open", "none"),
            ("notApplicable", "none"),
        ];
        assert_eq!(pairs, expected.map(|(kind, level)| (Some(kind), Some(level))));
        assert_eq!(log["runs"][0]["invocations"][0]["endTimeUtc"], "2027-01-15T08:00:00Z");
    }
}
