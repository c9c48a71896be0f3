//! `SKILL.md`: the frontmatter of the AgentSkills format (agentskills.io/specification) and what OpenClaw writes into its
//! `metadata`. It tells what a skill is for, and grants nothing, whatever it says.

use super::yaml::Yaml;

/// The keys that the format knows; the reference validator refuses every other.
const KEYS: [&str; 6] = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];
/// Longest name, description and compatibility, in characters, and longest frontmatter, in bytes.
const NAME: usize = 64;
const DESCRIPTION: usize = 1024;
const COMPATIBILITY: usize = 500;
const FRONTMATTER: usize = 64 << 10;

/// A read `SKILL.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// As the folder is named.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// What follows the frontmatter.
    pub body: String,
    /// What other readers of the format would not take.
    pub notes: Vec<String>,
    /// What OpenClaw's own metadata asks for, in words. None of it is granted.
    pub asks: Vec<String>,
}

impl Words {
    /// Reads a `SKILL.md` of the folder with this name. The error is every mistake.
    pub fn read(text: &str, folder: &str) -> Result<Self, Vec<String>> {
        let (front, body) = split(text).map_err(|error| vec![error.to_owned()])?;
        let yaml = Yaml::read(front).map_err(|error| vec![format!("frontmatter: {error}")])?;
        let Yaml::Map(map) = &yaml else {
            return Err(vec!["the frontmatter is no list of `key: value` lines".into()]);
        };
        let mut mistakes = Vec::new();
        let mut text = |key: &str| match yaml.get(key).map(|value| value.text().map(str::trim)) {
            Some(Some(text)) if !text.is_empty() => Some(text.to_owned()),
            Some(_) => {
                mistakes.push(format!("{key} must be a text"));
                None
            }
            None => None,
        };
        let (name, description) = (text("name"), text("description"));
        let (compatibility, _license) = (text("compatibility"), text("license"));
        let long =
            |what: &Option<String>, most| what.as_ref().is_some_and(|text| text.chars().count() > most);
        for (key, value, most) in [
            ("name", &name, NAME),
            ("description", &description, DESCRIPTION),
            ("compatibility", &compatibility, COMPATIBILITY),
        ] {
            if long(value, most) {
                mistakes.push(format!("{key} is longer than {most} characters"));
            }
        }
        for (key, value) in [("name", &name), ("description", &description)] {
            if value.is_none() && yaml.get(key).is_none() {
                mistakes.push(format!("{key} is missing"));
            }
        }
        mistakes.extend(name.as_ref().and_then(|name| misnamed(name, folder)));
        match (name, description) {
            (Some(name), Some(description)) if mistakes.is_empty() => Ok(Self {
                name,
                description,
                body: body.trim().to_owned(),
                notes: notes(map),
                asks: asks(&yaml),
            }),
            _ => Err(mistakes),
        }
    }
}

/// Frontmatter and body: between two lines `---`, and what follows.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = text
        .strip_prefix("---\n")
        .or_else(|| text.strip_prefix("---\r\n"))
        .ok_or("it must begin with a line `---` (the frontmatter)")?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            let (front, body) = (&rest[..at], &rest[at + line.len()..]);
            return match front.len() > FRONTMATTER {
                true => Err("the frontmatter is longer than 64 KiB"),
                false => Ok((front, body)),
            };
        }
        at += line.len();
    }
    Err("the frontmatter has no end (a second line `---`)")
}

fn misnamed(name: &str, folder: &str) -> Option<String> {
    let odd = name != name.to_lowercase()
        || name.starts_with('-')
        || name.ends_with('-')
        || name.contains("--")
        || !name.chars().all(|c| c.is_alphanumeric() || c == '-');
    if odd {
        return Some(format!("name {name:?} must be lower case letters, digits and single `-` between them"));
    }
    (name != folder).then(|| format!("name is {name:?}, and the folder is {folder:?}; they must be the same"))
}

/// What works here and not with others who read the format strictly.
fn notes(map: &[(String, Yaml)]) -> Vec<String> {
    let mut notes = Vec::new();
    let more: Vec<_> = map.iter().map(|(key, _)| key.as_str()).filter(|key| !KEYS.contains(key)).collect();
    if !more.is_empty() {
        notes.push(format!(
            "not portable: the format has no key {}; put it below `metadata`",
            more.join(", ")
        ));
    }
    for (key, value) in map {
        match (key.as_str(), value) {
            ("metadata", Yaml::Map(entries)) if entries.iter().any(|(_, value)| value.text().is_none()) => {
                notes.push("not portable: each value below `metadata` should be a text".into());
            }
            ("metadata", Yaml::Text(_) | Yaml::List(_)) => {
                notes.push("not portable: `metadata` should be a list of `key: value` lines".into());
            }
            ("allowed-tools", value) if value.text().is_none() => {
                notes.push(
                    "not portable: `allowed-tools` should be one text, names with spaces between".into(),
                );
            }
            _ => {}
        }
    }
    notes
}

