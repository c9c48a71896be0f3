//! Wiping: memory that is given back holds nothing of what was in it. The allocator is for the process that holds keys:
//! they pass through buffers of libraries that know nothing of secrets.

use std::alloc::{GlobalAlloc, Layout, System};

/// Overwrites with zeros, also where the compiler sees that nobody reads them.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    keep(bytes.as_mut_ptr());
}

/// The compiler must assume that whatever this points to is looked at here.
fn keep(pointer: *mut u8) {
    // SAFETY: no instruction; it only says that memory behind the pointer may be read.
    unsafe { std::arch::asm!("/* {0} */", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// The system's allocator, which wipes each piece before it gives it back. A piece that grows or shrinks is a new one.
#[derive(Debug, Clone, Copy)]
pub struct WipeOnFree;

// SAFETY: each method passes its arguments on to `System` under the same contract. `dealloc` writes to memory that
// the caller owns until then; `realloc` follows the default of `GlobalAlloc`, which allocates, copies and deallocates.
unsafe impl GlobalAlloc for WipeOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the piece is `layout.size()` bytes and still the caller's.
        unsafe { pointer.write_bytes(0, layout.size()) };
        keep(pointer);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout};

    use super::{WipeOnFree, wipe};

    #[test]
    fn what_is_wiped_is_zero() {
        let mut bytes = *b"test-key-not-real";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 17]);
    }

    #[test]
    fn a_freed_piece_holds_nothing_when_it_comes_again() {
        let layout = Layout::from_size_align(4096, 8).expect("layout");
        // SAFETY: each piece is used within its size, freed once, and not used afterwards.
        unsafe {
            let first = WipeOnFree.alloc(layout);
            first.write_bytes(0xa5, 4096);
            let grown = WipeOnFree.realloc(first, layout, 8192);
            assert_eq!(grown.add(4095).read(), 0xa5, "the content moves along");
            WipeOnFree.dealloc(grown, Layout::from_size_align(8192, 8).expect("layout"));
            // The allocator may write its own notes into the first bytes of a free piece (glibc: 32).
            let again = WipeOnFree.alloc(layout);
            let left = (64..4096).filter(|at| again.add(*at).read() == 0xa5).count();
            assert_eq!(left, 0);
            WipeOnFree.dealloc(again, layout);
        }
    }
}
