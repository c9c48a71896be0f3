//! The programs beside this one, and what each is started with: arguments, an empty environment, its own sockets.

use std::{
    env,
    ffi::OsString,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use openclaw_confine::{
    memory::TUNABLES,
    spawn::{Child, Start},
};
use openclaw_wire::facts::FACTS;

use super::{keys, sockets::Sockets, supervise::Slot};
use crate::command::{fault::Fault, place::Place};

/// Where the programs and the skills are.
pub struct Programs {
    gateway: PathBuf,
    egress: PathBuf,
    runner: PathBuf,
    skills: Vec<PathBuf>,
    /// Those of them that came with the programs: egress approves what their manifests name.
    bundled: Option<PathBuf>,
}

impl Programs {
    /// All in the folder of this program; the skills in `../skills` unless folders are named.
    pub fn find(skills: &[PathBuf]) -> anyhow::Result<Self> {
        let own = env::current_exe().context("find this program's own file")?;
        let folder = own.parent().context("find the folder of this program")?;
        let find = |name: &str| {
            let path = folder.join(name);
            match path.is_file() {
                true => Ok(path),
                false => Err(Fault::new(
                    format!("find the program {}", path.display()),
                    "build all programs (`make build`) and keep them in one folder",
                )),
            }
        };
        find(&FACTS.programs.jail)?;
        find(&FACTS.programs.mcp)?;
        let bundled = bundled_skills(folder);
        let skills = match skills {
            [] => bundled.iter().cloned().collect(),
            named => named.to_vec(),
        };
        if skills.is_empty() {
            eprintln!("no folder of skills beside {}: the assistant has no skills", folder.display());
        }
        Ok(Self {
            gateway: own.clone(),
            egress: find(&FACTS.programs.egress)?,
            runner: find(&FACTS.programs.runner)?,
            skills,
            bundled,
        })
    }

    /// The runner's program, which holds drills as well.
    pub fn runner(&self) -> &Path {
        &self.runner
    }

    /// The three processes, in the order in which they are started.
    pub fn slots(
        &self,
        place: &Place,
        home: &Path,
        sockets: Sockets,
        keys: Option<OwnedFd>,
        log: Option<Arc<File>>,
    ) -> [Slot; 3] {
        let mut common: Vec<OsString> = Vec::new();
        common.extend(["--config".into(), place.config.clone().into()]);
        common.extend(["--state".into(), place.state.clone().into()]);
        let mut skilled = common.clone();
        for folder in &self.skills {
            skilled.extend(["--skills".into(), folder.clone().into()]);
        }
        let mut egress = common.clone();
        if let Some(folder) = &self.bundled {
            egress.extend(["--bundled".into(), folder.clone().into()]);
        }
        let gateway = [vec!["serve".into()], skilled.clone()].concat();
        let runner = [skilled, vec!["--home".into(), home.into()]].concat();
        [
            slot("egress", self.egress.clone(), egress, sockets.egress, keys, log.clone()),
            slot("runner", self.runner.clone(), runner, sockets.runner, None, log.clone()),
            slot("gateway", self.gateway.clone(), gateway, sockets.gateway, None, log),
        ]
    }

    /// The chat, in this terminal, as a process of its own: the supervisor never reads what a model wrote.
    pub fn chat(&self, place: &Place) -> anyhow::Result<Child> {
        Start::new(&self.gateway)
            .arg("chat")
            .arg("--state")
            .arg(&place.state)
            .arg("--config")
            .arg(&place.config)
            .spawn()
            .context("start the chat")
    }
}

/// In a folder laid out as `bin` and `skills`.
fn bundled_skills(programs: &Path) -> Option<PathBuf> {
    let folder = programs.parent()?.join("skills");
    folder.is_dir().then_some(folder)
}

fn slot(
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    fds: Vec<(&'static str, OwnedFd)>,
    keys: Option<OwnedFd>,
    log: Option<Arc<File>>,
) -> Slot {
    let start = move || {
        let mut start = Start::new(&program)
            .own_session()
            .env(TUNABLES.0, TUNABLES.1)
            .standard(0, File::open("/dev/null")?.into());
        for arg in &args {
            start = start.arg(arg);
        }
        for (name, fd) in &fds {
            start = start.fd(*name, fd.try_clone()?);
        }
        if let Some(log) = &log {
            start = start.standard(1, log.try_clone()?.into()).standard(2, log.try_clone()?.into());
        }
        if let Some(keys) = &keys {
            start = start.fd("keys", keys::pipe_of(keys)?);
        }
        start.spawn()
    };
    Slot::new(name, Box::new(start))
}
