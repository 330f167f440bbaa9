use super::*;
use crate::extern_ref::VMExternRef;
use crate::layout::WORD;
use crate::module_maps::ModuleStackMaps;
use crate::registry::Matching;
use crate::stack_map::StackMap;
use crate::walker::{Frame, RecordedWalker};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use arbtest::arbitrary::{Result as Arbitrary, Unstructured};
use core::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

const TEXT: usize = 0x1000;
const FRAME_WORDS: usize = 4;

/// The return address whose map has the bits of `live` as live words.
fn pc_with(live: usize) -> usize {
    TEXT + 0x10 * (live + 1)
}

/// A host with a vector for a stack, and a map for every set of live words.
struct Host {
    registry: StackMapRegistry,
    table: VMExternRefActivationsTable,
    drops: Rc<Cell<usize>>,
    stack: Vec<[usize; FRAME_WORDS]>,
    live: Vec<usize>,
}

struct CountsDrop(Rc<Cell<usize>>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Host {
    fn new() -> Self {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x1000, Matching::Exact);
        module.function(0..0x1000).unwrap();
        for live in 0..1_u32 << FRAME_WORDS {
            let words = (0..4).filter(|word| live >> word & 1 == 1);
            let map = StackMap::new(Some(4), words).unwrap();
            module.safepoint(0x10 * (live + 1), map).unwrap();
        }
        registry.register(TEXT, module).unwrap();
        Self {
            registry,
            table: VMExternRefActivationsTable::with_capacity(4, usize::MAX),
            drops: Rc::default(),
            stack: Vec::new(),
            live: Vec::new(),
        }
    }

    /// Makes an object that only the table holds, and gives its word.
    fn object(&self) -> usize {
        let object = VMExternRef::new(CountsDrop(self.drops.clone()));
        let word = object.as_raw().addr();
        self.table.insert_without_gc(object);
        word
    }

    /// Pushes the next older frame, which holds `words` at its first slots.
    fn push_frame(&mut self, words: &[usize]) {
        let mut frame = [0; FRAME_WORDS];
        frame[..words.len()].copy_from_slice(words);
        self.stack.push(frame);
        self.live.push((1 << words.len()) - 1);
    }

    /// The frames as a walker with frame pointers shows them, youngest first.
    fn frames(&self) -> Vec<Frame> {
        let frames = self.stack.iter().zip(&self.live);
        frames
            .map(|(words, &live)| {
                let sp = words.as_ptr().expose_provenance();
                Frame {
                    pc: pc_with(live),
                    sp: Some(sp),
                    fp: Some(sp + FRAME_WORDS * WORD),
                }
            })
            .collect()
    }

    fn collect(&self, end: WalkEnd) -> GcReport {
        self.collect_frames(self.frames(), end)
    }

    fn collect_frames(&self, frames: Vec<Frame>, end: WalkEnd) -> GcReport {
        // SAFETY: the frames lie in `stack`, and the maps describe them, or verification is on.
        unsafe {
            let walker = RecordedWalker::new(frames, end);
            gc(&self.registry, &self.table, &walker)
        }
    }
}

/// A canary between the first frame and the second.
fn canary_in(host: &Host) -> &usize {
    &host.stack[0][FRAME_WORDS - 1]
}

// The decision table, row by row.

#[test]
fn a_complete_walk_sweeps_with_and_without_canary() {
    for with_canary in [false, true] {
        let mut host = Host::new();
        let held = host.object();
        host.object();
        host.push_frame(&[held]);
        let far = 0;
        let _guard = with_canary.then(|| host.table.set_stack_canary(&far));
        let report = host.collect(WalkEnd::Complete);
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.roots, report.freed, host.drops.get()), (1, 1, 1));
    }
}

