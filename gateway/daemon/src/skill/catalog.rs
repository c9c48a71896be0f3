//! The skills of this gateway, loaded and checked once, at start: which tool belongs to which skill, and whether
//! arguments fit its schema.

use std::{collections::HashMap, path::Path};

use jsonschema::Validator;
use openclaw_wire::{
    id::SkillId,
    skill::{self, HostGrant, Skill, Tool},
};
use serde_json::Value;

/// All skills.
#[derive(Debug, Default)]
pub struct Catalog {
    skills: Vec<Skill>,
    tools: HashMap<String, Entry>,
    problems: Vec<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    skill: usize,
    tool: usize,
    validator: Validator,
}

/// A tool with its skill.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// As loaded and digested.
    pub skill: &'a Skill,
    /// In its manifest.
    pub tool: &'a Tool,
    validator: &'a Validator,
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
        if self.skills.iter().any(|other| other.id == skill.id) {
            self.problems.push((
                skill.id.to_string(),
                "another folder has a skill of the same name; that one counts".into(),
            ));
            return;
        }
        let at = self.skills.len();
        for (number, tool) in skill.manifest.iter().flat_map(|manifest| &manifest.tool).enumerate() {
            let name = tool.name.as_str().to_owned();
            let validator = match jsonschema::validator_for(&tool.arguments) {
                Ok(validator) => validator,
                Err(error) => {
                    self.problems.push((
                        skill.id.to_string(),
                        format!("tool {name:?}: arguments are no JSON schema: {error}"),
                    ));
                    continue;
                }
            };
            if self.tools.contains_key(&name) {
                self.problems.push((
                    skill.id.to_string(),
                    format!("tool {name:?}: another skill has a tool of this name"),
                ));
                continue;
            }
            self.tools.insert(name, Entry { skill: at, tool: number, validator });
        }
        self.skills.push(skill);
    }

    /// The tool of this name, if the model may know it.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let entry = self.tools.get(name)?;
        let skill = &self.skills[entry.skill];
        let tool = &skill.manifest.as_ref()?.tool[entry.tool];
        Some(Found { skill, tool, validator: &entry.validator })
    }

    /// Every tool, in a fixed order, so that requests to the model are the same each time.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        let all =
            self.skills.iter().flat_map(|skill| skill.manifest.iter().flat_map(|manifest| &manifest.tool));
        all.filter(|tool| self.find(tool.name.as_str()).is_some_and(|found| std::ptr::eq(found.tool, *tool)))
    }

    /// Every skill.
    pub fn skills(&self) -> &[Skill] {
        &self.skills
    }

    /// What could not be loaded: name, and why.
    pub fn problems(&self) -> &[(String, String)] {
        &self.problems
    }
}

impl Found<'_> {
    /// The hosts of its manifest; none is no way out.
    pub fn hosts(&self) -> &[HostGrant] {
        self.skill.manifest.as_ref().map_or(&[], |manifest| &manifest.permissions.hosts)
    }

    /// Whether the arguments fit the tool's schema; the error is for the model and bounded.
    pub fn validate(&self, arguments: &Value) -> Result<(), String> {
        self.validator.validate(arguments).map_err(|error| {
            let text = format!(
                "the arguments do not fit the tool's schema: {error} (at {:?})",
                error.instance_path().as_str()
            );
            text.chars().take(500).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Catalog;

    #[test]
    fn skills_are_found_validated_and_problems_named() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, text: &str| {
            std::fs::create_dir(dir.path().join(name)).expect("folder");
            std::fs::write(dir.path().join(name).join("skill.toml"), text).expect("write");
        };
        let tool = "program = \"x\"\n[[tool]]\nname = \"t\"\ndescription = \"d\"\neffect = \"read\"\n\
            arguments = { type = \"object\", required = [\"n\"], additionalProperties = false, properties = { n = { type = \"integer\" } } }\n";
        write("a", tool);
        write("b", tool);
        write("c", "program = 1");
        write("off", tool);
        std::fs::create_dir(dir.path().join("words-only")).expect("folder");
        let catalog = Catalog::load(&[dir.path(), "/nowhere".as_ref()], &["off".parse().expect("name")]);
        let found = catalog.find("t").expect("tool");
        assert_eq!(found.skill.id.as_str(), "a");
        assert!(found.validate(&json!({ "n": 1 })).is_ok());
        for bad in [json!({}), json!({ "n": "1" }), json!({ "n": 1, "gateway_url": "x" })] {
            assert!(found.validate(&bad).is_err(), "{bad}");
        }
        assert_eq!(catalog.tools().count(), 1, "the second tool of one name is not offered");
        assert_eq!(catalog.skills().len(), 3);
        let names: Vec<_> = catalog.problems().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "c", "/nowhere"]);
    }
}
