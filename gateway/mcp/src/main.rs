//! The MCP client. It is the first program of its jail, starts the one server that the manifest names, asks it one thing and
//! ends; the server ends with it. It lives in the jail because a server's words are hostile input: what reads them holds no
//! right that the server has not, and neither the runner nor the gateway parses a byte of the protocol.

use std::{
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use openclaw_wire::{mcp::Ask, runner::Answer};
use tokio::net::unix::pipe;

mod session;
mod content;

/// Largest question: arguments that a model wrote.
const ASK: u64 = 16 << 20;
/// How long a server may take to end by itself once its input has ended, so that it can write down what it keeps.
const GRACE: Duration = Duration::from_millis(500);
/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    match run() {
        Ok(answer) => {
            let line = serde_json::to_vec(&answer).expect("plain data");
            // If nobody reads, nobody is to be told.
            let _unheard = io::stdout().lock().write_all(&line);
            ExitCode::SUCCESS
        }
        Err(Trouble { why, signal }) => {
            eprintln!("{why}");
            // As a shell tells of it, so that the runner knows a limit, or a call that no skill may make.
            signal
                .and_then(|signal| u8::try_from(128 + signal).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

/// Why there is no answer.
struct Trouble {
    why: String,
    /// What ended the server, if that was a signal.
    signal: Option<i32>,
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self { why, signal: None }
    }
}

fn run() -> Result<Answer, Trouble> {
    let mut bytes = Vec::new();
    io::stdin().take(ASK).read_to_end(&mut bytes).map_err(|error| format!("read the question: {error}"))?;
    let ask: Ask =
        serde_json::from_slice(&bytes).map_err(|error| format!("the question cannot be read: {error}"))?;
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or_else(|| "no server was named".to_owned())?;
    let mut server = Command::new(&program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("start the server {}: {error}", program.display()))?;
    let input: OwnedFd = server.stdin.take().expect("it is a pipe").into();
    let output: OwnedFd = server.stdout.take().expect("it is a pipe").into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start a runtime: {error}"))?;
    let answer = runtime.block_on(async {
        let pipes = pipe::Receiver::from_owned_fd(output)
            .and_then(|output| Ok((output, pipe::Sender::from_owned_fd(input)?)));
        let (output, input) = pipes.map_err(|error| format!("use the server's pipes: {error}"))?;
        session::ask(ask, output, input).await
    });
    drop(runtime);
    let signal = end(&mut server);
    answer.map_err(|why| Trouble { why, signal })
}

/// Its input has ended. What does not end by itself ends with the jail. Returns the signal that ended it, if one did.
fn end(server: &mut Child) -> Option<i32> {
    let until = Instant::now() + GRACE;
    loop {
        match server.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK),
            Ok(status) => return status.and_then(|status| status.signal()),
            Err(_) => return None,
        }
    }
}
