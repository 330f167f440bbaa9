mod adversaries;
mod chaos;
mod weak_references;

use super::*;
use crate::{
    Frame, Matching, ModuleStackMaps, RecordedWalker, StackMap, StackMapRegistry, StackWalker,
    VMExternRefActivationsTable, WalkEnd, gc,
};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use static_assertions::assert_not_impl_any;
use std::string::ToString;

assert_not_impl_any!(CycleCollector: Send, Sync);
assert_not_impl_any!(WeakExternRef: Send, Sync);

/// The objects that are gone, in the order of their destructors.
type Gone = Rc<RefCell<Vec<usize>>>;

/// An honest object: it names what it owns.
struct Object {
    id: usize,
    /// Nobody else keeps it; the model looks in to cut what would leak.
    links: Rc<RefCell<Vec<VMExternRef>>>,
    gone: Gone,
}

impl Object {
    fn new(id: usize, gone: &Gone) -> Self {
        Self {
            id,
            links: Rc::default(),
            gone: gone.clone(),
        }
    }

    fn of(reference: &VMExternRef) -> &Self {
        reference.downcast_ref().unwrap()
    }
}

impl Trace for Object {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        if let Ok(links) = self.links.try_borrow() {
            links.iter().for_each(visit);
        }
    }

    fn unlink(&self) {
        drop(self.links.take());
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.gone.borrow_mut().push(self.id);
    }
}

fn link(from: &VMExternRef, to: &VMExternRef) {
    Object::of(from).links.borrow_mut().push(to.clone());
}

/// So many objects in a circle: each has a link to the next.
fn circle(collector: &CycleCollector, gone: &Gone, count: usize) -> Vec<VMExternRef> {
    let objects: Vec<_> = (0..count)
        .map(|id| collector.new_traced(Object::new(id, gone)))
        .collect();
    for (index, object) in objects.iter().enumerate() {
        link(object, &objects[(index + 1) % count]);
    }
    objects
}

/// The collection did what it should: looked at so many boxes, and freed so many.
fn assert_freed(report: &CycleReport, boxes: usize, freed: usize) {
    assert_eq!(report.outcome, CycleOutcome::Collected, "{report}");
    assert_eq!((report.boxes, report.unlinked), (boxes, freed), "{report}");
    assert_eq!((report.freed, report.survivors), (freed, 0), "{report}");
}

// What is freed, and what is kept.

#[test]
fn a_circle_lives_as_long_as_something_outside_holds_one_of_it() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let mut objects = circle(&collector, &gone, 5);
    while let Some(last) = objects.pop() {
        assert_freed(&collector.collect(), 5, 0);
        drop(last);
    }
    assert!(gone.borrow().is_empty());
    assert_freed(&collector.collect(), 5, 5);
    assert_eq!(*gone.borrow(), [0, 1, 2, 3, 4]);
    assert_freed(&collector.collect(), 0, 0);
}

#[test]
fn an_object_that_names_itself_is_freed() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let object = collector.new_traced(Object::new(7, &gone));
    (0..3).for_each(|_| link(&object, &object));
    drop(object);
    let report = collector.collect();
    assert_freed(&report, 1, 1);
    assert_eq!((report.references, gone.borrow().len()), (3, 1));
}

#[test]
fn without_a_cycle_objects_die_with_their_last_reference() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let parent = collector.new_traced(Object::new(1, &gone));
    link(&parent, &collector.new_traced(Object::new(2, &gone)));
    drop(parent);
    assert_eq!(*gone.borrow(), [1, 2]);
    assert_freed(&collector.collect(), 0, 0);
}

#[test]
fn garbage_takes_along_what_only_it_holds() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let objects = circle(&collector, &gone, 2);
    let plain = VMExternRef::new(Object::new(10, &gone));
    let [tail, held] = [11, 12].map(|id| collector.new_traced(Object::new(id, &gone)));
    for to in [&plain, &tail, &held] {
        link(&objects[0], to);
    }
    drop((objects, plain, tail));
    assert_freed(&collector.collect(), 4, 3);
    let mut dead = gone.take();
    dead.sort_unstable();
    assert_eq!((dead, held.strong_count()), (vec![0, 1, 10, 11], 1));
}

/// What a box that is not traced holds, counts as held from outside.
#[test]
fn boxes_that_are_not_traced_keep_what_they_hold() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let objects = circle(&collector, &gone, 2);
    let holder = VMExternRef::new(Object::new(9, &gone));
    link(&holder, &objects[0]);
    drop(objects);
    assert_freed(&collector.collect(), 2, 0);
    drop(holder);
    assert_freed(&collector.collect(), 2, 2);
}

