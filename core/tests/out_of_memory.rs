//! What happens when the allocator says no, request by request.
//!
//! A test binary of its own, because it replaces the global allocator. The
//! allocator refuses only on the thread that asked for it.

use core::cell::Cell;
use core::ops::ControlFlow;
use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use vmexternref_core::{
    Frame, GcOutcome, Matching, ModuleStackMaps, OutOfMemory, RegisterError, StackMap,
    StackMapError, StackMapRegistry, StackWalker, VMExternRef, VMExternRefActivationsTable,
    WalkEnd, gc,
};

thread_local! {
    /// Requests that still succeed; `None` refuses nothing.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

struct Failing;

fn refuses() -> bool {
    REQUESTS.set(REQUESTS.get() + 1);
    match LEFT.get() {
        Some(0) => true,
        Some(left) => {
            LEFT.set(Some(left - 1));
            false
        }
        None => false,
    }
}

// SAFETY: every request goes to the system's allocator, or gets null.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the memory came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Runs `f` with `left` successful requests, all others refused.
fn with_memory<R>(left: usize, f: impl FnOnce() -> R) -> R {
    LEFT.set(Some(left));
    let result = f();
    LEFT.set(None);
    result
}

/// Shows frames without allocating.
struct Fixed<'f>(&'f [Frame]);

// SAFETY: the tests that collect with it have no other frames.
unsafe impl StackWalker for Fixed<'_> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        for &frame in self.0 {
            if visit(frame).is_break() {
                return WalkEnd::Stopped;
            }
        }
        WalkEnd::Complete
    }
}

fn maps() -> ModuleStackMaps {
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x100).unwrap();
    module
        .safepoint(0x10, StackMap::new(None, [0]).unwrap())
        .unwrap();
    module
}

#[test]
fn a_box_gives_its_value_back() {
    let OutOfMemory(value) = with_memory(0, || VMExternRef::try_new(42)).unwrap_err();
    assert_eq!(value, 42);
    let OutOfMemory(construct) = with_memory(0, || VMExternRef::try_new_with(|| 43)).unwrap_err();
    assert_eq!(construct(), 43);
    assert!(with_memory(1, || VMExternRef::try_new(44)).is_ok());
}

#[test]
fn insertions_give_the_reference_back() {
    let (registry, table) = (
        StackMapRegistry::new(),
        VMExternRefActivationsTable::with_capacity(1, 64),
    );
    let walker = Fixed(&[]);
    let reference = VMExternRef::new(1);
    let clone = || reference.clone();
    assert!(with_memory(0, || table.try_insert_without_gc(clone())).is_err());
    // SAFETY: no frame holds anything.
    unsafe {
        let insert = || table.try_insert_with_gc(clone(), &registry, &walker);
        assert!(with_memory(0, insert).is_err());
        let reserve = || table.reserve(2, &registry, &walker);
        assert_eq!(with_memory(0, reserve), Err(OutOfMemory(())));
    }
    assert_eq!((table.len(), reference.strong_count()), (0, 1));
}

#[test]
fn collections_need_no_memory() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, maps()).unwrap();
    for verifies in [false, true] {
        let table = VMExternRefActivationsTable::with_capacity(8, 64);
        table.set_verification(verifies);
        let alive = Rc::new(());
        let held = VMExternRef::new(alive.clone());
        let stack = [held.as_raw().addr()];
        table.insert_without_gc(held);
        for _ in 0..7 {
            table.insert_without_gc(VMExternRef::new(alive.clone()));
        }
        let frame = Frame {
            pc: 0x1010,
            sp: Some(stack.as_ptr().expose_provenance()),
            fp: None,
        };
        let walker = Fixed(core::slice::from_ref(&frame));
        // SAFETY: `stack` is the only frame, and the map describes it.
        let report = with_memory(0, || unsafe { gc(&registry, &table, &walker) });
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.entries_after, report.freed), (1, 7));
        assert_eq!(Rc::strong_count(&alive), 2);
    }
}

#[test]
fn a_steady_state_requests_nothing() {
    let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
    table.set_verification(false);
    let reference = VMExternRef::new(1);
    // SAFETY: no frame holds anything.
    unsafe { gc(&registry, &table, &Fixed(&[])) };
    assert_eq!(table.capacity(), 0, "nothing was needed yet");
    table.insert_without_gc(reference.clone());
    for round in 0..10 {
        while table.try_insert(reference.clone()).is_ok() {}
        let before = REQUESTS.get();
        // SAFETY: no frame holds anything.
        unsafe { gc(&registry, &table, &Fixed(&[])) };
        assert_eq!(REQUESTS.get(), before, "round {round}");
        table.insert_without_gc(reference.clone());
    }
}

#[test]
fn a_root_that_cannot_be_inserted_is_leaked() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, maps()).unwrap();
    let table = VMExternRefActivationsTable::new();
    table.set_verification(false);
    let lost = VMExternRef::new(1);
    let stack = [lost.as_raw().addr()];
    let frame = Frame {
        pc: 0x1010,
        sp: Some(stack.as_ptr().expose_provenance()),
        fp: None,
    };
    let walker = Fixed(core::slice::from_ref(&frame));
    // SAFETY: `stack` is the only frame; its reference is alive, though not in the table.
    let report = with_memory(0, || unsafe { gc(&registry, &table, &walker) });
    assert_eq!((report.contract_breaks, report.entries_after), (1, 0));
    assert_eq!(
        lost.strong_count(),
        2,
        "one reference is leaked, none freed"
    );
    // SAFETY: the collection forgot the reference that the assertion counted, so it is nobody else's.
    drop(unsafe { VMExternRef::from_raw(lost.as_raw()) });
}

/// Refuses the n-th request and all later ones, for each n, until none is missing.
#[test]
fn a_registry_without_memory_stays_as_it_was() {
    let registry = StackMapRegistry::new();
    for left in 0.. {
        let build = || -> Result<_, RegisterError> {
            let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
            module.function(0..0x80)?;
            module.function(0x80..0x100)?;
            for offset in 1..40 {
                module.safepoint(offset, StackMap::new(None, [offset % 5])?)?;
            }
            registry.register(0x1000, module)
        };
        match with_memory(left, build) {
            Ok(_) => break,
            Err(error) => assert_eq!(error, RegisterError::OutOfMemory),
        }
        assert!(!registry.is_code(0x1001), "after {left} requests");
    }
    assert!(registry.is_wasm(0x1001));
}

#[test]
fn a_wide_map_without_memory_is_an_error() {
    let wide = || StackMap::new(None, [0, 64, 1 << 20]);
    assert_eq!(
        with_memory(0, wide).unwrap_err(),
        StackMapError::OutOfMemory
    );
    assert!(with_memory(0, || StackMap::new(None, [0, 63])).is_ok());
}
