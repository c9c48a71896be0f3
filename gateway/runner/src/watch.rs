//! What all processes of a jail use together, measured from outside: the tree below its first process in `/proc`.
//! Beside the kernel's limits for each process (and for cgroups where there are any), never instead of them.

use std::{fs, time::Duration};

use crate::disk::{self, Look};

/// How often a running jail is measured. Between two looks a process can touch some tens of megabytes.
pub const EVERY: Duration = Duration::from_millis(20);

/// `/proc` counts CPU time in units of 1/100 s on every Linux (`USER_HZ`, proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// A jail has at most 256 processes and threads; a fork bomb is caught before this many were looked at.
const MOST: usize = 1024;

/// What a jail uses now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of private, shared and swapped memory of all its processes; files do not count.
    pub memory: u64,
    /// CPU time of all its processes, and of those that have ended and were waited for.
    pub cpu: Duration,
    /// Processes and threads, without the jail's own first process.
    pub processes: u32,
    /// What each has written to disks.
    pub written: Look,
}

/// Whether the kernel shows the tree (`CONFIG_PROC_CHILDREN`).
pub fn works() -> bool {
    fs::read_to_string("/proc/thread-self/children").is_ok()
}

/// Measures the tree below and with `first`. Processes that end meanwhile are left out.
pub fn usage(first: i32) -> Usage {
    let mut usage = Usage::default();
    let mut open = vec![(first, 0)];
    let mut seen = 0;
    while let Some((pid, parent)) = open.pop() {
        seen += 1;
        if seen > MOST {
            break;
        }
        let (memory, threads) = status(pid);
        usage.memory += memory;
        usage.processes += if pid == first { 0 } else { threads };
        if pid != first {
            usage.written.insert(pid, (parent, disk::of(pid)));
        }
        usage.cpu += cpu(pid).unwrap_or_default();
        children(pid, &mut open);
    }
    usage
}

fn children(pid: i32, into: &mut Vec<(i32, i32)>) {
    // Each thread lists the processes that it started.
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        into.extend(text.split_whitespace().filter_map(|child| Some((child.parse().ok()?, pid))));
    }
}

/// Bytes, and threads.
fn status(pid: i32) -> (u64, u32) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let (mut memory, mut threads) = (0, 0);
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let number = || value.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
        match name {
            "RssAnon" | "RssShmem" | "VmSwap" => memory += number() << 10,
            "Threads" => threads = number() as u32,
            _ => {}
        }
    }
    (memory, threads)
}

/// Own time and that of children that were waited for (fields 14 to 17 of proc_pid_stat(5)).
fn cpu(pid: i32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    let after = text.rsplit_once(") ")?.1;
    let ticks: u32 = after.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u32>().ok()).sum();
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    #[test]
    fn a_tree_is_measured_whole() {
        assert!(super::works(), "this kernel does not list children in /proc");
        let script = "sleep 60 & sleep 60 & echo ready; wait";
        let mut shell =
            Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut line = String::new();
        let out = shell.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("reads");
        let usage = super::usage(shell.id() as i32);
        assert_eq!(usage.processes, 2);
        assert!(usage.memory > 0);
        let text =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).expect("children");
        shell.kill().expect("kills");
        shell.wait().expect("waits");
        for child in text.split_whitespace() {
            Command::new("/bin/kill").arg(child).status().expect("kills");
        }
    }
}