#[test]
fn an_incomplete_walk_sweeps_if_it_covered_the_canary() {
    for end in [WalkEnd::Unproven, WalkEnd::Stopped] {
        let mut host = Host::new();
        let held = host.object();
        host.object();
        host.push_frame(&[held]);
        host.push_frame(&[]);
        let _guard = host.table.set_stack_canary(canary_in(&host));
        let report = host.collect(end);
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.roots, report.freed), (1, 1));
    }
}

/// Defect of the original: frames hidden by missing unwind tables were one log line.
#[test]
fn an_incomplete_walk_that_misses_the_canary_keeps_everything() {
    for end in [WalkEnd::Unproven, WalkEnd::Stopped] {
        let mut host = Host::new();
        let held = host.object();
        host.object();
        host.push_frame(&[held]);
        let far = 0;
        let _guard = host.table.set_stack_canary(&far);
        let report = host.collect(end);
        assert_eq!(report.outcome, GcOutcome::KeptUncovered);
        assert_eq!((report.entries_after, report.freed), (2, 0));
        assert_eq!(host.drops.get(), 0);
        assert!(
            report
                .to_string()
                .contains("did not reach the stack canary")
        );
    }
}

#[test]
fn without_canary_and_wasm_an_incomplete_walk_sweeps() {
    for end in [WalkEnd::Unproven, WalkEnd::Stopped] {
        let host = Host::new();
        host.object();
        let frame = Frame {
            pc: 0x10,
            sp: Some(0x20),
            fp: None,
        };
        let report = host.collect_frames(vec![frame], end);
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.frames, report.wasm_frames, report.freed), (1, 0, 1));
    }
}

#[test]
fn without_canary_but_with_wasm_an_incomplete_walk_keeps_everything() {
    for end in [WalkEnd::Unproven, WalkEnd::Stopped] {
        let mut host = Host::new();
        host.object();
        host.push_frame(&[]);
        let report = host.collect(end);
        assert_eq!(report.outcome, GcOutcome::KeptBrokenPromise);
        assert_eq!((report.wasm_frames, report.freed), (1, 0));
    }
}

#[test]
fn a_locked_registry_keeps_everything() {
    let host = Host::new();
    host.object();
    let report = host
        .registry
        .while_locked(|| host.collect(WalkEnd::Complete));
    assert_eq!(report.outcome, GcOutcome::KeptRegistryLocked);
    assert_eq!((report.walk_end, report.freed), (None, 0));
    assert_eq!(host.collect(WalkEnd::Complete).freed, 1);
}

#[test]
fn a_frame_without_usable_address_keeps_everything() {
    for fp in [None, Some(8 * WORD + 1), Some(WORD)] {
        let mut host = Host::new();
        let held = host.object();
        host.object();
        host.push_frame(&[held]);
        let frame = Frame {
            sp: None,
            fp,
            ..host.frames()[0]
        };
        let report = host.collect_frames(vec![frame], WalkEnd::Complete);
        assert_eq!(report.outcome, GcOutcome::KeptUnreadable);
        assert_eq!((report.entries_after, report.freed), (2, 0));
    }
}

#[test]
fn kept_references_carry_no_mark() {
    let mut host = Host::new();
    let held = host.object();
    host.push_frame(&[held]);
    host.collect(WalkEnd::Unproven);
    let mut counts = Vec::new();
    host.table
        .for_each(|entry| counts.push((entry.strong_count(), entry.data().ref_count().unmark())));
    assert_eq!(counts, [(1, false)]);
}

// What is kept, and what is let go.

#[test]
fn duplicates_leave_one_entry_per_root() {
    let mut host = Host::new();
    let held = host.object();
    let mut clone = None;
    host.table.for_each(|entry| clone = Some(entry.clone()));
    for _ in 0..5 {
        host.table.insert_without_gc(clone.clone().unwrap());
    }
    host.push_frame(&[held, 0, held]);
    host.push_frame(&[held]);
    let report = host.collect(WalkEnd::Complete);
    assert_eq!(
        (report.roots, report.entries_before, report.entries_after),
        (3, 6, 1)
    );
    assert_eq!(clone.unwrap().strong_count(), 2);
    assert_eq!(host.drops.get(), 0);
}

