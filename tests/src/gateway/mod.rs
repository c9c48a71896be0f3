//! The real programs between the stand-ins: a state folder of its own, `openclaw run` as an unprivileged user, its
//! children by role, its log, its database, its operator commands. Ends only processes that it started.

mod apart;
mod dist;
mod process;
mod setup;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use openclaw_wire::{admin::Status, facts::FACTS};
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    process::{Child, Command},
    time::Instant,
};

pub use apart::{Apart, FRONT};
pub use dist::{built, dist};
pub use process::{Process, contains, descendants_of, listening, speaking};
pub use setup::{Setup, TOKEN, free_port};

/// How long a start, a stop or a restart may last before the test fails; generous, because builds share the machine.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// The account that the programs run as when root runs the tests: `nobody`, on every Linux.
pub const NOBODY: u32 = 65_534;

/// A running OpenClaw.
pub struct Gateway {
    setup: Setup,
    supervisor: Child,
}

/// Which of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `openclaw serve`.
    Gateway,
    /// `openclaw-egress`.
    Egress,
    /// `openclaw-runner`.
    Runner,
}

impl Role {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Egress, Self::Runner];

    fn program(self) -> &'static str {
        match self {
            Self::Gateway => &FACTS.programs.gateway,
            Self::Egress => &FACTS.programs.egress,
            Self::Runner => &FACTS.programs.runner,
        }
    }
}

impl Gateway {
    /// Starts it and waits until it is ready. Panics with its log when it is not.
    pub async fn start(setup: Setup) -> Self {
        setup.write();
        let supervisor = setup.command(&["run"]).spawn().expect("openclaw starts");
        let mut gateway = Self { setup, supervisor };
        gateway.ready().await;
        gateway
    }

    /// Starts it although it will refuse, and returns its exit code and what it said.
    pub async fn refuses(setup: &Setup) -> (Option<i32>, String) {
        setup.write();
        let mut supervisor = setup.command(&["run"]).spawn().expect("openclaw starts");
        let status = tokio::time::timeout(PATIENCE, supervisor.wait()).await;
        match status {
            Ok(status) => (status.expect("waited").code(), setup.log()),
            Err(_) => {
                let _ = supervisor.start_kill();
                panic!("it did not refuse to start:\n{}", setup.log());
            }
        }
    }

