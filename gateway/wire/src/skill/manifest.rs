//! `skill.toml`: what a skill runs, what it may touch, what it may use up, what the model can call. What is not written
//! here is denied, and what is not known here is an error.

use std::{path::Path, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{HostGrant, PathGrant, Size, SkillError, Span, Tool, check, line};
use crate::id::RuntimeName;

/// `skill.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "skill.toml, the manifest of an OpenClaw skill"))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What is run, relative to the folder: a program, or with `runtime` its script.
    pub program: PathBuf,
    /// The interpreter, by its name in the operator's list (`[skills.runtime.NAME]` in openclaw.toml).
    #[serde(default)]
    pub runtime: Option<RuntimeName>,
    /// Arguments that every call is started with. They come from here alone, never from the model.
    #[serde(default)]
    pub args: Vec<String>,
    /// The program is an MCP server that speaks on its standard input and output. Tools that it offers and that no
    /// `[[tool]]` names are taken for the most dangerous kind.
    #[serde(default)]
    pub mcp: bool,
    /// What it may touch.
    #[serde(default)]
    pub permissions: Permissions,
    /// What it may use up.
    #[serde(default)]
    pub limits: Limits,
    /// What the model can call. At least one, but for an MCP server.
    #[serde(default)]
    pub tool: Vec<Tool>,
}

/// Section `[permissions]`. Empty means nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Folders to read: absolute, or below `~/`.
    pub read: Vec<PathGrant>,
    /// Folders to read and write.
    pub write: Vec<PathGrant>,
    /// Hosts to reach. Without one there is no network at all.
    pub hosts: Vec<HostGrant>,
    /// It gets the attachments of the conversation that a call names, and no other, read-only, as `/attached/NAME`.
    pub attachments: bool,
    /// It makes files for the conversation, up to so many bytes in one call, and never more than 24 MiB: what lies in
    /// `/made` when the call ends well. They get names of the gateway's and are sent with the answer.
    pub makes: Option<Size>,
}

/// Section `[limits]`, for one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all its processes together, up to 16 GiB.
    pub memory: Size,
    /// CPU time of all its processes together, up to 10 min.
    pub cpu: Span,
    /// Time on the clock, up to 10 min.
    pub wall: Span,
    /// Processes and threads, 1 to 256.
    pub processes: u32,
    /// Bytes on standard output, up to 8 MiB.
    pub output: Size,
    /// Bytes that it may write to files, `/tmp` (which is memory) included, up to 16 GiB.
    pub disk: Size,
    /// Files that each of its processes may hold open, 16 to 4096.
    pub files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Size(128 << 20),
            cpu: Span(Duration::from_secs(5)),
            wall: Span(Duration::from_secs(20)),
            processes: 8,
            output: Size(1 << 20),
            disk: Size(64 << 20),
            files: 256,
        }
    }
}