#[test]
fn objects_held_elsewhere_outlive_their_entries() {
    let host = Host::new();
    let held = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.table.insert_without_gc(held.clone());
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.entries_after, report.freed), (0, 0));
    assert_eq!(held.strong_count(), 1);
}

/// CVE-2021-39218: a safepoint without live references took an earlier map.
#[test]
fn a_safepoint_without_live_references_holds_none() {
    let mut host = Host::new();
    let stale = host.object();
    host.push_frame(&[stale]);
    host.live[0] = 0;
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.wasm_frames, report.roots, report.freed), (1, 0, 1));
}

/// CVE-2021-39216: inserting the second of two arguments freed the first.
#[test]
fn reserved_insertions_do_not_collect() {
    let host = Host::new();
    // SAFETY: an empty complete walk: no frame holds anything.
    let walker = unsafe { RecordedWalker::new(Vec::new(), WalkEnd::Complete) };
    for _ in 0..3 {
        host.object();
    }
    // SAFETY: the walker is true, as no frame holds anything.
    unsafe { host.table.reserve(3, &host.registry, &walker).unwrap() };
    let freed = host.drops.get();
    let arguments: Vec<usize> = (0..3)
        .map(|_| {
            let argument = VMExternRef::new(CountsDrop(host.drops.clone()));
            let word = argument.as_raw().addr();
            // SAFETY: the walker is true, as no frame holds anything.
            unsafe {
                host.table.insert_with_gc(argument, &host.registry, &walker);
            };
            word
        })
        .collect();
    assert_eq!(host.drops.get(), freed, "an argument was freed");
    assert_eq!(arguments.len(), 3);
}

/// Defect: after a tail call with stack arguments the callee's `sp` is wrong.
#[test]
fn slots_are_found_from_the_frame_pointer() {
    let mut host = Host::new();
    let held = host.object();
    host.push_frame(&[held]);
    let mut frame = host.frames()[0];
    frame.sp = frame.sp.map(|sp| sp - 4 * WORD);
    let report = host.collect_frames(vec![frame], WalkEnd::Complete);
    assert_eq!((report.roots, report.freed), (1, 0));
}

// Destructors.

struct OnDrop(Box<dyn Fn()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Defect: a destructor that inserted met a borrowed cell, and panicked.
#[test]
fn destructors_may_insert_and_collect() {
    let host = Rc::new(Host::new());
    let outcome = Rc::new(Cell::new(None));
    for _ in 0..4 {
        let (inner, outcome) = (host.clone(), outcome.clone());
        let meddler = VMExternRef::new(OnDrop(Box::new(move || {
            outcome.set(Some(inner.collect(WalkEnd::Complete).outcome));
            for _ in 0..10 {
                inner.object();
            }
        })));
        host.table.insert_without_gc(meddler);
    }
    assert_eq!(host.collect(WalkEnd::Complete).freed, 4);
    assert_eq!(outcome.get(), Some(GcOutcome::AlreadyCollecting));
    assert_eq!(host.table.len(), 40);
    assert_eq!(host.collect(WalkEnd::Complete).freed, 40);
}

#[test]
fn a_panicking_destructor_stops_neither_the_others_nor_the_table() {
    let host = Host::new();
    host.object();
    let bomb = VMExternRef::new(OnDrop(Box::new(|| panic!("not today"))));
    host.table.insert_without_gc(bomb);
    host.object();
    let result = catch_unwind(AssertUnwindSafe(|| host.collect(WalkEnd::Complete)));
    assert!(result.is_err());
    assert_eq!(host.drops.get(), 2);
    host.object();
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.outcome, report.freed), (GcOutcome::Swept, 1));
}

