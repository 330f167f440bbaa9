//! The memory of a machine without an operating system.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::fmt;
use linked_list_allocator::LockedHeap;

/// How large a kernel's heap is, in bytes.
const HEAP_BYTES: usize = 8 << 20;

/// Eight mebibytes in the kernel's own image, as a heap.
pub struct FixedMemory {
    free: LockedHeap,
    bytes: UnsafeCell<[u8; HEAP_BYTES]>,
}

// SAFETY: the bytes are only handed out by the allocator, which has a lock.
unsafe impl Sync for FixedMemory {}

impl FixedMemory {
    /// A heap that is all free.
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
            // SAFETY: the bytes live as long as the allocator, are this large, and are given away once.
            unsafe { free.init(self.bytes.get().cast(), HEAP_BYTES) };
        }
        let block = free.allocate_first_fit(layout);
        block.map_or(core::ptr::null_mut(), |block| block.as_ptr())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what it got.
        unsafe { self.free.dealloc(block, layout) };
    }
}

impl fmt::Debug for FixedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedMemory").finish_non_exhaustive()
    }
}
