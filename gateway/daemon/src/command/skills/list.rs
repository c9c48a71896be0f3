//! `openclaw skills list`: every skill that is found, whether it can be used, and why not. Works without a running gateway.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use http::Method;
use openclaw_wire::{
    admin::Status,
    config::Config,
    id::SkillId,
    skill::{self, Skill},
};
use serde::Serialize;

use crate::command::{
    fault::Fault,
    place::Place,
    socket::{Socket, block_on},
    status::table,
    terminal::clean,
};

#[derive(Serialize)]
struct Listed {
    skill: String,
    folder: PathBuf,
    /// `None`: instructions only, or not readable.
    tools: Option<Vec<String>>,
    /// Why it can't be used.
    problem: Option<String>,
}

/// Lists them.
pub fn list(json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let config = Config::read(&place.config).unwrap_or_default();
    let running: Option<Status> =
        block_on(async { Ok(Socket::gateway(place).ask(Method::GET, "/status", None::<&()>).await.ok()) })?;
    let mut all: Vec<Listed> = Vec::new();
    for folder in folders(&config) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = running.iter().flat_map(|status| &status.skills).find(|known| known.id.as_str() == name);
        let mut problem = known.and_then(|known| known.problem.clone());
        if config.skills.disabled.iter().any(|id| id.as_str() == name) {
            problem = Some("off: it stands in `disabled` in section [skills] of openclaw.toml".into());
        }
        let tools = match skill::load(&folder) {
            Ok(skill) => skill.manifest.map(|manifest| {
                manifest.tool.iter().map(|tool| tool.name.as_str().to_owned()).collect::<Vec<_>>()
            }),
            Err(error) => {
                problem = Some(error.to_string());
                None
            }
        };
        all.push(Listed { skill: name, folder, tools, problem });
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all).context("encode")?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = table();
    lines.set_header(["skill", "tools", "state"]);
    for one in &all {
        let tools = match &one.tools {
            Some(tools) if tools.is_empty() => "an MCP server's".to_owned(),
            Some(tools) => tools.join(", "),
            None => "none: instructions only".into(),
        };
        lines.add_row([one.skill.as_str(), &tools, one.problem.as_deref().unwrap_or("on")]);
    }
    println!("{}", clean(&lines.to_string()));
    if let Some(why) = running.and_then(|status| status.skills_off) {
        println!("Skills are off: {}", clean(&why));
    }
    Ok(ExitCode::SUCCESS)
}

/// The folders of skills, as `openclaw run` finds them.
pub fn shelves(config: &Config) -> Vec<PathBuf> {
    bundled().into_iter().chain(config.skills.folders.iter().cloned()).collect()
}

/// The folder of those that came with the programs.
pub fn bundled() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    own.as_deref().and_then(Path::parent).and_then(Path::parent).map(|top| top.join("skills"))
}

fn folders(config: &Config) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for shelf in shelves(config) {
        let entries = std::fs::read_dir(shelf).into_iter().flatten().flatten();
        let mut inner: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        inner.sort();
        all.extend(inner);
    }
    all
}

/// A path is a folder; a name is looked for where `openclaw run` finds skills, by the configuration that is asked for then.
pub fn find(named: &str, config: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<Skill> {
    if named.contains('/') {
        let folder = Path::new(named).canonicalize().with_context(|| format!("open {named}"))?;
        return Ok(skill::load(&folder)?);
    }
    let id: SkillId = named.parse().context("read the skill's name")?;
    let found =
        shelves(&config()?).into_iter().map(|shelf| shelf.join(id.as_str())).find(|folder| folder.is_dir());
    let folder = found.ok_or_else(|| {
        Fault::new(
            format!("find the skill {id}: no folder of skills has it"),
            "give its folder as a path, like ./skills/NAME",
        )
    })?;
    Ok(skill::load(&folder)?)
}
