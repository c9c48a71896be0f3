//! What egress and the runner are started with: configuration, keys, skills.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::AtomicU32,
};

use openclaw_confine::spawn::{Identity, Start};
use openclaw_wire::{
    door::{Door, pair},
    facts::FACTS,
};

use super::{Broker, Far, far};
use crate::gateway::{NOBODY, built, dist};

/// What to start with.
pub struct Setup {
    folder: tempfile::TempDir,
    config: String,
    keys: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// No skill, no key, no private endpoint.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("openclaw-broker-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("mode");
        for name in ["state/egress", "state/gateway", "home/documents", "skills"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for name in ["state", "state/egress"] {
            fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(0o700)).expect("mode");
        }
        Self { folder, config: "[log]\nlevel = \"debug\"\n".into(), keys: String::new() }
    }

    /// More configuration.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// `NAME.internal` is this far end.
    pub fn private(self, name: &str, far: &Far) -> Self {
        let url = far.url();
        let ca = match url.starts_with("https") {
            true => format!("ca = \"{}\"\n", self.authority().display()),
            false => String::new(),
        };
        self.config(&format!("[skills.private.{name}]\nurl = \"{url}\"\n{ca}"))
    }

    /// Where the authority of a far end with TLS belongs.
    pub fn authority(&self) -> PathBuf {
        far::authority(self.folder.path())
    }

    /// A key.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.keys.push_str(&format!("{name}={value}\n"));
        self
    }

    /// A skill whose program is the prober, with these lines below `[permissions]`.
    pub fn skill(self, name: &str, permissions: &str) -> Self {
        let manifest = format!(
            "program = \"bin/test-prober\"\n[permissions]\n{permissions}\n[limits]\nmemory = \"512 MiB\"\ncpu = \"60 s\"\n\
             wall = \"120 s\"\nprocesses = 32\n[[tool]]\nname = \"probe\"\ndescription = \"d\"\neffect = \"fetch\"\n\
             arguments = {{ type = \"object\", properties = {{ url = {{ type = \"string\" }} }} }}\n"
        );
        self.skill_with(name, &manifest)
    }

    /// A skill with the prober in its folder and this manifest.
    pub fn skill_with(self, name: &str, manifest: &str) -> Self {
        let folder = self.folder.path().join("skills").join(name);
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        fs::copy(prober(), folder.join("bin/test-prober")).expect("copy the prober");
        fs::write(folder.join("SKILL.md"), format!("---\nname: {name}\ndescription: d\n---\n"))
            .expect("SKILL.md");
        fs::write(folder.join("skill.toml"), manifest).expect("skill.toml");
        self
    }

    /// One more file of a skill, executable.
    pub fn program(self, skill: &str, file: &Path) -> Self {
        let name = file.file_name().expect("a name");
        let real = file.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        fs::copy(real, self.folder.path().join("skills").join(skill).join("bin").join(name)).expect("copy");
        self
    }

    /// A skill that is an MCP server of the tests: the kind of it, and lines of its manifest.
    pub fn server(self, name: &str, kind: &str, more: &str) -> Self {
        let manifest = format!("program = \"bin/test-mcp\"\nargs = [\"{kind}\"]\nmcp = true\n{more}");
        let server = prober().with_file_name("test-mcp");
        self.skill_with(name, &manifest).program(name, &server)
    }

    /// A bundled skill, with changes to its manifest: its far ends are stand-ins, under other names.
    pub fn bundled(self, name: &str, changes: &[(&str, &str)]) -> Self {
        let (from, to) = (dist().join("skills").join(name), self.folder.path().join("skills").join(name));
        let mut manifest = fs::read_to_string(from.join("skill.toml")).expect("skill.toml");
        for (old, new) in changes {
            assert!(manifest.contains(old), "{name}: {old}");
            manifest = manifest.replace(old, new);
        }
        fs::create_dir_all(to.join("bin")).expect("a folder");
        fs::copy(from.join("bin").join(name), to.join("bin").join(name)).expect("copy the skill");
        fs::copy(from.join("SKILL.md"), to.join("SKILL.md")).expect("copy SKILL.md");
        fs::write(to.join("skill.toml"), manifest).expect("skill.toml");
        self
    }

    /// Its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts egress and runner as the supervisor does.
    pub fn start(self) -> Broker {
        let root = self.folder.path().to_owned();
        fs::write(root.join("openclaw.toml"), &self.config).expect("the configuration");
        fs::write(root.join("state/egress/.env"), &self.keys).expect("the keys");
        fs::set_permissions(root.join("state/egress/.env"), PermissionsExt::from_mode(0o600)).expect("mode");
        let operator = root.join("state").join(&FACTS.state.operator_socket);
        let operator = UnixListener::bind(operator).expect("the operator's socket");
        let log = fs::File::create(root.join("log")).expect("the log");
        let identity = rustix::process::geteuid().is_root().then_some(Identity { uid: NOBODY, gid: NOBODY });
        if identity.is_some() {
            give(&root);
        }
        let (to_egress, egress_gateway) = pair().expect("a pair");
        let (to_runner, runner_gateway) = pair().expect("a pair");
        let (runner_egress, egress_runner) = pair().expect("a pair");
        let start = |program: &str| {
            Start::new(dist().join("bin").join(program))
                .arg("--config")
                .arg(root.join("openclaw.toml"))
                .arg("--state")
                .arg(root.join("state"))
                .standard(2, log.try_clone().expect("the log").into())
                .identity(identity)
        };
        let egress = start(&FACTS.programs.egress)
            .fd("gateway", egress_gateway)
            .fd("runner", egress_runner)
            .fd("operator", operator.into())
            .spawn()
            .expect("egress starts");
        let runner = start(&FACTS.programs.runner)
            .arg("--skills")
            .arg(root.join("skills"))
            .arg("--home")
            .arg(root.join("home"))
            .fd("gateway", runner_gateway)
            .fd("egress", runner_egress.try_clone().expect("a descriptor"))
            .spawn()
            .expect("the runner starts");
        Broker {
            setup: self,
            egress,
            runner,
            to_egress: Door::Pair(to_egress),
            to_runner: Door::Pair(to_runner),
            runner_to_egress: Door::Pair(runner_egress),
            calls: AtomicU32::new(0),
        }
    }
}

fn prober() -> PathBuf {
    // The dist builds the workspace's programs.
    dist();
    built().join("test-prober")
}

fn give(folder: &Path) {
    chown(folder, Some(NOBODY), Some(NOBODY)).expect("chown");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { give(&path) } else { chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown") }
    }
}
