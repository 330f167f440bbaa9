//! Threads that register code while others collect.
//!
//! A test binary of its own, because it replaces the global allocator. The allocator counts what
//! the threads of the test hold together.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::thread;
use vmexternref_core::{
    Frame, Matching, ModuleStackMaps, RecordedWalker, Registration, StackMap, StackMapRegistry,
    VMExternRef, VMExternRefActivationsTable, WalkEnd, gc, set_quarantine,
};

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// Relaxed everywhere: the counter must not order what the threads do.
static HELD: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn count(bytes: isize) {
    if COUNTS.get() {
        HELD.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every request goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the memory came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` while the allocator counts, without quarantine.
fn counted(work: impl FnOnce()) {
    set_quarantine(0);
    COUNTS.set(true);
    work();
    COUNTS.set(false);
}

const BYTES: u32 = 0x100;
const SAFEPOINT: u32 = 0x10;
/// The module whose frames are on the stacks.
const RESIDENT: usize = 0x100_0000;
/// Modules that a writer has registered at the same time: enough for several levels of nodes.
const BATCH: usize = if cfg!(miri) { 12 } else { 50 };
const ROUNDS: usize = if cfg!(miri) { 2 } else { 160 };

fn module() -> ModuleStackMaps {
    let mut module = ModuleStackMaps::new(BYTES, Matching::Exact);
    module.function(0..BYTES).unwrap();
    let map = StackMap::new(None, [0, 2]).unwrap();
    module.safepoint(SAFEPOINT, map).unwrap();
    module
}

/// The address of a module of the writer `writer`. The writers' modules alternate.
fn base(writer: usize, at: usize) -> usize {
    RESIDENT - (BATCH * 2 + 1) * 0x80 * 2 + (at * 2 + writer) * 0x200
}

/// Registers and unregisters batches of modules.
fn register_and_unregister(registry: &StackMapRegistry, writer: usize) {
    let mut registrations: Vec<Registration> = Vec::with_capacity(BATCH);
    for round in 0..ROUNDS {
        for at in 0..BATCH {
            let registration = registry.register(base(writer, at), module());
            registrations.push(registration.unwrap());
        }
        assert!(registry.is_wasm(base(writer, round % BATCH) + 0x10));
        while !registrations.is_empty() {
            let registration = registrations.swap_remove(round % registrations.len());
            // SAFETY: no frame of this code is on any stack.
            unsafe { registry.unregister(registration) }.unwrap();
        }
        assert!(!registry.is_wasm(base(writer, round % BATCH) + 0x10));
    }
}

/// A value that says when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Collects until `done`, at least once. Each collection finds one reference in a frame, and frees
/// another one that is in none.
fn collect(registry: &StackMapRegistry, done: &AtomicBool) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let new = || VMExternRef::new(Counted(Arc::clone(&dropped)));
    let table = VMExternRefActivationsTable::new();
    let held = new();
    let stack = [held.as_raw().expose_provenance(), 1, 0];
    table.insert_without_gc(held);
    let pc = RESIDENT + SAFEPOINT as usize;
    let frame = |pc| Frame::of_unknown_code(pc, Some(stack.as_ptr().expose_provenance()), None);
    // SAFETY: `stack` is the only frame with references, and the map describes it. The other frame
    // is of no module.
    let walker = unsafe { RecordedWalker::new(vec![frame(pc), frame(1)], WalkEnd::Complete) };
    let mut collections = 0;
    while collections == 0 || !done.load(Ordering::Relaxed) {
        table.insert_without_gc(new());
        // SAFETY: as above.
        let report = unsafe { gc(registry, &table, &walker) };
        collections += 1;
        assert!(report.swept(), "{report}");
        assert_eq!((report.wasm_frames, report.roots, report.freed), (1, 1, 1));
        assert_eq!(dropped.load(Ordering::Relaxed), collections);
        // Modules that come and go are found, or are not.
        let _ = registry.is_code(base(collections % 2, collections % BATCH) + 0x10);
    }
    // SAFETY: the frame is never walked again.
    drop(unsafe { table.clear() });
    assert_eq!(dropped.load(Ordering::Relaxed), collections + 1);
}

/// Lets `writers` threads register and unregister beside two that collect.
fn run(writers: usize) {
    let registry = StackMapRegistry::new();
    counted(|| {
        registry.register(RESIDENT, module()).unwrap();
        // The registry keeps some nodes for the next change.
        let passing = registry.register(base(0, 0), module()).unwrap();
        // SAFETY: no frame of this code is on any stack.
        unsafe { registry.unregister(passing) }.unwrap();
    });
    let before = HELD.load(Ordering::Relaxed);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (registry, done) = (&registry, &done);
        for _ in 0..2 {
            scope.spawn(|| counted(|| collect(registry, done)));
        }
        let start =
            |writer| scope.spawn(move || counted(|| register_and_unregister(registry, writer)));
        let writing: Vec<_> = (0..writers).map(start).collect();
        let outcomes: Vec<_> = writing.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    counted(|| registry.reclaim());
    let held = HELD.load(Ordering::Relaxed);
    assert_eq!(held, before, "what was unregistered is given back");
    counted(|| drop(registry));
    assert_eq!(HELD.load(Ordering::Relaxed), 0, "everything is given back");
}

/// One test, as the counter is one.
#[test]
fn registrations_and_collections_leave_each_other_alone() {
    run(1);
    run(2);
}