#[test]
fn boxes_of_two_collectors_hold_each_other() {
    let gone = Gone::default();
    let (one, two) = (CycleCollector::new(), CycleCollector::new());
    let a = one.new_traced(Object::new(1, &gone));
    let b = two.new_traced(Object::new(2, &gone));
    link(&a, &b);
    link(&b, &a);
    let weak = a.downgrade().unwrap();
    drop((a, b));
    assert_freed(&one.collect(), 1, 0);
    assert_freed(&two.collect(), 1, 0);
    Object::of(&weak.upgrade().unwrap()).links.take();
    assert_eq!(gone.borrow().len(), 2);
}

#[test]
fn a_traced_box_is_one_of_its_type() {
    #[repr(align(128))]
    struct OverAligned(u8);

    impl Trace for OverAligned {
        fn trace(&self, _: &mut dyn FnMut(&VMExternRef)) {}
        fn unlink(&self) {}
    }

    struct Empty;

    impl Trace for Empty {
        fn trace(&self, _: &mut dyn FnMut(&VMExternRef)) {}
        fn unlink(&self) {}
    }

    let collector = CycleCollector::new();
    let over = collector.new_traced(OverAligned(7));
    let value = over.downcast_ref::<OverAligned>().unwrap();
    assert_eq!((value.0, core::ptr::from_ref(value).addr() % 128), (7, 0));
    assert!(over.is::<OverAligned>() && !over.is::<Empty>());
    let empty = collector.new_traced(Empty);
    assert!(empty.downcast_ref::<Empty>().is_some());
    assert!(VMExternRef::new(Empty).as_traced().is_none());
    // Weak, so that the memory outlives the value.
    let weak = [&over, &empty].map(|reference| reference.downgrade().unwrap());
    assert_freed(&collector.collect(), 2, 0);
    drop((over, empty));
    assert!(weak.iter().all(|weak| weak.upgrade().is_none()));
}

// Tables, frames and walks.

/// A registry with one safepoint, whose frames have one live word.
fn registry() -> StackMapRegistry {
    let registry = StackMapRegistry::new();
    let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
    module.function(0..0x100).unwrap();
    let map = StackMap::new(None, [0]).unwrap();
    module.safepoint(0x10, map).unwrap();
    registry.register(0x1000, module).unwrap();
    registry
}

/// The frame that has `word` as its live word.
fn frame(word: &usize) -> Frame {
    Frame::of_unknown_code(
        0x1010,
        Some(core::ptr::from_ref(word).expose_provenance()),
        None,
    )
}

#[test]
fn frames_hold_through_the_table() {
    let (collector, gone, registry) = (CycleCollector::new(), Gone::default(), registry());
    let table = VMExternRefActivationsTable::new();
    let mut objects = circle(&collector, &gone, 3);
    let word = objects[0].as_raw().addr();
    table.insert_without_gc(objects.remove(0));
    drop(objects);
    for (word, freed) in [(word, 0), (0, 3)] {
        // SAFETY: the frame lies in `word`, and the map describes it.
        let report = unsafe {
            let walker = RecordedWalker::new(vec![frame(&word)], WalkEnd::Complete);
            gc(&registry, &table, &walker)
        };
        assert!(report.swept());
        assert_freed(&collector.collect(), 3, freed);
    }
}

/// Collects cycles after each frame that it shows, which its contract forbids.
struct CollectsMeanwhile<'c>(&'c CycleCollector, Frame, RefCell<Vec<CycleReport>>);

// SAFETY: the frame is a true one, and the collection is one that does nothing.
unsafe impl StackWalker for CollectsMeanwhile<'_> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> core::ops::ControlFlow<()>) -> WalkEnd {
        let _ = visit(self.1);
        self.2.borrow_mut().push(self.0.collect());
        WalkEnd::Complete
    }
}

