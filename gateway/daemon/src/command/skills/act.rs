//! `openclaw skills enable|disable|run|logs`: asked of the running gateway, so that they take effect at once and every call
//! goes the one way.

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use openclaw_wire::{
    admin::{Ran, RunTool, SkillCall, SwitchSkill},
    id::SkillId,
};

use crate::command::{
    fault,
    place::Place,
    socket::{Socket, block_on},
    status::table,
    terminal::clean,
};

/// Switches a skill.
pub fn switch(skill: &SkillId, on: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let wish = SwitchSkill { skill: skill.clone(), on };
    block_on(async { Socket::gateway(place).tell(Method::POST, "/skills/switch", Some(&wish)).await })?;
    println!("{skill} is {}.", if on { "on" } else { "off" });
    Ok(ExitCode::SUCCESS)
}

/// Runs a tool and prints what it says.
pub fn run(skill: &SkillId, tool: &str, arguments: &str, place: &Place) -> anyhow::Result<ExitCode> {
    let arguments =
        serde_json::from_str(arguments).context("read the arguments: they must be a JSON object")?;
    let wish = RunTool { skill: skill.clone(), tool: tool.to_owned(), arguments };
    let ran: Ran =
        block_on(async { Socket::gateway(place).ask(Method::POST, "/skills/run", Some(&wish)).await })?;
    println!("{}", clean(&ran.text));
    Ok(ExitCode::from(if ran.is_error { fault::FAILED } else { 0 }))
}

/// Prints what ran.
pub fn logs(skill: Option<&SkillId>, json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let path = match skill {
        Some(skill) => format!("/skills/calls?skill={skill}"),
        None => "/skills/calls".to_owned(),
    };
    let calls: Vec<SkillCall> =
        block_on(async { Socket::gateway(place).ask(Method::GET, &path, None::<&()>).await })?;
    if json {
        println!("{}", serde_json::to_string(&calls).context("encode")?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = table();
    lines.set_header(["when", "skill", "tool", "took", "ended"]);
    for call in &calls {
        let when = jiff::Timestamp::from_second(call.started).map(|at| at.to_string()).unwrap_or_default();
        let took = call.finished.map(|at| format!("{} s", at - call.started)).unwrap_or_default();
        let ended = match (call.finished, call.failed) {
            (None, _) => "runs, or was interrupted".to_owned(),
            (Some(_), Some(true)) => match &call.reason {
                Some(reason) => format!("failed: {reason}"),
                None => "failed".to_owned(),
            },
            (Some(_), Some(false)) => "well".to_owned(),
            (Some(_), None) => String::new(),
        };
        lines.add_row([&when, &call.skill, &call.tool, &took, &ended]);
    }
    println!("{}", clean(&lines.to_string()));
    Ok(ExitCode::SUCCESS)
}
