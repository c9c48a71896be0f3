//! The skills that this runner can run, and what each call of one may touch: from its manifest, never from the call.
//! A folder that cannot be loaded is a refusal with its reason, not a skill less.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use openclaw_wire::{
    facts::FACTS,
    id::{RuntimeName, SkillId},
    runner::{Call, Look},
    skill::{self, Manifest, PathGrant, Skill},
};

use crate::{
    settings::Settings,
    spec::{self, Grant, Spec},
};

/// All skills by folder; reloaded one by one when a call names a newer digest.
#[derive(Debug)]
pub struct Skills {
    settings: Settings,
    /// The client of MCP servers, beside this program.
    client: PathBuf,
    loaded: Mutex<Vec<Loaded>>,
}

#[derive(Debug, Clone)]
struct Loaded {
    folder: PathBuf,
    /// With the bytes of its folder.
    skill: Result<(Skill, u64), String>,
}

/// A call that may start.
#[derive(Debug)]
pub struct Ready {
    /// The jail.
    pub spec: Spec,
    /// Limits of the whole call.
    pub limits: skill::Limits,
    /// The manifest names hosts.
    pub hosts: bool,
    /// Bytes of the skill's folder.
    pub weight: u64,
}

impl Skills {
    /// Loads every folder of every shelf. A shelf that is not there is empty.
    pub fn load(settings: Settings) -> Self {
        let mut loaded = Vec::new();
        for shelf in &settings.shelves {
            let mut folders: Vec<PathBuf> = std::fs::read_dir(shelf)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir())
                .collect();
            folders.sort();
            loaded.extend(folders.into_iter().map(|folder| Loaded { skill: read(&folder), folder }));
        }
        let own = std::env::current_exe().unwrap_or_default();
        Self { settings, client: own.with_file_name(&FACTS.programs.mcp), loaded: Mutex::new(loaded) }
    }

    /// `production`.
    pub fn required(&self) -> bool {
        self.settings.required
    }

    /// How many can be run, and why the others cannot.
    pub fn summary(&self) -> (usize, Vec<String>) {
        let loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let wrong = loaded.iter().filter_map(|each| each.skill.as_ref().err().cloned()).collect();
        (loaded.iter().filter(|each| each.skill.is_ok()).count(), wrong)
    }

    /// Checks a call and says what its jail holds; an error is a refusal, for people.
    pub fn ready(&self, call: &Call) -> Result<Ready, String> {
        let id = &call.skill;
        let (mut ready, manifest) = self.prepare(id, &call.digest)?;
        let permissions = &manifest.permissions;
        if !call.attached.is_empty() && !permissions.attachments {
            return Err(format!(
                "the skill {id} may have no attachment (no `attachments = true` in its skill.toml)"
            ));
        }
        ready.spec.attached.clone_from(&call.attached);
        ready.spec.makes = match (call.makes, permissions.makes) {
            (true, None) => {
                return Err(format!("the skill {id} may make no file (no `makes` in its skill.toml)"));
            }
            (true, Some(most)) => Some(most.0),
            (false, _) => None,
        };
        match manifest.mcp {
            true if call.definition.is_none() => {
                Err(format!("the skill {id} is an MCP server, and the call says nothing of its tool"))
            }
            // Which tools a server offers is asked in its jail.
            true => Ok(ready),
            false if manifest.tool.iter().any(|tool| tool.name.as_str() == call.tool) => Ok(ready),
            false => Err(format!("the skill {id} has no tool {:?}", call.tool)),
        }
    }

    /// The jail in which an MCP server is asked for its tools: without a way out, and it writes to no folder.
    pub fn look(&self, look: &Look) -> Result<Ready, String> {
        let (mut ready, manifest) = self.prepare(&look.skill, &look.digest)?;
        if !manifest.mcp {
            return Err(format!("the skill {} is no MCP server", look.skill));
        }
        ready.hosts = false;
        ready.spec.grants.iter_mut().for_each(|grant| grant.write = false);
        Ok(ready)
    }

    fn prepare(&self, id: &SkillId, digest: &str) -> Result<(Ready, Manifest), String> {
        if self.settings.disabled.contains(id) {
            return Err(format!("the skill {id} is off (skills.disabled in the configuration)"));
        }
        let (skill, weight) = self.approved(id, digest)?;
        let Some(manifest) = skill.manifest else {
            return Err(format!(
                "the skill {id} has no skill.toml: it is instructions only and executes nothing"
            ));
        };
        let grants = self.grants(&manifest)?;
        let limits = manifest.limits.clone();
        let client = manifest.mcp.then(|| self.client.canonicalize()).transpose().map_err(|error| {
            format!(
                "open the client of MCP servers {}: {error}; mend: install OpenClaw's programs in one folder",
                self.client.display()
            )
        })?;
        let spec = Spec {
            skill: Some(spec::Skill {
                folder: skill.folder,
                digest: digest.to_owned(),
                runtime: manifest.runtime.as_ref().map(|name| self.runtime(name)).transpose()?,
                program: manifest.program.clone(),
                args: manifest.args.clone(),
                client,
            }),
            grants,
            required: self.settings.required,
            limits: spec::Limits::of(&limits),
            attached: Vec::new(),
            makes: None,
            authority: None,
            without: Vec::new(),
        };
        let hosts = !manifest.permissions.hosts.is_empty();
        Ok((Ready { spec, limits, hosts, weight }, manifest))
    }

    /// The skill with the digest that the call names: as loaded, or as it is on disk now; and the bytes of its folder.
    fn approved(&self, id: &SkillId, digest: &str) -> Result<(Skill, u64), String> {
        let named = |each: &&mut Loaded| each.folder.file_name().is_some_and(|name| name == id.as_str());
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut why = format!("there is no skill {id}");
        // The same name may stand on two shelves; the digest tells which one was approved.
        for each in loaded.iter_mut().filter(named) {
            if !matches!(&each.skill, Ok((skill, _)) if skill.digest == digest) {
                each.skill = read(&each.folder);
            }
            match &each.skill {
                Ok((skill, weight)) if skill.digest == digest => return Ok((skill.clone(), *weight)),
                Ok(_) => why = format!("the skill {id} is not the approved one: its files have changed"),
                Err(error) => why = error.clone(),
            }
        }
        Err(why)
    }

    /// An interpreter of the operator's list, with symbolic links resolved: the jail follows none.
    fn runtime(&self, name: &RuntimeName) -> Result<spec::Runtime, String> {
        let Some(known) = self.settings.runtimes.get(name) else {
            return Err(format!(
                "no runtime {name} on this machine; mend: [skills.runtime.{name}] with its `path` in openclaw.toml"
            ));
        };
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| format!("the runtime {name}: {}: {error}", path.display()))
        };
        let program = real(&known.path)?;
        let folders = known.folders.iter().map(|folder| real(folder)).collect::<Result<Vec<_>, _>>()?;
        match folders.iter().find(|folder| self.settings.secret.iter().any(|kept| overlap(kept, folder))) {
            Some(folder) => Err(format!(
                "the runtime {name}: {} holds OpenClaw's own state; mend: name narrower folders",
                folder.display()
            )),
            None => Ok(spec::Runtime { name: known.path.clone(), program, folders }),
        }
    }

    fn grants(&self, manifest: &Manifest) -> Result<Vec<Grant>, String> {
        let permissions = &manifest.permissions;
        let both = permissions.read.iter().map(|path| (path, false));
        let mut grants = Vec::new();
        for (path, write) in both.chain(permissions.write.iter().map(|path| (path, true))) {
            let host = self.resolve(path)?;
            grants.push(Grant { name: path.as_str().to_owned(), host, inside: path.inside(), write });
        }
        // Outer folders first, so that a folder inside another is mounted over it and keeps its own mode.
        grants.sort_by(|a, b| a.inside.cmp(&b.inside).then(a.write.cmp(&b.write)));
        Ok(grants)
    }

    fn resolve(&self, path: &PathGrant) -> Result<PathBuf, String> {
        let name = path.as_str();
        let home = match (&self.settings.home, name.starts_with("~/")) {
            (None, true) => return Err(format!("{name}: no home folder is known; mend: set skills.home")),
            (Some(home), _) => home.clone(),
            (None, false) => PathBuf::new(),
        };
        let host = path.resolve(&home);
        let below = self.settings.home.as_ref().is_some_and(|home| host != *home && host.starts_with(home));
        let around = self.settings.around.as_ref().filter(|_| below);
        match self.settings.protected.iter().find(|kept| overlap(kept, &host) && Some(*kept) != around) {
            Some(_) => {
                Err(format!("{name} may not be given to a skill: it holds OpenClaw's own state or programs"))
            }
            None => Ok(host),
        }
    }
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Bytes of all files of a skill's folder, in whole pages, as its copy will take them.
fn weight(folder: &Path) -> std::io::Result<u64> {
    const PAGE: u64 = 4096;
    let mut sum = PAGE;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => weight(&entry.path())?,
            false => entry.metadata()?.len().next_multiple_of(PAGE),
        };
    }
    Ok(sum)
}

