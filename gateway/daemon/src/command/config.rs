//! `openclaw config check` finds every mistake in one go, each with its line and its mend; `show` prints what is in
//! force. Neither needs a running appliance.

use std::{fs, ops::Range, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;
use openclaw_wire::config::{Config, ConfigError, without_values};
use serde::Serialize;

use super::{fault, place::Place};

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Every mistake, with its line and what mends it
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The values in force, defaults included
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// One mistake.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Line in the file, from 1; none for what only several keys together do.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// More mistakes than anybody reads; it also bounds the work on a file that is no configuration at all.
const MOST: usize = 50;

/// Carries it out.
pub fn config(verb: &ConfigVerb, place: &Place) -> anyhow::Result<ExitCode> {
    let path = &place.config;
    match verb {
        ConfigVerb::Show { json } => {
            let config = Config::read(path)?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&config).context("encode")?),
                false => print!("{}", toml::to_string_pretty(&config).context("encode")?),
            }
            Ok(ExitCode::SUCCESS)
        }
        ConfigVerb::Check { json } => {
            let text = fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            let mistakes = check(&text);
            match json {
                true => println!("{}", serde_json::to_string_pretty(&mistakes).context("encode")?),
                false if mistakes.is_empty() => println!("{}: good", path.display()),
                false => {
                    for mistake in &mistakes {
                        let line = mistake.line.map(|line| format!(":{line}")).unwrap_or_default();
                        println!("{}{line}: {}", path.display(), mistake.message);
                    }
                }
            }
            Ok(ExitCode::from(if mistakes.is_empty() { 0 } else { fault::FAILED }))
        }
    }
}

/// Every mistake. The parser stops at the first, so each one found is blanked out (line numbers stay) and the rest is
/// read again.
pub fn check(text: &str) -> Vec<Mistake> {
    let mut rest = text.to_owned();
    let mut mistakes = Vec::new();
    while mistakes.len() < MOST {
        let Err(error) = toml::from_str::<Config>(&rest) else {
            mistakes.extend(conflict(&rest));
            break;
        };
        let span = error.span();
        let line = span.as_ref().map(|span| line_at(&rest, span.start) + 1);
        mistakes.push(Mistake { line, message: without_values(error.message().trim()) });
        let Some(blanked) = span.and_then(|span| blank(&rest, span)) else { break };
        rest = blanked;
    }
    mistakes.sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
    mistakes
}

/// What keys say together, once each of them is good.
fn conflict(text: &str) -> Option<Mistake> {
    match Config::parse(text, "openclaw.toml".as_ref()) {
        Ok(_) => None,
        Err(ConfigError::Conflict { message, mend, .. }) => {
            Some(Mistake { line: None, message: format!("{message}\n  mend: {mend}") })
        }
        Err(other) => Some(Mistake { line: None, message: other.to_string() }),
    }
}

fn line_at(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

/// The text with the lines of a mistake empty; a whole section when the mistake is its header. `None` when nothing was
/// left to take away.
fn blank(text: &str, span: Range<usize>) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let first = line_at(text, span.start);
    let mut last = line_at(text, span.end.saturating_sub(1).max(span.start));
    let header = |line: &str| line.trim_start().starts_with('[');
    if header(lines.get(first)?) {
        let next = lines.iter().skip(first + 1).position(|line| header(line));
        last = next.map_or(lines.len() - 1, |next| first + next);
    }
    if lines[first..=last.min(lines.len() - 1)].iter().all(|line| line.trim().is_empty()) {
        return None;
    }
    let kept = |(at, line): (usize, &&str)| if (first..=last).contains(&at) { "" } else { *line }.to_owned();
    Some(lines.iter().enumerate().map(kept).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::config::TEMPLATE;

    use super::check;

    fn found(text: &str) -> Vec<(Option<usize>, String)> {
        check(text).into_iter().map(|mistake| (mistake.line, mistake.message)).collect()
    }

    #[test]
    fn a_good_file_has_no_mistake() {
        assert_eq!(found(TEMPLATE), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn every_mistake_is_found_in_one_go_on_its_line() {
        let text = "profile = \"prod\"\n\n[turn]\nstep = 3\nseconds = \"x\"\n[bogus]\na = 1\nb = 2\n\
                    [access]\npeople = [\"@anna\"]\n[[model]]\nname = \"m\"\n[session]\nwindow = 1\n";
        let found = found(text);
        let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [Some(1), Some(4), Some(5), Some(6), Some(10), Some(11), None], "{found:#?}");
        for (at, part) in [
            (0, "unknown variant `prod`"),
            (1, "unknown field `step`"),
            (2, "invalid type"),
            (3, "unknown field `bogus`"),
            (4, "names can change hands"),
            (5, "missing field"),
            (6, "mend: window: 2048"),
        ] {
            assert!(found[at].1.contains(part), "{part}: {found:#?}");
        }
    }

    #[test]
    fn what_is_no_toml_ends_the_search() {
        assert!(!found("= = =").is_empty());
        assert!(found(&"[[[\n".repeat(500)).len() <= super::MOST);
        assert!(!found("a = \"\"\"never closed\n\n").is_empty());
    }
}
