//! A heap that counts, and that can be told to fail.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what goes through the allocator `A`, and refuses every n-th request where told to.
#[derive(Debug)]
pub struct MeasuredHeap<A> {
    memory: A,
    in_use: AtomicUsize,
    high_water: AtomicUsize,
    /// Which request fails, counted from the last one that did; 0 is none.
    period: AtomicUsize,
    since_failure: AtomicUsize,
    failures: AtomicUsize,
}

impl<A> MeasuredHeap<A> {
    /// Counts what goes through `memory`.
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

    /// Whether the next request is one that fails.
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

// SAFETY: the allocator below keeps the contract; null for a refused request is part of it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for MeasuredHeap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.refuses() {
            return ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract.
        let block = unsafe { self.memory.alloc(layout) };
        if !block.is_null() {
            let in_use = self.in_use.fetch_add(layout.size(), Relaxed) + layout.size();
            self.high_water.fetch_max(in_use, Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.in_use.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller gives back what it got.
        unsafe { self.memory.dealloc(block, layout) };
    }
}

/// What the tests ask of a heap.
pub trait HeapMeter: fmt::Debug {
    /// Bytes that are in use.
    fn in_use(&self) -> usize;
    /// The most bytes that were ever in use at once.
    fn high_water(&self) -> usize;
    /// Forgets the past: the most that was ever in use is what is in use now.
    fn reset_high_water(&self);
    /// Refuses every `period`-th request from now on, or none if it is 0.
    fn fail_every(&self, period: usize);
    /// How many requests were refused because they had to be.
    fn failures(&self) -> usize;
}

impl<A: fmt::Debug> HeapMeter for MeasuredHeap<A> {
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