#[test]
fn garbage_may_wait_while_the_table_goes_on() {
    let host = Host::new();
    for _ in 0..10 {
        host.object();
    }
    // SAFETY: no frame holds anything.
    let walker = unsafe { RecordedWalker::new(Vec::new(), WalkEnd::Complete) };
    // SAFETY: the walker is true.
    let (report, mut garbage) = unsafe { collect(&host.registry, &host.table, &walker) };
    assert_eq!((report.freed, host.drops.get()), (10, 0));
    assert_eq!((garbage.release(3), host.drops.get()), (3, 3));
    host.object();
    assert_eq!(
        host.collect(WalkEnd::Complete).freed,
        1,
        "another collection may run"
    );
    drop(garbage);
    assert_eq!(host.drops.get(), 11);
}

#[test]
fn dropping_the_table_drops_everything() {
    let host = Host::new();
    for _ in 0..10 {
        host.object();
    }
    let drops = host.drops.clone();
    drop(host);
    assert_eq!(drops.get(), 10);
}

// Broken contracts.

#[test]
fn a_root_outside_the_table_is_kept_and_reported() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr(), lost.as_raw().addr()]);
    host.object();
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.contract_breaks, report.freed), (1, 1));
    assert_eq!((report.entries_after, lost.strong_count()), (1, 2));
    assert_eq!(host.collect(WalkEnd::Complete).contract_breaks, 0);
    drop(lost);
    assert_eq!(host.drops.get(), 1);
}

#[test]
fn a_root_outside_the_table_is_kept_when_nothing_is_swept() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr()]);
    let report = host.collect(WalkEnd::Unproven);
    assert_eq!(report.outcome, GcOutcome::KeptBrokenPromise);
    assert_eq!((report.contract_breaks, lost.strong_count()), (1, 2));
}

#[test]
fn verification_touches_no_foreign_word() {
    let mut host = Host::new();
    host.table.set_verification(true);
    let held = host.object();
    host.push_frame(&[0xdead_beef, held, 0xdead_bee8]);
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.roots, report.contract_breaks), (3, 2));
    assert_eq!((report.entries_after, report.freed), (1, 0));
    assert!(report.to_string().contains("2 roots were not in the table"));
}

#[test]
fn a_misaligned_word_is_never_a_reference() {
    let mut host = Host::new();
    host.table.set_verification(false);
    host.push_frame(&[0xdead_beef]);
    assert_eq!(host.collect(WalkEnd::Complete).contract_breaks, 1);
}

/// Shows its frames once, and nothing the second time.
struct Forgetful(RecordedWalker, Cell<bool>);

// SAFETY: it breaks the contract on purpose, and the test holds what it hides.
unsafe impl StackWalker for Forgetful {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> core::ops::ControlFlow<()>) -> WalkEnd {
        if self.1.replace(true) {
            return WalkEnd::Complete;
        }
        self.0.walk(visit)
    }
}

#[test]
fn what_a_walker_forgets_is_leaked_not_freed() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr()]);
    // SAFETY: the first walk is true.
    let recorded = unsafe { RecordedWalker::new(host.frames(), WalkEnd::Complete) };
    let walker = Forgetful(recorded, Cell::new(false));
    // SAFETY: the broken second walk is what this test is about.
    let report = unsafe { gc(&host.registry, &host.table, &walker) };
    assert_eq!((report.contract_breaks, host.drops.get()), (1, 0));
    assert!(
        lost.data().ref_count().unmark(),
        "its mark makes it immortal"
    );
}

/// Panics after its frames.
struct Panics(RecordedWalker);

// SAFETY: it visits what the recorded walker visits, and never returns.
unsafe impl StackWalker for Panics {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> core::ops::ControlFlow<()>) -> WalkEnd {
        self.0.walk(visit);
        panic!("lost")
    }
}

