//! What the end of a skill means: its output, or a typed reason with words for people.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use openclaw_wire::{
    runner::{Failure, Outcome},
    skill::Limits,
};
use rustix::process::Signal;

use crate::running::Heard;

/// From a wait status and what was said.
pub fn of(status: ExitStatus, heard: &Heard, limits: &Limits) -> Outcome {
    if status.success() {
        return Outcome::Output(String::from_utf8_lossy(&heard.output).into_owned());
    }
    let said = String::from_utf8_lossy(&heard.errors).trim().to_owned();
    let reason = match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::SYS) => Failure::Forbidden,
        Some(Signal::XCPU) => Failure::Cpu,
        _ if no_memory(&said) => Failure::Memory,
        _ => Failure::Crashed,
    };
    let detail = match reason {
        Failure::Forbidden => "a system call that no skill may make".to_owned(),
        Failure::Cpu => cpu(limits),
        Failure::Memory => memory(limits),
        _ if said.is_empty() => status.to_string(),
        _ => format!("{status}: {said}"),
    };
    Outcome::Failed { reason, detail }
}

/// The CPU time limit in words.
pub fn cpu(limits: &Limits) -> String {
    format!("more than {} ms of CPU time", limits.cpu.0.as_millis())
}

/// The memory limit in words.
pub fn memory(limits: &Limits) -> String {
    format!("more than {} MiB of memory", limits.memory.0 >> 20)
}

/// A program that is refused memory ends by itself. What it says of it decides only which word the user reads.
fn no_memory(said: &str) -> bool {
    ["memory allocation of", "out of memory", "Cannot allocate memory", "bad_alloc", "MemoryError"]
        .iter()
        .any(|part| said.contains(part))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use openclaw_wire::{
        runner::{Failure, Outcome},
        skill::Limits,
    };

    use super::{Heard, of};

    #[test]
    fn every_end_has_its_word() {
        // Wait statuses: a signal in the low byte, an exit code above it (wait(2)).
        for (status, errors, reason, part) in [
            (31, "", Failure::Forbidden, "no skill may"),
            (24, "", Failure::Cpu, "5000 ms"),
            (6, "memory allocation of 5 bytes failed", Failure::Memory, "128 MiB"),
            (6, "assertion", Failure::Crashed, "assertion"),
            (11, "", Failure::Crashed, "signal: 11"),
            (9, "", Failure::Crashed, "signal: 9"),
            (3 << 8, "no such file", Failure::Crashed, "exit status: 3: no such file"),
        ] {
            let heard = Heard { output: b"half".to_vec(), errors: errors.into() };
            match of(ExitStatus::from_raw(status), &heard, &Limits::default()) {
                Outcome::Failed { reason: got, detail } => {
                    assert_eq!(got, reason, "{status}");
                    assert!(detail.contains(part), "{status}: {detail}");
                }
                other => panic!("{status}: {other:?}"),
            }
        }
        let heard = Heard { output: b"all \xff".to_vec(), errors: b"noise".to_vec() };
        let outcome = of(ExitStatus::from_raw(0), &heard, &Limits::default());
        assert_eq!(outcome, Outcome::Output("all \u{fffd}".into()));
    }
}
