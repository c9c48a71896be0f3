//! Thrift with memory: few heaps, and what a burst leaves behind goes back to the kernel. No barrier; it is here because
//! the C library is asked for it by calls that are unsafe. With another C library than glibc nothing happens.

/// Environment of our programs, which glibc reads before `main`: each thread keeps at most one free piece of a size for
/// itself. By default it keeps seven, and after a burst each of them holds a page: three MiB of the gateway. What it
/// costs in time was not to be seen. The units say the same (`systemd/system/openclaw-.service.d`).
pub const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=1");

/// Heaps of the allocator. By default there is one for each thread, each with its own leftovers; two keep the threads of
/// our programs from waiting for each other.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;
/// Free bytes at the end of a heap from which on it shrinks by itself, and size from which on a piece is a mapping of
/// its own. Fixed, because glibc would raise both after the first large piece.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 << 10;

/// Sets the allocator up. Before the first thread: a thread keeps the heap that it has.
pub fn be_thrifty() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(libc::M_ARENA_MAX, HEAPS), (libc::M_TRIM_THRESHOLD, LARGE), (libc::M_MMAP_THRESHOLD, LARGE)]
    {
        // SAFETY: mallopt takes two numbers, locks the allocator, and refuses what it does not know (mallopt(3)).
        unsafe { libc::mallopt(what, value) };
    }
}

/// Gives free memory back to the kernel, also from the middle of the heaps. It takes some tenths of a millisecond, so
/// it is for when there is nothing else to do.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim only touches memory that is free, under the allocator's locks (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }
}
