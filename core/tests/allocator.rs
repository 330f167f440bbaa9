//! What happens when the allocator says no, or collects; and that every byte comes back.
//!
//! A test binary of its own, because it replaces the global allocator. The allocator refuses,
//! collects and counts only on the thread that asked for it.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

use core::cell::{Cell, RefCell};
use core::hint::black_box;
use core::ops::ControlFlow;
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{catch_unwind, resume_unwind};
use std::rc::Rc;
use vmexternref_core::{
    CycleCollector, CycleOutcome, Frame, GcOutcome, Matching, ModuleStackMaps, ObservedStack,
    Observer, OutOfMemory, RegisterError, Registration, StackMap, StackMapError, StackMapRegistry,
    StackWalker, Trace, VMExternRef, VMExternRefActivationsTable, WalkEnd, collect_observed, gc,
    set_quarantine,
};

thread_local! {
    /// Requests that still succeed; `None` refuses nothing.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    /// Larger requests are refused.
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread has allocated, less those that it has freed.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    /// What the allocator does at each request, to win memory.
    static RECLAIM: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

struct Failing;

fn refuses(layout: Layout) -> bool {
    let reclaim = RECLAIM.try_with(|reclaim| {
        reclaim
            .try_borrow_mut()
            .ok()
            .and_then(|mut hook| hook.take())
    });
    if let Ok(Some(reclaim)) = reclaim {
        reclaim();
        RECLAIM.set(Some(reclaim));
    }
    REQUESTS.set(REQUESTS.get() + 1);
    if layout.size() > LARGEST.get() {
        return true;
    }
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
        if refuses(layout) {
            return core::ptr::null_mut();
        }
        BYTES.set(BYTES.get() + layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size().cast_signed());
        // SAFETY: the memory came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Bytes that `f` allocates and does not free.
fn leaked_by(f: impl FnOnce()) -> isize {
    set_quarantine(0);
    let before = BYTES.get();
    f();
    BYTES.get() - before
}

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
                return WalkEnd::INTERRUPTED;
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
        assert_eq!(with_memory(0, reserve), Err(OutOfMemory(None)));
    }
    assert_eq!((table.len(), reference.strong_count()), (0, 1));
}

/// A full table grows by what is comfortable, or else by what is needed.
#[test]
fn growing_is_content_with_what_there_is() {
    let table = VMExternRefActivationsTable::with_capacity(8, usize::MAX);
    let reference = VMExternRef::new(1);
    while table.len() < 64 {
        table.insert_without_gc(reference.clone());
    }
    LARGEST.set(100 * size_of::<usize>());
    let inserted = table.try_insert_without_gc(reference.clone());
    LARGEST.set(usize::MAX);
    assert!(inserted.is_ok(), "128 slots are too many, 65 are not");
    assert_eq!(table.capacity(), 65);
}

#[test]
fn a_collection_gives_its_report_back_with_the_error() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, maps()).unwrap();
    let table = VMExternRefActivationsTable::with_capacity(1, 1);
    let held = VMExternRef::new(1);
    let stack = [held.as_raw().addr()];
    table.insert_without_gc(held.clone());
    let frame = Frame::of_unknown_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
    let walker = Fixed(core::slice::from_ref(&frame));
    // SAFETY: `stack` is the only frame, and the map describes it.
    let full = unsafe { table.try_insert_with_gc(VMExternRef::new(2), &registry, &walker) };
    let OutOfMemory((refused, report)) = full.unwrap_err();
    assert_eq!(refused.downcast_ref(), Some(&2));
    assert_eq!(report.map(|report| report.roots), Some(1));
    // SAFETY: the frame is empty now.
    let inserted = unsafe { table.insert_with_gc(refused, &registry, &Fixed(&[])) };
    assert_eq!(inserted.map(|report| report.entries_after), Some(0));
}

// Every byte comes back.

/// Unwinds without a message, for which memory could be kept.
fn fail() -> ! {
    resume_unwind(Box::new(()))
}

/// The compiler cannot tell that it fails, and so leave the allocation out.
fn fails_to_construct() -> [u64; 100] {
    if black_box(true) {
        fail();
    }
    [0; 100]
}

struct Fails;

impl Drop for Fails {
    fn drop(&mut self) {
        fail();
    }
}

