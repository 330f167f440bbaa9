//! A heap that counts its bytes and fails on request.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes that the allocator `A` hands out, and can refuse every n-th request.
pub struct MeasuredHeap<A> {
    memory: A,
    in_use: AtomicUsize,
    high_water: AtomicUsize,
    /// Every so many requests one fails; 0 for none.
    period: AtomicUsize,
    since_failure: AtomicUsize,
    failures: AtomicUsize,
}

impl<A> MeasuredHeap<A> {
    /// Measures `memory`.
    pub const fn new(memory: A) -> Self {
        Self {
            memory,
            in_use: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            period: AtomicUsize::new(0),
            since_failure: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
        }
    }

    /// The allocator that it measures.
    #[must_use]
    pub const fn memory(&self) -> &A {
        &self.memory
    }

    /// Counts a request. Returns whether it has to fail.
    fn refuses(&self) -> bool {
        let period = self.period.load(Relaxed);
        if period == 0 {
            return false;
        }
        let since_failure = self.since_failure.load(Relaxed) + 1;
        let refuses = since_failure >= period;
        self.since_failure
            .store(if refuses { 0 } else { since_failure }, Relaxed);
        self.failures.fetch_add(usize::from(refuses), Relaxed);
        refuses
    }
}

// SAFETY: `memory` keeps the contract, which allows null for a refused request.
unsafe impl<A: GlobalAlloc> GlobalAlloc for MeasuredHeap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.refuses() {
            return ptr::null_mut();
        }
        // SAFETY: the caller guarantees a layout of at least one byte.
        let block = unsafe { self.memory.alloc(layout) };
        if !block.is_null() {
            let in_use = self.in_use.fetch_add(layout.size(), Relaxed) + layout.size();
            self.high_water.fetch_max(in_use, Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.in_use.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller guarantees that the block came from `alloc` with this layout.
        unsafe { self.memory.dealloc(block, layout) };
    }
}

/// The measurements and failures of a heap.
pub trait HeapMeter: fmt::Debug {
    /// The number of bytes in use.
    fn in_use(&self) -> usize;
    /// The largest number of bytes in use at once since the last reset.
    fn high_water(&self) -> usize;
    /// Resets the high-water mark to the bytes in use now.
    fn reset_high_water(&self);
    /// Refuses every `period`-th request from now on; none for 0.
    fn fail_every(&self, period: usize);
    /// The number of requests that were refused on purpose.
    fn failures(&self) -> usize;
}

impl<A> HeapMeter for MeasuredHeap<A> {
    fn in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    fn high_water(&self) -> usize {
        self.high_water.load(Relaxed)
    }

    fn reset_high_water(&self) {
        self.high_water.store(self.in_use(), Relaxed);
    }

    fn fail_every(&self, period: usize) {
        self.since_failure.store(0, Relaxed);
        self.period.store(period, Relaxed);
    }

    fn failures(&self) -> usize {
        self.failures.load(Relaxed)
    }
}

impl<A> fmt::Debug for MeasuredHeap<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredHeap").finish_non_exhaustive()
    }
}
