//! The real egress, the real runner and its jails, without a gateway: a test plays the gateway, also a hijacked one, on the
//! same doors.

mod far;
mod files;
mod setup;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use openclaw_confine::spawn::Child;
use openclaw_wire::{
    door::Door,
    egress::{Approval, Closed, OpenCall, Refusal},
    facts::FACTS,
    file::FileName,
    frame,
    mcp::Offered,
    pass,
    runner::{Answer, Call, Look, Outcome, Reply, Request},
    skill,
};
use rustix::process::Signal;
use serde_json::{Value, json};

pub use far::{Far, Seen, head, line, pem};
pub use files::Made;
pub use setup::Setup;

/// The chat that pays for the calls.
pub const CHAT: &str = "main/7";
/// A bound for tests that would else hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// Running.
pub struct Broker {
    setup: Setup,
    egress: Child,
    runner: Child,
    to_egress: Door,
    to_runner: Door,
    /// The runner's own end of its door to egress: what a hijacked runner has.
    runner_to_egress: Door,
    calls: AtomicU32,
}

/// One answer over HTTP.
#[derive(Debug)]
pub struct Said {
    /// Status code.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Said {
    /// The refusal that it must be.
    pub fn refusal(&self) -> Refusal {
        assert!(self.status >= 400, "{} {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).expect("a refusal")
    }
}

impl Broker {
    /// What both programs wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.setup.path("log")).unwrap_or_default()
    }

    /// What it was started with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Egress's process id.
    pub fn egress(&self) -> u32 {
        self.egress.id()
    }

    /// The digest of a skill as it is now.
    pub fn digest(&self, skill: &str) -> String {
        skill::digest(&self.setup.path("skills").join(skill)).expect("a digest")
    }

    /// Approves a skill as it is now.
    pub fn approve(&self, skill: &str) {
        let loaded = skill::load(&self.setup.path("skills").join(skill)).expect("a good skill");
        let hosts = loaded.manifest.expect("a manifest").permissions.hosts;
        let approval = Approval { skill: loaded.id, digest: loaded.digest, hosts };
        let said = self.operator("POST", "/skills/approve", &json!(approval));
        assert_eq!(said.status, 204, "{}\n{}", String::from_utf8_lossy(&said.body), self.log());
    }

    /// A request on the operator's socket.
    pub fn operator(&self, method: &str, path: &str, body: &Value) -> Said {
        let socket = self.setup.path("state").join(&FACTS.state.operator_socket);
        exchange(UnixStream::connect(socket).expect("the operator's socket"), method, path, body)
    }

    /// A connection to the gateway's door of egress.
    pub fn door(&self) -> UnixStream {
        self.to_egress.open().unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// A request on the gateway's door of egress.
    pub fn gateway(&self, method: &str, path: &str, body: &Value) -> Said {
        exchange(self.door(), method, path, body)
    }

    /// A question on the runner's door of egress; the connection stays open for what follows.
    pub fn runner(&self, question: &Value) -> UnixStream {
        let stream = self.runner_to_egress.open().expect("the door");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        frame::write(&stream, question).expect("a question");
        stream
    }

    /// Registers a call.
    pub fn open(&self, id: &str, skill: &str, digest: &str, urls: &[(&str, &str)]) -> Said {
        let urls = urls.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect();
        let wish = OpenCall {
            call: id.into(),
            skill: skill.parse().expect("id"),
            digest: digest.into(),
            chat: CHAT.into(),
            urls,
        };
        self.gateway("POST", "/call/open", &json!(wish))
    }

    /// Ends a call.
    pub fn close(&self, id: &str) -> Closed {
        let said = self.gateway("POST", "/call/close", &json!({ "call": id }));
        serde_json::from_slice(&said.body).expect("what it did")
    }

    /// Has the runner run a call of the prober.
    pub fn run(&self, id: &str, skill: &str, arguments: &Value) -> Outcome {
        self.run_tool(id, skill, ("probe", None), arguments)
    }

    /// Has the runner run a call of a tool, which for an MCP server is named with its definition.
    pub fn run_tool(
        &self,
        id: &str,
        skill: &str,
        (tool, definition): (&str, Option<String>),
        arguments: &Value,
    ) -> Outcome {
        let call = self.call_of(id, skill, (tool, definition), arguments);
        self.ask_runner(&Request::Call(call), Vec::new())
    }

    fn call_of(
        &self,
        id: &str,
        skill: &str,
        (tool, definition): (&str, Option<String>),
        arguments: &Value,
    ) -> Call {
        Call {
            id: id.into(),
            skill: skill.parse().expect("id"),
            digest: self.digest(skill),
            tool: tool.into(),
            arguments: arguments.clone(),
            definition,
            attached: Vec::new(),
            makes: false,
        }
    }

    /// A whole call with files, as a gateway makes it: what the skill said, and what it made. `None`: it may make nothing.
    pub fn with_files(
        &self,
        skill: &str,
        tool: &str,
        arguments: &Value,
        attached: &[(&str, &fs::File)],
    ) -> (Outcome, Option<Made>) {
        let id = format!("call-{}", self.calls.fetch_add(1, Ordering::Relaxed));
        let loaded = skill::load(&self.setup.path("skills").join(skill)).expect("a good skill");
        let permissions = loaded.manifest.expect("a manifest").permissions;
        if !permissions.hosts.is_empty() {
            let said = self.open(&id, skill, &self.digest(skill), &[]);
            assert_eq!(said.status, 204, "{}\n{}", String::from_utf8_lossy(&said.body), self.log());
        }
        let mut call = self.call_of(&id, skill, (tool, None), arguments);
        let name = |name: &str| FileName::try_from(name.to_owned()).expect("a name");
        call.attached = attached.iter().map(|(text, _)| name(text)).collect();
        let mut handed: Vec<OwnedFd> =
            attached.iter().map(|(_, file)| file.try_clone().expect("a descriptor").into()).collect();
        let near = permissions.makes.map(|_| {
            let (near, far) = UnixStream::pair().expect("a pair");
            call.makes = true;
            handed.push(far.into());
            near
        });
        std::thread::scope(|scope| {
            let reading = near.map(|near| scope.spawn(move || files::read(near)));
            let outcome = self.ask_runner(&Request::Call(call), handed);
            if !permissions.hosts.is_empty() {
                self.close(&id);
            }
            (outcome, reading.map(|reading| reading.join().expect("read")))
        })
    }

    /// Has the runner ask an MCP server for its tools.
    pub fn look(&self, skill: &str) -> Outcome {
        let id = "look".into();
        let look = Look { id, skill: skill.parse().expect("id"), digest: self.digest(skill) };
        self.ask_runner(&Request::Tools(look), Vec::new())
    }

    /// The tools of a server that answers well.
    pub fn tools(&self, skill: &str) -> Vec<Offered> {
        match self.look(skill) {
            Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
                Answer::Tools(tools) => tools,
                other => panic!("{other:?}"),
            },
            failed => panic!("{failed:?}\n{}", self.log()),
        }
    }

