//! What the kernel says of this process in `/proc/self/status`. Opened before Landlock takes `/proc` away, read after.
//! Never trusts what a call of ours returned: the report quotes this.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// An open `/proc/self/status`: the kernel writes it anew for each read.
///
/// A jail opens it before it leaves the host's `/proc` behind.
#[derive(Debug)]
pub struct Evidence(File);

/// The lines that matter to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Threads of the process.
    pub threads: u32,
    /// Capability sets, in the order inheritable, permitted, effective, bounding, ambient.
    pub capabilities: [u64; 5],
    /// `no_new_privs` is in force.
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// How many filters are stacked; 0 where the kernel (before 5.9) does not tell.
    pub filters: u32,
}

impl Evidence {
    /// Opens the file for the calling process.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/status").map(Self)
    }

    /// What holds now.
    pub fn read(&mut self) -> io::Result<Status> {
        let mut text = String::new();
        self.0.seek(SeekFrom::Start(0))?;
        self.0.read_to_string(&mut text)?;
        Status::parse(&text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status lacks a line that every Linux has")
        })
    }
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let line = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        let number = |name: &str| line(name)?.parse::<u32>().ok();
        let set = |name: &str| u64::from_str_radix(line(name)?, 16).ok();
        Some(Self {
            threads: number("Threads")?,
            capabilities: [set("CapInh")?, set("CapPrm")?, set("CapEff")?, set("CapBnd")?, set("CapAmb")?],
            no_new_privs: number("NoNewPrivs")? == 1,
            seccomp: number("Seccomp")?,
            filters: number("Seccomp_filters").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Evidence, Status};

    #[test]
    fn the_lines_are_found_and_a_missing_one_is_noticed() {
        let text = "Name:\tx\nThreads:\t3\nCapInh:\t0\nCapPrm:\t00000000000000ff\nCapEff:\t1\nCapBnd:\t2\nCapAmb:\t0\n\
                    NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let status = Status::parse(text).expect("parses");
        assert_eq!((status.threads, status.capabilities), (3, [0, 0xff, 1, 2, 0]));
        assert!(status.no_new_privs && status.seccomp == 2 && status.filters == 1);
        assert_eq!(Status::parse(&text.replace("CapBnd", "CapXyz")), None);
    }

    #[test]
    fn the_kernel_is_asked_anew_each_time() {
        let mut evidence = Evidence::open().expect("/proc is mounted");
        let before = evidence.read().expect("reads").threads;
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(evidence.read().expect("reads").threads > before.saturating_sub(1));
        drop(stop);
        let _closed = thread.join().expect("joins");
    }
}
