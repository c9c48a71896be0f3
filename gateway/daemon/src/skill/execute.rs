//! One call over the runner's door: a connection of its own, closed to cancel.

use std::{
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use openclaw_wire::{
    door::Door,
    egress::Denial,
    frame,
    id::SkillId,
    mcp::{Offered, TOOLS},
    pass,
    runner::{Answer, Failure, Look, Outcome, Reply, Request},
};
use serde::de::DeserializeOwned;
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Found, way};
use crate::{egress::Egress, policy::Grant};

/// Longest time without a word from the runner: past every wall clock limit that a manifest can set (10 min) and the
/// runner's own queue. Past it the runner itself is stuck.
const SILENCE: Duration = Duration::from_secs(900);
/// Time for the runner's answer about itself.
const STATUS: Duration = Duration::from_secs(5);

/// What a skill said, or why it said nothing. Only [`Executor::run`] makes one.
#[derive(Debug)]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Takes it out, to put a label on it.
    pub fn into_labelled<L>(self, label: L) -> (T, L) {
        (self.0, label)
    }
}

impl Untrusted<Output> {
    /// The call did what it should, as far as the skill says.
    pub fn is_good(&self) -> bool {
        !self.0.is_error
    }
}

/// What a call gets besides its task.
#[derive(Debug, Default)]
pub struct Handed {
    /// The files that its grant names, in that order, to read.
    pub attached: Vec<OwnedFd>,
    /// The far end of the socket to which the jail hands out what the skill made.
    pub made: Option<OwnedFd>,
}

/// Text for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What the skill answered, or a sentence of ours about why it did not.
    pub text: String,
    /// The call did not do what it should.
    pub is_error: bool,
    /// What it tried and may not: on its way out, against its limits, or behind the back of who approved it. The text says
    /// so too.
    pub denials: Vec<Denial>,
    /// Why the runner ended it or could not run it.
    pub reason: Option<Failure>,
}

/// What the runner tells of itself.
#[derive(Debug, Clone)]
pub struct RunnerStatus {
    /// `openclaw_confine::Report`.
    pub confinement: serde_json::Value,
    /// Why no skill can run.
    pub skills_off: Option<String>,
}

/// Runs granted calls. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    door: Arc<Door>,
    egress: Egress,
}

impl Executor {
    /// Uses the runner's door; calls that have a way out are registered at egress.
    pub fn new(door: Door, egress: Egress) -> Self {
        Self { door: Arc::new(door), egress }
    }

    /// Runs one call of the tool that was found to its end, or until `stop`; then the jail is killed. Of the hosts of its
    /// manifest counts here whether it has a way out at all; which one is egress's own knowledge. `chat` pays.
    pub async fn run(
        &self,
        grant: Grant,
        chat: &str,
        found: &Found,
        handed: Handed,
        stop: &CancellationToken,
    ) -> Untrusted<Output> {
        let mut call = grant.into_call();
        call.makes = handed.made.is_some();
        let (skill, tool) = (call.skill.clone(), call.tool.clone());
        if let Some(served) = &found.served {
            call.tool = served.name.clone();
            call.definition = Some(served.definition.clone());
        }
        let way = match way::open(&self.egress, &call, chat, found.hosts()).await {
            Ok(way) => way,
            Err(text) => {
                return Untrusted(Output { text, is_error: true, denials: Vec::new(), reason: None });
            }
        };
        let outcome = tokio::select! {
            outcome = self.outcome(Request::Call(call), handed) => outcome,
            () = stop.cancelled() => Ok(failed(Failure::Cancelled, "stopped")),
        };
        let outcome = outcome
            .unwrap_or_else(|error| failed(Failure::NoJail, &format!("the runner did not answer: {error}")));
        let mut denials = way.close().await;
        let mut stopped = None;
        let (mut text, is_error) = match outcome {
            Outcome::Output(text) => match serde_json::from_str(&text) {
                Ok(Answer::Text(text)) => (text, false),
                Ok(Answer::Error(text)) => (text, true),
                // Nobody but the client of a server has these words.
                Ok(Answer::Changed(how)) if found.served.is_some() => {
                    denials.push(changed(&skill, &how));
                    (format!("{tool} was not called."), true)
                }
                Ok(_) | Err(_) => (format!("the skill {skill} answered in no known form"), true),
            },
            Outcome::Failed { reason, detail } => {
                stopped = Some(reason);
                (explain(&tool, reason, &detail), true)
            }
        };
        for denial in &denials {
            text += &format!("\n\nDenied: {}; {}.", denial.message, denial.mend);
        }
        if let Some(reason) = stopped.filter(|reason| reason.was_stopped()) {
            // After the others: the text says this one already.
            denials.push(Denial { message: format!("skill {skill}: {text}"), mend: mend(&skill, reason) });
        }
        Untrusted(Output { text, is_error, denials, reason: stopped })
    }

