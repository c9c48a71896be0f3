//! `openclaw skills check DIR`: every mistake of a skill's folder, before anybody trusts it. Executes nothing of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use openclaw_wire::{
    config::Config,
    skill::{self, Manifest, SkillError},
};
use serde::Serialize;

use crate::{
    command::{fault, place::Place, terminal::clean},
    skill::Words,
};

/// What was found in one folder.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Its name.
    skill: String,
    /// The digest that an approval would be bound to.
    digest: Option<String>,
    /// What makes it unusable.
    mistakes: Vec<String>,
    /// What else is worth knowing.
    notes: Vec<String>,
}

/// Checks one skill, or each skill in a folder of skills.
pub fn check(folder: &Path, json: bool, place: &Place) -> anyhow::Result<ExitCode> {
    let folder = folder.canonicalize().with_context(|| format!("open {}", folder.display()))?;
    // Without a configuration there are no runtimes; that is said where one is asked for.
    let config = Config::read(&place.config).unwrap_or_default();
    let found: Vec<Found> = folders(&folder)?.iter().map(|folder| look(folder, &config)).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&found).context("encode")?);
    } else {
        found.iter().for_each(print);
    }
    let good = found.iter().all(|each| each.mistakes.is_empty());
    Ok(ExitCode::from(if good { 0 } else { fault::FAILED }))
}

/// The folder itself if it is a skill, else the skills in it.
fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_skill = |folder: &Path| ["SKILL.md", "skill.toml"].iter().any(|name| folder.join(name).is_file());
    if is_skill(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut inner: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_skill(path)).collect();
    inner.sort();
    anyhow::ensure!(!inner.is_empty(), "{} holds no skill (a folder with SKILL.md)", folder.display());
    Ok(inner)
}

/// Every mistake of one folder.
fn look(folder: &Path, config: &Config) -> Found {
    let skill = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut mistakes, mut notes) = (Vec::new(), Vec::new());
    match fs::read_to_string(folder.join("SKILL.md")) {
        Err(error) => mistakes.push(format!("read SKILL.md: {error}")),
        Ok(text) => {
            match Words::read(&text, &skill) {
                Err(errors) => mistakes.extend(errors.into_iter().map(|error| format!("SKILL.md: {error}"))),
                Ok(words) => {
                    notes.extend(words.notes.iter().map(|note| format!("SKILL.md: {note}")));
                    notes.extend(words.asks.iter().map(|ask| {
                        format!("its OpenClaw metadata asks for {ask}; that grants nothing here")
                    }));
                }
            }
        }
    }
    let loaded = skill::load(folder);
    let digest = match &loaded {
        Ok(skill) => Some(skill.digest.clone()),
        Err(_) => skill::digest(folder).ok(),
    };
    match loaded {
        Ok(loaded) => match &loaded.manifest {
            None => notes.push("without skill.toml it is instructions only, and executes nothing".into()),
            Some(manifest) => runs(folder, manifest, config, &mut mistakes, &mut notes),
        },
        Err(SkillError::Manifest { line, message, .. }) => {
            mistakes.push(format!(
                "skill.toml{}: {message}",
                line.map(|line| format!(":{line}")).unwrap_or_default()
            ));
        }
        Err(error) => mistakes.push(error.to_string()),
    }
    Found { skill, digest, mistakes, notes }
}

/// What only the folder and this machine can tell of a good manifest.
fn runs(
    folder: &Path,
    manifest: &Manifest,
    config: &Config,
    mistakes: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    let program = folder.join(&manifest.program);
    let name = manifest.program.display();
    match (fs::metadata(&program), &manifest.runtime) {
        (Err(error), _) => mistakes.push(format!("skill.toml: program {name}: {error}")),
        (Ok(data), _) if !data.is_file() => mistakes.push(format!("skill.toml: program {name} is no file")),
        (Ok(data), None) if data.permissions().mode() & 0o111 == 0 => {
            mistakes.push(format!("skill.toml: program {name} is not executable; mend: chmod +x, or name a runtime"));
        }
        (Ok(_), None) => {}
        (Ok(_), Some(runtime)) => match config.skills.runtime.get(runtime) {
            None => notes.push(format!(
                "no runtime {runtime} on this machine; mend: [skills.runtime.{runtime}] with its `path` in openclaw.toml"
            )),
            Some(known) if !known.path.is_file() => {
                notes.push(format!("the runtime {runtime} ({}) does not exist", known.path.display()));
            }
            Some(_) => {}
        },
    }
    for tool in manifest.tool.iter().filter(|tool| !tool.arguments.is_null()) {
        if let Err(error) = jsonschema::validator_for(&tool.arguments) {
            mistakes.push(format!(
                "skill.toml: tool {:?}: arguments are no JSON schema: {error}",
                tool.name.as_str()
            ));
        }
    }
    for host in manifest.permissions.hosts.iter().filter(|host| host.tunnel) {
        if let skill::Reach::Host(host) = &host.reach {
            notes.push(format!("what it sends to {} through the tunnel is seen by nobody", host.as_str()));
        }
    }
}

fn print(found: &Found) {
    let word = if found.mistakes.is_empty() { "good" } else { "refused" };
    println!("{}: {word}", clean(&found.skill));
    for mistake in &found.mistakes {
        println!("  {}", clean(mistake));
    }
    for note in &found.notes {
        println!("  note: {}", clean(note));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use openclaw_wire::config::Config;

    use super::look;

    fn skill(root: &Path, name: &str, words: &str, manifest: &str) -> super::Found {
        let folder = root.join(name);
        fs::create_dir_all(folder.join("bin")).expect("folder");
        fs::write(folder.join("SKILL.md"), words).expect("words");
        fs::write(folder.join("skill.toml"), manifest).expect("manifest");
        fs::write(folder.join("bin/x"), "x").expect("program");
        fs::set_permissions(folder.join("bin/x"), fs::Permissions::from_mode(0o755)).expect("mode");
        look(&folder, &Config::default())
    }

    #[test]
    fn a_folder_is_judged_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let words = "---\nname: a\ndescription: d\nmetadata: {openclaw: {requires: {env: [TOKEN]}}}\n---\n";
        let tool = "[[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"read\"\narguments = { type = \"object\" }\n";
        let good = skill(dir.path(), "a", words, &format!("program = \"bin/x\"\n{tool}"));
        assert!(good.mistakes.is_empty() && good.digest.is_some(), "{good:?}");
        assert!(good.notes.iter().any(|note| note.contains("TOKEN; that grants nothing")), "{good:?}");
        for (name, manifest, part) in [
            ("a", format!("program = \"bin/y\"\n{tool}"), "program bin/y"),
            ("a", format!("program = \"SKILL.md\"\n{tool}"), "not executable"),
            ("a", format!("program = \"bin/x\"\nbogus = 1\n{tool}"), "skill.toml:2: unknown field"),
            ("b", format!("program = \"bin/x\"\n{tool}"), "must be the same"),
            (
                "a",
                format!("program = \"bin/x\"\n{}", tool.replace("\"object\"", "\"object\", properties = 1")),
                "no JSON schema",
            ),
        ] {
            let found = skill(dir.path(), name, words, &manifest);
            assert!(found.mistakes.iter().any(|mistake| mistake.contains(part)), "{part}: {found:?}");
        }
        let python =
            skill(dir.path(), "a", words, &format!("program = \"SKILL.md\"\nruntime = \"python\"\n{tool}"));
        assert!(
            python.mistakes.is_empty()
                && python.notes.iter().any(|note| note.contains("[skills.runtime.python]"))
        );
    }
}
