//! What stack maps, walkers and other collections do wrong.

use super::*;

/// Defect: a root outside of the table was kept, but the same collection freed others.
#[test]
fn a_root_outside_the_table_is_kept_and_reported() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr(), lost.as_raw().addr()]);
    host.object();
    let report = host.collect(WalkEnd::Complete);
    assert_kept(&host, &report, GcOutcome::KeptContractBreak);
    assert_eq!(report.contract_breaks, 1);
    assert_eq!((report.entries_after, lost.strong_count()), (2, 2));
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.contract_breaks, report.freed), (0, 1));
    drop(lost);
    host.stack.clear();
    host.live.clear();
    host.collect(WalkEnd::Complete);
    assert_eq!(host.drops.get(), 2);
}

#[test]
fn a_root_outside_the_table_is_kept_when_nothing_is_swept() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr()]);
    let report = host.collect(STOPPED);
    assert_eq!(report.outcome, GcOutcome::KeptStopped);
    assert_eq!((report.contract_breaks, lost.strong_count()), (1, 2));
}

/// Defect: a wrong frame size was logged, and the same collection freed the live object.
#[test]
fn verification_touches_no_foreign_word_and_keeps_everything() {
    let mut host = Host::new();
    host.table.set_verification(true);
    let held = host.object();
    host.object();
    host.push_frame(&[0xdead_beef, held, 0xdead_bee8]);
    let report = host.collect(WalkEnd::Complete);
    assert_kept(&host, &report, GcOutcome::KeptContractBreak);
    assert_eq!((report.roots, report.contract_breaks), (3, 2));
    assert!(report.to_string().contains("2 roots were not in the table"));
}

#[test]
fn a_misaligned_word_is_never_a_reference() {
    for verifies in [false, true] {
        for foreign_allowed in [false, true] {
            let mut host = Host::new();
            host.table.set_verification(verifies);
            host.table.allow_foreign_roots(foreign_allowed);
            host.object();
            host.push_frame(&[0xdead_beef]);
            let report = host.collect(WalkEnd::Complete);
            assert_kept(&host, &report, GcOutcome::KeptContractBreak);
            assert_eq!(report.contract_breaks, 1);
        }
    }
}

#[test]
fn foreign_roots_are_passed_over_where_the_table_allows_them() {
    for verifies in [false, true] {
        let mut host = Host::new();
        host.table.set_verification(verifies);
        host.table.allow_foreign_roots(true);
        let foreign = VMExternRef::new(CountsDrop(host.drops.clone()));
        let ours = host.object();
        host.push_frame(&[foreign.as_raw().addr(), ours, foreign.as_raw().addr()]);
        host.object();
        let report = host.collect(WalkEnd::Complete);
        assert_eq!((report.outcome, report.freed), (GcOutcome::Swept, 1));
        assert_eq!(report.contract_breaks, 0);
        // Without verification each box counts once, with it each root.
        assert_eq!(report.foreign_roots, if verifies { 2 } else { 1 });
        assert_eq!((report.entries_after, foreign.strong_count()), (1, 1));
        assert!(!foreign.data().ref_count().unmark());
    }
}

/// Walks as `walker` does, and then does what `after` says: once for each walk.
struct Meddler<F: Fn(usize)> {
    walker: RecordedWalker,
    walks: Cell<usize>,
    after: F,
}

impl<F: Fn(usize)> Meddler<F> {
    fn new(host: &Host, after: F) -> Self {
        // SAFETY: the frames are true.
        let walker = unsafe { RecordedWalker::new(host.frames(), WalkEnd::Complete) };
        let walks = Cell::new(0);
        Self {
            walker,
            walks,
            after,
        }
    }
}

// SAFETY: it breaks the contract on purpose, and each test says what must come of it.
unsafe impl<F: Fn(usize)> StackWalker for Meddler<F> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.walks.set(self.walks.get() + 1);
        let end = self.walker.walk(visit);
        (self.after)(self.walks.get());
        end
    }
}

/// Shows other frames in its second walk than in its first.
struct Changing {
    walks: [RecordedWalker; 2],
    second: Cell<bool>,
}

impl Changing {
    fn new(walks: [&[Frame]; 2]) -> Self {
        // SAFETY: the frames are true; that they change is what each test is about.
        let record =
            |frames: &[Frame]| unsafe { RecordedWalker::new(frames.to_vec(), WalkEnd::Complete) };
        Self {
            walks: walks.map(record),
            second: Cell::new(false),
        }
    }
}

// SAFETY: it breaks the contract on purpose, and the test holds what it hides.
unsafe impl StackWalker for Changing {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.walks[usize::from(self.second.replace(true))].walk(visit)
    }
}

