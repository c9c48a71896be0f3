//! Every probe: its name, what it does, and which barrier is the only one against it, where that is so.

use std::io;

use openclaw_confine::{
    Barrier,
    attempt::{ATTEMPTS, Attempt},
};
use serde::{Deserialize, Serialize};

use super::{amounts, amounts::Amount, files, network, own, processes, scene::Places};

/// One thing that is tried.
pub struct Probe {
    /// What it is about.
    pub group: &'static str,
    /// Its name, unique.
    pub name: String,
    /// How.
    pub act: Act,
    alone: Vec<Barrier>,
}

/// How something is tried. What it got is a breach; an error is a refusal.
#[derive(Clone, Copy)]
pub enum Act {
    /// A system call without effect: whether the kernel is reached.
    Call(&'static Attempt),
    /// Anything else.
    Do(fn(&Places) -> io::Result<String>),
    /// Using up more than is allowed.
    Amount(Amount),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It worked.
    Got(String),
    /// It was refused, with this error.
    Refused(String),
    /// It was killed by this signal.
    Killed(i32),
}

impl Told {
    /// It worked.
    pub fn open(&self) -> bool {
        matches!(self, Self::Got(_))
    }

    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::Got(text) | Self::Refused(text) => text.chars().take(120).collect(),
            Self::Killed(31) => "killed (SIGSYS)".into(),
            Self::Killed(signal) => format!("killed (signal {signal})"),
        }
    }
}

impl Probe {
    /// Whether this barrier is the only one against it.
    pub fn alone(&self, barrier: Barrier) -> bool {
        // Without a mount namespace there are no mounts of the jail's own.
        let implied = barrier == Barrier::Namespaces && self.alone.contains(&Barrier::Mounts);
        implied || self.alone.contains(&barrier)
    }

    /// Tries it.
    pub fn run(&self, places: &Places) -> Told {
        let result = match self.act {
            Act::Call(attempt) => reached(attempt),
            Act::Do(act) => act(places),
            Act::Amount(amount) => amount.use_up(places),
        };
        match result {
            Ok(text) => Told::Got(text),
            Err(error) => Told::Refused(error.to_string()),
        }
    }
}

/// Whether a call reached the kernel. Of a call that the filter kills for, any answer shows it.
fn reached(attempt: &Attempt) -> io::Result<String> {
    match attempt.make() {
        Ok(value) => Ok(format!("answered {value}")),
        Err(error) if !attempt.fatal && [1, 38].contains(&error.raw_os_error().unwrap_or(0)) => Err(error),
        Err(error) => Ok(format!("reached the kernel: {error}")),
    }
}

/// The whole list.
pub fn all() -> Vec<Probe> {
    let acts = [files::PROBES, network::PROBES, processes::PROBES, own::PROBES].into_iter().flatten();
    let mut all: Vec<Probe> = acts
        .map(|(group, name, alone, act)| Probe {
            group,
            name: (*name).into(),
            act: Act::Do(*act),
            alone: alone.to_vec(),
        })
        .collect();
    // The kernel is reached without the filter, and what it then refuses is not the filter's doing.
    all.extend(ATTEMPTS.iter().map(|attempt| Probe {
        group: "calls",
        name: attempt.name.into(),
        act: Act::Call(attempt),
        alone: vec![Barrier::Seccomp],
    }));
    all.extend(amounts::all().into_iter().map(|(name, amount, alone)| Probe {
        group: "amounts",
        name: name.into(),
        act: Act::Amount(amount),
        alone,
    }));
    all
}

/// A row of the tables of acts: group, name, barriers that stand alone against it, act.
pub type Line = (&'static str, &'static str, &'static [Barrier], fn(&Places) -> io::Result<String>);

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_there_are_enough() {
        let mut names: Vec<_> = super::all().into_iter().map(|probe| probe.name).collect();
        assert!(names.len() >= 100, "{}", names.len());
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
