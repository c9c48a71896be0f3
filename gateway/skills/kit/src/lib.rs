//! What the bundled skills have in common: one task in, one answer out, and requests by the way out of their jail.
//! Never more than a small skill needs, and never a right: what a request may reach is judged outside.

pub mod attached;
pub mod folder;
pub mod http;
pub mod service;

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use openclaw_wire::runner::{Answer, Task};
use serde::Deserialize;

/// Arguments are some words; more is a mistake.
const MAX_TASK: u64 = 1 << 20;

/// The whole program of a skill: reads its task and says what came of it. Every failure is words for the model.
pub fn run(answer: impl FnOnce(&Task) -> Result<String, String>) -> ExitCode {
    let mut bytes = Vec::new();
    let task = io::stdin()
        .take(MAX_TASK)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_slice::<Task>(&bytes).map_err(|error| error.to_string()))
        .map_err(|error| format!("the task cannot be read: {error}"));
    let answer = match task.and_then(|task| answer(&task)) {
        Ok(text) => Answer::Text(text),
        Err(text) => Answer::Error(text),
    };
    let line = serde_json::to_vec(&answer).expect("text is always JSON");
    // If nobody reads, nobody is to be told.
    let _unheard = io::stdout().lock().write_all(&line);
    ExitCode::SUCCESS
}

/// The arguments of a task as the tool's own type.
pub fn arguments<'a, T: Deserialize<'a>>(task: &'a Task) -> Result<T, String> {
    T::deserialize(&task.arguments).map_err(|error| format!("the arguments of {}: {error}", task.tool))
}

/// A text of at most so many characters; a longer one is cut, and says so.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}\n(cut after {most} characters)", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(super::cut("äöü", 3), "äöü");
        assert_eq!(super::cut("äöü", 2), "äö\n(cut after 2 characters)");
    }
}