/// What OpenClaw's `metadata.openclaw` (formerly `clawdbot`) asks for. There it is a check of presence; here it is a
/// report to whoever writes the manifest.
fn asks(yaml: &Yaml) -> Vec<String> {
    let Some(metadata) = yaml.get("metadata").map(unfold) else { return Vec::new() };
    let Some(theirs) = ["openclaw", "clawdbot", "clawdis"].iter().find_map(|name| metadata.get(name)) else {
        return Vec::new();
    };
    let theirs = unfold(theirs);
    let mut asks = Vec::new();
    let requires = theirs.get("requires");
    for (key, what) in [
        ("bins", "the programs"),
        ("anyBins", "one of the programs"),
        ("env", "the environment variables"),
        ("config", "the settings"),
    ] {
        let names = requires.and_then(|requires| requires.get(key)).map(Yaml::texts).unwrap_or_default();
        if !names.is_empty() {
            asks.push(format!("{what} {}", names.join(", ")));
        }
    }
    if let Some(key) = theirs.get("primaryEnv").and_then(Yaml::text) {
        asks.push(format!("a key in the environment variable {key}"));
    }
    if let Some(Yaml::List(variables)) = theirs.get("envVars") {
        let names: Vec<_> = variables.iter().filter_map(|each| each.get("name")?.text()).collect();
        asks.push(format!("the environment variables {}", names.join(", ")));
    }
    if let Some(Yaml::List(steps)) = theirs.get("install") {
        let kinds: Vec<_> = steps.iter().filter_map(|step| step.get("kind")?.text()).collect();
        asks.push(format!("to be installed with {}", kinds.join(", ")));
    }
    if let Some(systems) = theirs.get("os").map(Yaml::texts)
        && !systems.is_empty()
    {
        asks.push(format!("one of the systems {}", systems.join(", ")));
    }
    asks
}

/// A text that holds a map (OpenClaw writes JSON there, which YAML contains) is that map.
fn unfold(value: &Yaml) -> Yaml {
    match value {
        Yaml::Text(text) if text.trim_start().starts_with('{') => {
            Yaml::read(text).unwrap_or_else(|_| value.clone())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn a_strict_file_is_read_without_notes() {
        let text = "---\nname: a-b\ndescription: >-\n  Two\n  lines.\nlicense: MIT\nmetadata:\n  x: \"1\"\n\
                    allowed-tools: one two\n---\n\n# Body\n---\nmore\n";
        let words = Words::read(text, "a-b").expect("good");
        assert_eq!((words.description.as_str(), words.body.as_str()), ("Two lines.", "# Body\n---\nmore"));
        assert!(words.notes.is_empty() && words.asks.is_empty(), "{words:?}");
    }

    #[test]
    fn openclaws_metadata_is_reported_in_each_of_its_spellings() {
        let mapping =
            "metadata:\n  openclaw:\n    primaryEnv: WEATHER_KEY\n    requires:\n      bins: [curl, jq]\n";
        let json = "metadata: {\"openclaw\": {\"primaryEnv\": \"WEATHER_KEY\", \"requires\": {\"bins\": [\"curl\", \"jq\"]}}}\n";
        let text = "metadata: |\n  { clawdbot: { primaryEnv: \"WEATHER_KEY\", requires: { bins: [\"curl\", \"jq\"], }, }, }\n";
        for metadata in [mapping, json, text] {
            let text =
                format!("---\nname: w\ndescription: d\nhomepage: https://example.com\n{metadata}---\n");
            let words = Words::read(&text, "w").expect(metadata);
            assert_eq!(
                words.asks,
                ["the programs curl, jq", "a key in the environment variable WEATHER_KEY"],
                "{metadata}"
            );
            assert!(words.notes.iter().any(|note| note.contains("no key homepage")), "{words:?}");
        }
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let long = format!("---\nname: a\ndescription: {}\n---\n", "x".repeat(1025));
        for (text, parts) in [
            ("# no frontmatter", &["must begin with"][..]),
            ("---\nname: a\n", &["has no end"]),
            ("---\nlicense: MIT\n---\n", &["name is missing", "description is missing"]),
            ("---\nname: A\ndescription: d\n---\n", &["lower case"]),
            ("---\nname: a--b\ndescription: d\n---\n", &["single `-`"]),
            ("---\nname: b\ndescription: d\n---\n", &["must be the same"]),
            (
                "---\nname: [a]\ndescription: ''\n---\n",
                &["name must be a text", "description must be a text"],
            ),
            ("---\n- a\n---\n", &["no list of"]),
            ("---\nname: *x\n---\n", &["frontmatter: line"]),
            (&long, &["longer than 1024"]),
        ] {
            let mistakes = Words::read(text, "a").expect_err(text).join("; ");
            assert!(parts.iter().all(|part| mistakes.contains(part)), "{text:.40}: {mistakes}");
        }
    }
}
