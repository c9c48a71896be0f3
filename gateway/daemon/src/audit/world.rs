//! The facts that the checks judge. Plain data: whoever gathers it says of each fact what it is, that there is no such thing
//! here, or why it can't be seen from where it looked.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use openclaw_wire::{
    admin::Status,
    audit::Place,
    config::Config,
    egress::{self, Approved, KeyList},
    ignored::Tracked,
    skill::Skill,
};

use super::nft::Ruleset;
use crate::command::{doctor::Finding, tunnel::Point, webhook::Info};

/// A fact, or why there is none.
pub type Seen<T> = Result<T, Blind>;

/// Why a fact is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blind {
    /// There is no such thing here, so nothing can be wrong with it.
    Absent(String),
    /// It is there, or may be, and can't be seen from here.
    Hidden(String),
}

/// There is none, and this says what there is not.
pub fn absent<T>(what: impl Into<String>) -> Seen<T> {
    Err(Blind::Absent(what.into()))
}

/// It can't be seen, and this says why and what would help.
pub fn hidden<T>(why: impl Into<String>) -> Seen<T> {
    Err(Blind::Hidden(why.into()))
}

/// What only running processes would show.
pub fn nothing_runs() -> Blind {
    Blind::Hidden("nothing runs on this state folder; start it, then look again".into())
}

/// All facts.
pub struct World {
    /// What kind of machine it is.
    pub place: Place,
    /// Seconds since 1970-01-01 UTC.
    pub now: i64,
    /// The state folder and what lies in it.
    pub state: State,
    /// `openclaw.toml`.
    pub settings: Seen<Settings>,
    /// What `openclaw doctor` found, without what only a running appliance shows.
    pub doctor: Seen<Vec<Finding>>,
    /// What the gateway says of itself and of the two others.
    pub status: Seen<Status>,
    /// What egress says of the keys.
    pub keys: Seen<KeyList>,
    /// What egress says of itself.
    pub egress: Seen<egress::Status>,
    /// What Telegram says of each bot's webhook.
    pub webhooks: Seen<BTreeMap<String, Info>>,
    /// What was found of the tunnel and of the public name.
    pub tunnel: Seen<Vec<Point>>,
    /// Our processes, by the kernel.
    pub processes: Seen<Vec<Process>>,
    /// Sockets of this network namespace that listen.
    pub listeners: Seen<Vec<Listener>>,
    /// The firewall.
    pub firewall: Seen<Ruleset>,
    /// Kernel settings, `net/ipv4/ip_forward` and the like; what is missing was not there.
    pub sysctl: Seen<BTreeMap<String, String>>,
    /// Properties of our units, by unit.
    pub units: Seen<BTreeMap<String, BTreeMap<String, String>>>,
    /// The SSH server's settings in force, by keyword in small letters.
    pub sshd: Seen<BTreeMap<String, Vec<String>>>,
    /// Accounts of this machine.
    pub accounts: Seen<Accounts>,
    /// Skills that are found.
    pub skills: Seen<Vec<Found>>,
    /// What egress approves.
    pub approved: Seen<Approved>,
    /// Updates of the system.
    pub updates: Seen<Updates>,
    /// The machine itself.
    pub machine: Machine,
    /// The gateway's user, when it is the gateway that looks.
    pub own_uid: Option<u32>,
    /// What the operator attested, by check.
    pub attested: BTreeMap<String, Attested>,
}

/// A word of the operator's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// When it was given, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// What was said.
    pub note: String,
}

/// One file, folder or socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Where.
    pub path: PathBuf,
    /// What it is; of a link, that it is one.
    pub kind: Kind,
    /// Its permissions, with set-uid, set-gid and the sticky bit.
    pub mode: u32,
    /// Whose it is.
    pub uid: u32,
    /// When it was written last, in seconds since 1970-01-01 UTC.
    pub modified: i64,
}

/// What something in a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// The state folder.
pub struct State {
    /// The folder itself.
    pub folder: Seen<Stat>,
    /// Those of its files that have a name in the facts: `keys`, `database`, `config`, `vpn`, `page-tokens`, `approved`, `ledger`,
    /// `admin-socket`, `operator-socket`, `egress`, `gateway`.
    pub named: BTreeMap<&'static str, Seen<Stat>>,
    /// Everything in it that could be listed.
    pub walk: Seen<Walk>,
    /// Which version control could take the key file along.
    pub tracked: Seen<Option<Tracked>>,
    /// Keys that stand under both profiles in egress's list of those that it has seen.
    pub shared_keys: Seen<usize>,
    /// Files of its log folder in which something looks like a key.
    pub leaking_logs: Seen<Vec<PathBuf>>,
    /// The programs, their folder, and the folders above it.
    pub programs: Seen<Vec<Stat>>,
    /// The mount that it lies on.
    pub mount: Seen<Mount>,
}

impl State {
    /// A file by its name in [`State::named`].
    pub fn stat(&self, name: &str) -> Seen<Stat> {
        self.named.get(name).cloned().unwrap_or_else(|| hidden(format!("{name} was not looked at")))
    }
}

/// A folder with everything in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// What was listed.
    pub all: Vec<Stat>,
    /// What could not be listed, and what is beyond the bound.
    pub unseen: Vec<PathBuf>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    /// `ext4` and the like.
    pub kind: String,
    /// `rw`, `nosuid` and the like.
    pub options: Vec<String>,
    /// Its device is encrypted; `None`: that can't be seen.
    pub encrypted: Option<bool>,
}

/// The configuration, also one that is refused: what is wrong in it must be found all the more.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Its text; empty when there is no file, and the defaults hold.
    pub text: String,
    /// As far as it is TOML.
    pub raw: toml::Table,
    /// When it is a good configuration.
    pub config: Result<Config, String>,
}

