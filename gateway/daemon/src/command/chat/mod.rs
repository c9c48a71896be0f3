//! `openclaw chat`: a conversation in the terminal, over the gateway's admin socket. Prints nothing that a model wrote
//! without taking its control characters away; decides nothing itself.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use http::Method;
use openclaw_wire::{
    admin::{Approve, Ask, ChatEvent, Say, Status},
    file::FileName,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod events;
mod files;
mod input;

use super::{
    fault,
    place::Place,
    socket::{Socket, block_on},
    status::rehearsing,
    terminal::clean,
};
use events::Events;
use input::Input;

const HELP: &str = "/stop or Ctrl-C stops an answer, /help lists the commands, /quit or Ctrl-D leaves.\n\
    /attach FILE adds a file to your next message, /save 7.png [FILE] keeps one of the conversation's.";

/// Options of `openclaw chat`.
#[derive(Args)]
pub struct ChatArgs {
    /// Say one thing, print the answer, and leave
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
}

/// Talks until the input ends. From a pipe each line is one message.
pub fn chat(args: &ChatArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let gateway = Socket::gateway(place);
    let chat = async {
        let mut chat = Chat {
            gateway,
            input: if args.words.is_empty() { Input::standard()? } else { Input::one(args.words.join(" ")) },
            interrupts: signal(SignalKind::interrupt()).context("listen for Ctrl-C")?,
            line_open: false,
            attached: Vec::new(),
        };
        chat.converse().await
    };
    let all_answered = block_on(chat)?;
    Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::from(fault::FAILED) })
}

struct Chat {
    gateway: Socket,
    input: Input,
    interrupts: Signal,
    /// What was printed last did not end its line.
    line_open: bool,
    /// Files that go with the next message.
    attached: Vec<FileName>,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Answered,
    Failed,
    Left,
}

impl Chat {
    /// Whether every message was answered.
    async fn converse(&mut self) -> anyhow::Result<bool> {
        let status: Status = self.gateway.ask(Method::GET, "/status", None::<&()>).await?;
        eprintln!("{}", introduction(&status));
        if self.input.is_terminal() {
            eprintln!("{HELP}");
        }
        let mut all_answered = true;
        loop {
            let line = tokio::select! {
                line = self.input.message() => line,
                _ = self.interrupts.recv() => break,
            };
            let Some(line) = line else { break };
            match line.trim() {
                "" => continue,
                "/quit" | "/exit" => break,
                "/stop" => self.stop().await,
                line if files::is_one(line) => {
                    if let Err(error) = files::carry_out(&self.gateway, line, &mut self.attached).await {
                        eprintln!("openclaw: {error:#}");
                        all_answered = false;
                    }
                }
                text => match self.turn(text).await {
                    Ok(Turn::Answered) => {}
                    Ok(Turn::Left) => break,
                    Ok(Turn::Failed) => all_answered = false,
                    Err(error) => {
                        self.end_line()?;
                        eprintln!("openclaw: {error:#}");
                        all_answered = false;
                    }
                },
            }
        }
        Ok(all_answered)
    }

    async fn turn(&mut self, text: &str) -> anyhow::Result<Turn> {
        let said = Say { text: text.to_owned(), attached: std::mem::take(&mut self.attached) };
        let answer = self.gateway.send(Method::POST, "/chat", Some(&said)).await?;
        let mut events = Events::new(answer.into_body());
        let mut asked: Option<Ask> = None;
        let mut stopped = false;
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    ChatEvent::Text(text) => {
                        let text = clean(&text);
                        print(&text)?;
                        self.line_open = !text.ends_with('\n') && (self.line_open || !text.is_empty());
                    }
                    ChatEvent::Tool(name) => {
                        self.end_line()?;
                        eprintln!("[{}]", clean(&name));
                    }
                    ChatEvent::Files(words) => {
                        self.end_line()?;
                        eprintln!("{} /save keeps one.", clean(&words));
                    }
                    ChatEvent::Ask(ask) => {
                        self.end_line()?;
                        eprintln!("{}\nAllow it? y or n", clean(&ask.text));
                        match self.input.typed_ahead() {
                            Some(line) => asked = self.approve(ask, &line).await?,
                            None => asked = Some(ask),
                        }
                    }
                    ChatEvent::Done(_) => {
                        self.end_line()?;
                        return Ok(Turn::Answered);
                    }
                    ChatEvent::Error(error) => {
                        self.end_line()?;
                        eprintln!("error: {}", clean(&error));
                        return Ok(Turn::Failed);
                    }
                },
                line = self.input.during_turn(asked.is_some()) => match (line, asked.take()) {
                    (Some(line), _) if line.trim() == "/stop" => self.stop().await,
                    (Some(line), Some(ask)) => asked = self.approve(ask, &line).await?,
                    (Some(line), None) => self.input.keep(line),
                    // Nobody is there to answer: that is a no.
                    (None, Some(ask)) => asked = self.approve(ask, "n").await?,
                    (None, None) => {}
                },
                _ = self.interrupts.recv() => {
                    if stopped {
                        return Ok(Turn::Left);
                    }
                    stopped = true;
                    self.stop().await;
                }
            }
        }
    }

    /// Gives the question back when the answer was neither yes nor no.
    async fn approve(&self, ask: Ask, line: &str) -> anyhow::Result<Option<Ask>> {
        let approve = match line.trim().to_lowercase().as_str() {
            "y" | "yes" => true,
            "n" | "no" => false,
            _ => {
                eprintln!("Please answer y or n.");
                return Ok(Some(ask));
            }
        };
        self.gateway.tell(Method::POST, "/approve", Some(&Approve { id: ask.id, approve })).await?;
        Ok(None)
    }

    fn end_line(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.line_open) {
            true => print("\n"),
            false => Ok(()),
        }
    }

    async fn stop(&self) {
        if let Err(error) = self.gateway.tell(Method::POST, "/chat/stop", None::<&()>).await {
            eprintln!("openclaw: {error:#}");
        }
    }
}

/// Which model answers, in words that nobody can take a rehearsal for the real thing by.
fn introduction(status: &Status) -> String {
    if rehearsing(status) {
        return "REHEARSAL: a scripted model answers; it understands nothing and nothing leaves this machine.\n\
                For a real one, set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENAI_BASE_URL and start again."
            .into();
    }
    let usable = status.models.iter().find(|model| model.problem.is_none());
    let problem = || status.models.iter().find_map(|model| model.problem.as_deref());
    clean(&match (usable, problem()) {
        (Some(model), _) => format!("Model {}: {} at {}.", model.name, model.model, model.host),
        (None, Some(problem)) => format!("No model can be used now: {problem}"),
        (None, None) => "No model is known yet: egress has not answered.".into(),
    })
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use openclaw_wire::config::Api;

    use crate::command::status::tests::status;

    #[test]
    fn the_introduction_names_the_model_and_never_hides_a_rehearsal() {
        let mut status = status("development", true);
        status.models[0].model = "big\u{1b}[2J".into();
        assert_eq!(super::introduction(&status), "Model anthropic: big[2J at api.example.");
        status.models[0].problem = Some("no key".into());
        assert!(super::introduction(&status).contains("no key"));
        status.models[0] = openclaw_wire::egress::ModelRoute {
            api: Api::Rehearsal,
            problem: None,
            ..status.models[0].clone()
        };
        assert!(super::introduction(&status).starts_with("REHEARSAL"));
        status.processes.clear();
        status.models.clear();
        assert!(super::introduction(&status).contains("not answered"));
    }
}