#[test]
fn a_panicking_walker_leaves_no_mark() {
    let mut host = Host::new();
    let held = host.object();
    host.push_frame(&[held]);
    // SAFETY: the frames are true.
    let walker = Panics(unsafe { RecordedWalker::new(host.frames(), WalkEnd::Complete) });
    // SAFETY: the walker is true as far as it comes.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe {
        gc(&host.registry, &host.table, &walker)
    }));
    assert!(result.is_err());
    host.table
        .for_each(|entry| assert!(!entry.data().ref_count().unmark()));
    let report = host.collect(WalkEnd::Complete);
    assert_eq!(
        (report.outcome, report.entries_after),
        (GcOutcome::Swept, 1)
    );
}

// Capacity.

/// Defect: each collection walked the whole stack to win 512 slots.
#[test]
fn the_cost_of_an_insertion_is_flat_in_the_depth_of_the_stack() {
    let visited_per_insertion = |depth: usize| {
        let mut host = Host::new();
        for _ in 0..depth {
            host.push_frame(&[]);
        }
        // SAFETY: the frames are true.
        let walker = unsafe { RecordedWalker::new(host.frames(), WalkEnd::Complete) };
        let insertions = 4 * depth + 10_000;
        let mut visited = 0;
        for _ in 0..insertions {
            let object = VMExternRef::new(CountsDrop(host.drops.clone()));
            if let Err(object) = host.table.try_insert(object) {
                // SAFETY: the walker is true.
                visited += unsafe { gc(&host.registry, &host.table, &walker).frames };
                host.table.insert_without_gc(object);
            }
        }
        visited / insertions
    };
    for depth in [10, 1_000, 30_000] {
        assert!(visited_per_insertion(depth) <= 3, "depth {depth}");
    }
}

#[test]
fn memory_comes_back_after_a_peak() {
    let host = Host::new();
    for _ in 0..10_000 {
        host.object();
    }
    host.collect(WalkEnd::Complete);
    assert_eq!(host.table.capacity(), 4);
}

// The model: what frames and hosts hold lives, everything else dies.

/// One step of a random host against the reachability model.
fn step(
    host: &mut Host,
    held: &RefCell<Vec<VMExternRef>>,
    u: &mut Unstructured<'_>,
) -> Arbitrary<()> {
    match u.int_in_range(0..=5)? {
        0 | 1 => {
            let words = (0..u.int_in_range(0..=3)?)
                .map(|_| host.object())
                .collect::<Vec<_>>();
            host.push_frame(&words);
        }
        2 => {
            host.stack.pop();
            host.live.pop();
        }
        3 => {
            let object = VMExternRef::new(CountsDrop(host.drops.clone()));
            host.table.insert_without_gc(object.clone());
            held.borrow_mut().push(object);
        }
        4 => {
            held.borrow_mut().pop();
        }
        _ => check_collection(host, held),
    }
    Ok(())
}

fn check_collection(host: &Host, held: &RefCell<Vec<VMExternRef>>) {
    let report = host.collect(WalkEnd::Complete);
    let in_frames = host.stack.iter().flatten().filter(|word| **word != 0);
    let mut reachable: Vec<usize> = in_frames.copied().collect();
    assert_eq!(report.roots, reachable.len());
    reachable.sort_unstable();
    reachable.dedup();
    assert_eq!(report.entries_after, reachable.len());
    assert_eq!(report.contract_breaks, 0);
    reachable.extend(held.borrow().iter().map(|object| object.as_raw().addr()));
    assert_eq!(Rc::strong_count(&host.drops) - 1, reachable.len());
}

#[test]
fn the_model_of_reachability_agrees() {
    arbtest::arbtest(|u| {
        let mut host = Host::new();
        host.table.set_verification(u.arbitrary()?);
        let held = RefCell::default();
        while !u.is_empty() {
            step(&mut host, &held, u)?;
        }
        check_collection(&host, &held);
        let Host { table, drops, .. } = host;
        drop(held);
        drop(table);
        assert_eq!(Rc::strong_count(&drops), 1);
        Ok(())
    });
}
