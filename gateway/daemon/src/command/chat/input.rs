//! Lines from the terminal or a pipe, read by a thread of their own so that an answer can come while one is awaited.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal, Read, Write},
    thread,
};

use anyhow::Context;
use tokio::sync::mpsc;

/// Longest message, in bytes; what is longer is cut there. Far above what a terminal or a model takes.
const LONGEST: u64 = 256 << 10;
/// Lines that are read ahead while a turn runs. More stay in the pipe.
const AHEAD: usize = 16;

/// Where the lines come from.
pub struct Input {
    lines: mpsc::Receiver<String>,
    kept: VecDeque<String>,
    ended: bool,
    terminal: bool,
}

impl Input {
    /// Standard input.
    pub fn standard() -> anyhow::Result<Self> {
        let (tell, lines) = mpsc::channel(1);
        thread::Builder::new()
            .name("input".into())
            .spawn(move || read(io::stdin().lock(), &tell))
            .context("start reading the input")?;
        Ok(Self { lines, kept: VecDeque::new(), ended: false, terminal: io::stdin().is_terminal() })
    }

    /// One message, then the end.
    pub fn one(message: String) -> Self {
        let (_, lines) = mpsc::channel(1);
        Self { lines, kept: [message].into(), ended: true, terminal: false }
    }

    /// Somebody types.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The next message; `None` at the end of the input.
    pub async fn message(&mut self) -> Option<String> {
        if self.terminal {
            eprint!("> ");
            // A prompt that can't be shown is no reason to stop.
            let _ = io::stderr().flush();
        }
        match self.kept.pop_front() {
            Some(line) => Some(line),
            None => self.lines.recv().await,
        }
    }

    /// A line that comes while a turn runs; `None` once, at the end of the input. Waits for ever when there is nothing
    /// to wait for, or when enough lines wait already and no question is open.
    pub async fn during_turn(&mut self, asked: bool) -> Option<String> {
        if !asked && (self.ended || self.kept.len() >= AHEAD) {
            return std::future::pending().await;
        }
        let line = self.lines.recv().await;
        self.ended |= line.is_none();
        line
    }

    /// A line that is the next message, after the turn.
    pub fn keep(&mut self, line: String) {
        self.kept.push_back(line);
    }

    /// What a pipe already said, as the answer to a question. What a person typed before the question was shown is not
    /// an answer to it.
    pub fn typed_ahead(&mut self) -> Option<String> {
        match self.terminal {
            true => None,
            false => self.kept.pop_front(),
        }
    }
}

fn read(mut from: impl BufRead, tell: &mpsc::Sender<String>) {
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        if tell.blocking_send(line).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::mpsc;

    use super::Input;

    fn piped(text: &'static str, terminal: bool) -> Input {
        let (tell, lines) = mpsc::channel(1);
        std::thread::spawn(move || super::read(text.as_bytes(), &tell));
        Input { lines, kept: VecDeque::new(), ended: false, terminal }
    }

    #[tokio::test]
    async fn lines_come_in_order_kept_ones_first_and_the_end_is_seen() {
        let mut input = piped("one\r\ntwo\nthree", false);
        assert_eq!(input.during_turn(false).await.as_deref(), Some("one"));
        input.keep("one".into());
        assert_eq!(input.message().await.as_deref(), Some("one"));
        assert_eq!(input.message().await.as_deref(), Some("two"));
        assert_eq!(input.message().await.as_deref(), Some("three"));
        assert_eq!(input.message().await, None);
        // An open question at the end of the input gets its no, again and again.
        assert_eq!(input.during_turn(true).await, None);
    }

    #[test]
    fn only_a_pipe_answers_a_question_before_it_is_asked() {
        for (terminal, expected) in [(false, Some("y")), (true, None)] {
            let mut input = piped("", terminal);
            input.keep("y".into());
            assert_eq!(input.typed_ahead().as_deref(), expected);
        }
    }
}
