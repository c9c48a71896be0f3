//! What a test wants to run with: configuration, keys, files of the owner, skills. Written out when it starts.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use openclaw_wire::{admin::Status, config::Updates, facts::FACTS};
use tempfile::TempDir;
use tokio::process::Command;

use super::{NOBODY, as_nobody, dist, tokio_command};
use crate::{
    model::{Model, Wire},
    telegram::{Account, Address, TELEGRAM_SOURCE, Telegram},
};

/// The token of the bot that most tests use.
pub const TOKEN: &str = "110201543:AAtest-token-not-real";

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port")
        .port()
}

/// Everything that differs between tests.
pub struct Setup {
    folder: TempDir,
    state: PathBuf,
    top: String,
    raw: Option<String>,
    sections: BTreeMap<String, String>,
    tables: String,
    keys: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    models: usize,
    bots: usize,
    port: Option<u16>,
    test_skills: bool,
    wrapper: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Nothing configured: no bot, no model, no owner.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("openclaw-test-").tempdir().expect("a temporary folder");
        let state = folder.path().join("state");
        let setup = Self {
            state,
            top: String::new(),
            raw: None,
            sections: BTreeMap::new(),
            tables: String::new(),
            keys: Vec::new(),
            environment: Vec::new(),
            models: 0,
            bots: 0,
            port: None,
            test_skills: false,
            wrapper: Vec::new(),
            folder,
        };
        open_to_all(setup.folder.path());
        for part in ["home", "home/documents"] {
            let path = setup.folder.path().join(part);
            fs::create_dir(&path).expect("make the home");
            give(&path);
        }
        setup
    }

    /// One bot by polling, one model server, `owner` as the owner: what most tests need.
    pub fn usual(telegram: &Telegram, model: &Model, owner: i64) -> (Self, Account) {
        let mut setup = Self::new();
        setup.model(model, Wire::Anthropic);
        let account = setup.bot(telegram, "main", TOKEN, Updates::Poll);
        setup.section("access", &format!("owners = [{owner}]"));
        (setup, account)
    }

    /// As [`Setup::usual`], with the webhook on a loopback port, behind a tunnel, and registered at the stand-in by
    /// [`super::Gateway::command`] `webhook set`.
    pub fn usual_webhook(telegram: &Telegram, model: &Model, owner: i64) -> (Self, Account) {
        let (mut setup, account) = Self::usual_pushed(telegram, model, owner);
        setup.webhook(telegram);
        (setup, account)
    }

    /// As [`Setup::usual_webhook`], on a unix socket: its path comes third.
    pub fn usual_webhook_socket(telegram: &Telegram, model: &Model, owner: i64) -> (Self, Account, PathBuf) {
        let (mut setup, account) = Self::usual_pushed(telegram, model, owner);
        let path = setup.webhook_socket(telegram);
        (setup, account, path)
    }

    fn usual_pushed(telegram: &Telegram, model: &Model, owner: i64) -> (Self, Account) {
        let mut setup = Self::new();
        setup.model(model, Wire::Anthropic);
        let account = setup.bot(telegram, "main", TOKEN, Updates::Webhook);
        setup.section("access", &format!("owners = [{owner}]"));
        (setup, account)
    }

    /// Lines of the configuration before the first section.
    pub fn top(&mut self, lines: &str) -> &mut Self {
        self.top.push_str(lines);
        self.top.push('\n');
        self
    }

    /// Lines of a section.
    pub fn section(&mut self, name: &str, lines: &str) -> &mut Self {
        let section = self.sections.entry(name.into()).or_default();
        section.push_str(lines);
        section.push('\n');
        self
    }

    /// Replaces a line that a section has by now.
    pub fn replace(&mut self, from: &str, to: &str) -> &mut Self {
        for lines in self.sections.values_mut() {
            *lines = lines.replace(from, to);
        }
        self
    }

    /// This text is the whole configuration.
    pub fn raw(&mut self, text: &str) -> &mut Self {
        self.raw = Some(text.into());
        self
    }

    /// `[[...]]` tables, at the end of the configuration.
    pub fn tables(&mut self, text: &str) -> &mut Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// A line of the key file.
    pub fn key(&mut self, name: &str, value: &str) -> &mut Self {
        self.keys.push((name.into(), value.into()));
        self
    }

    /// Another value for a line of the key file.
    pub fn set_key(&mut self, name: &str, value: &str) -> &mut Self {
        self.keys.retain(|(other, _)| other != name);
        self.key(name, value)
    }

    /// A variable in the environment of `openclaw run`.
    pub fn environment(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A bot at the stand-in, with its token in the key file.
    pub fn bot(&mut self, telegram: &Telegram, name: &str, token: &str, updates: Updates) -> Account {
        let key = format!("BOT_{}", self.bots);
        let updates = match updates {
            Updates::Poll => "poll",
            Updates::Webhook => "webhook",
        };
        if self.bots == 0 {
            self.section("telegram", &format!("api = \"{}\"\nprivate = true", telegram.url()));
        }
        self.bots += 1;
        self.tables(&format!(
            "[[telegram.bot]]\nname = \"{name}\"\ntoken = \"{key}\"\nupdates = \"{updates}\""
        ));
        self.key(&key, token);
        telegram.bot(token, &format!("{name}_bot"))
    }

    /// A model server, with a key.
    pub fn model(&mut self, model: &Model, wire: Wire) -> &mut Self {
        let (api, path) = match wire {
            Wire::Anthropic => ("anthropic", ""),
            Wire::Openai => ("openai", "/v1"),
        };
        self.model_at(api, &format!("{}{path}", model.url()), Some("model-key-not-real"))
    }

    /// Any model server on loopback.
    pub fn model_at(&mut self, api: &str, url: &str, key: Option<&str>) -> &mut Self {
        self.models += 1;
        let (name, key_name) = (format!("m{}", self.models), format!("MODEL_KEY_{}", self.models));
        let key_line = key.map(|_| format!("key = \"{key_name}\"\n")).unwrap_or_default();
        self.tables(&format!(
            "[[model]]\nname = \"{name}\"\napi = \"{api}\"\nmodel = \"scripted-{name}\"\nurl = \"{url}\"\nprivate = true\n{key_line}"
        ));
        if let Some(value) = key {
            self.key(&key_name, value);
        }
        self
    }

    /// The webhook on a free loopback port behind a tunnel, and the stand-in's way to it.
    pub fn webhook(&mut self, telegram: &Telegram) -> &mut Self {
        let port = free_port();
        self.port = Some(port);
        self.section(
            "webhook",
            &format!(
                "listen = \"127.0.0.1:{port}\"\nfrom = \"tunnel\"\npublic_url = \"https://bot.example.com\""
            ),
        );
        telegram.route(Address::Tcp(([127, 0, 0, 1], port).into()), Some(TELEGRAM_SOURCE));
        telegram.time_scale(0.05);
        self
    }

    /// The webhook on a unix socket, whose peer is the user of the tests, and the stand-in's way to it. The folder is open
    /// to the programs' group.
    pub fn webhook_socket(&mut self, telegram: &Telegram) -> PathBuf {
        let folder = self.folder.path().join("run");
        fs::create_dir(&folder).expect("make the socket's folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).expect("mode");
        give(&folder);
        let (path, user) = (folder.join("webhook.sock"), rustix::process::geteuid().as_raw());
        self.section(
            "webhook",
            &format!(
                "listen = \"unix:{}\"\nfrom = \"tunnel\"\npublic_url = \"https://bot.example.com\"\npeer = \"{user}\"",
                path.display()
            ),
        );
        telegram.route(Address::Unix(path.clone()), Some(TELEGRAM_SOURCE));
        telegram.time_scale(0.05);
        path
    }

    /// The webhook's port.
    pub fn port(&self) -> u16 {
        self.port.expect("this setup has a webhook")
    }

    /// The skills of `tests/skills` besides the bundled ones.
    pub fn test_skills(&mut self) -> &mut Self {
        self.test_skills = true;
        self
    }

    /// Puts the state folder elsewhere, such as on a small disk. The folder must exist.
    pub fn state_at(&mut self, state: &Path) -> &mut Self {
        self.state = state.into();
        self
    }

    /// A file in the owner's home.
    pub fn file(&mut self, path: &str, content: &[u8]) -> &mut Self {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("make a folder");
        give(path.parent().expect("a file has a folder"));
        fs::write(&path, content).expect("write a file of the owner");
        give(&path);
        self
    }

    /// The owner's home: what `~` means in a manifest.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The configuration as it is written.
    pub fn config(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut text = self.top.clone();
        text.push_str(&format!("[skills]\nhome = \"{}\"\n", self.home().display()));
        text.push_str(self.sections.get("skills").map_or("", String::as_str));
        for (name, lines) in self.sections.iter().filter(|(name, _)| *name != "skills") {
            text.push_str(&format!("[{name}]\n{lines}"));
        }
        text + &self.tables
    }

    /// Everything that was written to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.path().join("stderr.log")
    }

    /// Whether a status shows all that was set up.
    pub(super) fn complete(&self, status: &Status) -> bool {
        status.models.len() >= self.models && status.bots.len() >= self.bots
    }

    /// Writes configuration and keys into the state folder.
    pub fn write(&self) {
        let folder = |path: &Path| {
            fs::create_dir_all(path).expect("make a folder of the state");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("mode");
            give(path);
        };
        folder(self.state());
        private(&self.state().join(&FACTS.state.config), &self.config());
        let keys: String = self.keys.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        if !keys.is_empty() {
            folder(&self.state().join(&FACTS.state.egress));
            private(&self.state().join(&FACTS.state.keys), &keys);
        }
    }

    /// A program, with its first arguments, that `openclaw run` is started by.
    pub fn wrapper(&mut self, command: &[&str]) -> &mut Self {
        self.wrapper = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// `openclaw` with these arguments. `run` writes to the log and drops its rights itself; others run as the user.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = dist().join("bin").join(&FACTS.programs.gateway);
        let mut command = match (self.wrapper.split_first(), arguments.first()) {
            (Some((wrapper, more)), Some(&"run")) => {
                let mut command = std::process::Command::new(wrapper);
                command.args(more).arg(program);
                command
            }
            _ => std::process::Command::new(program),
        };
        command.args(arguments).arg("--state").arg(self.state());
        command.current_dir("/").env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin");
        match arguments.first() {
            Some(&"run") => {
                if rustix::process::geteuid().is_root() {
                    command.args(["--user", &NOBODY.to_string()]);
                }
                // Somewhere, so that it shows when a process stays there.
                command.current_dir(self.home());
                command.args(["--home".as_ref(), self.home().as_os_str()]);
                if self.test_skills {
                    for folder in ["skills", "test-skills"] {
                        command.args(["--skills".as_ref(), dist().join(folder).as_os_str()]);
                    }
                }
                command.envs(self.environment.iter().map(|(name, value)| (name, value)));
                let log =
                    fs::OpenOptions::new().append(true).create(true).open(self.log_path()).expect("log");
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            }
            _ => as_nobody(&mut command),
        }
        tokio_command(command)
    }
}

fn private(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("create");
    file.write_all(text.as_bytes()).expect("write");
    give(path);
}

fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
}
