//! What a call has written to disks, out of what its processes had written at each look. Memory (`/tmp`) does not count here:
//! it is bounded by its size.

use std::{collections::BTreeMap, fs};

/// One look: each process with its parent and what it has written, its ended and awaited children included.
pub type Look = BTreeMap<i32, (i32, u64)>;

/// The sum over a call's life.
#[derive(Debug, Default)]
pub struct Written {
    last: Look,
    /// What processes wrote that have ended, and whose count went to the jail's first process, which nobody can read.
    lost: u64,
}

impl Written {
    /// Adds a look; returns the bytes since the beginning.
    pub fn add(&mut self, now: Look, first: i32) -> u64 {
        // The count of an ended process goes to its parent, if that one waits for it.
        let gone = self.last.iter().filter(|(pid, (parent, _))| {
            !now.contains_key(pid) && (*parent == first || !now.contains_key(parent))
        });
        self.lost += gone.map(|(_, (_, written))| written).sum::<u64>();
        self.last = now;
        self.lost + self.last.values().map(|(_, written)| written).sum::<u64>()
    }
}

/// What a process has written to disks (`write_bytes`, proc_pid_io(5)); 0 where the kernel does not count.
pub fn of(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Look, Written};

    #[test]
    fn what_ended_still_counts_and_nothing_counts_twice() {
        let mut written = Written::default();
        let look = |list: &[(i32, i32, u64)]| -> Look {
            list.iter().map(|(pid, parent, bytes)| (*pid, (*parent, *bytes))).collect()
        };
        assert_eq!(written.add(look(&[(2, 1, 10), (3, 2, 5)]), 1), 15);
        // 3 ended and its parent has waited for it.
        assert_eq!(written.add(look(&[(2, 1, 15), (4, 1, 7)]), 1), 22);
        // 4 was an orphan: the first process has waited for it.
        assert_eq!(written.add(look(&[(2, 1, 15)]), 1), 22);
        assert_eq!(written.add(look(&[]), 1), 22);
    }
}
