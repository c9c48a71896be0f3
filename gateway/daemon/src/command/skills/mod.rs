//! `openclaw skills`: what each skill may do, whether a folder is one, switching, running, what ran. The runner alone
//! executes.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use openclaw_wire::id::SkillId;

use super::{JsonArgs, place::Place};

mod approve;
mod check;
mod list;
mod show;
mod act;

pub use self::list::{bundled, shelves};

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
    /// List all skills
    List(JsonArgs),
    /// Say in plain words what a skill may do
    Show {
        /// Its folder, or its name if it stands in a folder of skills
        #[arg(value_name = "SKILL")]
        skill: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a skill be used again
    Enable {
        /// Its name
        #[arg(value_name = "NAME")]
        skill: SkillId,
    },
    /// Switch a skill off, at once
    Disable {
        /// Its name
        #[arg(value_name = "NAME")]
        skill: SkillId,
    },
    /// Run a tool of a skill in its jail, as the assistant would
    Run {
        /// The skill's name
        #[arg(value_name = "NAME")]
        skill: SkillId,
        /// The tool
        #[arg(value_name = "TOOL")]
        tool: String,
        /// Its arguments, a JSON object
        #[arg(value_name = "ARGUMENTS", default_value = "{}")]
        arguments: String,
    },
    /// What ran lately, of one skill or of all
    Logs {
        /// The skill's name
        #[arg(value_name = "NAME")]
        skill: Option<SkillId>,
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
        SkillsVerb::List(args) => list::list(args.json, place),
        SkillsVerb::Show { skill, json } => show::show(skill, *json, place),
        SkillsVerb::Enable { skill } => act::switch(skill, true, place),
        SkillsVerb::Disable { skill } => act::switch(skill, false, place),
        SkillsVerb::Run { skill, tool, arguments } => act::run(skill, tool, arguments, place),
        SkillsVerb::Logs { skill, json } => act::logs(skill.as_ref(), *json, place),
        SkillsVerb::Schema => {
            print!("{}", openclaw_wire::skill::SCHEMA);
            Ok(ExitCode::SUCCESS)
        }
        SkillsVerb::Approve { skill } => approve::approve(skill, place).map(|()| ExitCode::SUCCESS),
        SkillsVerb::Revoke { skill } => approve::revoke(skill, place).map(|()| ExitCode::SUCCESS),
    }
}