/// Defect: the next clone of such a reference aborted.
#[test]
fn what_a_walker_forgets_is_leaked_not_freed() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.push_frame(&[lost.as_raw().addr()]);
    let walker = Changing::new([&host.frames(), &[]]);
    // SAFETY: the broken second walk is what this test is about.
    let report = unsafe { gc(&host.registry, &host.table, &walker) };
    assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
    assert_eq!((report.contract_breaks, host.drops.get()), (1, 0));
    drop(lost.clone());
    assert_eq!((lost.strong_count(), host.drops.get()), (1, 0));
    assert!(
        lost.data().ref_count().unmark(),
        "its mark makes it immortal"
    );
}

/// Whatever the second walk shows, no count becomes too low.
#[test]
fn what_only_the_second_walk_shows_is_left_alone() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let [first, second] = [1, 2].map(VMExternRef::new);
    host.push_frame(&[first.as_raw().addr()]);
    host.push_frame(&[second.as_raw().addr()]);
    let frames = host.frames();
    let walker = Changing::new([&frames[..1], &frames[1..]]);
    // SAFETY: the second walk is what this test is about.
    let report = unsafe { gc(&host.registry, &host.table, &walker) };
    assert_eq!(report.outcome, GcOutcome::KeptContractBreak);
    assert_eq!((host.table.len(), second.strong_count()), (0, 1));
    assert!(first.data().ref_count().unmark(), "nobody shows it again");
}

/// Nothing is allocated while marks are set, so that not any number of them can be kept.
#[test]
fn of_many_lost_roots_some_are_kept_and_the_others_leaked() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let lost: [_; 40] = core::array::from_fn(VMExternRef::new);
    for roots in lost.chunks(4) {
        let words: Vec<_> = roots.iter().map(|root| root.as_raw().addr()).collect();
        host.push_frame(&words);
    }
    let report = host.collect(WalkEnd::Complete);
    assert_eq!((report.contract_breaks, report.entries_after), (40, 16));
    assert!(lost.iter().all(|root| root.strong_count() == 2));
    // SAFETY: nothing was dropped.
    drop(unsafe { host.table.clear() });
    let leaked: Vec<_> = lost
        .iter()
        .filter(|root| root.strong_count() == 2)
        .collect();
    assert_eq!(leaked.len(), 24);
    for root in leaked {
        // SAFETY: nobody else knows of the reference that the collection counted.
        drop(unsafe { VMExternRef::from_raw(root.as_raw()) });
    }
}

/// Defect: a collection of another table in the middle of a walk took marks off, and what they
/// protected was freed.
#[test]
fn marks_that_another_collection_takes_off_keep_everything() {
    for verifies in [false, true] {
        let host = host_with_a_frame();
        host.table.set_verification(verifies);
        let (other, registry) = (VMExternRefActivationsTable::new(), StackMapRegistry::new());
        host.table
            .for_each(|entry| other.insert_without_gc(entry.clone()));
        // SAFETY: no frame holds references of the other table.
        let empty = unsafe { RecordedWalker::new(Vec::new(), WalkEnd::Complete) };
        let inner = Cell::new(None);
        let walker = Meddler::new(&host, |walk| {
            if walk == 1 {
                // SAFETY: this collection shares objects, which is what this test is about.
                inner.set(Some(unsafe { gc(&registry, &other, &empty) }.outcome));
            }
        });
        // SAFETY: the frames are true.
        let report = unsafe { gc(&host.registry, &host.table, &walker) };
        assert_kept(&host, &report, GcOutcome::KeptContractBreak);
        assert_eq!(report.entries_after, 2);
        assert_eq!(
            inner.get(),
            Some(GcOutcome::KeptContractBreak),
            "the other collection met a mark that is not its own"
        );
    }
}

/// What a logger or an allocator could do while marks are set ends well, too.
#[test]
fn clones_and_drops_in_a_walk_do_no_harm() {
    let mut host = Host::new();
    host.table.set_verification(false);
    let object = VMExternRef::new(CountsDrop(host.drops.clone()));
    host.table.insert_without_gc(object.clone());
    host.push_frame(&[object.as_raw().addr()]);
    let kept = RefCell::new(Vec::new());
    let walker = Meddler::new(&host, |_| {
        kept.borrow_mut().push(object.clone());
        drop(object.clone());
        assert_eq!(
            host.collect(WalkEnd::Complete).outcome,
            GcOutcome::AlreadyCollecting
        );
    });
    // SAFETY: the frames are true.
    let report = unsafe { gc(&host.registry, &host.table, &walker) };
    assert_eq!(
        (report.outcome, report.entries_after),
        (GcOutcome::Swept, 1)
    );
    assert_eq!(object.strong_count(), 3);
    drop(walker);
    drop(kept);
    host.stack.clear();
    host.live.clear();
    host.collect(WalkEnd::Complete);
    drop(object);
    assert_eq!(host.drops.get(), 1);
}