#[test]
fn a_box_gives_back_its_memory() {
    assert_eq!(leaked_by(|| drop(VMExternRef::new([0_u8; 100]))), 0);
    let unwinds = |f: fn()| assert!(catch_unwind(f).is_err());
    let constructor = || {
        unwinds(|| drop(VMExternRef::new_with(fails_to_construct)));
    };
    assert_eq!(leaked_by(constructor), 0, "the box of a value never made");
    let destructor = || unwinds(|| drop(VMExternRef::new((Fails, [0_u64; 100]))));
    assert_eq!(leaked_by(destructor), 0, "the box of a value that fails");
}

#[test]
fn a_table_gives_back_its_chunks() {
    let grows = || {
        let table = VMExternRefActivationsTable::with_capacity(1, usize::MAX);
        let reference = VMExternRef::new(1);
        (0..1000).for_each(|_| table.insert_without_gc(reference.clone()));
    };
    assert_eq!(leaked_by(grows), 0);
    let shrinks = || {
        let table = VMExternRefActivationsTable::with_capacity(1, usize::MAX);
        let reference = VMExternRef::new(1);
        (0..1000).for_each(|_| table.insert_without_gc(reference.clone()));
        // SAFETY: no frame holds anything.
        unsafe { gc(&StackMapRegistry::new(), &table, &Fixed(&[])) };
        assert_eq!(table.capacity(), 1);
    };
    assert_eq!(leaked_by(shrinks), 0);
}

// Cycles.

/// Refers to itself, with room for so many references.
#[derive(Default)]
struct Circle(RefCell<Vec<VMExternRef>>, Rc<()>);

impl Trace for Circle {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        self.0.borrow().iter().for_each(visit);
    }

    fn unlink(&self) {
        drop(self.0.take());
    }
}

fn close(circle: &VMExternRef) {
    let links = &circle.downcast_ref::<Circle>().unwrap().0;
    links.borrow_mut().push(circle.clone());
}