fn read(folder: &Path) -> Result<(Skill, u64), String> {
    let skill = skill::load(folder).map_err(|error| error.to_string())?;
    let weight = weight(folder).map_err(|error| format!("look at {}: {error}", folder.display()))?;
    Ok((skill, weight))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use openclaw_wire::runner::Call;

    use super::Skills;
    use crate::settings::Settings;

    const MANIFEST: &str = "program = \"bin/x\"\n[permissions]\nread = [\"~/docs\"]\nwrite = [\"~/docs/out\"]\n\
        [[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"read\"\narguments = { type = \"object\" }\n";

    fn skills(root: &Path, protected: &str) -> Skills {
        let folder = root.join("skills/one");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join("skill.toml"), MANIFEST).expect("manifest");
        fs::create_dir_all(root.join("skills/words")).expect("folder");
        fs::write(root.join("skills/words/SKILL.md"), "words").expect("words");
        Skills::load(Settings {
            log: Default::default(),
            required: false,
            shelves: vec![root.join("skills")],
            home: Some(root.join("home")),
            hidden: Vec::new(),
            protected: vec![root.join(protected)],
            around: None,
            secret: vec![root.join("state")],
            drill: false,
            runtimes: Default::default(),
            disabled: ["off".parse().expect("id")].into_iter().collect::<BTreeSet<_>>(),
        })
    }

    fn call(root: &Path, skill: &str, tool: &str) -> Call {
        Call {
            id: "1".into(),
            skill: skill.parse().expect("id"),
            digest: openclaw_wire::skill::digest(&root.join("skills").join(skill)).unwrap_or_default(),
            tool: tool.into(),
            arguments: serde_json::Value::Null,
            definition: None,
            attached: Vec::new(),
            makes: false,
        }
    }

    #[test]
    fn a_call_is_ready_only_with_the_approved_digest() {
        let dir = tempfile::tempdir().expect("dir");
        let skills = skills(dir.path(), "state");
        let ready = skills.ready(&call(dir.path(), "one", "t")).expect("ready");
        let grants: Vec<_> =
            ready.spec.grants.iter().map(|g| (g.inside.to_str().expect("text"), g.write)).collect();
        assert_eq!(grants, [("/files/docs", false), ("/files/docs/out", true)]);
        let old = call(dir.path(), "one", "t");
        fs::write(dir.path().join("skills/one/more"), "x").expect("write");
        // The jail compares what it copied, so an approval of what was loaded does no harm here. Once the new state
        // is approved the folder is read anew, and the old approval is void.
        skills.ready(&call(dir.path(), "one", "t")).expect("ready");
        assert!(skills.ready(&old).expect_err("changed").contains("have changed"));
        for (skill, tool, part) in [
            ("one", "other", "no tool"),
            ("two", "t", "no skill two"),
            ("words", "t", "instructions only"),
            ("off", "t", "is off"),
        ] {
            let why = skills.ready(&call(dir.path(), skill, tool)).expect_err(skill);
            assert!(why.contains(part), "{skill}: {why}");
        }
    }

    #[test]
    fn no_grant_touches_our_own_folders() {
        for protected in ["home/docs", "home", "home/docs/state"] {
            let dir = tempfile::tempdir().expect("dir");
            let why =
                skills(dir.path(), protected).ready(&call(dir.path(), "one", "t")).expect_err(protected);
            assert!(why.contains("may not be given"), "{protected}: {why}");
        }
    }
    /// The appliance's home is a folder of its own in the state folder.
    #[test]
    fn files_inside_the_state_are_granted_and_nothing_else_of_it() {
        let dir = tempfile::tempdir().expect("dir");
        let skills = |home: &str, own: &str| {
            let mut skills = skills(dir.path(), "home");
            skills.settings.home = Some(dir.path().join(home));
            skills.settings.protected = ["", own].map(|name| dir.path().join(name)).into();
            skills.settings.around = Some(dir.path().join(""));
            skills.ready(&call(dir.path(), "one", "t"))
        };
        skills("files", "egress").expect("ready");
        for (home, own) in
            [("files", "files"), ("files", "files/docs"), ("egress", "egress"), ("egress/a", "egress")]
        {
            let why = skills(home, own).expect_err(home);
            assert!(why.contains("may not be given"), "{home}: {why}");
        }
    }
}
