//! `openclaw doctor`: what is wrong, why it matters, and the command that mends it. Looks only; changes nothing, reads
//! no key, and works whether or not the appliance runs.

use std::process::ExitCode;

use anyhow::Context;
use openclaw_wire::config::{Config, Profile};
use serde::Serialize;

mod folder;
mod front;
mod kernel;
pub mod service;

use super::{config, fault, place::Place, terminal::clean};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work or is not safe. Exit code 1.
    Error,
    /// It works, but not as it could.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, for scripts.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was found, on what.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command or the edit that mends it.
    pub mend: String,
}

impl Finding {
    fn new(
        severity: Severity,
        id: &'static str,
        what: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) -> Self {
        Self { id, severity, what: what.into(), why, mend: mend.into() }
    }
}

/// Looks at everything and prints what it found, the worst first.
pub fn doctor(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let (config, mut findings) = standing(place);
    findings.extend(service::look(place, &config)?);
    findings.sort_by_key(|finding| finding.severity);
    match json {
        true => println!("{}", serde_json::to_string_pretty(&findings).context("encode the findings")?),
        false => print!("{}", clean(&describe(&findings))),
    }
    let errors = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(ExitCode::from(if errors { fault::FAILED } else { 0 }))
}

/// What can be seen whether or not it runs, and the configuration that is in force.
pub fn standing(place: &Place) -> (Config, Vec<Finding>) {
    let (config, mut findings) = configuration(place);
    findings.extend(folder::look(place));
    findings.extend(programs());
    findings.extend(kernel::look());
    findings.extend(front::look(place, &config));
    (config, findings)
}

fn describe(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { id, severity, what, why, mend } in findings {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text += &format!("{severity} [{id}] {what}\n  why:  {why}\n  mend: {mend}\n");
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text += "Looked at: configuration, state folder, keys, programs, kernel, certificate, models, bots, skills, disk. ";
    text += &match (errors, warnings) {
        (0, 0) => "Nothing is wrong.\n".to_owned(),
        _ => format!("Errors: {errors}, warnings: {warnings}.\n"),
    };
    text
}

fn configuration(place: &Place) -> (Config, Vec<Finding>) {
    let path = place.config.display();
    let text = match std::fs::read_to_string(&place.config) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is no configuration {path}");
            let why = "the first `openclaw run` writes one, with every key and its default";
            return (
                Config::default(),
                vec![Finding::new(Severity::Warning, "config-missing", what, why, "openclaw run")],
            );
        }
        Err(error) => {
            let what = format!("the configuration {path} can't be read: {error}");
            let why = "nothing starts without it";
            let mend = "use the account that owns it, or name another one with --config";
            return (
                Config::default(),
                vec![Finding::new(Severity::Error, "config-unreadable", what, why, mend)],
            );
        }
    };
    let mut findings: Vec<Finding> = config::check(&text)
        .into_iter()
        .map(|mistake| {
            let line = mistake.line.map(|line| format!(" line {line}")).unwrap_or_default();
            let what = format!("{path}{line}: {}", mistake.message);
            Finding::new(
                Severity::Error,
                "config",
                what,
                "nothing starts with a mistake in it",
                "openclaw config check",
            )
        })
        .collect();
    let config = Config::parse(&text, &place.config).unwrap_or_default();
    if findings.is_empty() && config.profile == Profile::Development {
        findings.push(Finding::new(
            Severity::Note,
            "profile-development",
            "the profile is `development`",
            "the processes start even where the kernel offers fewer barriers than they ask for",
            format!(
                "write `profile = \"production\"` into {path}, and start it from systemd, as root with --user NAME, \
                 or in a container with --cap-drop=ALL: an ordinary user cannot give up the bounding set"
            ),
        ));
    }
    (config, findings)
}

fn programs() -> Vec<Finding> {
    let Some(folder) =
        std::env::current_exe().ok().and_then(|own| own.parent().map(|folder| folder.to_owned()))
    else {
        return Vec::new();
    };
    let names = &openclaw_wire::facts::FACTS.programs;
    [&names.egress, &names.runner, &names.jail]
        .into_iter()
        .map(|name| folder.join(name))
        .filter(|path| !path.is_file())
        .map(|path| {
            Finding::new(
                Severity::Error,
                "program-missing",
                format!("{} is not there", path.display()),
                "`openclaw run` looks for the other programs beside this one",
                "make build",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Finding, Severity, describe};

    #[test]
    fn each_finding_says_what_why_and_how_to_mend_it() {
        let finding = Finding::new(Severity::Error, "an-id", "what it is", "why it matters", "mend --it");
        let text = describe(&[finding]);
        for part in ["ERROR [an-id] what it is", "why it matters", "mend: mend --it", "Errors: 1"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(describe(&[]).contains("Nothing is wrong."));
    }
}
