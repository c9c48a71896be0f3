//! What no single key of a manifest can see: ranges, duplicates, and keys that contradict each other. Each refusal names
//! the key, so that the message can name the line.

use std::{path::Component, time::Duration};

use super::{
    Manifest, PathGrant, Reach, Tool,
    line::Step::{self, At, Key},
};
use crate::file::LARGEST_MADE;

/// Where, and why not.
pub(super) type Wrong<'a> = (Vec<Step<'a>>, String);

/// Most fixed arguments, and most bytes of one.
const ARGS: usize = 64;
const ARG: usize = 4096;

/// Ceilings of the limits: what the gateway waits for at most, and what a small machine can bear.
const LONGEST: Duration = Duration::from_secs(600);
const LARGEST: u64 = 16 << 30;
const OUTPUT: u64 = 8 << 20;
/// Below this no program of any kind starts.
const LEAST_MEMORY: u64 = 4 << 20;

pub(super) fn coherent(manifest: &Manifest) -> Result<(), Wrong<'_>> {
    entry(manifest)?;
    limits(manifest)?;
    if manifest.permissions.makes.is_some_and(|most| most.0 > LARGEST_MADE) {
        return Err((
            vec![Key("permissions"), Key("makes")],
            format!("permissions: makes must be at most {} MiB", LARGEST_MADE >> 20),
        ));
    }
    paths(manifest)?;
    for (number, grant) in manifest.permissions.hosts.iter().enumerate() {
        let Reach::Argument(name) = &grant.reach else { continue };
        let takes = |tool: &Tool| tool.arguments.get("properties").and_then(|p| p.get(name)).is_some();
        if !manifest.mcp && !manifest.tool.iter().any(takes) {
            return Err((
                vec![Key("permissions"), Key("hosts"), At(number), Key("argument")],
                format!("no tool has an argument {name:?}"),
            ));
        }
    }
    if manifest.tool.is_empty() && !manifest.mcp {
        return Err((vec![], "no [[tool]]: without one the model can call nothing".into()));
    }
    manifest.tool.iter().enumerate().try_for_each(|(number, one)| tool(manifest, number, one))
}

fn entry(manifest: &Manifest) -> Result<(), Wrong<'_>> {
    let program = manifest.program.to_str().unwrap_or_default();
    let inside = manifest.program.components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || program.is_empty() || program.chars().any(char::is_control) {
        return Err((
            vec![Key("program")],
            format!("program {:?} must be a path inside the skill's folder", manifest.program),
        ));
    }
    if manifest.args.len() > ARGS {
        return Err((vec![Key("args")], format!("args: more than {ARGS}")));
    }
    if manifest.mcp && manifest.limits.processes < 2 {
        return Err((
            vec![Key("limits"), Key("processes")],
            "limits: processes must be at least 2 for an MCP server: its client is one of them".into(),
        ));
    }
    match manifest.args.iter().position(|arg| arg.len() > ARG || arg.contains('\0')) {
        Some(at) => Err((vec![Key("args"), At(at)], format!("args: longer than {ARG} bytes, or with a NUL"))),
        None => Ok(()),
    }
}

fn limits(manifest: &Manifest) -> Result<(), Wrong<'_>> {
    let limits = &manifest.limits;
    for (name, good, range) in [
        ("memory", (LEAST_MEMORY..=LARGEST).contains(&limits.memory.0), "4 MiB to 16 GiB"),
        ("disk", limits.disk.0 <= LARGEST, "at most 16 GiB"),
        ("output", limits.output.0 <= OUTPUT, "at most 8 MiB"),
        ("cpu", limits.cpu.0 <= LONGEST, "at most 10 min"),
        ("wall", limits.wall.0 <= LONGEST, "at most 10 min"),
        ("processes", (1..=256).contains(&limits.processes), "1 to 256"),
        ("files", (16..=4096).contains(&limits.files), "16 to 4096"),
    ] {
        if !good {
            return Err((vec![Key("limits"), Key(name)], format!("limits: {name} must be {range}")));
        }
    }
    Ok(())
}

fn paths(manifest: &Manifest) -> Result<(), Wrong<'_>> {
    let permissions = &manifest.permissions;
    let list = |name: &'static str, grants: &[PathGrant]| -> Vec<_> {
        let named = |(at, grant): (usize, &PathGrant)| (name, at, grant.inside());
        grants.iter().enumerate().map(named).collect()
    };
    let mut places = list("read", &permissions.read);
    places.extend(list("write", &permissions.write));
    for (number, (name, at, inside)) in places.iter().enumerate() {
        if places[..number].iter().any(|(_, _, other)| other == inside) {
            return Err((
                vec![Key("permissions"), Key(name), At(*at)],
                format!("permissions: two folders would both be {inside:?} for the skill"),
            ));
        }
    }
    Ok(())
}

fn tool<'a>(manifest: &'a Manifest, number: usize, tool: &'a Tool) -> Result<(), Wrong<'a>> {
    let name = tool.name.as_str();
    let wrong = |key: &'static str, message: String| {
        Err((vec![Key("tool"), At(number), Key(key)], format!("tool {name:?}: {message}")))
    };
    if manifest.tool[..number].iter().any(|other| other.name == tool.name) {
        return wrong("name", "it stands twice".into());
    }
    if manifest.mcp && tool.arguments.is_null() {
        return Ok(());
    }
    if tool.description.trim().is_empty() && !manifest.mcp {
        return wrong("description", "description is missing".into());
    }
    if tool.arguments.get("type").and_then(|kind| kind.as_str()) != Some("object") {
        return wrong("arguments", "arguments must be a JSON schema of type \"object\"".into());
    }
    let known = |argument: &str| tool.arguments.get("properties").and_then(|p| p.get(argument)).is_some();
    match tool.roles.keys().find(|argument| !known(argument)) {
        Some(argument) => Err((
            vec![Key("tool"), At(number), Key("roles"), Key(argument)],
            format!("tool {name:?}: roles names {argument:?}, which is no argument"),
        )),
        None => Ok(()),
    }
}
