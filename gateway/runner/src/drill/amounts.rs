//! Using up more than is allowed, but a fixed amount: outside the jail the same act succeeds and harms nobody.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use openclaw_confine::Barrier;
use rustix::time::{ClockId, clock_gettime};

use super::{PROBE, scene::Places};

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// 200 MiB, of 64.
    Memory,
    /// 40 processes, of 8.
    Processes,
    /// 2 s, of 1.
    Cpu,
    /// 2 s on the clock, of 1.
    Time,
    /// 1 MiB, of 64 KiB.
    Output,
    /// 32 MiB in one file, of 8.
    File,
    /// 32 MiB in many files, of 8.
    Files,
    /// 32 MiB in `/tmp`, of 8.
    Tmp,
    /// 200 open files, of 64.
    Open,
}

/// All, with their names and what stands alone against each.
pub fn all() -> Vec<(&'static str, Amount, Vec<Barrier>)> {
    use Barrier::{Rlimits, Watchdog};
    // The kernel does not limit the number of root's processes.
    let root = rustix::process::geteuid().is_root();
    vec![
        ("use more memory than allowed", Amount::Memory, vec![]),
        ("start more processes than allowed", Amount::Processes, if root { vec![Watchdog] } else { vec![] }),
        ("use more CPU time than allowed", Amount::Cpu, vec![]),
        ("take longer than allowed", Amount::Time, vec![]),
        ("write more output than allowed", Amount::Output, vec![]),
        ("write a larger file than allowed", Amount::File, vec![]),
        ("write more files than allowed", Amount::Files, vec![Watchdog]),
        ("fill /tmp", Amount::Tmp, vec![]),
        ("open more files than allowed", Amount::Open, vec![Rlimits]),
    ]
}

impl Amount {
    /// Uses it up. Succeeds when nobody said no.
    pub fn use_up(self, at: &Places) -> io::Result<String> {
        match self {
            Self::Memory => memory(200 << 20),
            Self::Processes => processes(at, 40),
            Self::Cpu => {
                // Its own time, however busy the machine is.
                while clock_gettime(ClockId::ProcessCPUTime).tv_sec < 2 {
                    std::hint::black_box(0);
                }
                Ok("2 s".into())
            }
            Self::Time => {
                thread::sleep(Duration::from_secs(2));
                Ok("2 s".into())
            }
            Self::Output => Ok("x".repeat(1 << 20)),
            Self::File => {
                let filled = fill(&at.out.join("large"), 32 << 20)?;
                // Time for a look.
                thread::sleep(Duration::from_millis(200));
                Ok(filled)
            }
            Self::Files => {
                for number in 0..32 {
                    fill(&at.out.join(format!("small-{number}")), 1 << 20)?;
                }
                // Time for a look.
                thread::sleep(Duration::from_millis(200));
                Ok("32 files".into())
            }
            Self::Tmp => {
                let path = Path::new("/tmp").join(format!("openclaw-drill-{}", std::process::id()));
                let filled = fill(&path, 32 << 20);
                let _not_there = fs::remove_file(path);
                filled
            }
            Self::Open => {
                let open: io::Result<Vec<_>> = (0..200).map(|_| fs::File::open("/dev/null")).collect();
                open.map(|open| format!("{} files", open.len()))
            }
        }
    }
}

fn memory(bytes: usize) -> io::Result<String> {
    let mut all = Vec::new();
    all.try_reserve_exact(bytes).map_err(io::Error::other)?;
    all.resize(bytes, 1_u8);
    // Time for a look.
    thread::sleep(Duration::from_millis(200));
    Ok(format!("{} bytes", std::hint::black_box(&all).len()))
}

/// Each child waits for a word that never comes, and ends when this process lets go of it.
fn processes(at: &Places, count: usize) -> io::Result<String> {
    let mut children: Vec<Child> = Vec::new();
    let mut result = Ok(());
    for _ in 0..count {
        let child = Command::new(at.skill.join("bin/probe"))
            .arg(PROBE)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => children.push(child),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if result.is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
    let made = children.len();
    for mut child in children {
        // Its standard input closes first.
        let _ended = child.wait();
    }
    result.map(|()| format!("{made} processes"))
}

fn fill(path: &Path, bytes: usize) -> io::Result<String> {
    let mut file = fs::File::create(path)?;
    for _ in 0..bytes >> 16 {
        file.write_all(&[1; 1 << 16])?;
    }
    Ok(format!("{bytes} bytes"))
}
