//! What the probes are aimed at: folders, sockets and a process of the drill's own. All of it is gone with the drill.

#![expect(clippy::disallowed_methods, reason = "somebody on loopback whom the drill tries to reach")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use openclaw_confine::Barrier;
use openclaw_wire::{runner::Task, skill};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    PROBE,
    probes::{self, Act, Told},
};

/// What stands in the file that nobody may read.
pub const SECRET: &str = "drill-secret-not-real";
/// A variable of the environment outside.
pub const MARK: &str = "OPENCLAW_DRILL";

/// Where everything is, for whoever tries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Places {
    /// The skill's own folder.
    pub skill: PathBuf,
    /// The folder to read.
    pub documents: PathBuf,
    /// The folder to read and write.
    pub out: PathBuf,
    /// The folder that is not granted, as the host knows it.
    pub secret: PathBuf,
    /// Somebody listens here.
    pub tcp: SocketAddr,
    /// And here.
    pub udp: SocketAddr,
    /// And under this name.
    pub abstract_name: String,
    /// A process, as the host numbers it.
    pub victim: i32,
    /// The name of the machine.
    pub host: String,
    /// A descriptor that is not close-on-exec.
    pub stray: i32,
}

/// The whole scene.
pub struct Scene {
    folder: PathBuf,
    digest: String,
    weight: u64,
    places: Places,
    victim: Child,
    // Open while the drill lasts.
    _tcp: TcpListener,
    _udp: UdpSocket,
    _unix: UnixListener,
    _abstract: UnixListener,
    _stray: OwnedFd,
}

impl Scene {
    /// Makes it, in a folder of its own among the temporary ones.
    pub fn make() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().canonicalize().context("find the folder for temporary files")?;
        let folder = folder.join(format!("openclaw-drill-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        let made = Self::furnish(&folder);
        if made.is_err() {
            let _left = fs::remove_dir_all(&folder);
        }
        made
    }

    fn furnish(folder: &Path) -> anyhow::Result<Self> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        for name in ["skill/bin", "documents", "out", "secret"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let own = std::env::current_exe().context("find my own program")?;
        let weight = fs::copy(&own, folder.join("skill/bin/probe")).context("copy my own program")?;
        fs::set_permissions(folder.join("skill/bin/probe"), fs::Permissions::from_mode(0o755))?;
        fs::write(folder.join("skill/SKILL.md"), "the drill")?;
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let unix = UnixListener::bind(folder.join("out/socket"))?;
        let abstract_name = format!("openclaw-drill-{}", std::process::id());
        let named = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name)?;
        let abstract_ = UnixListener::bind_addr(&named)?;
        let stray = rustix::io::dup(fs::File::open("/dev/null")?)?;
        fcntl_setfd(&stray, FdFlags::empty())?;
        // It waits for a word that never comes.
        let victim = Command::new(folder.join("skill/bin/probe"))
            .arg(PROBE)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let places = Places {
            skill: folder.join("skill"),
            documents: folder.join("documents"),
            out: folder.join("out"),
            secret: folder.join("secret"),
            tcp: tcp.local_addr()?,
            udp: udp.local_addr()?,
            abstract_name,
            victim: i32::try_from(victim.id()).context("a process id")?,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            stray: stray.as_raw_fd(),
        };
        Ok(Self {
            folder: folder.to_owned(),
            digest: skill::digest(&folder.join("skill"))?,
            weight,
            places,
            victim,
            _tcp: tcp,
            _udp: udp,
            _unix: unix,
            _abstract: abstract_,
            _stray: stray,
        })
    }

    /// Everything is in here.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Of the probe's folder.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes of that folder, which a jail copies to memory.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// As a jail without these barriers sees them.
    pub fn places(&self, without: &[Barrier]) -> Places {
        match [Barrier::Namespaces, Barrier::Mounts].iter().any(|barrier| without.contains(barrier)) {
            true => self.places.clone(),
            false => Places {
                skill: "/skill".into(),
                documents: "/files/documents".into(),
                out: "/files/out".into(),
                ..self.places.clone()
            },
        }
    }

    /// Puts every file back to where the probes want it: one that worked may have taken it.
    pub fn fill(&self) -> io::Result<()> {
        let (documents, out, secret) = (&self.places.documents, &self.places.out, &self.places.secret);
        for folder in [documents, out, secret] {
            for entry in fs::read_dir(folder)?.flatten() {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false if entry.file_name() == "socket" => {}
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        for name in ["note.txt", "cut", "remove", "move"] {
            fs::write(documents.join(name), "a note")?;
        }
        fs::write(secret.join("key.txt"), SECRET)?;
        symlink(secret.join("key.txt"), documents.join("absolute"))?;
        symlink("../secret/key.txt", documents.join("relative"))?;
        symlink("/proc/self/environ", documents.join("proc"))?;
        let _not_there = fs::remove_file(self.folder.join("skill/bin/new"));
        Ok(())
    }

    /// Runs every probe where no barrier stands.
    pub fn outside(&self) -> anyhow::Result<BTreeMap<String, Told>> {
        let mut seen: BTreeMap<String, Told> = serde_json::from_slice(&self.ask("all", "")?)?;
        for probe in probes::all().iter().filter(|probe| matches!(probe.act, Act::Amount(_))) {
            seen.insert(probe.name.clone(), serde_json::from_slice(&self.ask("amount", &probe.name)?)?);
        }
        Ok(seen)
    }

    fn ask(&self, tool: &str, name: &str) -> anyhow::Result<Vec<u8>> {
        self.fill()?;
        let mut child = Command::new(self.places.skill.join("bin/probe"))
            .arg(PROBE)
            .env(MARK, "outside")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let arguments = json!({ "places": self.places, "name": name });
        let task = serde_json::to_vec(&Task { tool: tool.into(), arguments })?;
        child.stdin.take().context("piped")?.write_all(&task)?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "the probe outside: {}", output.status);
        // What the probes outside changed in the skill's folder would not be the approved skill.
        self.fill()?;
        Ok(output.stdout)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Its standard input closes, and it ends.
        let _ended = self.victim.wait();
        let _left = fs::remove_dir_all(&self.folder);
    }
}
