//! Memory for keys: never swapped out (mlock(2)), in no core dump, wiped when it is given back. One piece for the whole
//! process, made and locked before the system call filter is in force; afterwards nothing locks memory any more.

use std::{
    fmt,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::{
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::Layer;

/// All of it, in bytes: some hundred keys with all the forms in which they are looked for, twice while they are
/// exchanged. A sixteenth of what systemd lets an ordinary process lock.
const SIZE: usize = 512 << 10;
/// Pieces are multiples of this, in bytes.
const UNIT: usize = 64;

/// There is no room for another key.
#[derive(Debug, thiserror::Error)]
#[error(
    "the memory for keys is full ({} KiB, of which each key takes about 2)\n  mend: take keys that nobody uses out of the key file",
    SIZE >> 10
)]
pub struct Full;

/// Bytes in that memory. Has no `Debug` of its content.
pub struct Locked {
    start: NonNull<u8>,
    length: usize,
}

struct Vault {
    start: NonNull<u8>,
    locked: Result<(), String>,
    /// Which units are taken.
    taken: Mutex<Vec<bool>>,
}

// SAFETY: the pointer is to a mapping that lives as long as the process, and who may use which part of it is decided
// under the mutex.
unsafe impl Send for Vault {}
// SAFETY: as above; shared use is only through `taken` and through pieces, which do not overlap.
unsafe impl Sync for Vault {}
// SAFETY: a piece is a part of the mapping that nobody else has; it is owned like a `Box<[u8]>`.
unsafe impl Send for Locked {}
// SAFETY: as for `Box<[u8]>`: shared references only read.
unsafe impl Sync for Locked {}

static VAULT: OnceLock<Option<Vault>> = OnceLock::new();

/// Makes the memory, if it is not there yet, and says what holds. Before [`crate::enforce`].
pub fn layer() -> Layer {
    let (enforced, complete) = match vault() {
        Some(Vault { locked: Ok(()), .. }) => (format!("{} KiB locked, in no core dump", SIZE >> 10), true),
        Some(Vault { locked: Err(error), .. }) => (format!("not locked: {error}"), false),
        None => ("nothing: no memory".into(), false),
    };
    Layer { name: "key-memory".into(), asked: format!("{} KiB locked", SIZE >> 10), enforced, complete }
}

fn vault() -> Option<&'static Vault> {
    VAULT.get_or_init(Vault::make).as_ref()
}

impl Vault {
    fn make() -> Option<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), SIZE, protection, flags) }.ok()?;
        // A soft limit may be lower than what we are allowed.
        let limit = getrlimit(Resource::Memlock);
        let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
        // SAFETY: the range is the mapping made above; locking and advising change nothing that code could see.
        let locked = unsafe {
            // Where these are not known, there is still no core file: its limit is 0.
            let _ = madvise(start, SIZE, Advice::LinuxDontDump);
            let _ = madvise(start, SIZE, Advice::LinuxWipeOnFork);
            mlock(start, SIZE)
        };
        Some(Self {
            start: NonNull::new(start.cast())?,
            locked: locked.map_err(|error| format!("{error} (the limit is {})", shown(limit.maximum))),
            taken: Mutex::new(vec![false; SIZE / UNIT]),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Vec<bool>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(limit: Option<u64>) -> String {
    limit.map_or("none".into(), |bytes| format!("{} KiB", bytes >> 10))
}

impl Locked {
    /// Zeros, to be filled.
    pub fn zeroed(length: usize) -> Result<Self, Full> {
        let vault = vault().ok_or(Full)?;
        let units = length.div_ceil(UNIT).max(1);
        let mut taken = vault.taken();
        let mut run = 0;
        let end = taken.iter().position(|taken| {
            run = if *taken { 0 } else { run + 1 };
            run == units
        });
        let first = end.ok_or(Full)? + 1 - units;
        taken[first..first + units].fill(true);
        // SAFETY: `first + units` units lie inside the mapping, because the list has one entry for each.
        let start = unsafe { vault.start.add(first * UNIT) };
        Ok(Self { start, length })
    }

    /// A copy of these bytes.
    pub fn copy(bytes: &[u8]) -> Result<Self, Full> {
        let mut locked = Self::zeroed(bytes.len())?;
        locked.as_mut().copy_from_slice(bytes);
        Ok(locked)
    }

    /// Forgets everything from `length` on.
    pub fn truncate(&mut self, length: usize) {
        let length = length.min(self.length);
        crate::wipe::wipe(&mut self.as_mut()[length..]);
        let units = |length: usize| length.div_ceil(UNIT).max(1);
        let (kept, had) = (units(length), units(self.length));
        self.length = length;
        if let Some(vault) = vault() {
            let first = self.first(vault);
            vault.taken()[first + kept..first + had].fill(false);
        }
    }

    fn first(&self, vault: &Vault) -> usize {
        (self.start.as_ptr() as usize - vault.start.as_ptr() as usize) / UNIT
    }
}

impl AsRef<[u8]> for Locked {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the piece is `length` bytes of a mapping that is never unmapped, and initialised: by the kernel with
        // zeros, or by who had it before.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl AsMut<[u8]> for Locked {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only way to these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(..)")
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.truncate(0);
        if let Some(vault) = vault() {
            let first = self.first(vault);
            vault.taken()[first] = false;
        }
    }
}

/// The address of the memory, for [`Locked`]'s tests.
#[cfg(test)]
fn range() -> std::ops::Range<usize> {
    let start = vault().expect("made").start.as_ptr() as usize;
    start..start + SIZE
}

#[cfg(test)]
mod tests {
    use super::{Locked, SIZE, UNIT, layer, range};

    // One test: the memory is the process's, and tests run side by side.
    #[test]
    fn pieces_are_locked_do_not_overlap_and_are_wiped() {
        let layer = layer();
        assert!(layer.complete, "asked {}, enforced {}", layer.asked, layer.enforced);
        let one = Locked::copy(b"test-key-not-real").expect("room");
        assert!(range().contains(&(one.as_ref().as_ptr() as usize)));
        let mut two = Locked::zeroed(3 * UNIT).expect("room");
        two.as_mut().fill(7);
        assert_eq!(one.as_ref(), b"test-key-not-real");
        two.truncate(UNIT);
        let three = Locked::zeroed(2 * UNIT).expect("room");
        assert_eq!(three.as_ref(), [0; 2 * UNIT], "what was given back was wiped");
        assert_eq!(two.as_ref(), [7; UNIT]);
        let at = one.as_ref().as_ptr();
        drop(one);
        let four = Locked::zeroed(17).expect("room");
        assert_eq!((four.as_ref().as_ptr(), four.as_ref()), (at, &[0; 17][..]), "the same place, wiped");
        assert_eq!(format!("{four:?}"), "Locked(..)");

        drop((two, three, four));
        let all = Locked::zeroed(SIZE).expect("everything is free again");
        assert!(Locked::zeroed(1).expect_err("full").to_string().contains("512 KiB"));
        drop(all);
        assert!(Locked::zeroed(0).is_ok());

        // The kernel's own word: the mapping is locked.
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let mapping = smaps.split("\nVmFlags:").find(|part| {
            let from = part.lines().find_map(|line| {
                let (from, to) = line.split_whitespace().next()?.split_once('-')?;
                Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
            });
            from.is_some_and(|(from, to)| from <= range().start && range().end <= to)
        });
        let locked = mapping.expect("mapped").lines().find(|line| line.starts_with("Locked:"));
        assert!(!locked.expect("told").contains(" 0 kB"), "{locked:?}");
    }
}
