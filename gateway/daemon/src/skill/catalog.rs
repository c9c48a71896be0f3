//! The skills of this gateway, loaded and checked once, at start: which tool belongs to which skill, and whether
//! arguments fit its schema. The tools of an MCP server come later, when it has been asked for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use openclaw_wire::{
    file::{FileName, MOST_ATTACHED},
    id::SkillId,
    mcp::Offered,
    skill::{self, HostGrant, Skill, Tool},
};
use serde_json::Value;

use super::{
    arguments::Arguments,
    server::{self, Served},
};

/// All skills.
#[derive(Debug, Default)]
pub struct Catalog {
    skills: Vec<Arc<Skill>>,
    problems: Vec<(String, String)>,
    known: RwLock<Known>,
}

/// What changes while the gateway runs.
#[derive(Debug, Default)]
struct Known {
    /// In a fixed order, so that requests to the model are the same each time; no name twice.
    tools: Vec<Found>,
    /// MCP servers that said what they offer, were it nothing.
    looked_at: BTreeSet<SkillId>,
    /// Of MCP servers.
    problems: BTreeMap<SkillId, Vec<String>>,
}

/// A tool with its skill.
#[derive(Debug, Clone)]
pub struct Found {
    /// As loaded and digested.
    pub skill: Arc<Skill>,
    /// In its manifest, or as its server offers it.
    pub tool: Arc<Tool>,
    /// How its MCP server knows it; `None` for a tool of the skill's own program.
    pub served: Option<Served>,
    arguments: Arc<Arguments>,
}

impl Catalog {
    /// Loads every folder below `folders`, but for `disabled`. What can't be loaded is a problem in the status, never
    /// a reason not to start.
    pub fn load(folders: &[impl AsRef<Path>], disabled: &[SkillId]) -> Self {
        let mut catalog = Self::default();
        for folder in folders {
            let folder = folder.as_ref();
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) => {
                    catalog
                        .problems
                        .push((folder.display().to_string(), format!("read the folder: {error}")));
                    continue;
                }
            };
            let mut paths: Vec<_> =
                entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
            paths.sort();
            for path in paths {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if disabled.iter().any(|id| id.as_str() == name) {
                    continue;
                }
                match skill::load(&path) {
                    Ok(skill) => catalog.add(skill),
                    Err(error) => catalog.problems.push((name, error.to_string())),
                }
            }
        }
        catalog
    }

    fn add(&mut self, skill: Skill) {
        let id = skill.id.to_string();
        if self.skills.iter().any(|other| other.id == skill.id) {
            let text = "another folder has a skill of the same name; that one counts";
            self.problems.push((id, text.into()));
            return;
        }
        let skill = Arc::new(skill);
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What a server offers is not in its manifest, which says only what is held against it.
        let manifest = skill.manifest.iter().filter(|manifest| !manifest.mcp);
        for tool in manifest.flat_map(|manifest| &manifest.tool) {
            if let Err(why) = known.add(&skill, tool.clone(), None) {
                self.problems.push((id.clone(), why));
            }
        }
        self.skills.push(skill);
    }

    /// The MCP servers among the skills.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Skill>> {
        self.skills.iter().filter(|skill| skill.manifest.as_ref().is_some_and(|manifest| manifest.mcp))
    }

    /// Whether it is known what this server offers.
    pub fn looked_at(&self, server: &SkillId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.looked_at.contains(server)
    }

    /// Takes what a server offers, in the place of what it offered before. What can't be used becomes a problem.
    pub fn offer(&self, server: &SkillId, offered: &[Offered]) {
        let Some(skill) = self.servers().find(|skill| skill.id == *server) else { return };
        let (tools, mut problems) = server::tools(skill, offered);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tools.retain(|found| found.skill.id != *server);
        for (tool, served) in tools {
            if let Err(why) = known.add(skill, tool, Some(served)) {
                problems.push(why);
            }
        }
        let at = |found: &Found| {
            let position = self.skills.iter().position(|skill| skill.id == found.skill.id);
            (found.served.is_some(), position)
        };
        known.tools.sort_by_key(at);
        known.looked_at.insert(server.clone());
        known.problems.insert(server.clone(), problems);
    }

    /// Forgets what a server offered; `why` is shown until it is looked at again.
    pub fn withdraw(&self, server: &SkillId, why: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tools.retain(|found| found.skill.id != *server);
        known.looked_at.remove(server);
        known.problems.insert(server.clone(), vec![why.to_owned()]);
    }

    /// The tool of this name, if the model may know it.
    pub fn find(&self, name: &str) -> Option<Found> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.tools.iter().find(|found| found.tool.name.as_str() == name).cloned()
    }

    /// Every tool, in a fixed order.
    pub fn tools(&self) -> Vec<Found> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).tools.clone()
    }

    /// Every skill.
    pub fn skills(&self) -> &[Arc<Skill>] {
        &self.skills
    }

    /// What could not be loaded: name, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let served = known.problems.iter();
        let served = served.flat_map(|(id, all)| all.iter().map(|why| (id.to_string(), why.clone())));
        self.problems.iter().cloned().chain(served).collect()
    }
}

