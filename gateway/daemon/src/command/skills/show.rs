//! `openclaw skills show`: what a skill may do, in plain words, out of its manifest. What is dangerous is said in red.

use std::{fmt::Write, io::IsTerminal, process::ExitCode};

use anyhow::Context;
use http::Method;
use openclaw_wire::{
    config::Config,
    skill::{Effect, HostGrant, PathGrant, Reach, Role, Size, Skill, Span, Tool},
};
use serde_json::json;

use crate::command::{
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// Marks a line that is printed in red; no text of a manifest can hold it, because control characters are refused or cut.
const RED: char = '\u{1}';

/// Shows it.
pub fn show(named: &str, json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let skill = super::list::find(named, || Ok(Config::read(&place.config).unwrap_or_default()))?;
    let offered = match &skill.manifest {
        Some(manifest) if manifest.mcp => offered(&skill, place)?,
        _ => None,
    };
    if json {
        let all = json!({ "skill": skill.id, "folder": skill.folder, "digest": skill.digest, "manifest": skill.manifest,
            "offered": offered });
        println!("{}", serde_json::to_string_pretty(&all).context("encode")?);
        return Ok(ExitCode::SUCCESS);
    }
    let colours = std::io::stdout().is_terminal();
    for line in words(&skill, offered.as_deref()).lines() {
        match line.strip_prefix(RED) {
            Some(line) if colours => println!("\u{1b}[31m{}\u{1b}[0m", clean(line)),
            Some(line) => println!("{}", clean(line)),
            None => println!("{}", clean(line)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What its server offers, as the running gateway knows it: only there servers are asked, in their jails. `None` when no
/// gateway runs.
fn offered(skill: &Skill, place: &Place) -> anyhow::Result<Option<Vec<Tool>>> {
    let path = format!("/skills/tools?skill={}", skill.id);
    block_on(async { Ok(Socket::gateway(place).ask(Method::GET, &path, None::<&()>).await.ok()) })
}

/// The whole text. `offered`: by an MCP server.
fn words(skill: &Skill, offered: Option<&[Tool]>) -> String {
    let mut text = format!("{} in {}\n", skill.id, skill.folder.display());
    let Some(manifest) = &skill.manifest else {
        text += "It has no skill.toml: it is instructions only, and executes nothing.\n";
        return text;
    };
    let program = manifest.program.display();
    let how = match &manifest.runtime {
        Some(runtime) => format!("It runs {program} by the interpreter {runtime}"),
        None => format!("It runs {program}"),
    };
    let server = if manifest.mcp { ", an MCP server" } else { "" };
    let _ = writeln!(text, "{how}{server}, in a jail.");
    let permissions = &manifest.permissions;
    let _ = writeln!(text, "It may read {}.", folders(&permissions.read));
    let _ = writeln!(text, "It may read and change {}.", folders(&permissions.write));
    text += match permissions.attachments {
        true => "It gets the attachments of a conversation that a call names, and no other, to read.\n",
        false => "It gets no attachment.\n",
    };
    if let Some(most) = permissions.makes {
        let most = String::from(most);
        let _ = writeln!(text, "It may make files that are sent to the chat, up to {most} in one call.");
    }
    if permissions.hosts.is_empty() {
        text += "It has no network at all.\n";
    }
    for grant in &permissions.hosts {
        text += &host(grant);
    }
    let limits = &manifest.limits;
    let (size, span) = (|size: Size| String::from(size), |span: Span| String::from(span));
    let _ = writeln!(
        text,
        "One call may use {} of memory, {} of CPU time, {} on the clock, {} processes, {} of output; write {} to files, and \
         hold {} open.",
        size(limits.memory),
        span(limits.cpu),
        span(limits.wall),
        limits.processes,
        size(limits.output),
        size(limits.disk),
        limits.files
    );
    match (manifest.mcp, offered) {
        (false, _) => tools(&manifest.tool, &mut text),
        (true, Some([])) => {
            text += "Its server has offered no tool so far; `openclaw skills list` says why, if it failed.\n"
        }
        (true, Some(offered)) => tools(offered, &mut text),
        (true, None) => {
            text += "What its server offers is shown while OpenClaw runs. Of that its skill.toml knows:\n";
            tools(&manifest.tool, &mut text);
            let _ = writeln!(text, "{RED}All else that it offers counts as the most dangerous kind.");
        }
    }
    text
}

fn folders(grants: &[PathGrant]) -> String {
    match grants {
        [] => "no folder".into(),
        _ => grants.iter().map(|grant| grant.as_str()).collect::<Vec<_>>().join(" and "),
    }
}

fn host(grant: &HostGrant) -> String {
    let place = match &grant.reach {
        Reach::Host(host) => format!("{}:{}", host.as_str(), grant.port),
        Reach::Argument(name) => {
            format!("any public host at port {} that the argument {name:?} of the call names", grant.port)
        }
    };
    if grant.tunnel {
        return format!("{RED}It may reach {place} UNSEEN: nobody can look at what it sends there.\n");
    }
    let methods: Vec<_> = grant.methods.iter().map(|method| method.as_str()).collect();
    let paths: Vec<_> = grant.paths.iter().map(|prefix| prefix.as_str()).collect();
    let key = match &grant.secret {
        Some((key, _)) => format!(", with the key {} that it never sees", key.as_str()),
        None => String::new(),
    };
    format!("It may reach {place} ({} {}){key}.\n", methods.join(" "), paths.join(" "))
}

fn tools(all: &[Tool], text: &mut String) {
    for tool in all {
        let red = if tool.effect == Effect::Read { String::new() } else { RED.to_string() };
        let _ = writeln!(
            text,
            "{red}The assistant can call {}: {} {}",
            tool.name.as_str(),
            effect(tool.effect),
            decides(tool)
        );
        let description = tool.description.split_whitespace().collect::<Vec<_>>().join(" ");
        if !description.is_empty() {
            let _ = writeln!(text, "  {description:?}");
        }
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "it only reads.",
        Effect::Fetch => "it fetches something from outside; you are asked.",
        Effect::WriteLocal => "it changes your files; you are asked.",
        Effect::Send => "it sends something to somebody; you are asked.",
        Effect::Pay => "it pays; you are asked.",
        Effect::Auth => "it uses or changes a way to log in; you are asked.",
        Effect::Delete => "it deletes; you are asked.",
        Effect::Exec => "it executes something; you are asked.",
        Effect::MemoryWrite => "it changes what the assistant remembers; you are asked.",
        Effect::Schedule => "it plans something for later; you are asked.",
        Effect::Install => "it installs something; you are asked.",
        Effect::Config => "it changes settings; you are asked.",
    }
}

/// Which arguments decide what happens.
fn decides(tool: &Tool) -> String {
    let all = tool.arguments.get("properties").and_then(|all| all.as_object());
    let names: Vec<_> =
        all.into_iter().flat_map(|all| all.keys()).filter(|name| tool.role(name) == Role::Control).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "What it does is decided by {}.",
            names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::skill::{self, Skill};

    #[test]
    fn what_a_skill_may_do_is_said_in_words() {
        let text = r#"program = "main.py"
runtime = "python"
[permissions]
read = ["~/documents"]
attachments = true
makes = "2 MiB"
hosts = [
  { host = "api.example.com", secret = "WEATHER_KEY" },
  { host = "pinned.example.com", tunnel = true },
]
[[tool]]
name = "look"
description = "looks\nat things"
effect = "send"
arguments = { type = "object", properties = { to = { type = "string" } } }
"#;
        let manifest = skill::parse(text, "skill.toml".as_ref()).expect("good");
        let mut skill = Skill {
            id: "a".parse().expect("id"),
            folder: "/s/a".into(),
            digest: String::new(),
            manifest: Some(manifest),
        };
        let said = super::words(&skill, None);
        for part in [
            "main.py by the interpreter python, in a jail.",
            "may read ~/documents.",
            "may read and change no folder.",
            "gets the attachments of a conversation that a call names, and no other, to read.",
            "may make files that are sent to the chat, up to 2 MiB in one call.",
            "api.example.com:443 (GET /), with the key WEATHER_KEY that it never sees.",
            "\u{1}It may reach pinned.example.com:443 UNSEEN",
            "128 MiB of memory, 5 s of CPU time, 20 s on the clock, 8 processes",
            "\u{1}The assistant can call look: it sends something to somebody; you are asked. What it does is decided by \"to\".",
            "\"looks at things\"",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        let manifest = skill.manifest.as_mut().expect("there");
        manifest.mcp = true;
        let tools = manifest.tool.clone();
        assert!(
            super::words(&skill, None).contains("\u{1}All else that it offers counts as the most dangerous")
        );
        assert!(super::words(&skill, Some(&[])).contains("no tool so far"));
        let offered = super::words(&skill, Some(&tools));
        assert!(offered.contains("can call look: it sends") && !offered.contains("All else"), "{offered}");
        skill.manifest = None;
        assert!(super::words(&skill, None).contains("executes nothing"));
    }
}