impl Settings {
    /// From a text.
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        Self {
            raw: toml::from_str(text).unwrap_or_default(),
            config: Config::parse(text, &path).map_err(|error| error.to_string()),
            text: text.to_owned(),
            path,
        }
    }

    /// A value of a section, good or not.
    pub fn value(&self, section: &str, key: &str) -> Option<&toml::Value> {
        self.raw.get(section)?.get(key)
    }

    /// A text of a section.
    pub fn word(&self, section: &str, key: &str) -> Option<&str> {
        self.value(section, key)?.as_str()
    }
}

/// One of our processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// `gateway`, `egress`, `runner`, `zygote`, `tunnel`, `supervisor`.
    pub role: &'static str,
    /// Effective user.
    pub uid: u32,
    /// `NoNewPrivs` of `/proc/PID/status`.
    pub no_new_privs: bool,
    /// `Seccomp`: 2 is a filter.
    pub seccomp: u8,
    /// `CapEff`, `CapPrm`, `CapInh` and `CapAmb` together.
    pub capabilities: u64,
    /// Names in its environment that look like keys; `None`: not readable.
    pub keys: Option<Vec<String>>,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// TCP; else UDP.
    pub tcp: bool,
    /// Where.
    pub address: SocketAddr,
    /// Whose it is.
    pub uid: u32,
}

/// Accounts of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Name, number, shell.
    pub users: Vec<(String, u32, String)>,
    /// Group and its members.
    pub groups: Vec<(String, Vec<String>)>,
    /// Accounts without a password, from the shadow file.
    pub open: Option<Vec<String>>,
    /// Files of SSH keys.
    pub ssh_keys: Vec<Stat>,
}

impl Accounts {
    /// An account's number.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|user| user.0 == name).map(|user| user.1)
    }

    /// An account's name.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|user| user.1 == uid).map(|user| user.0.as_str())
    }
}

/// A skill's folder.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// It came with the programs.
    pub bundled: bool,
    /// It is switched off.
    pub off: bool,
    /// As it was read, or why it could not be.
    pub skill: Result<Skill, String>,
    /// Its files and its folder, and the folder of skills that it is in.
    pub files: Walk,
}

/// What brings the system's updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updates {
    /// `unattended-upgrades`, `systemd-sysupdate`, `nixos-upgrade` and the like.
    pub by: String,
    /// It is switched on.
    pub on: bool,
    /// When it last succeeded, in seconds since 1970-01-01 UTC; `None`: it never did, or that is not written down.
    pub succeeded: Option<i64>,
    /// A new kernel or library waits for a restart.
    pub reboot: bool,
}

/// The machine itself.
pub struct Machine {
    /// Weaknesses of the processor that the kernel calls `Vulnerable`.
    pub vulnerable: Seen<Vec<String>>,
    /// The firmware checks what it starts.
    pub secure_boot: Seen<bool>,
    /// `none`, `integrity` or `confidentiality`.
    pub lockdown: Seen<String>,
    /// Devices that memory is swapped to.
    pub swaps: Seen<Vec<String>>,
    /// The clock is set from elsewhere.
    pub clock: Seen<bool>,
    /// Modes of sockets that are as good as root: `/var/run/docker.sock`.
    pub root_sockets: Seen<Vec<Stat>>,
    /// Command lines of any process in which something looks like a key, by process number.
    pub leaking_commands: Seen<Vec<u32>>,
    /// Names in this command's own environment that look like keys.
    pub own_keys: Vec<String>,
    /// The container's root is read-only.
    pub read_only_root: Seen<bool>,
    /// Capabilities that this container could give a process.
    pub bounding: Seen<u64>,
}

impl World {
    /// Nothing can be seen, for one reason.
    pub fn blind(place: Place, now: i64, why: &str) -> Self {
        fn no<T>(why: &str) -> Seen<T> {
            hidden(why)
        }
        Self {
            place,
            now,
            state: State {
                folder: no(why),
                named: BTreeMap::new(),
                walk: no(why),
                tracked: no(why),
                shared_keys: no(why),
                leaking_logs: no(why),
                programs: no(why),
                mount: no(why),
            },
            settings: no(why),
            doctor: no(why),
            status: no(why),
            keys: no(why),
            egress: no(why),
            webhooks: no(why),
            tunnel: no(why),
            processes: no(why),
            listeners: no(why),
            firewall: no(why),
            sysctl: no(why),
            units: no(why),
            sshd: no(why),
            accounts: no(why),
            skills: no(why),
            approved: no(why),
            updates: no(why),
            machine: Machine {
                vulnerable: no(why),
                secure_boot: no(why),
                lockdown: no(why),
                swaps: no(why),
                clock: no(why),
                root_sockets: no(why),
                leaking_commands: no(why),
                own_keys: Vec::new(),
                read_only_root: no(why),
                bounding: no(why),
            },
            own_uid: None,
            attested: BTreeMap::new(),
        }
    }

    /// Our processes, one at least.
    pub fn running(&self) -> Seen<&[Process]> {
        match self.see(&self.processes)?.as_slice() {
            [] => Err(nothing_runs()),
            all => Ok(all),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Seen<&Config> {
        match &self.see(&self.settings)?.config {
            Ok(config) => Ok(config),
            Err(_) => hidden("the configuration is refused; openclaw config check says why"),
        }
    }

    /// A fact by reference.
    pub fn see<'a, T>(&self, fact: &'a Seen<T>) -> Seen<&'a T> {
        fact.as_ref().map_err(Clone::clone)
    }
}