    /// A whole call of an MCP server's tool, as a gateway makes it that has looked at the server before.
    pub fn served(&self, skill: &str, tool: &str, arguments: Value) -> (Outcome, Closed) {
        let offered = self.tools(skill).into_iter().find(|offered| offered.name == tool).expect("the tool");
        self.whole(skill, (tool, Some(offered.digest())), arguments)
    }

    /// A whole call of a bundled skill's tool, as a gateway makes it.
    pub fn bundled(&self, skill: &str, tool: &str, arguments: Value) -> (Result<String, String>, Closed) {
        let (outcome, closed) = self.whole(skill, (tool, None), arguments);
        let said = match outcome {
            Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
                Answer::Text(text) => Ok(text),
                Answer::Error(text) => Err(text),
                other => panic!("{other:?}"),
            },
            failed => panic!("{failed:?}\n{}", self.log()),
        };
        (said, closed)
    }

    fn whole(&self, skill: &str, tool: (&str, Option<String>), arguments: Value) -> (Outcome, Closed) {
        let id = format!("call-{}", self.calls.fetch_add(1, Ordering::Relaxed));
        let loaded = skill::load(&self.setup.path("skills").join(skill)).expect("a good skill");
        let way = !loaded.manifest.expect("a manifest").permissions.hosts.is_empty();
        if way {
            let url = arguments["url"].as_str().unwrap_or_default().to_owned();
            let said = self.open(&id, skill, &self.digest(skill), &[("url", &url)]);
            assert_eq!(said.status, 204, "{}\n{}", String::from_utf8_lossy(&said.body), self.log());
        }
        let outcome = self.run_tool(&id, skill, tool, &arguments);
        (outcome, if way { self.close(&id) } else { Closed::default() })
    }

    fn ask_runner(&self, request: &Request, handed: Vec<OwnedFd>) -> Outcome {
        let stream = self.to_runner.open().expect("the runner's door");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        frame::write(&stream, request).expect("a request");
        for fd in handed {
            pass::send(&stream, fd.as_fd()).expect("a descriptor");
        }
        loop {
            match frame::read(&stream).unwrap_or_else(|error| panic!("{error}\n{}", self.log())) {
                Some(Reply::Started) => {}
                Some(Reply::Finished(outcome)) => return outcome,
                other => panic!("{other:?}\n{}", self.log()),
            }
        }
    }

    /// A whole call, as a gateway makes it: what the prober said, and what was denied.
    pub fn call(&self, skill: &str, arguments: Value) -> (Value, Closed) {
        let id = format!("call-{}", self.calls.fetch_add(1, Ordering::Relaxed));
        let url = arguments["url"].as_str().unwrap_or_default().to_owned();
        let said = self.open(&id, skill, &self.digest(skill), &[("url", &url)]);
        assert_eq!(said.status, 204, "{}\n{}", String::from_utf8_lossy(&said.body), self.log());
        let outcome = self.run(&id, skill, &arguments);
        let closed = self.close(&id);
        match outcome {
            Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
                Answer::Text(text) => (serde_json::from_str(&text).expect("what the prober said"), closed),
                other => panic!("{other:?}"),
            },
            failed => panic!("{failed:?}\n{}", self.log()),
        }
    }

    /// As [`Broker::call`], of what came back as `ok`.
    pub fn ok(&self, skill: &str, arguments: Value) -> (Value, Closed) {
        let (said, closed) = self.call(skill, arguments);
        assert!(said["ok"] != Value::Null, "{said} {closed:?}\n{}", self.log());
        (said["ok"].clone(), closed)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for child in [&mut self.runner, &mut self.egress] {
            // It may be gone already.
            let _gone = child.signal(Signal::KILL);
            let _gone = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the log ---\n{}\n---", self.log());
        }
    }
}

fn exchange(stream: UnixStream, method: &str, path: &str, body: &Value) -> Said {
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let body = body.to_string();
    let mut stream = BufReader::new(stream);
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("a request");
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    let status = line().split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut length = 0;
    loop {
        let header = line().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    Said { status, body }
}
