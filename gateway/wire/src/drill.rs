//! What a drill found: the jail was attacked, whole and with each barrier left out in turn. Written by
//! `openclaw-runner --drill` on its standard output, read by `openclaw security drill` and by the gateway.

use serde::{Deserialize, Serialize};

/// A whole drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// The barriers that were left out, one at a time: the names of [`Row::without`].
    pub barriers: Vec<String>,
    /// Every probe.
    pub probes: Vec<Row>,
    /// Why no drill could be held at all; `None` when it was.
    pub problem: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `files`, `network`, `processes`, `calls`, `itself`, `amounts`, `races`.
    pub group: String,
    /// What was tried.
    pub name: String,
    /// The same act where no barrier stands: what it got, or why it cannot be shown on this machine.
    pub control: Cell,
    /// In the whole jail.
    pub whole: Cell,
    /// With one barrier left out, in the order of [`Drill::barriers`].
    pub without: Vec<Cell>,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// For programs.
    pub mark: Mark,
    /// The errno, the signal, or what was got.
    pub said: String,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It was refused.
    Held,
    /// It got through.
    Open,
    /// It got through because the barrier that was left out is the only one against it; it leads to nothing outside.
    Alone,
    /// Not tried here.
    Untried,
}

impl Row {
    /// The jail held: whole, and with any one barrier missing. A probe that works nowhere proves nothing.
    pub fn good(&self) -> bool {
        let held = |cell: &Cell| cell.mark != Mark::Open;
        self.whole.mark == Mark::Held && self.without.iter().all(held)
    }

    /// The act works where nothing stops it.
    pub fn proven(&self) -> bool {
        self.control.mark == Mark::Open
    }
}

impl Drill {
    /// Least number of probes that must have worked outside, or the drill says nothing.
    pub const LEAST: usize = 60;

    /// Names of the probes that got through, or the reason why this is no drill; empty when all is well.
    pub fn failed(&self) -> Vec<String> {
        if let Some(problem) = &self.problem {
            return vec![problem.clone()];
        }
        let mut failed: Vec<_> = self
            .probes
            .iter()
            .filter(|row| !row.good())
            .map(|row| format!("{}: {}", row.group, row.name))
            .collect();
        let proven = self.probes.iter().filter(|row| row.proven()).count();
        if proven < Self::LEAST {
            failed.push(format!("only {proven} probes work outside the jail, {} are needed", Self::LEAST));
        }
        failed
    }
}