#[test]
fn a_collection_during_a_walk_does_nothing() {
    let (collector, gone, registry) = (CycleCollector::new(), Gone::default(), registry());
    let table = VMExternRefActivationsTable::new();
    drop(circle(&collector, &gone, 3));
    let held = collector.new_traced(Object::new(9, &gone));
    drop(circle(&collector, &gone, 3));
    let word = held.as_raw().addr();
    table.insert_without_gc(held);
    let walker = CollectsMeanwhile(&collector, frame(&word), RefCell::default());
    // SAFETY: the frame lies in `word`, and the map describes it.
    let report = unsafe { gc(&registry, &table, &walker) };
    assert_eq!((report.roots, report.entries_after), (1, 1));
    let reports = walker.2.take();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].outcome, CycleOutcome::KeptMarked);
    assert_eq!((reports[0].unlinked, gone.borrow().len()), (0, 0));
    assert!(reports[0].to_string().contains("a walk of a stack"));
    assert_freed(&collector.collect(), 7, 6);
    // SAFETY: there is no Wasm.
    drop(unsafe { table.clear() });
    assert_eq!(gone.borrow().len(), 7);
}

/// A dead box that waits for its destructor still owns its references.
#[test]
fn a_dead_box_in_the_garbage_of_a_table_holds_until_it_is_destroyed() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let table = VMExternRefActivationsTable::new();
    let objects = circle(&collector, &gone, 2);
    let dead = collector.new_traced(Object::new(9, &gone));
    link(&dead, &objects[0]);
    let weak = dead.downgrade().unwrap();
    table.insert_without_gc(dead);
    drop(objects);
    // SAFETY: there is no Wasm.
    let garbage = unsafe { table.clear() };
    assert_eq!(garbage.len(), 1);
    assert!(weak.upgrade().is_none(), "dead before its destructor");
    for _ in 0..2 {
        assert_freed(&collector.collect(), 2, 0);
    }
    drop(garbage);
    assert_eq!(*gone.borrow(), [9]);
    assert_freed(&collector.collect(), 2, 2);
}

/// What compiled code frees inline dies as any other box does.
#[test]
fn compiled_code_can_drop_a_traced_box() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let raw = collector.new_traced(Object::new(1, &gone)).into_raw();
    let count = core::ptr::with_exposed_provenance_mut::<usize>(raw.addr());
    // SAFETY: `raw` owns the only reference; this is what compiled code does inline.
    unsafe {
        *count -= 1;
        crate::drop_extern_ref(raw);
    }
    assert_eq!(*gone.borrow(), [1]);
    assert_freed(&collector.collect(), 0, 0);
}

// The life of a collector.

#[test]
fn dropping_a_collector_collects_once_more() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    drop(circle(&collector, &gone, 3));
    let held = collector.new_traced(Object::new(9, &gone));
    drop(collector);
    assert_eq!(gone.borrow().len(), 3);
    let weak = held.downgrade().unwrap();
    assert!(weak.upgrade().is_some());
    drop(held);
    assert!(weak.upgrade().is_none());
    assert_eq!(gone.borrow().len(), 4, "a box outlives its collector");
}

#[test]
fn a_collector_can_move_between_collections() {
    let gone = Gone::default();
    let mut collectors = vec![CycleCollector::new()];
    drop(circle(&collectors[0], &gone, 3));
    let moved = collectors.remove(0);
    drop(circle(&moved, &gone, 2));
    assert_freed(&Rc::new(moved).collect(), 5, 5);
}

#[test]
fn a_value_may_own_its_collector() {
    struct Owner(
        RefCell<Vec<VMExternRef>>,
        #[expect(dead_code, reason = "it is there to be dropped")] Rc<CycleCollector>,
    );

    impl Trace for Owner {
        fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
            self.0.borrow().iter().for_each(visit);
        }

        fn unlink(&self) {
            drop(self.0.take());
        }
    }

    let (collector, gone) = (Rc::new(CycleCollector::new()), Gone::default());
    let owner = collector.new_traced(Owner(RefCell::default(), collector.clone()));
    drop(circle(&collector, &gone, 2));
    let links = |reference: &VMExternRef| reference.downcast_ref::<Owner>().map(|o| o.0.take());
    let held = collector.new_traced(Object::new(9, &gone));
    let value = owner.downcast_ref::<Owner>().unwrap();
    value.0.borrow_mut().extend([held.clone(), owner.clone()]);
    drop(collector);
    drop(links(&owner));
    assert!(gone.borrow().is_empty());
    // The last reference to the collector goes with a value of its own.
    drop(owner);
    assert_eq!(gone.borrow().len(), 2);
    drop(held);
    assert_eq!(gone.borrow().len(), 3);
}

