//! One call over the runner's door: a connection of its own, closed to cancel.

use std::{io, sync::Arc, time::Duration};

use openclaw_wire::{
    door::Door,
    egress::Denial,
    frame,
    runner::{Answer, Failure, Outcome, Reply, Request},
    skill::HostGrant,
};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::way;
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

/// Text for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What the skill answered, or a sentence of ours about why it did not.
    pub text: String,
    /// The call did not do what it should.
    pub is_error: bool,
    /// What it tried on its way out and may not; they stand in the text too.
    pub denials: Vec<Denial>,
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

    /// Runs one call to its end, or until `stop`; then the jail is killed. `hosts` are those of its manifest: whether it has
    /// a way out at all; which one is egress's own knowledge. `chat` pays.
    pub async fn run(
        &self,
        grant: Grant,
        chat: &str,
        hosts: &[HostGrant],
        stop: &CancellationToken,
    ) -> Untrusted<Output> {
        let call = grant.into_call();
        let (skill, tool) = (call.skill.clone(), call.tool.clone());
        let way = match way::open(&self.egress, &call, chat, hosts).await {
            Ok(way) => way,
            Err(text) => return Untrusted(Output { text, is_error: true, denials: Vec::new() }),
        };
        let outcome = tokio::select! {
            outcome = self.outcome(Request::Call(call)) => outcome,
            () = stop.cancelled() => Ok(failed(Failure::Cancelled, "stopped")),
        };
        let outcome = outcome
            .unwrap_or_else(|error| failed(Failure::NoJail, &format!("the runner did not answer: {error}")));
        let denials = way.close().await;
        let (mut text, is_error) = match outcome {
            Outcome::Output(text) => match serde_json::from_str(&text) {
                Ok(Answer::Text(text)) => (text, false),
                Ok(Answer::Error(text)) => (text, true),
                Err(_) => (format!("the skill {skill} answered in no known form"), true),
            },
            Outcome::Failed { reason, detail } => (explain(&tool, reason, &detail), true),
        };
        for denial in &denials {
            text += &format!("\n\nDenied: {}; {}.", denial.message, denial.mend);
        }
        Untrusted(Output { text, is_error, denials })
    }

    /// Asks the runner about itself.
    pub async fn status(&self) -> io::Result<RunnerStatus> {
        let ask = async {
            let mut stream = self.send(Request::Status).await?;
            match receive(&mut stream).await? {
                Reply::Status { confinement, skills_off, .. } => Ok(RunnerStatus { confinement, skills_off }),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a status")),
            }
        };
        timeout(STATUS, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn send(&self, request: Request) -> io::Result<UnixStream> {
        let door = Arc::clone(&self.door);
        let stream = tokio::task::spawn_blocking(move || door.open()).await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        stream.write_all(&frame::encode(&request)?).await?;
        Ok(stream)
    }

    async fn outcome(&self, request: Request) -> io::Result<Outcome> {
        let mut stream = self.send(request).await?;
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
        Failure::Forbidden => "tried something that its jail forbids and was stopped",
        Failure::Crashed => "ended with an error",
        Failure::Cancelled => "was stopped before it was done; it may have had an effect",
    };
    let detail: String = detail.chars().filter(|c| !c.is_control() || *c == '\n').take(1000).collect();
    match detail.trim() {
        "" => format!("{tool} {what}."),
        detail => format!("{tool} {what}: {detail}"),
    }
}
