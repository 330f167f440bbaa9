//! The memory of a machine without an operating system.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::fmt;
use linked_list_allocator::LockedHeap;

/// The size of a kernel's heap, in bytes.
const HEAP_BYTES: usize = 8 << 20;

/// A heap of eight mebibytes in the kernel's own image.
pub struct FixedMemory {
    free: LockedHeap,
    bytes: UnsafeCell<[u8; HEAP_BYTES]>,
}

// SAFETY: only the allocator, which has a lock, hands out the bytes.
unsafe impl Sync for FixedMemory {}

impl FixedMemory {
    /// An empty heap.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only statics are this large")]
    pub const fn new() -> Self {
        Self {
            free: LockedHeap::empty(),
            bytes: UnsafeCell::new([0; HEAP_BYTES]),
        }
    }
}

// SAFETY: the allocator that owns the bytes keeps the contract.
unsafe impl GlobalAlloc for FixedMemory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut free = self.free.lock();
        if free.size() == 0 {
            // SAFETY: the array lives as long as the allocator, has this size, and is handed over
            // once.
            unsafe { free.init(self.bytes.get().cast(), HEAP_BYTES) };
        }
        let block = free.allocate_first_fit(layout);
        block.map_or(core::ptr::null_mut(), |block| block.as_ptr())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that the block came from `alloc` with this layout.
        unsafe { self.free.dealloc(block, layout) };
    }
}

impl fmt::Debug for FixedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedMemory").finish_non_exhaustive()
    }
}
