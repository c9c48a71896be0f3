//! `openclaw skills`: what each skill may do, and whether a folder is one. Reads; the runner alone executes.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::place::Place;

mod check;

/// What to do with skills.
#[derive(Subcommand)]
pub enum SkillsVerb {
    /// Read a skill's folder (or a folder of skills) as the runner would: every mistake, with its line
    Check {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of skill.toml, for editors
    Schema,
}

/// Carries it out.
pub fn skills(verb: &SkillsVerb, place: &Place) -> anyhow::Result<ExitCode> {
    match verb {
        SkillsVerb::Check { folder, json } => check::check(folder, *json, place),
        SkillsVerb::Schema => {
            print!("{}", openclaw_wire::skill::SCHEMA);
            Ok(ExitCode::SUCCESS)
        }
    }
}