#[test]
#[cfg_attr(miri, ignore = "it makes tens of thousands of boxes")]
fn a_collection_is_due_at_twice_what_the_last_one_left() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let mut held = Vec::new();
    let made_until_due = |held: &mut Vec<_>| {
        let before = held.len();
        while !collector.is_due() {
            held.push(collector.new_traced(Object::new(held.len(), &gone)));
        }
        held.len() - before
    };
    for made in [512, 512, 1024, 2048] {
        assert_eq!(made_until_due(&mut held), made);
        assert!(collector.is_due());
        collector.collect();
    }
    held.clear();
    // Objects that no cycle needs make none due.
    for id in 0..10_000 {
        drop(collector.new_traced(Object::new(id, &gone)));
        assert!(!collector.is_due());
    }
    // References cost a collection time too.
    let hub = collector.new_traced(Object::new(0, &gone));
    (0..40_000).for_each(|_| link(&hub, &hub));
    collector.collect();
    assert_eq!(made_until_due(&mut held), 10_000);
    Object::of(&hub).links.take();
}

// Depth.

const SMALL_STACK: usize = 256 * 1024;

fn on_a_small_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK);
    thread.spawn(test).unwrap().join().unwrap();
}

const LONG: usize = if cfg!(miri) { 200 } else { 1_000_000 };

/// A node of a doubly linked list; whether it gives up the way forward when it is unlinked.
struct ListNode {
    next: Cell<Option<VMExternRef>>,
    previous: Cell<Option<VMExternRef>>,
    gives_up_next: bool,
    left: Rc<Cell<usize>>,
}

impl Trace for ListNode {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        for link in [&self.next, &self.previous] {
            let reference = link.take();
            reference.iter().for_each(&mut *visit);
            link.set(reference);
        }
    }

    fn unlink(&self) {
        self.previous.take();
        if self.gives_up_next {
            self.next.take();
        }
    }
}

impl Drop for ListNode {
    fn drop(&mut self) {
        self.left.set(self.left.get() - 1);
    }
}

/// The first node of a list, and how many nodes are left.
fn list(
    collector: &CycleCollector,
    doubly: bool,
    gives_up_next: bool,
) -> (VMExternRef, Rc<Cell<usize>>) {
    let left = Rc::new(Cell::new(LONG));
    let node = || {
        collector.new_traced(ListNode {
            next: Cell::default(),
            previous: Cell::default(),
            gives_up_next,
            left: left.clone(),
        })
    };
    let of = |reference: &VMExternRef| core::ptr::from_ref(reference.downcast_ref().unwrap());
    let mut first = node();
    for _ in 1..LONG {
        let new = node();
        // SAFETY: both references keep their nodes.
        let (new_node, first_node): (&ListNode, &ListNode) = unsafe { (&*of(&new), &*of(&first)) };
        if doubly {
            first_node.previous.set(Some(new.clone()));
        }
        new_node
            .next
            .set(Some(core::mem::replace(&mut first, new.clone())));
    }
    (first, left)
}

#[test]
fn a_million_objects_are_collected_on_a_small_stack() {
    on_a_small_stack(|| {
        let collector = CycleCollector::new();
        for gives_up_next in [true, false] {
            let (first, left) = list(&collector, true, gives_up_next);
            drop(first);
            assert_eq!(left.get(), LONG, "a doubly linked list holds itself");
            assert_freed(&collector.collect(), LONG, LONG);
            assert_eq!(left.get(), 0);
        }
    });
}

#[test]
fn a_million_objects_go_with_the_first_on_a_small_stack() {
    on_a_small_stack(|| {
        let collector = CycleCollector::new();
        let (first, left) = list(&collector, false, true);
        drop(first);
        assert_eq!(left.get(), 0);
        let (first, left) = list(&collector, false, true);
        drop(collector);
        drop(first);
        assert_eq!(left.get(), 0, "also when the collector is gone");
    });
}

/// Few destructors in each other run at once; the order is that of boxes that are not traced.
#[test]
fn destructors_run_in_each_other_as_ever() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());

    struct Outer(Gone, usize, Option<VMExternRef>);

    impl Trace for Outer {
        fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
            self.2.iter().for_each(visit);
        }

        fn unlink(&self) {}
    }

    impl Drop for Outer {
        fn drop(&mut self) {
            drop(self.2.take());
            self.0.borrow_mut().push(self.1);
        }
    }

    let chain = |length: usize| {
        (0..length).fold(None, |inner, id| {
            Some(collector.new_traced(Outer(gone.clone(), id, inner)))
        })
    };
    drop(chain(16));
    assert_eq!(gone.take(), (0..16).collect::<Vec<_>>(), "innermost first");
    drop(chain(20));
    let order: Vec<_> = (4..20).chain(0..4).collect();
    assert_eq!(gone.take(), order, "the 4 deepest wait for the others");
}
