//! What the end of a skill means: its output, or a typed reason with words for people, and the line of its manifest that
//! would have allowed more.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use openclaw_wire::{
    runner::{Failure, Outcome},
    skill::{Limits, Size, Span},
};
use rustix::process::Signal;

use crate::{running::Heard, skills::Ready};

/// What a skill did that the filter of system calls killed. Which call it was the kernel tells nobody but its own log.
const FORBIDDEN: &str = "it made a system call that no skill may make and no manifest can allow, such as one that traces \
    another process, mounts something or changes the kernel";

/// From a wait status and what was said.
pub fn of(status: ExitStatus, heard: &Heard, ready: &Ready) -> Outcome {
    if status.success() {
        return Outcome::Output(String::from_utf8_lossy(&heard.output).into_owned());
    }
    let limits = &ready.limits;
    let said = String::from_utf8_lossy(&heard.errors).trim().to_owned();
    let reason = match ended_by(status).and_then(Signal::from_named_raw) {
        Some(Signal::SYS) => Failure::Forbidden,
        Some(Signal::XCPU) => Failure::Cpu,
        Some(Signal::XFSZ) => Failure::Disk,
        _ if no_memory(&said) => Failure::Memory,
        _ => Failure::Crashed,
    };
    let detail = match reason {
        Failure::Forbidden => FORBIDDEN.to_owned(),
        Failure::Cpu => cpu(limits),
        Failure::Memory => memory(limits),
        Failure::Disk => disk(limits),
        _ if closed(&said) => format!("{status}: {said}\n{}", files(ready)),
        _ if said.is_empty() => status.to_string(),
        _ => format!("{status}: {said}"),
    };
    Outcome::Failed { reason, detail }
}

/// The signal that ended it. What starts a program of its own tells of its end as a shell does (128 and the signal): so does
/// the client of MCP servers.
fn ended_by(status: ExitStatus) -> Option<i32> {
    status.signal().or_else(|| status.code().and_then(|code| code.checked_sub(128)))
}

/// The CPU time limit in words.
pub fn cpu(limits: &Limits) -> String {
    beyond("more", "of CPU time", "cpu", span(limits.cpu))
}

/// The limit on the clock.
pub fn wall(limits: &Limits) -> String {
    beyond("longer", "", "wall", span(limits.wall))
}

/// The memory limit.
pub fn memory(limits: &Limits) -> String {
    beyond("more", "of memory", "memory", size(limits.memory))
}

/// The output limit.
pub fn output(limits: &Limits) -> String {
    beyond("more", "of output", "output", size(limits.output))
}

/// The limit of what is written to files.
pub fn disk(limits: &Limits) -> String {
    beyond("more", "written to files", "disk", size(limits.disk))
}

/// The limit of processes.
pub fn processes(limits: &Limits) -> String {
    let most = limits.processes;
    format!("more than {most} processes and threads (in its skill.toml: [limits] processes = {most})")
}

fn beyond(word: &str, what: &str, key: &str, amount: String) -> String {
    let space = if what.is_empty() { "" } else { " " };
    format!("{word} than {amount}{space}{what} (in its skill.toml: [limits] {key} = \"{amount}\")")
}

fn size(size: Size) -> String {
    size.into()
}

fn span(span: Span) -> String {
    span.into()
}

/// What the manifest opens, for a skill that may have wanted more.
fn files(ready: &Ready) -> String {
    let list = |write: bool| {
        let grants = ready.spec.grants.iter().filter(|grant| grant.write == write);
        let names: Vec<_> = grants.map(|grant| format!("{:?}", grant.name)).collect();
        names.join(", ")
    };
    format!(
        "It sees no other files than its skill.toml opens: [permissions] read = [{}], write = [{}]",
        list(false),
        list(true)
    )
}

/// A program that met a closed door says so. What it says decides only whether the reader is told which doors are open.
fn closed(said: &str) -> bool {
    ["No such file or directory", "Permission denied", "Read-only file system", "Operation not permitted"]
        .iter()
        .any(|part| said.contains(part))
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
    use crate::{
        skills::Ready,
        spec::{self, Grant, Spec},
    };

    fn ready() -> Ready {
        let limits = Limits::default();
        let grant = Grant { name: "~/a".into(), host: "/h/a".into(), inside: "/files/a".into(), write: true };
        let spec = Spec {
            skill: None,
            grants: vec![grant],
            required: false,
            limits: spec::Limits::of(&limits),
            attached: Vec::new(),
            makes: None,
            authority: None,
            without: Vec::new(),
        };
        Ready { spec, limits, weight: 0, hosts: false }
    }

    #[test]
    fn every_end_has_its_word() {
        // Wait statuses: a signal in the low byte, an exit code above it (wait(2)).
        for (status, errors, reason, part) in [
            (31, "", Failure::Forbidden, "no skill may make and no manifest can allow"),
            ((128 + 31) << 8, "", Failure::Forbidden, "no skill may"),
            ((128 + 24) << 8, "", Failure::Cpu, "of CPU time"),
            ((128 + 11) << 8, "", Failure::Crashed, "exit status: 139"),
            (255 << 8, "", Failure::Crashed, "exit status: 255"),
            (24, "", Failure::Cpu, "more than 5 s of CPU time (in its skill.toml: [limits] cpu = \"5 s\")"),
            (25, "", Failure::Disk, "64 MiB written to files"),
            (1 << 8, "open /etc/x: Permission denied", Failure::Crashed, "write = [\"~/a\"]"),
            (6, "memory allocation of 5 bytes failed", Failure::Memory, "128 MiB"),
            (6, "assertion", Failure::Crashed, "assertion"),
            (11, "", Failure::Crashed, "signal: 11"),
            (9, "", Failure::Crashed, "signal: 9"),
            (3 << 8, "no such file", Failure::Crashed, "exit status: 3: no such file"),
        ] {
            let heard = Heard { output: b"half".to_vec(), errors: errors.into() };
            match of(ExitStatus::from_raw(status), &heard, &ready()) {
                Outcome::Failed { reason: got, detail } => {
                    assert_eq!(got, reason, "{status}");
                    assert!(detail.contains(part), "{status}: {detail}");
                }
                other => panic!("{status}: {other:?}"),
            }
        }
        let heard = Heard { output: b"all \xff".to_vec(), errors: b"noise".to_vec() };
        let outcome = of(ExitStatus::from_raw(0), &heard, &ready());
        assert_eq!(outcome, Outcome::Output("all \u{fffd}".into()));
    }
}
