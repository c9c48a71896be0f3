//! What the runner is told: its arguments and the few keys of the configuration that concern it.
//! Never reads a key file or a conversation; the state folder is known only to keep skills out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use openclaw_wire::{
    config::{Config, Log, Profile, Runtime},
    facts::FACTS,
    id::{RuntimeName, SkillId},
};

/// How the runner is called.
pub const USAGE: &str = "openclaw-runner --config FILE --state DIR [--skills DIR]... [--home DIR]";

/// Everything that is settled before the first descriptor is opened.
#[derive(Debug)]
pub struct Settings {
    /// Which log lines are written, and in which shape.
    pub log: Log,
    /// `production`: anything that the kernel does not enforce is an error.
    pub required: bool,
    /// Folders that hold skill folders.
    pub shelves: Vec<PathBuf>,
    /// What `~` in a manifest means, without symbolic links; `None` when there is none.
    pub home: Option<PathBuf>,
    /// Folders of the other processes, which the runner closes to itself: under one uid their modes would let it in.
    pub hidden: Vec<PathBuf>,
    /// No grant may touch these: state, skills, programs.
    pub protected: Vec<PathBuf>,
    /// The state folder, where the home lies in it, as in the appliance: what is below the home is not OpenClaw's own.
    pub around: Option<PathBuf>,
    /// No interpreter may bring these along: state and configuration.
    pub secret: Vec<PathBuf>,
    /// Skills that stay off.
    pub disabled: BTreeSet<SkillId>,
    /// A drill comes first.
    pub drill: bool,
    /// Interpreters that skills may name.
    pub runtimes: BTreeMap<RuntimeName, Runtime>,
}

impl Settings {
    /// From the arguments after the program's name.
    pub fn read(args: impl Iterator<Item = OsString>) -> anyhow::Result<Self> {
        let given = Given::parse(args)?;
        let config = Config::read(&given.config)?;
        let mut shelves = given.skills;
        shelves.extend(config.skills.folders);
        // Symbolic links are resolved here, once, where the operator named them; a grant follows none.
        let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
        let mut shelves: Vec<PathBuf> = shelves.into_iter().map(real).collect();
        // The supervisor may have passed on what the configuration names too.
        let mut seen = BTreeSet::new();
        shelves.retain(|shelf| seen.insert(shelf.clone()));
        let mut protected = shelves.clone();
        let state = real(given.state);
        let parent = |file: &Path| file.parent().map(|folder| state.join(folder));
        let folders = [parent(&FACTS.state.database), parent(&FACTS.state.vpn)];
        let hidden: Vec<PathBuf> =
            folders.into_iter().flatten().chain([state.join(&FACTS.state.egress)]).collect();
        protected.extend(hidden.iter().cloned().chain([state.join(&FACTS.state.drill)]));
        let home = given.home.or(config.skills.home).map(real);
        let around = home.as_ref().is_some_and(|home| *home != state && home.starts_with(&state));
        let around = around.then(|| state.clone());
        let mut secret = vec![state, real(given.config)];
        // Whoever can write beside the keys can put others in their place.
        secret.extend(config.keys.file.as_deref().and_then(Path::parent).map(|folder| real(folder.into())));
        protected.extend(secret.iter().cloned());
        if let Some(folder) = std::env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from)) {
            protected.push(real(folder));
        }
        Ok(Self {
            log: config.log,
            required: config.profile == Profile::Production,
            shelves,
            hidden,
            home,
            protected,
            around,
            secret,
            drill: config.skills.drill_at_start,
            runtimes: config.skills.runtime,
            disabled: config.skills.disabled.into_iter().collect(),
        })
    }
}

#[derive(Debug)]
struct Given {
    config: PathBuf,
    state: PathBuf,
    skills: Vec<PathBuf>,
    home: Option<PathBuf>,
}

impl Given {
    fn parse(mut args: impl Iterator<Item = OsString>) -> anyhow::Result<Self> {
        let (mut config, mut state, mut home, mut skills) = (None, None, None, Vec::new());
        while let Some(name) = args.next() {
            let name = name.to_string_lossy().into_owned();
            let value = args.next().map(PathBuf::from);
            let value = value.with_context(|| format!("{name} wants a value; usage: {USAGE}"))?;
            if !value.is_absolute() {
                bail!("{name} {}: the path must be absolute", value.display());
            }
            match name.as_str() {
                "--config" => config = Some(value),
                "--state" => state = Some(value),
                "--home" => home = Some(value),
                "--skills" => skills.push(value),
                _ => bail!("unknown argument {name}; usage: {USAGE}"),
            }
        }
        Ok(Self {
            config: config.with_context(|| format!("--config is missing; usage: {USAGE}"))?,
            state: state.with_context(|| format!("--state is missing; usage: {USAGE}"))?,
            skills,
            home,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Given;

    fn parse(line: &str) -> Result<Given, String> {
        Given::parse(line.split_whitespace().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_read_strictly() {
        let good = parse("--config /c --state /s --skills /a --skills /b --home /h").expect("good");
        assert_eq!(good.skills.len(), 2);
        for (line, part) in [
            ("--config /c", "--state is missing"),
            ("--state /s", "--config is missing"),
            ("--config", "wants a value"),
            ("--config c --state /s", "must be absolute"),
            ("--config /c --state /s --env X", "must be absolute"),
            ("--config /c --state /s --env /x", "unknown argument"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