/// Refuses the n-th request and all later ones, for each n, until none is missing.
#[test]
fn a_traced_box_gives_its_value_back() {
    let alive = Rc::new(());
    for had_boxes in [false, true] {
        let collector = CycleCollector::new();
        let before = had_boxes.then(|| collector.new_traced(Circle::default()));
        let mut requests = 0;
        let made = loop {
            let make = || collector.try_new_traced(Circle(RefCell::default(), alive.clone()));
            match with_memory(requests, make) {
                Ok(made) => break made,
                Err(OutOfMemory(value)) => assert_eq!(Rc::strong_count(&value.1), 2),
            }
            assert_eq!(collector.collect().boxes, usize::from(had_boxes));
            requests += 1;
        };
        // The first box needs what all boxes share.
        assert!(requests <= if had_boxes { 1 } else { 2 });
        assert_eq!((made.strong_count(), Rc::strong_count(&alive)), (1, 2));
        drop((made, before));
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}

#[test]
fn collecting_cycles_needs_no_memory() {
    let collector = CycleCollector::new();
    assert_eq!(with_memory(0, || collector.collect()).boxes, 0);
    let circles: Vec<_> = (0..100)
        .map(|_| collector.new_traced(Circle::default()))
        .collect();
    circles.iter().for_each(close);
    let before = REQUESTS.get();
    let weak = with_memory(0, || circles[7].downgrade().unwrap());
    drop(circles);
    let report = with_memory(0, || {
        assert!(weak.clone().upgrade().is_some());
        collector.collect()
    });
    assert_eq!(report.outcome, CycleOutcome::Collected);
    assert_eq!((report.freed, report.survivors), (100, 0));
    assert_eq!(REQUESTS.get(), before);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_collector_and_its_boxes_give_back_their_memory() {
    let collector_first = || {
        let collector = CycleCollector::new();
        let [circle, held, other] = [(); 3].map(|()| collector.new_traced(Circle::default()));
        close(&circle);
        let weak = [&circle, &held].map(|reference| reference.downgrade().unwrap());
        drop(circle);
        drop(collector);
        assert!(weak[0].upgrade().is_none() && weak[1].upgrade().is_some());
        drop(held);
        drop(weak);
        drop(other);
    };
    assert_eq!(leaked_by(collector_first), 0);
    let collector_last = || {
        let collector = CycleCollector::new();
        let weak = collector.new_traced(Circle::default()).downgrade();
        drop(collector);
        drop(weak);
        drop(CycleCollector::new());
    };
    assert_eq!(leaked_by(collector_last), 0);
}

/// The allocator makes boxes of the same collector, and collects, whenever it is asked.
#[test]
fn an_allocator_may_make_boxes_and_collect_cycles() {
    let leaked = leaked_by(|| {
        let collector = Rc::new(CycleCollector::new());
        let made = Rc::new(RefCell::new(Vec::with_capacity(10)));
        let (inner, list) = (Rc::downgrade(&collector), made.clone());
        let value = Circle::default();
        RECLAIM.set(Some(Box::new(move || {
            if let Some(collector) = inner.upgrade() {
                let circle = collector.new_traced(Circle::default());
                collector.collect();
                if list.borrow().len() < 10 {
                    list.borrow_mut().push(circle);
                }
            }
        })));
        let first = collector.new_traced(value);
        drop(RECLAIM.take());
        assert_eq!(made.borrow().len(), 2, "what boxes share, and the box");
        assert_eq!(collector.collect().boxes, 3);
        made.borrow().iter().for_each(close);
        close(&first);
        drop(made.take());
        assert_eq!(collector.collect().freed, 2);
        drop(first);
        assert_eq!(collector.collect().freed, 1);
    });
    assert_eq!(leaked, 0);
}

// Allocators that collect.

/// References that such an allocator inserts at most.
const SPARE: usize = if cfg!(miri) { 1_000 } else { 100_000 };

/// A table, and an allocator that collects it, drops references and inserts others at each request.
fn with_reclaiming_allocator(verifies: bool, f: impl FnOnce(&VMExternRefActivationsTable)) {
    let table = Rc::new(VMExternRefActivationsTable::with_capacity(4, usize::MAX));
    table.set_verification(verifies);
    let inner = Rc::downgrade(&table);
    let registry = StackMapRegistry::new();
    let spare = RefCell::new((0..SPARE).map(VMExternRef::new).collect::<Vec<_>>());
    RECLAIM.set(Some(Box::new(move || {
        let Some(table) = inner.upgrade() else { return };
        // SAFETY: no frame holds anything.
        unsafe { gc(&registry, &table, &Fixed(&[])) };
        if let Some(reference) = spare.borrow_mut().pop() {
            let _ = table.try_insert(reference);
        }
    })));
    f(&table);
    drop(RECLAIM.take());
}

/// Defect: growing read the table's fields, allocated, the collection freed the chunk, and the
/// copy read freed memory.
#[test]
fn an_allocator_may_collect_while_the_table_grows() {
    for verifies in [false, true] {
        with_reclaiming_allocator(verifies, |table| {
            let alive = Rc::new(());
            let held = VMExternRef::new(alive.clone());
            for _ in 0..1000 {
                table.insert_without_gc(held.clone());
                table.insert_without_gc(VMExternRef::new(1_u64));
            }
            let entries = table.len();
            assert!(entries <= table.capacity());
            assert!(held.strong_count() <= 1 + entries);
            let registry = StackMapRegistry::new();
            // SAFETY: no frame holds anything.
            unsafe {
                table.reserve(5000, &registry, &Fixed(&[])).unwrap();
                assert!(table.capacity() - table.len() >= 5000);
                gc(&registry, table, &Fixed(&[]));
            }
            drop(held);
            assert_eq!(Rc::strong_count(&alive), 1);
        });
    }
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
        let frame = Frame::of_unknown_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
        let walker = Fixed(core::slice::from_ref(&frame));
        // SAFETY: `stack` is the only frame, and the map describes it.
        let report = with_memory(0, || unsafe { gc(&registry, &table, &walker) });
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.entries_after, report.freed), (1, 7));
        assert_eq!(Rc::strong_count(&alive), 2);
    }
}

/// Counts the frames that it is shown, and those that it is not.
#[derive(Default)]
struct Counts(usize, usize);

impl Observer for Counts {
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        *self = Self(stack.frames().len(), stack.unrecorded());
    }
}