    /// Asks an MCP server for its tools. Nothing that it says is decided by, here or later. The error is for people.
    pub async fn look(&self, look: Look, stop: &CancellationToken) -> Result<Vec<Offered>, String> {
        let outcome = tokio::select! {
            outcome = self.outcome(Request::Tools(look), Handed::default()) => outcome,
            () = stop.cancelled() => return Err("stopped".into()),
        };
        match outcome.map_err(|error| format!("the runner did not answer: {error}"))? {
            Outcome::Output(text) => match serde_json::from_str(&text) {
                Ok(Answer::Tools(tools)) if tools.len() <= TOOLS => Ok(tools),
                _ => Err("it answered in no known form".into()),
            },
            Outcome::Failed { reason, detail } => Err(explain("its server", reason, &detail)),
        }
    }

    /// Asks the runner about itself.
    pub async fn status(&self) -> io::Result<RunnerStatus> {
        let ask = async {
            let mut stream = self.send(Request::Status, Handed::default()).await?;
            match receive(&mut stream).await? {
                Reply::Status { confinement, skills_off, .. } => Ok(RunnerStatus { confinement, skills_off }),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a status")),
            }
        };
        timeout(STATUS, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn send(&self, request: Request, handed: Handed) -> io::Result<UnixStream> {
        let door = Arc::clone(&self.door);
        let request = frame::encode(&request)?;
        let opened = tokio::task::spawn_blocking(move || {
            let mut stream = door.open()?;
            // The runner reads all of it at once.
            stream.set_write_timeout(Some(STATUS))?;
            stream.write_all(&request)?;
            for fd in handed.attached.into_iter().chain(handed.made) {
                pass::send(&stream, fd.as_fd())?;
            }
            Ok::<_, io::Error>(stream)
        });
        let stream = opened.await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    async fn outcome(&self, request: Request, handed: Handed) -> io::Result<Outcome> {
        let mut stream = self.send(request, handed).await?;
        loop {
            let reply =
                timeout(SILENCE, receive(&mut stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            match reply {
                Reply::Started => {}
                Reply::Finished(outcome) => return Ok(outcome),
                Reply::Status { .. } => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "not a result"));
                }
            }
        }
    }
}

async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let length = frame::length(stream.read_u32().await?)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// What an owner can do about a call that was stopped.
fn mend(skill: &SkillId, reason: Failure) -> String {
    match reason {
        Failure::Forbidden => {
            format!("If it has no good reason to try that, switch it off: `openclaw skills disable {skill}`.")
        }
        _ => "If it is meant to need more, raise that limit in its skill.toml.".into(),
    }
}

/// What a server changed behind the back of whoever approved it.
fn changed(skill: &SkillId, how: &str) -> Denial {
    let how: String = how.chars().filter(|c| !c.is_control()).take(200).collect();
    Denial {
        message: format!("skill {skill} is not what it was when it was looked at: {how}"),
        mend: format!(
            "`openclaw skills enable {skill}` looks at it again; `openclaw skills list` shows its tools"
        ),
    }
}

fn failed(reason: Failure, detail: &str) -> Outcome {
    Outcome::Failed { reason, detail: detail.to_owned() }
}

fn explain(tool: &str, reason: Failure, detail: &str) -> String {
    let what = match reason {
        Failure::Refused => "was refused by the runner",
        Failure::NoJail => "could not be run",
        Failure::Time => "took longer than its manifest allows and was stopped",
        Failure::Cpu => "used more CPU time than its manifest allows and was stopped",
        Failure::Memory => "used more memory than its manifest allows and was stopped",
        Failure::Output => "wrote more output than its manifest allows and was stopped",
        Failure::Disk => "wrote more to files than its manifest allows and was stopped",
        Failure::Processes => "started more processes than its manifest allows and was stopped",
        Failure::Forbidden => "tried something that its jail forbids and was killed for it",
        Failure::Crashed => "ended with an error",
        Failure::Cancelled => "was stopped before it was done; it may have had an effect",
    };
    let detail: String = detail.chars().filter(|c| !c.is_control() || *c == '\n').take(1000).collect();
    match detail.trim() {
        "" => format!("{tool} {what}."),
        detail => format!("{tool} {what}: {detail}"),
    }
}
