mod broken_contracts;
mod observed;
mod outcomes;

use super::*;
use crate::layout::WORD;
use crate::{
    ComparingWalker, Frame, Matching, ModuleStackMaps, RecordedWalker, StackCanary, StackMap,
    VMExternRef,
};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::ControlFlow;
use core::ptr;
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
        Self::with_code_that_matches(Matching::Exact)
    }

    fn with_code_that_matches(matching: Matching) -> Self {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x1000, matching);
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
                Frame::of_unknown_code(pc_with(live), Some(sp), Some(sp + FRAME_WORDS * WORD))
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

const STOPPED: WalkEnd = WalkEnd::stopped("this test wants it so", None);

/// A host frame at `sp`, outside of every module.
fn host_frame(sp: usize) -> Frame {
    Frame::of_unknown_code(0x10, Some(sp), None)
}

/// A host with a reference that a frame holds, and one that nobody holds.
fn host_with_a_frame() -> Host {
    let mut host = Host::new();
    let held = host.object();
    host.object();
    host.push_frame(&[held]);
    host
}

/// The collection kept everything, for this reason.
fn assert_kept(host: &Host, report: &GcReport, outcome: GcOutcome) {
    assert_eq!(report.outcome, outcome, "{report}");
    assert_eq!((report.freed, host.drops.get()), (0, 0));
    assert!(report.entries_after >= report.entries_before);
    assert_no_mark(host);
}

fn assert_no_mark(host: &Host) {
    host.table
        .for_each(|entry| assert!(!entry.data().ref_count().unmark()));
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
    let freed = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..4 {
        let (inner, freed) = (host.clone(), freed.clone());
        let meddler = VMExternRef::new(OnDrop(Box::new(move || {
            let report = inner.collect(WalkEnd::Complete);
            assert_eq!(report.outcome, GcOutcome::Swept);
            freed.borrow_mut().push(report.freed);
            for _ in 0..10 {
                inner.object();
            }
        })));
        host.table.insert_without_gc(meddler);
    }
    assert_eq!(host.collect(WalkEnd::Complete).freed, 4);
    assert_eq!(
        *freed.borrow(),
        [0, 10, 10, 10],
        "each frees what the one before left"
    );
    assert_eq!(host.table.len(), 10);
    assert_eq!(host.collect(WalkEnd::Complete).freed, 10);
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

/// Defect: a destructor that registered code waited for the lock of its own collection.
#[test]
fn destructors_may_register_and_unregister() {
    let host = Rc::new(Host::new());
    let inner = host.clone();
    let registers = OnDrop(Box::new(move || {
        let module = ModuleStackMaps::new(0x100, Matching::Exact);
        let registration = inner.registry.register(0x10_0000, module).unwrap();
        // SAFETY: no code runs there.
        unsafe { inner.registry.unregister(registration) }.unwrap();
    }));
    host.table.insert_without_gc(VMExternRef::new(registers));
    assert_eq!(host.collect(WalkEnd::Complete).freed, 1);
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

// Which words are read.

/// A host with one large frame, in which `live` words are live.
fn large_frame(words: usize, live: &[u32]) -> (Host, Vec<usize>, Frame) {
    let host = Host::new();
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x100).unwrap();
    let frame_words = u32::try_from(words).unwrap();
    let map = StackMap::new(Some(frame_words), live.iter().copied()).unwrap();
    module.safepoint(0x10, map).unwrap();
    host.registry.register(0x10_0000, module).unwrap();
    let stack = vec![0; words];
    let sp = stack.as_ptr().expose_provenance();
    let frame = Frame::of_unknown_code(0x10_0010, Some(sp), Some(sp + words * WORD));
    (host, stack, frame)
}

#[test]
fn each_live_word_of_a_large_frame_is_read_where_it_is() {
    let live = [0, 1, 62, 63, 64, 65, 127, 128, 200, 255];
    for verifies in [false, true] {
        let (host, mut stack, frame) = large_frame(256, &live);
        host.table.set_verification(verifies);
        for &word in &live {
            stack[word as usize] = host.object();
        }
        host.object();
        let report = host.collect_frames(vec![frame], WalkEnd::Complete);
        assert_eq!((report.roots, report.words), (live.len(), live.len()));
        assert_eq!((report.outcome, report.freed), (GcOutcome::Swept, 1));
        // Each of them alone, beside words that are not live.
        for &word in &live {
            let object = host.object();
            stack.fill(0xdead_beef);
            live.iter().for_each(|&word| stack[word as usize] = 0);
            stack[word as usize] = object;
            let report = host.collect_frames(vec![frame], WalkEnd::Complete);
            assert_eq!((report.roots, report.entries_after), (1, 1), "word {word}");
        }
    }
}

#[test]
fn null_words_are_no_roots() {
    for verifies in [false, true] {
        for words in [4, 100] {
            let live: Vec<_> = (0..4).map(|index| index * (words - 1) / 3).collect();
            let (host, mut stack, frame) = large_frame(words as usize, &live);
            host.table.set_verification(verifies);
            stack[live[2] as usize] = host.object();
            host.object();
            let report = host.collect_frames(vec![frame], WalkEnd::Complete);
            assert_eq!((report.words, report.roots), (4, 1));
            assert_eq!((report.outcome, report.freed), (GcOutcome::Swept, 1));
        }
    }
}

// Capacity.

/// Defect: each collection walked the whole stack to win 512 slots.
#[test]
#[cfg_attr(miri, ignore = "it inserts more than 130 000 times")]
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

/// Defect: only frames counted, however many words each of them has.
#[test]
#[cfg_attr(miri, ignore = "it inserts more than 130 000 times")]
fn the_cost_of_an_insertion_is_flat_in_the_words_of_a_frame() {
    let read_per_insertion = |words: u32| {
        let live: Vec<_> = (0..words).collect();
        let (host, mut stack, frame) = large_frame(words as usize, &live);
        host.table.set_verification(false);
        stack.fill(host.object());
        // SAFETY: the frames are true; one frame stands for a thousand.
        let walker = unsafe { RecordedWalker::new(vec![frame; 1000], WalkEnd::Complete) };
        let insertions = 500 * words as usize + 10_000;
        let mut read = 0;
        let reference = VMExternRef::new(0);
        for _ in 0..insertions {
            if let Err(reference) = host.table.try_insert(reference.clone()) {
                // SAFETY: the walker is true.
                read += unsafe { gc(&host.registry, &host.table, &walker).words };
                host.table.insert_without_gc(reference);
            }
        }
        read / insertions
    };
    for words in [4, 64, 2048] {
        assert!(read_per_insertion(words) <= 16, "{words} words a frame");
    }
}

#[test]
fn memory_comes_back_after_a_peak() {
    let host = Host::new();
    for _ in 0..if cfg!(miri) { 100 } else { 10_000 } {
        host.object();
    }
    host.collect(WalkEnd::Complete);
    assert_eq!(host.table.capacity(), 4);
}
