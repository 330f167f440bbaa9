//! The memory that a check needs.

use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    /// The most that they have been since the last measurement began.
    static PEAK: Cell<usize> = const { Cell::new(0) };
    /// All bytes that this thread has ever allocated.
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which counts the bytes of each thread.
#[derive(Debug)]
pub struct Counting;

/// The allocator of every program that uses this crate.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: usize, less: usize) {
    // A thread that ends may free after its counters are gone.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().wrapping_add(more).wrapping_sub(less));
        PEAK.set(PEAK.get().max(live.get()));
        TOTAL.set(TOTAL.get().wrapping_add(more));
    });
}

// SAFETY: every request goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.realloc(start, layout, bytes) }
    }
}

/// The most memory that a loader may need for an input.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Bytes for any input.
    pub fixed: usize,
    /// Bytes for each byte of the input.
    pub per_byte: usize,
}

impl Bound {
    /// Runs `f` for an input of so many bytes.
    ///
    /// # Panics
    ///
    /// When this thread has more memory allocated at a time than the bound allows.
    pub fn check<R>(self, name: &str, input_bytes: usize, f: impl FnOnce() -> R) -> R {
        let before = LIVE.get();
        PEAK.set(before);
        let result = f();
        let peak = PEAK.get().wrapping_sub(before);
        let most = self.fixed + self.per_byte * input_bytes;
        assert!(
            peak <= most,
            "{name} needs {peak} bytes for an input of {input_bytes}, at most {most} are allowed"
        );
        result
    }
}

/// Runs `f`, and returns the bytes that it allocates, freed or not: a measure of its work.
pub fn allocated_by(f: impl FnOnce()) -> usize {
    let before = TOTAL.get();
    f();
    TOTAL.get().wrapping_sub(before)
}

#[cfg(test)]
mod tests {
    use super::{Bound, allocated_by};

    #[test]
    fn memory_in_use_at_a_time_is_counted() {
        let bound = Bound {
            fixed: 100,
            per_byte: 10,
        };
        let use_bytes = |bytes: usize| drop(vec![0_u8; bytes]);
        bound.check("twice", 10, || {
            use_bytes(200);
            use_bytes(200);
        });
        let refused = std::panic::catch_unwind(|| {
            bound.check("once", 10, || use_bytes(201));
        });
        assert!(refused.is_err());
        let all = allocated_by(|| {
            use_bytes(200);
            use_bytes(300);
        });
        assert_eq!(all, 500);
    }
}
