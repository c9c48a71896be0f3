//! Starts `openclaw-egress` as the supervisor does, and speaks to it as the gateway and the operator do.

use std::{
    fs::{self, File, Permissions},
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use openclaw_confine::spawn::{Child, Start};
use openclaw_wire::{
    door::{self, Door},
    egress::{REFUSED, Refusal, RefusalKind, Status},
};

/// A bound for tests that would else hang; no test depends on how long anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The key of the model in [`Setup::model`].
pub const KEY: &str = "test-key-not-real-a1b2c3";
/// The token of the bot in [`Setup::bot`].
pub const TOKEN: &str = "123456:test-token-not-real-d4e5f6";

/// A state folder, before the program is started on it.
pub struct Setup {
    dir: tempfile::TempDir,
    config: String,
    environment: String,
    variables: Vec<(String, String)>,
    hosts: Option<String>,
}

/// A program that runs on a state folder.
pub struct Egress {
    child: Child,
    door: Door,
    setup: Setup,
}

impl Setup {
    /// An empty configuration and no keys.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a state folder");
        let setup = Self {
            dir,
            config: "[log]\nlevel = \"debug\"\n".into(),
            environment: String::new(),
            variables: Vec::new(),
            hosts: None,
        };
        fs::create_dir(setup.state().join("egress")).expect("egress's folder");
        chmod(&setup.state().join("egress"), 0o700);
        setup
    }

    /// A model `m` (Anthropic's protocol, key [`KEY`]) on a server that the operator vouches for.
    pub fn model(url: &str) -> Self {
        let model = format!(
            "[[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nkey = \"MODEL_KEY\"\nurl = \"{url}\"\nprivate = true\n"
        );
        Self::new().config(&model).keys(&format!("MODEL_KEY={KEY}\n"))
    }

    /// A bot `b` (token [`TOKEN`]) at a Bot API server that the operator vouches for.
    pub fn bot(url: &str, updates: &str) -> Self {
        let bot = format!(
            "[telegram]\napi = \"{url}\"\nprivate = true\n[[telegram.bot]]\nname = \"b\"\ntoken = \"BOT_TOKEN\"\nupdates = \"{updates}\"\n"
        );
        Self::new().config(&bot).keys(&format!("BOT_TOKEN={TOKEN}\n"))
    }

    /// More configuration.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// Configuration before the first section.
    pub fn top(mut self, text: &str) -> Self {
        self.config.insert_str(0, text);
        self
    }

    /// Another text in the configuration.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.config.contains(from), "{from} is not in the configuration");
        self.config = self.config.replacen(from, to, 1);
        self
    }

    /// The key file, mode 0600.
    pub fn keys(self, text: &str) -> Self {
        fs::write(self.key_file(), text).expect("the key file");
        chmod(&self.key_file(), 0o600);
        self
    }

    /// Keys of the environment, over the pipe.
    pub fn environment(mut self, text: &str) -> Self {
        self.environment = text.into();
        self
    }

    /// A variable of the process, as systemd sets them.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the program finds in the place of `/etc/hosts`. Needs root: it gets a mount namespace of its own.
    pub fn hosts(mut self, text: &str) -> Self {
        self.hosts = Some(text.to_owned());
        self
    }

    pub fn state(&self) -> &Path {
        self.dir.path()
    }

    pub fn key_file(&self) -> PathBuf {
        self.state().join("egress/.env")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.state().join("log")).expect("the log")
    }

    /// Starts the program.
    pub fn start(self) -> Egress {
        let (ours, theirs) = door::pair().expect("the gateway's pair");
        self.launch(Door::Pair(ours), theirs)
    }

    /// Starts it with this as the gateway's door.
    pub fn start_with(self, gateway: OwnedFd) -> Egress {
        self.launch(Door::Path(PathBuf::new()), gateway)
    }

    /// Starts it on a socket that others keep open, as systemd does: this path, which is listened on.
    pub fn start_on(self, path: &Path, listener: &UnixListener) -> Egress {
        let theirs = listener.try_clone().expect("a copy of the listener");
        self.launch(Door::Path(path.to_owned()), theirs.into())
    }

    fn launch(self, door: Door, theirs: OwnedFd) -> Egress {
        let file = self.state().join("openclaw.toml");
        fs::write(&file, &self.config).expect("the configuration");
        let operator = self.state().join("egress/operator.sock");
        let _ = fs::remove_file(&operator);
        let operator = UnixListener::bind(&operator).expect("the operator's socket");
        let (_, runner) = door::pair().expect("the runner's pair");
        let (pipe, mut keys) = std::io::pipe().expect("the pipe of keys");
        keys.write_all(self.environment.as_bytes()).expect("keys");
        drop(keys);
        let log = File::options().create(true).append(true).open(self.state().join("log")).expect("the log");
        let program = env!("CARGO_BIN_EXE_openclaw-egress");
        let mut start = match &self.hosts {
            None => Start::new(program),
            Some(hosts) => {
                let file = self.state().join("hosts");
                fs::write(&file, hosts).expect("hosts");
                let within = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                let start =
                    Start::new("/usr/bin/unshare").arg("--mount").arg("/bin/sh").arg("-c").arg(within);
                start.arg(file).arg(program)
            }
        };
        for (name, value) in &self.variables {
            start = start.env(name, value);
        }
        let child = start
            .arg("--config")
            .arg(file)
            .arg("--state")
            .arg(self.state())
            .fd("gateway", theirs)
            .fd("runner", runner)
            .fd("operator", operator.into())
            .fd("keys", pipe.into())
            .standard(2, log.into())
            .spawn()
            .expect("the program starts");
        Egress { child, door, setup: self }
    }

    /// Starts the program, which must refuse; gives what it said.
    pub fn start_refused(self) -> (Setup, String) {
        let (status, setup) = self.start().end();
        let log = setup.log();
        assert!(!status.success(), "it must not start: {log}");
        (setup, log)
    }
}