#[test]
fn observed_collections_need_memory_only_for_what_they_tell() {
    let registry = StackMapRegistry::new();
    registry.register(0x1000, maps()).unwrap();
    let table = VMExternRefActivationsTable::new();
    let held = VMExternRef::new(1);
    let stack = [held.as_raw().addr()];
    let sp = stack.as_ptr().expose_provenance();
    let frames = [Frame::of_unknown_code(0x1010, Some(sp), None); 100];
    table.insert_without_gc(held);
    for (left, shown) in [(0, 0..1), (2, 1..99), (usize::MAX, 100..101)] {
        table.insert_without_gc(VMExternRef::new(2));
        let mut counts = Counts::default();
        let walker = Fixed(&frames);
        // SAFETY: the frames are all there are, and the maps describe them.
        let observe = || unsafe { collect_observed(&registry, &table, &walker, &mut counts) };
        let (report, garbage) = with_memory(left, observe);
        assert_eq!((report.outcome, report.roots), (GcOutcome::Swept, 100));
        assert_eq!((report.freed, garbage.len()), (1, 1));
        assert!(shown.contains(&counts.0), "{} frames", counts.0);
        assert_eq!(counts.0 + counts.1, 100);
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
    let frame = Frame::of_unknown_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
    let walker = Fixed(core::slice::from_ref(&frame));
    // SAFETY: `stack` is the only frame; its reference is alive, though not in the table.
    let report = with_memory(0, || unsafe { gc(&registry, &table, &walker) });
    assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
    assert_eq!((report.contract_breaks, report.entries_after), (1, 0));
    assert_eq!(
        lost.strong_count(),
        2,
        "one reference is leaked, none freed"
    );
    // SAFETY: the collection forgot the reference that the assertion counted, so it is nobody
    // else's.
    drop(unsafe { VMExternRef::from_raw(lost.as_raw()) });
}

/// The maps of a module, some of them wide.
fn build(bytes: u32) -> Result<ModuleStackMaps, RegisterError> {
    let mut module = ModuleStackMaps::new(bytes, Matching::Exact);
    module.function(0..bytes / 2)?;
    module.function(bytes / 2..bytes)?;
    for offset in 1..40 {
        module.safepoint(offset, StackMap::new(None, [offset % 5, offset % 7 * 64])?)?;
    }
    Ok(module)
}

/// Refuses the n-th request and all later ones, for each n, until none is missing.
///
/// With each number of modules that are there before, so that nodes of their
/// tree are split too.
#[test]
fn a_registry_without_memory_stays_as_it_was() {
    let registry = StackMapRegistry::new();
    for index in 0..if cfg!(miri) { 3 } else { 40 } {
        let base = 0x1000 * (index + 1);
        for left in 0.. {
            let register = || build(0x100).and_then(|module| registry.register(base, module));
            match with_memory(left, register) {
                Ok(_) => break,
                Err(error) => assert_eq!(error, RegisterError::OutOfMemory),
            }
            assert!(!registry.is_code(base + 1), "after {left} requests");
            assert_eq!(registry.is_wasm(base - 0x1000 + 1), index != 0);
        }
        assert!(registry.is_wasm(base + 1));
    }
}

/// Unregisters, without memory, in a collection, which keeps all nodes in use.
struct Unregisters<'r>(&'r StackMapRegistry, Cell<Vec<Registration>>);

// SAFETY: it visits no frame, and the tests that collect with it have none.
unsafe impl StackWalker for Unregisters<'_> {
    fn walk(&self, _: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let mut registrations = self.1.take();
        with_memory(0, || {
            for registration in registrations.drain(..) {
                // SAFETY: no code runs at these addresses.
                unsafe { self.0.unregister(registration) }.unwrap();
            }
        });
        WalkEnd::Complete
    }
}

#[test]
fn unregistering_needs_no_memory() {
    let registry = StackMapRegistry::new();
    let register = |base, bytes| registry.register(base, build(bytes).unwrap());
    let registrations: Vec<_> = (1..=100)
        .map(|index| register(0x1000 * index, 0x100).unwrap())
        .collect();
    let again = register(0x1000, 0x100).unwrap();
    let walker = Unregisters(&registry, Cell::new(registrations));
    let table = VMExternRefActivationsTable::new();
    // SAFETY: no frame holds anything.
    unsafe { gc(&registry, &table, &walker) };
    assert!(registry.is_wasm(0x1001), "it was registered twice");
    for index in 2..=100 {
        assert!(!registry.is_code(0x1000 * index + 1), "module {index}");
    }
    // The addresses can be used again: by two modules that lie across the ones before.
    for base in [0x1f80, 0x63f80] {
        let build = build(0x100).unwrap();
        let without_memory = with_memory(0, || registry.register(base, build));
        assert_eq!(without_memory, Err(RegisterError::OutOfMemory));
        register(base, 0x100).unwrap();
        assert!(registry.is_wasm(base + 0x90));
    }
    // SAFETY: no code runs at these addresses.
    unsafe { registry.unregister(again) }.unwrap();
    assert!(!registry.is_code(0x1001));
    for index in 3..99 {
        register(0x1000 * index, 0x80).unwrap();
    }
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
