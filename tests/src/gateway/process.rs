//! One process seen from outside, through `/proc`: what it is, what it holds in memory, where it listens.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// A process by its id. Ids are taken right before use; the tests start none in between that could take one over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub u32);

/// The children of a process.
pub fn children_of(parent: u32) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).map(Process).collect()
}

/// Processes with this text among their arguments.
pub fn mentioning(text: &str) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mentions = |id: &u32| {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        contains(&arguments, text.as_bytes()) && parent_of(*id).is_some()
    };
    ids.filter(mentions).map(Process).collect()
}

/// The children of a process, their children, and so on.
pub fn descendants_of(parent: u32) -> Vec<Process> {
    let mut found = children_of(parent);
    let mut at = 0;
    while let Some(next) = found.get(at).copied() {
        found.extend(children_of(next.0));
        at += 1;
    }
    found
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets; what follows the last one does not.
    let mut rest = stat.rsplit(')').next()?.split_whitespace();
    let state = rest.next()?;
    (state != "Z").then(|| rest.next()?.parse().ok())?
}

impl Process {
    /// File name of its program. What is not dumpable shows it to root only; others see its first argument.
    pub fn program(self) -> String {
        let argument = || {
            let arguments = fs::read(format!("/proc/{}/cmdline", self.0)).unwrap_or_default();
            let first = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
            PathBuf::from(String::from_utf8_lossy(first).into_owned())
        };
        let path = fs::read_link(format!("/proc/{}/exe", self.0)).unwrap_or_else(|_| argument());
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether it is there and not a zombie.
    pub fn lives(self) -> bool {
        parent_of(self.0).is_some()
    }

    /// Waits until it is gone.
    pub async fn gone(self) {
        while self.lives() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends a signal; that it is gone already is no error.
    pub fn signal(self, signal: Signal) {
        let _ = kill_process(Pid::from_raw(self.0 as i32).expect("not 0"), signal);
    }

    /// A file of its `/proc` folder.
    pub fn file(self, name: &str) -> Vec<u8> {
        let path = format!("/proc/{}/{name}", self.0);
        fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// A number out of `/proc/<pid>/status` or `smaps_rollup`, in the unit that stands there (KiB for memory).
    pub fn number(self, file: &str, key: &str) -> u64 {
        let text = String::from_utf8_lossy(&self.file(file)).into_owned();
        let line = text.lines().find(|line| line.split(':').next() == Some(key));
        let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        value.unwrap_or_else(|| panic!("no number {key} in /proc/{}/{file}", self.0))
    }

    /// CPU time of all its threads so far, in microseconds (`/proc/<pid>/schedstat` of each task, in nanoseconds).
    pub fn cpu_microseconds(self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        let spent = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        spent.sum::<u64>() / 1000
    }

    /// Which of the needles are somewhere in its memory. Needs root. Reads every readable mapping but devices.
    pub fn memory_holds(self, needles: &[&str]) -> Vec<bool> {
        let maps = String::from_utf8_lossy(&self.file("maps")).into_owned();
        let mut memory =
            fs::File::open(format!("/proc/{}/mem", self.0)).expect("root may read a process's memory");
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
        let mut found = vec![false; needles.len()];
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            let bounds =
                range.split_once('-').map(|(a, b)| (u64::from_str_radix(a, 16), u64::from_str_radix(b, 16)));
            let Some((Ok(start), Ok(end))) = bounds else { continue };
            if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
                continue;
            }
            let mut at = start;
            while at < end {
                let mut chunk = vec![0; usize::try_from((end - at).min(8 << 20)).expect("fits")];
                if memory.seek(SeekFrom::Start(at)).is_err() || memory.read_exact(&mut chunk).is_err() {
                    break;
                }
                for (needle, found) in needles.iter().zip(&mut found) {
                    *found |= contains(&chunk, needle.as_bytes());
                }
                let step = chunk.len().saturating_sub(longest).max(1);
                at += if at + chunk.len() as u64 >= end { chunk.len() } else { step } as u64;
            }
        }
        found
    }
}

/// Whether bytes contain a text.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return true };
    let mut at = 0;
    while let Some(next) = hay[at..].iter().position(|byte| byte == first) {
        at += next;
        if hay[at..].starts_with(needle) {
            return true;
        }
        at += 1;
    }
    false
}

/// TCP addresses, and paths of unix sockets, on which these processes listen.
pub fn listening(processes: &[Process]) -> Vec<String> {
    let mut found: Vec<String> = sockets(processes)
        .into_iter()
        .filter(|socket| socket.listens)
        .map(|socket| format!("{} {}", socket.table, socket.local))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The far ends of the TCP connections that these processes opened, rather than accepted: port and address as the kernel
/// writes them.
pub fn speaking(processes: &[Process]) -> Vec<String> {
    let all = sockets(processes);
    let listens = |local: &str| all.iter().any(|other| other.listens && other.local == local);
    let opened = |socket: &&Socket| socket.table.starts_with("tcp") && !listens(&socket.local);
    all.iter().filter(opened).map(|socket| socket.remote.clone()).collect()
}

/// A socket as the kernel's tables show it.
struct Socket {
    table: &'static str,
    listens: bool,
    local: String,
    remote: String,
}

fn sockets(processes: &[Process]) -> Vec<Socket> {
    let mut inodes = Vec::new();
    for process in processes {
        let open = fs::read_dir(format!("/proc/{}/fd", process.0)).into_iter().flatten().flatten();
        let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        inodes.extend(
            links.filter_map(|link| {
                Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            }),
        );
    }
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "raw", "unix"] {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (listens, inode, local, remote) = match table {
                // Flag 0x10000 is __SO_ACCEPTCON.
                "unix" => (words[3] == "00010000", words[6], words.get(7).copied().unwrap_or("unnamed"), ""),
                "tcp" | "tcp6" => (words[3] == "0A", words[9], words[1], words[2]),
                _ => (true, words[9], words[1], words[2]),
            };
            if inodes.iter().any(|own| own == inode) {
                found.push(Socket { table, listens, local: local.into(), remote: remote.into() });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Process, contains};

    #[test]
    fn the_own_memory_holds_what_is_in_it() {
        let secret: String = ["canary-", "in-the-heap-", "4711"].concat();
        let found = Process(std::process::id()).memory_holds(&[&secret]);
        assert_eq!(found, [true]);
        assert!(contains(b"aaab", b"aab") && !contains(b"aaab", b"abb"));
    }
}