impl Egress {
    /// A fresh connection to the gateway's door.
    pub fn open(&self) -> Connection {
        let stream = self.door.open().unwrap_or_else(|error| panic!("{error}: {}", self.setup.log()));
        Connection::new(stream)
    }

    /// One exchange on a connection of its own; `None` when the program dies before its answer is whole.
    pub fn try_call(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut connection = Connection::new(self.door.open().ok()?);
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: egress\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers.iter().chain(&[("connection", "close")]) {
            head += &format!("{name}: {value}\r\n");
        }
        connection.stream.get_mut().write_all(&[head.as_bytes(), b"\r\n", body].concat()).ok()?;
        let bytes = connection.rest();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Answer { status, headers, body: body.as_bytes().to_vec() })
    }

    /// A fresh connection to the operator's socket.
    pub fn operator(&self) -> Connection {
        let path = self.setup.state().join("egress/operator.sock");
        Connection::new(UnixStream::connect(path).expect("the operator's socket"))
    }

    /// One exchange at the gateway's door.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.open().call(method, path, &[], body.as_bytes())
    }

    /// A call of the model `m`.
    pub fn ask(&self, body: &str) -> Answer {
        self.call("POST", "/r/model/m/v1/messages", body)
    }

    /// One exchange at the operator's socket.
    pub fn command(&self, method: &str, path: &str, body: &str) -> Answer {
        self.operator().call(method, path, &[], body.as_bytes())
    }

    pub fn status(&self) -> Status {
        serde_json::from_slice(&self.call("GET", "/status", "").body).expect("a status")
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Waits until it has ended by itself.
    pub fn end(mut self) -> (ExitStatus, Setup) {
        let status = self.child.wait().expect("waits");
        (status, std::mem::replace(&mut self.setup, Setup::new()))
    }

    /// Closes the gateway's end, as when gateway and supervisor are gone, and waits until it has ended.
    pub fn close_door(mut self) -> (ExitStatus, Setup) {
        self.door = Door::Path(PathBuf::new());
        self.end()
    }

    /// Asks it to stop, waits, and gives its folder back.
    pub fn stop(self) -> Setup {
        self.child.signal(rustix::process::Signal::TERM).expect("signal");
        let (status, setup) = self.end();
        assert!(status.success(), "{status}: {}", setup.log());
        setup
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        let _ = self.child.signal(rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// HTTP/1.1 by hand, so that a test sees each chunk when it comes.
pub struct Connection {
    stream: BufReader<UnixStream>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The refusal, which must be of this kind.
    pub fn refused(&self, kind: RefusalKind) -> Refusal {
        assert!(self.header(REFUSED).is_some(), "not refused: {} {}", self.status, self.text());
        let refusal: Refusal = serde_json::from_slice(&self.body).expect("a refusal");
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        refusal
    }
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("send");
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: egress\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send(&[head.as_bytes(), b"\r\n", body].concat());
    }

    pub fn call(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request(method, path, headers, body);
        self.answer()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(line.ends_with("\r\n"), "the connection ended in {line:?}");
        line.trim_end().to_owned()
    }

    /// Status and headers; the body is empty.
    pub fn head(&mut self) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    /// The next chunk of a chunked body; empty at its end.
    pub fn chunk(&mut self) -> Vec<u8> {
        let length = usize::from_str_radix(&self.line(), 16).expect("a length");
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk).expect("a chunk");
        assert_eq!(self.line(), "");
        chunk
    }

    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    return answer;
                }
                answer.body.extend(chunk);
            }
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).expect("a body");
        answer
    }

    /// What comes next, up to the end of a line; nothing when the connection was closed.
    pub fn rest_of_one(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let _ = self.stream.read_until(b'\n', &mut line);
        line
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}
