//! `openclaw skills`: what each skill may do, and whether a folder is one. Reads; the runner alone executes.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use openclaw_wire::id::SkillId;

use super::place::Place;

mod approve;
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
    /// Let a skill reach the hosts that its manifest names, as long as no file of it changes
    Approve {
        /// Its folder, or its name if it stands in a folder of skills
        #[arg(value_name = "SKILL")]
        skill: String,
    },
    /// Take that back
    Revoke {
        /// Its name
        #[arg(value_name = "NAME")]
        skill: SkillId,
    },
}

/// Carries it out.
pub fn skills(verb: &SkillsVerb, place: &Place) -> anyhow::Result<ExitCode> {
    match verb {
        SkillsVerb::Check { folder, json } => check::check(folder, *json, place),
        SkillsVerb::Schema => {
            print!("{}", openclaw_wire::skill::SCHEMA);
            Ok(ExitCode::SUCCESS)
        }
        SkillsVerb::Approve { skill } => approve::approve(skill, place).map(|()| ExitCode::SUCCESS),
        SkillsVerb::Revoke { skill } => approve::revoke(skill, place).map(|()| ExitCode::SUCCESS),
    }
}