/// Checks the text of a manifest; `path` is for the messages only.
pub fn parse(text: &str, path: &Path) -> Result<Manifest, SkillError> {
    let refuse = |line, message| SkillError::Manifest { path: path.into(), line, message };
    let manifest: Manifest = toml::from_str(text).map_err(|error| {
        let at = error.span().map(|span| line::at(text, span.start));
        refuse(at, error.message().trim().to_owned())
    })?;
    match check::coherent(&manifest) {
        Ok(()) => Ok(manifest),
        Err((steps, message)) => Err(refuse(line::of(text, &steps), message)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Manifest, parse};
    use crate::skill::{Confidentiality, Integrity, Method, Placement, Reach, Role, SCHEMA};

    const GOOD: &str = r#"program = "bin/x"
args = ["--quiet"]
[permissions]
read = ["~/documents"]
hosts = [
  { host = "api.openweathermap.org", methods = ["GET"], paths = ["/data/"], secret = "OPENWEATHER_KEY", secret_as = "query appid" },
  { argument = "page" },
  { host = "pinned.example.com", tunnel = true },
]
[limits]
memory = "64 MiB"
[[tool]]
name = "list"
description = "d"
effect = "read"
arguments = { type = "object", properties = { folder = { type = "string" }, page = { type = "string" } } }
roles = { folder = "content" }
returns = { integrity = "skill" }
"#;

    fn read(text: &str) -> Result<Manifest, String> {
        parse(text, Path::new("skill.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = read(GOOD).expect("good");
        assert_eq!(manifest.limits.memory.0, 64 << 20);
        let hosts = &manifest.permissions.hosts;
        let (key, place) = hosts[0].secret.clone().expect("a secret");
        assert_eq!((key.as_str(), place), ("OPENWEATHER_KEY", Placement::Query("appid".into())));
        assert!(hosts[0].allows(Method::Get, "/data/2.5") && !hosts[0].allows(Method::Post, "/data/2.5"));
        assert!(hosts[0].covers("api.openweathermap.org", 443, None));
        assert!(!hosts[0].covers("api.openweathermap.org", 80, None));
        assert_eq!(hosts[1].reach, Reach::Argument("page".into()));
        assert!(hosts[1].covers("example.com", 443, Some("example.com")));
        assert!(!hosts[1].covers("example.com", 443, Some("other.example")));
        assert!(!hosts[1].covers("example.com", 443, None));
        assert!(hosts[2].tunnel && !hosts[2].allows(Method::Get, "/"));
        let tool = &manifest.tool[0];
        assert_eq!((tool.role("folder"), tool.role("page")), (Role::Content, Role::Control));
        let label = (tool.returns.integrity, tool.returns.confidentiality);
        assert_eq!(label, (Integrity::Skill, Confidentiality::Private));
        let written = toml::to_string(&manifest).expect("encodes");
        assert_eq!(read(&written).expect("reads what it wrote"), manifest);
    }

    #[test]
    fn an_mcp_server_may_leave_its_tools_to_itself() {
        let manifest = read("program = \"main.py\"\nruntime = \"python\"\nmcp = true\n").expect("good");
        assert!(manifest.mcp && manifest.tool.is_empty());
        read("program = \"x\"\nmcp = true\n[[tool]]\nname = \"t\"\neffect = \"read\"\nroles = { any = \"flag\" }\n")
            .expect("good");
        assert!(read("program = \"x\"\n").expect_err("no tool").contains("no [[tool]]"));
    }

    #[test]
    fn incidents_65_66_97_and_99_bad_manifests_are_refused_with_the_line() {
        for (from, to, line, part) in [
            ("~/documents", "/", 4, "must name a folder"),
            ("~/documents", "/run", 4, "may not be given"),
            ("~/documents\"]", "~/a\", \"/a\"]", 4, "would both be"),
            ("~/documents\"]", "~/a\",\n\"~/.ssh\"]", 5, "hidden folders"),
            ("~/documents\"]", "~/a\"]\nwrite = [\"~/b\", \"~/a/\"]", 5, "would both be"),
            ("bin/x", "../x", 1, "inside the skill's folder"),
            ("bin/x", "/bin/sh", 1, "inside the skill's folder"),
            ("bin/x", "", 1, "inside the skill's folder"),
            ("bin/x", "bin/\\u0000", 1, "inside the skill's folder"),
            ("\"bin/x\"", "\"bin/x\"\nruntime = \"../python\"", 2, "runtime name"),
            ("--quiet", "a\\u0000", 2, "with a NUL"),
            ("64 MiB", "64MB", 11, "not a size"),
            ("64 MiB", "1 KiB", 11, "4 MiB to 16 GiB"),
            ("memory = \"64 MiB\"", "wall = \"11 min\"", 11, "at most 10 min"),
            ("memory = \"64 MiB\"", "processes = 0", 11, "1 to 256"),
            ("memory = \"64 MiB\"", "files = 100000", 11, "16 to 4096"),
            ("[permissions]", "[permissions]\nmakes = \"25 MiB\"", 4, "at most 24 MiB"),
            ("[permissions]", "[permissions]\nattachments = \"/attached/1.ogg\"", 4, "invalid type"),
            ("memory = \"64 MiB\"", "output = \"9 MiB\"", 11, "at most 8 MiB"),
            ("effect = \"read\"", "effect = \"reed\"", 15, "unknown variant"),
            ("type = \"object\"", "type = \"array\"", 16, "type \"object\""),
            ("{ folder = \"content\" }", "{ other = \"control\" }", 17, "no argument"),
            ("integrity = \"skill\"", "integrity = \"owner\"", 18, "unknown variant"),
            ("description = \"d\"", "descriptoin = \"d\"", 14, "unknown field"),
            ("description = \"d\"", "description = \" \"", 14, "description is missing"),
            ("name = \"list\"", "name = \"a b\"", 13, "tool name"),
            // No key selects a namespace, a shell, an environment, a hook or a place of trust.
            ("[limits]", "[limits]\nnamespace = \"host\"", 11, "unknown field"),
            ("[permissions]", "[permissions]\nnetwork = \"container:x\"", 4, "unknown field"),
            ("[permissions]", "[permissions]\nenvironment = { LD_PRELOAD = \"x\" }", 4, "unknown field"),
            ("args =", "env = { NODE_OPTIONS = \"--require x\" }\nargs =", 2, "unknown field"),
            ("args =", "shell = true\nargs =", 2, "unknown field"),
            ("args =", "hook = \"../x.so\"\nargs =", 2, "unknown field"),
            ("host = \"api.openweathermap.org\"", "host = \"*.com\"", 6, "public suffix"),
            ("host = \"api.openweathermap.org\"", "host = \"127.0.0.1\"", 6, "is an address"),
            ("host = \"api.openweathermap.org\"", "host = \"*.example.com\"", 6, "by its full name"),
            ("host = \"api.openweathermap.org\", ", "", 6, "either `host` or `argument`"),
            ("argument = \"page\"", "argument = \"url\"", 7, "no tool has an argument"),
            ("argument = \"page\"", "argument = \"page\", secret = \"KEY\"", 7, "by its full name"),
            ("argument = \"page\"", "argument = \"page\", tunnel = true", 7, "by its full name"),
            ("argument = \"page\"", "argument = \"page\", methods = []", 7, "is empty"),
            ("argument = \"page\"", "argument = \"page\", port = 0", 7, "1 to 65535"),
            ("argument = \"page\"", "argument = \"page\", method = [\"GET\"]", 7, "unknown field"),
            ("tunnel = true", "tunnel = true, paths = [\"/\"]", 8, "through a tunnel"),
            ("[\"GET\"]", "[\"CONNECT\"]", 6, "unknown variant"),
            ("/data/", "/data/../", 6, "must begin with"),
            ("query appid", "header host", 6, "secret_as"),
            ("query appid", "cookie x", 6, "secret_as"),
            (", secret = \"OPENWEATHER_KEY\"", "", 6, "there is no `secret`"),
            ("OPENWEATHER_KEY", "sk-test-not-real", 6, "NAME of a key"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = read(&text).expect_err(to);
            assert!(error.contains(part), "{to}: {error}");
            assert!(error.contains(&format!("skill.toml:{line}: ")), "{to}: line {line}: {error}");
        }
    }

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let schema = schemars::schema_for!(Manifest);
        let text = serde_json::to_string_pretty(&schema).expect("encodes") + "\n";
        if std::env::var_os("WRITE_SCHEMA").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/skill.schema.json");
            std::fs::write(file, &text).expect("writes");
        }
        assert!(
            text == SCHEMA,
            "the types have changed; mend: WRITE_SCHEMA=1 cargo test -p openclaw-wire schema"
        );
    }

    #[test]
    fn the_schema_takes_what_the_parser_takes_and_refuses_what_editors_can_see() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let json = |text: &str| -> serde_json::Value {
            serde_json::to_value(toml::from_str::<toml::Value>(text).expect("TOML")).expect("JSON")
        };
        if let Err(error) = validator.validate(&json(GOOD)) {
            panic!("{error} at {}", error.instance_path());
        }
        for (from, to) in [
            ("bin/x\"", "bin/x\"\nshell = true"),
            ("64 MiB", "64MB"),
            ("effect = \"read\"", "effect = \"reed\""),
            ("api.openweathermap.org", "127.0.0.1"),
            ("~/documents", "documents"),
            ("~/documents", "~/.ssh"),
            ("OPENWEATHER_KEY", "sk-test-not-real"),
            ("[\"GET\"]", "[\"CONNECT\"]"),
        ] {
            assert!(!validator.is_valid(&json(&GOOD.replace(from, to))), "{to}");
        }
    }
}
