//! A global allocator that misaligns byte slices, counts bytes and watches a block.
//!
//! Each thread has its own settings and counts, so that tests do not disturb each other.

use crate::compiled_code::known_entry;
use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

/// The alignment of the system's blocks, in bytes.
const BLOCK_ALIGN: usize = 16;

thread_local! {
    static SHIFT: Cell<u8> = const { Cell::new(1) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static WATCHED: Cell<Option<Watched>> = const { Cell::new(None) };
}

/// Lets this thread's byte slices start `shift` bytes behind a multiple of 16, from 1 to 16.
pub(crate) fn misalign_byte_slices(shift: u8) {
    assert!(
        (1..=16).contains(&shift),
        "the byte in front holds the shift"
    );
    SHIFT.set(shift);
}

/// The bytes that this thread has allocated and not freed.
pub(crate) fn live_bytes() -> isize {
    LIVE.get()
}

/// A block that this thread is expected to free.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    /// An address in the block.
    pub(crate) address: usize,
    /// Code whose unwind table lies in the block.
    pub(crate) pc: usize,
    /// Whether the unwinder knew the code when the block was freed; `None` before that.
    pub(crate) known_when_freed: Option<bool>,
}

/// Runs `f`, and returns what became of the block.
pub(crate) fn watch(watched: Watched, f: impl FnOnce()) -> Watched {
    WATCHED.set(Some(watched));
    f();
    WATCHED.take().expect("still set")
}

fn see_freed(start: usize, bytes: usize) {
    if let Some(mut watched) = WATCHED.get()
        && (start..start + bytes).contains(&watched.address)
    {
        watched.known_when_freed = Some(known_entry(watched.pc).is_some());
        WATCHED.set(Some(watched));
    }
}

fn count(bytes: usize, sign: isize) {
    LIVE.set(LIVE.get() + sign * isize::try_from(bytes).expect("a layout's size"));
}

/// The block around a byte slice of this layout.
fn block(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size() + BLOCK_ALIGN, BLOCK_ALIGN).expect("small")
}

struct Hooked;

// SAFETY: every block comes from the system's allocator, and a byte slice lies within a block that
// is longer by the greatest shift.
unsafe impl GlobalAlloc for Hooked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        if layout.align() > 1 {
            // SAFETY: the caller keeps the contract of `alloc`.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: the block is not empty.
        let start = unsafe { System.alloc(block(layout)) };
        if start.is_null() {
            return start;
        }
        let shift = SHIFT.get();
        // SAFETY: the shift is from 1 to 16, and the block is longer than the slice by 16.
        unsafe {
            let slice = start.add(usize::from(shift));
            slice.sub(1).write(shift);
            slice
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        see_freed(start.addr(), layout.size());
        count(layout.size(), -1);
        if layout.align() > 1 {
            // SAFETY: `alloc` got this block from the system's allocator.
            return unsafe { System.dealloc(start, layout) };
        }
        // SAFETY: `alloc` wrote the shift in front of the slice, and got the block around both.
        unsafe {
            let shift = start.sub(1).read();
            System.dealloc(start.sub(usize::from(shift)), block(layout));
        }
    }
}

#[global_allocator]
static ALLOCATOR: Hooked = Hooked;
