//! The memory of a microcontroller: its RAM, and a second region for the memories of guests.

use crate::measured_heap::{HeapMeter, MeasuredHeap};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ops::Range;
use linked_list_allocator::LockedHeap;

/// The bytes of a page of a guest's memory.
const PAGE_BYTES: usize = 1 << 16;

/// A heap in RAM, and another one for every request of at least a page.
pub struct TwoHeaps {
    ram: MeasuredHeap<LockedHeap>,
    pages: LockedHeap,
}

impl TwoHeaps {
    /// Two heaps without memory.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self {
            ram: MeasuredHeap::new(LockedHeap::empty()),
            pages: LockedHeap::empty(),
        }
    }

    /// Gives each heap its memory.
    ///
    /// # Safety
    ///
    /// Nobody else uses the memory from now on, and this is the first call.
    pub unsafe fn init(&self, ram: Range<*mut u8>, pages: Range<*mut u8>) {
        for (heap, range) in [(self.ram.memory(), ram), (&self.pages, pages)] {
            let bytes = range.end.addr() - range.start.addr();
            // SAFETY: the caller hands the memory over, once.
            unsafe { heap.lock().init(range.start, bytes) };
        }
    }

    /// The largest number of bytes of RAM in use at once.
    #[must_use]
    pub fn ram_high_water(&self) -> usize {
        self.ram.high_water()
    }

    fn heap_of(&self, layout: Layout) -> &dyn GlobalAlloc {
        if layout.size() < PAGE_BYTES {
            &self.ram
        } else {
            &self.pages
        }
    }
}

// SAFETY: the size decides which heap a block belongs to, and each of them keeps the contract.
unsafe impl GlobalAlloc for TwoHeaps {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees a layout of at least one byte.
        unsafe { self.heap_of(layout).alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that the block came from `alloc` with this layout, and so
        // from this heap.
        unsafe { self.heap_of(layout).dealloc(block, layout) };
    }
}

impl fmt::Debug for TwoHeaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoHeaps").finish_non_exhaustive()
    }
}