impl Known {
    fn add(&mut self, skill: &Arc<Skill>, tool: Tool, served: Option<Served>) -> Result<(), String> {
        let name = tool.name.as_str();
        if let Some(other) = self.tools.iter().find(|found| found.tool.name == tool.name) {
            return Err(match other.skill.id == skill.id {
                true => format!("tool {name:?}: it has two tools of this name; the first counts"),
                false => format!("tool {name:?}: another skill has a tool of this name"),
            });
        }
        let arguments = Arguments::new(&tool.arguments).map_err(|error| format!("tool {name:?}: {error}"))?;
        let (skill, tool, arguments) = (Arc::clone(skill), Arc::new(tool), Arc::new(arguments));
        self.tools.push(Found { skill, tool, served, arguments });
        Ok(())
    }
}

impl Found {
    /// The hosts of its manifest; none is no way out.
    pub fn hosts(&self) -> &[HostGrant] {
        self.skill.manifest.as_ref().map_or(&[], |manifest| &manifest.permissions.hosts)
    }

    /// Whether it gets the attachments that a call names.
    pub fn attachments(&self) -> bool {
        self.skill.manifest.as_ref().is_some_and(|manifest| manifest.permissions.attachments)
    }

    /// How many bytes of files one call may make; none without leave.
    pub fn makes(&self) -> Option<u64> {
        self.skill.manifest.as_ref()?.permissions.makes.map(|most| most.0)
    }

    /// The attachments that arguments name: texts that are the path of one and nothing else, each once.
    pub fn named(&self, arguments: &Value) -> Vec<FileName> {
        let mut names = Vec::new();
        let mut open = vec![arguments];
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) => names.extend(FileName::at(text)),
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
        names.sort_unstable();
        names.dedup();
        names.truncate(MOST_ATTACHED);
        names
    }

    /// Whether the arguments fit the tool's schema; the error is for the model and bounded.
    pub fn validate(&self, arguments: &Value) -> Result<(), String> {
        self.arguments.validate(&self.tool.arguments, arguments)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{mcp::Offered, skill::Effect};
    use serde_json::json;

    use super::Catalog;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("dir")
    }

    fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
        std::fs::create_dir(dir.path().join(name)).expect("folder");
        std::fs::write(dir.path().join(name).join("skill.toml"), text).expect("write");
    }

    #[test]
    fn skills_are_found_validated_and_problems_named() {
        let dir = folder();
        let tool = "program = \"x\"\n[[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"read\"\n\
            arguments = { type = \"object\", required = [\"n\"], additionalProperties = false, properties = { n = { type = \"integer\" } } }\n";
        write(&dir, "a", tool);
        write(&dir, "b", tool);
        write(&dir, "c", "program = 1");
        write(&dir, "off", tool);
        std::fs::create_dir(dir.path().join("words-only")).expect("folder");
        let catalog = Catalog::load(&[dir.path(), "/nowhere".as_ref()], &["off".parse().expect("name")]);
        let found = catalog.find("t").expect("tool");
        assert_eq!(found.skill.id.as_str(), "a");
        assert!(found.validate(&json!({ "n": 1 })).is_ok());
        for bad in [json!({}), json!({ "n": "1" }), json!({ "n": 1, "gateway_url": "x" })] {
            assert!(found.validate(&bad).is_err(), "{bad}");
        }
        assert_eq!(catalog.tools().len(), 1, "the second tool of one name is not offered");
        assert_eq!(catalog.skills().len(), 3);
        let problems = catalog.problems();
        let names: Vec<_> = problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "c", "/nowhere"]);
    }

    #[test]
    fn a_server_cannot_take_the_name_of_another_skills_tool() {
        let dir = folder();
        let own = "program = \"x\"\n[[tool]]\nname = \"evil_send\"\ndescription = \"d\"\neffect = \"read\"\n\
            arguments = { type = \"object\" }\n";
        write(&dir, "evil", "program = \"x\"\nmcp = true\n");
        write(&dir, "good", own);
        let catalog = Catalog::load(&[dir.path()], &[]);
        let evil = "evil".parse().expect("id");
        assert!(!catalog.looked_at(&evil) && catalog.tools().len() == 1);
        let offered = ["send", "look"].map(|name| Offered {
            name: name.into(),
            description: "d".into(),
            schema: json!({ "type": "object" }),
        });
        catalog.offer(&evil, &offered);
        assert!(catalog.looked_at(&evil));
        assert_eq!(catalog.find("evil_send").expect("tool").skill.id.as_str(), "good");
        assert_eq!(catalog.find("evil_look").expect("tool").tool.effect, Effect::Exec);
        assert!(catalog.problems()[0].1.contains("another skill has a tool of this name"));
        catalog.offer(&evil, &offered[..1]);
        assert!(catalog.find("evil_look").is_none(), "what it offers no more is gone");
        catalog.withdraw(&evil, "it did not answer");
        assert_eq!(catalog.problems(), [("evil".to_owned(), "it did not answer".to_owned())]);
    }
}