    /// Waits until the gateway answers and knows its models and bots from egress.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.supervisor.try_wait() {
                panic!("openclaw ended while it was starting ({status}):\n{}", self.setup.log());
            }
            if self.try_status().await.is_some_and(|status| self.setup.complete(&status)) {
                return;
            }
            assert!(Instant::now() < deadline, "not ready after {PATIENCE:?}:\n{}", self.setup.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it was set up with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The status over the admin socket; `None` while the gateway is down.
    pub async fn try_status(&self) -> Option<Status> {
        let (code, body) = self.admin("GET", "/status", "").await.ok()?;
        (code == 200).then(|| serde_json::from_slice(&body).expect("the status is of its type"))
    }

    /// The status.
    pub async fn status(&self) -> Status {
        self.try_status().await.expect("the gateway answers")
    }

    /// Waits until nothing runs and nothing waits: every answer is sent and recorded.
    pub async fn idle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let queues = self.status().await.queues;
            if queues.inbox_waiting + queues.running_turns + queues.outbox_waiting == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "not idle after {PATIENCE:?}: {queues:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A request on the admin socket.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let exchange = async {
            let stream = UnixStream::connect(self.state().join(&FACTS.state.admin_socket)).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Full::<bytes::Bytes>::from(body.to_owned()))?;
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            Ok((status, response.into_body().collect().await?.to_bytes().to_vec()))
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        self.setup.state()
    }

    /// Everything that its processes wrote to standard error.
    pub fn log(&self) -> String {
        self.setup.log()
    }

    /// Runs an operator command to its end, as the same user, with this standard input.
    pub async fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.setup.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("openclaw starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).await.expect("the command reads its input");
        drop(stdin);
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        done.unwrap_or_else(|_| panic!("openclaw {arguments:?} did not end")).expect("waited")
    }

    /// Runs an operator command that must succeed, and returns what it printed.
    pub async fn ask(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments, "").await;
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(
            done.status.success(),
            "openclaw {arguments:?}: {}\n{out}\n{err}\n{}",
            done.status,
            self.log()
        );
        out.into_owned()
    }

    /// The supervisor's process id.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.id().expect("the supervisor runs")
    }

    /// The process of a role, if it lives.
    pub fn process(&self, role: Role) -> Option<Process> {
        let children = self.supervisor.id().map(process::children_of).unwrap_or_default();
        children.into_iter().find(|child| child.program() == role.program())
    }

    /// The process of a role, waiting until it is there.
    pub async fn living(&self, role: Role) -> Process {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(process) = self.process(role) {
                return process;
            }
            assert!(Instant::now() < deadline, "no {role:?} after {PATIENCE:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL for one process.
    pub fn kill(&self, role: Role) {
        if let Some(process) = self.process(role) {
            process.signal(Signal::KILL);
        }
    }

    /// SIGKILL for the supervisor and everything below it, at once, as when the power fails.
    pub async fn kill_all(&mut self) {
        let Some(id) = self.supervisor.id() else { return };
        let children = process::children_of(id);
        signal(id, Signal::KILL);
        for child in &children {
            child.signal(Signal::KILL);
        }
        let _ = self.supervisor.wait().await;
        self.nothing_left().await;
    }

    /// Waits until no process of this state folder is left: each dies with its supervisor, one that was just being
    /// started too.
    async fn nothing_left(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = process::mentioning(&self.state().display().to_string());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "processes outlive their supervisor: {left:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts it again on the same state.
    pub async fn start_again(&mut self) {
        self.supervisor = self.setup.command(&["run"]).spawn().expect("openclaw starts");
        self.ready().await;
    }

    /// SIGTERM, and waits for an orderly end.
    pub async fn stop(&mut self) {
        let Some(id) = self.supervisor.id() else { return };
        signal(id, Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, self.supervisor.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it did not stop:\n{}", self.log())).expect("waited");
        self.nothing_left().await;
        assert!(status.success(), "it stopped with {status}:\n{}", self.log());
    }

    /// Reads the database. While it is down, reads a copy: opening it would leave files of the wrong owner behind.
    pub fn database<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        let live = self.state().join(&FACTS.state.database);
        let copy = tempfile::tempdir().expect("a temporary folder");
        let path = match self.process(Role::Gateway) {
            Some(_) => live,
            None => {
                for suffix in ["", "-wal"] {
                    let from = PathBuf::from(format!("{}{suffix}", live.display()));
                    let to = copy.path().join(format!("copy{suffix}"));
                    let _ = fs::copy(from, to);
                }
                copy.path().join("copy")
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).expect("the database opens");
        connection.pragma_update(None, "query_only", true).expect("pragma");
        connection.busy_timeout(PATIENCE).expect("pragma");
        read(&connection).expect("the query works")
    }

    /// One number out of the database.
    pub fn count(&self, query: &str) -> i64 {
        self.database(|connection| connection.query_row(query, [], |row| row.get(0)))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(id) = self.supervisor.id() {
            let children = process::children_of(id);
            signal(id, Signal::KILL);
            for child in children {
                child.signal(Signal::KILL);
            }
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(80)..];
            eprintln!("--- the end of the log ---\n{}\n---", tail.join("\n"));
        }
    }
}

fn signal(id: u32, signal: Signal) {
    // The error is that it is gone already.
    let _ = kill_process(Pid::from_raw(id as i32).expect("not 0"), signal);
}

/// The command as an unprivileged user when the tests run as root.
fn as_nobody(command: &mut std::process::Command) {
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

fn tokio_command(command: std::process::Command) -> Command {
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}
