//! Values that trace, unlink and die as no value should.

use super::*;
use alloc::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Action = Box<dyn Fn(&Evil, &mut dyn FnMut(&VMExternRef))>;

/// A value whose methods do what a test says.
struct Evil {
    links: RefCell<Vec<VMExternRef>>,
    on_trace: RefCell<Option<Action>>,
    on_unlink: RefCell<Option<Action>>,
    on_drop: RefCell<Option<Action>>,
    gone: Gone,
}

impl Evil {
    fn of(reference: &VMExternRef) -> &Self {
        reference.downcast_ref().unwrap()
    }

    fn name_links(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        let links = self.links.borrow().clone();
        links.iter().for_each(visit);
    }

    fn act(&self, action: &RefCell<Option<Action>>, visit: &mut dyn FnMut(&VMExternRef)) -> bool {
        let taken = action.take();
        let Some(taken) = taken else { return false };
        // Back in its place first, so that it is there also if it panics or calls itself.
        let taken = Rc::new(taken);
        let again = taken.clone();
        action.replace(Some(Box::new(move |value, visit| again(value, visit))));
        taken(self, visit);
        true
    }
}

impl Trace for Evil {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        // References are named without a clone, which would count.
        if !self.act(&self.on_trace, visit) {
            self.links.borrow().iter().for_each(visit);
        }
    }

    fn unlink(&self) {
        if !self.act(&self.on_unlink, &mut |_| ()) {
            drop(self.links.take());
        }
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        self.gone.borrow_mut().push(0);
        self.act(&self.on_drop, &mut |_| ());
    }
}

struct Stage {
    collector: Rc<CycleCollector>,
    gone: Gone,
    stash: Rc<RefCell<Vec<VMExternRef>>>,
    reports: Rc<RefCell<Vec<CycleReport>>>,
}

impl Stage {
    fn new() -> Self {
        Self {
            collector: Rc::default(),
            gone: Gone::default(),
            stash: Rc::default(),
            reports: Rc::default(),
        }
    }

    fn evil(&self) -> VMExternRef {
        self.collector.new_traced(Evil {
            links: RefCell::default(),
            on_trace: RefCell::default(),
            on_unlink: RefCell::default(),
            on_drop: RefCell::default(),
            gone: self.gone.clone(),
        })
    }

    /// Two values that hold each other, and a third one that the second holds.
    fn pair(&self) -> [VMExternRef; 3] {
        let [a, b, c] = [self.evil(), self.evil(), self.evil()];
        for (from, to) in [(&a, &b), (&b, &a), (&b, &c)] {
            Evil::of(from).links.borrow_mut().push(to.clone());
        }
        [a, b, c]
    }

    /// The collector works: it frees exactly an honest circle that is made now.
    fn assert_usable(&self) {
        let gone = Gone::default();
        let before = self.collector.collect();
        assert_ne!(before.outcome, CycleOutcome::AlreadyCollecting);
        drop(circle(&self.collector, &gone, 3));
        let report = self.collector.collect();
        assert_eq!((report.freed, gone.borrow().len()), (3, 3), "{report}");
    }
}

fn set(
    action: &RefCell<Option<Action>>,
    f: impl Fn(&Evil, &mut dyn FnMut(&VMExternRef)) + 'static,
) {
    action.replace(Some(Box::new(f)));
}

/// Takes the evil out of a value, and its links.
fn redeem(reference: &VMExternRef) {
    let value = Evil::of(reference);
    value.on_trace.take();
    value.on_unlink.take();
    drop(value.links.take());
}

#[test]
fn a_trace_that_forgets_leaks() {
    let stage = Stage::new();
    let objects = stage.pair();
    set(&Evil::of(&objects[1]).on_trace, |_, _| ());
    let weak = objects[1].downgrade().unwrap();
    drop(objects);
    let report = stage.collector.collect();
    assert_freed(&report, 3, 0);
    stage.assert_usable();
    redeem(&weak.upgrade().unwrap());
    assert_eq!(stage.gone.borrow().len(), 3);
}

#[test]
fn a_trace_that_names_too_much_keeps_everything() {
    let stage = Stage::new();
    let objects = stage.pair();
    set(&Evil::of(&objects[0]).on_trace, |value, visit| {
        value.links.borrow().iter().for_each(&mut *visit);
        value.links.borrow().iter().for_each(visit);
    });
    let weak = objects[0].downgrade().unwrap();
    drop(objects);
    for _ in 0..2 {
        let report = stage.collector.collect();
        assert_eq!(report.outcome, CycleOutcome::KeptFalseTrace);
        assert_eq!((report.unlinked, stage.gone.borrow().len()), (0, 0));
        assert!(report.to_string().contains("does not own"));
    }
    redeem(&weak.upgrade().unwrap());
    stage.assert_usable();
    assert_eq!(stage.gone.borrow().len(), 3);
}

/// The host's reference is named by a value that does not own it.
#[test]
fn a_live_value_that_is_named_by_others_is_unlinked_and_lives() {
    let stage = Stage::new();
    let live = stage.evil();
    let link = VMExternRef::new(7);
    Evil::of(&live).links.borrow_mut().push(link.clone());
    stage.stash.borrow_mut().push(live);
    let liar = stage.evil();
    let stash = stage.stash.clone();
    set(&Evil::of(&liar).on_trace, move |_, visit| {
        stash.borrow().iter().for_each(visit);
    });
    Evil::of(&liar).links.borrow_mut().push(liar.clone());
    let stash = stage.stash.clone();
    set(&Evil::of(&liar).on_trace, move |value, visit| {
        value.links.borrow().iter().for_each(&mut *visit);
        stash.borrow().iter().for_each(visit);
    });
    drop(liar);
    let report = stage.collector.collect();
    assert_eq!((report.unlinked, report.freed, report.survivors), (2, 1, 1));
    assert!(
        report
            .to_string()
            .contains("1 unlinked boxes are still held")
    );
    let live = stage.stash.take().pop().unwrap();
    assert_eq!((live.strong_count(), link.strong_count()), (1, 1));
    assert!(Evil::of(&live).links.borrow().is_empty());
    assert!(live.downgrade().unwrap().upgrade().is_some());
    stage.assert_usable();
    drop(live);
    assert_eq!(stage.gone.borrow().len(), 2);
}

#[test]
fn a_trace_that_names_boxes_of_others_changes_nothing_for_them() {
    let stage = Stage::new();
    let (other, gone) = (CycleCollector::new(), Gone::default());
    let foreign = circle(&other, &gone, 2);
    let plain = VMExternRef::new(1);
    stage.stash.borrow_mut().extend(foreign.iter().cloned());
    stage.stash.borrow_mut().push(plain.clone());
    let liar = stage.evil();
    let stash = stage.stash.clone();
    set(&Evil::of(&liar).on_trace, move |_, visit| {
        for _ in 0..100 {
            stash.borrow().iter().for_each(&mut *visit);
        }
    });
    assert_freed(&stage.collector.collect(), 1, 0);
    stage.stash.take();
    assert_freed(&other.collect(), 2, 0);
    drop(foreign);
    assert_freed(&other.collect(), 2, 2);
    assert_eq!(plain.strong_count(), 1);
    drop(liar);
    stage.assert_usable();
}

/// Names its links every other time, with either beginning.
#[test]
fn a_trace_that_changes_its_mind_frees_nothing_that_is_held() {
    for begins in [0, 1] {
        for liar in 0..3 {
            let stage = Stage::new();
            let objects = stage.pair();
            let calls = Cell::new(begins);
            set(&Evil::of(&objects[liar]).on_trace, move |value, visit| {
                calls.set(calls.get() + 1);
                if calls.get() % 2 == 0 {
                    value.links.borrow().iter().for_each(visit);
                }
            });
            for _ in 0..4 {
                let report = stage.collector.collect();
                assert_eq!(report.survivors, report.unlinked, "each is held: {report}");
                assert!(stage.gone.borrow().is_empty());
            }
            objects.iter().for_each(redeem);
            drop(objects);
            assert_eq!(stage.gone.borrow().len(), 3);
            stage.assert_usable();
        }
    }
}

/// Clones into a stash, or drops out of it, while values are traced.
#[test]
fn references_that_come_and_go_meanwhile_are_noticed() {
    for comes in [true, false] {
        for call in [0, 1] {
            let stage = Stage::new();
            let objects = stage.pair();
            if !comes {
                stage.stash.borrow_mut().push(objects[0].clone());
            }
            let (stash, calls) = (stage.stash.clone(), Cell::new(0));
            let weak = objects[0].downgrade().unwrap();
            // The third box is held, so that it is traced twice.
            set(&Evil::of(&objects[2]).on_trace, move |_, _| {
                calls.set(calls.get() + 1);
                if calls.get() == call + 1 && comes {
                    stash.borrow_mut().extend(weak.upgrade());
                } else if calls.get() == call + 1 {
                    stash.take();
                }
            });
            let [a, b, c] = objects;
            drop((a, b));
            let report = stage.collector.collect();
            let (outcome, freed) = match (comes, call) {
                // It came while references were counted, and so was counted.
                (true, 0) => (CycleOutcome::Collected, 0),
                (true, _) => (CycleOutcome::KeptFalseTrace, 0),
                (false, 0) => (CycleOutcome::Collected, 2),
                // It went when its box was known to be held.
                (false, _) => (CycleOutcome::Collected, 0),
            };
            assert_eq!((report.outcome, report.freed), (outcome, freed));
            assert_eq!(report.unlinked, freed, "{comes} {call}");
            assert_eq!(stage.gone.borrow().len(), freed);
            stage.stash.take();
            redeem(&c);
            assert_eq!(stage.collector.collect().freed, 2 - freed);
            stage.assert_usable();
        }
    }
}

#[test]
fn a_trace_may_drop_what_its_value_owns() {
    for call in 0..3 {
        let stage = Stage::new();
        let objects = stage.pair();
        let calls = Cell::new(0);
        set(&Evil::of(&objects[1]).on_trace, move |value, visit| {
            value.name_links(visit);
            calls.set(calls.get() + 1);
            if calls.get() == call + 1 {
                drop(value.links.take());
            }
        });
        let [a, b, c] = objects;
        drop((b, c));
        stage.collector.collect();
        stage.collector.collect();
        redeem(&a);
        drop(a);
        stage.assert_usable();
        assert_eq!(stage.gone.borrow().len(), 3, "call {call}");
    }
}

#[test]
fn every_method_may_panic() {
    for (method, freed) in [("trace", 0), ("unlink", 0), ("drop", 3)] {
        for index in 0..3 {
            let stage = Stage::new();
            let objects = stage.pair();
            let value = Evil::of(&objects[index]);
            let armed = Rc::new(Cell::new(true));
            let bomb = armed.clone();
            let action = match method {
                "trace" => &value.on_trace,
                "unlink" => &value.on_unlink,
                _ => &value.on_drop,
            };
            set(action, move |value, visit| {
                assert!(!bomb.replace(false), "not today");
                value.name_links(visit);
                if method == "unlink" {
                    drop(value.links.take());
                }
            });
            drop(objects);
            let collect = || stage.collector.collect();
            assert!(catch_unwind(AssertUnwindSafe(collect)).is_err());
            assert!(!armed.get());
            if method != "unlink" {
                assert_eq!(stage.gone.borrow().len(), freed, "{method} {index}");
            }
            // What a panic has left over, the next collection frees.
            stage.assert_usable();
            assert_eq!(stage.gone.borrow().len(), 3, "{method} {index}");
        }
    }
}

/// A hold may be the last reference when a collection gives boxes back.
#[test]
fn a_destructor_may_panic_while_boxes_are_given_back() {
    let stage = Stage::new();
    let [a, b, c] = stage.pair();
    let weak = a.downgrade().unwrap();
    set(&Evil::of(&c).on_drop, |_, _| panic!("not today"));
    let links = b.downgrade().unwrap();
    set(&Evil::of(&a).on_trace, move |_, visit| {
        // The third box is left to the collection alone, and another is named too often.
        let b = links.upgrade().unwrap();
        (0..10).for_each(|_| visit(&b));
        drop(Evil::of(&b).links.take());
    });
    drop((b, c));
    let collect = || stage.collector.collect();
    assert!(catch_unwind(AssertUnwindSafe(collect)).is_err());
    assert_eq!((stage.gone.borrow().len(), a.strong_count()), (1, 1));
    redeem(&weak.upgrade().unwrap());
    stage.assert_usable();
    drop(a);
    assert_eq!(stage.gone.borrow().len(), 3);
}

#[test]
fn a_collection_in_a_collection_does_nothing_and_says_so() {
    for method in ["trace", "unlink", "drop"] {
        let stage = Stage::new();
        let objects = stage.pair();
        for object in &objects {
            let value = Evil::of(object);
            let (collector, reports) = (stage.collector.clone(), stage.reports.clone());
            let recurse = move || reports.borrow_mut().push(collector.collect());
            match method {
                "trace" => set(&value.on_trace, move |value, visit| {
                    recurse();
                    value.links.borrow().iter().for_each(visit);
                }),
                "unlink" => set(&value.on_unlink, move |value, _| {
                    recurse();
                    drop(value.links.take());
                }),
                _ => set(&value.on_drop, move |_, _| recurse()),
            }
        }
        drop(objects);
        assert_freed(&stage.collector.collect(), 3, 3);
        let reports = stage.reports.take();
        assert_eq!(reports.len(), 3, "{method}");
        for report in reports {
            assert_eq!(report.outcome, CycleOutcome::AlreadyCollecting);
            assert!(report.to_string().starts_with("did nothing"));
        }
        stage.assert_usable();
    }
}

#[test]
fn every_method_may_make_boxes_and_circles() {
    let stage = Stage::new();
    let objects = stage.pair();
    for object in &objects {
        let value = Evil::of(object);
        for action in [&value.on_trace, &value.on_drop] {
            let (collector, gone) = (stage.collector.clone(), stage.gone.clone());
            set(action, move |value, visit| {
                let made = circle(&collector, &gone, 2);
                value.links.borrow().iter().for_each(&mut *visit);
                made.iter().for_each(visit);
                drop(Vec::<u64>::with_capacity(1000));
            });
        }
        let (collector, gone) = (stage.collector.clone(), stage.gone.clone());
        set(&value.on_unlink, move |value, _| {
            drop(circle(&collector, &gone, 2));
            drop(value.links.take());
        });
    }
    drop(objects);
    assert_freed(&stage.collector.collect(), 3, 3);
    // Each value was traced once, unlinked and dropped, and made two boxes each time.
    assert_freed(&stage.collector.collect(), 18, 18);
    assert_eq!(stage.gone.borrow().len(), 21);
}

#[test]
fn unlinking_may_put_references_elsewhere() {
    let stage = Stage::new();
    let objects = stage.pair();
    for object in &objects {
        let stash = stage.stash.clone();
        set(&Evil::of(object).on_unlink, move |value, _| {
            stash.borrow_mut().extend(value.links.take());
        });
    }
    drop(objects);
    let report = stage.collector.collect();
    assert_eq!((report.unlinked, report.freed, report.survivors), (3, 0, 3));
    assert!(stage.gone.borrow().is_empty());
    stage.assert_usable();
    let stash = stage.stash.take();
    assert_eq!(stash.len(), 3);
    for object in &stash {
        assert_eq!(object.strong_count(), 1);
        assert!(object.downgrade().unwrap().upgrade().is_some());
    }
    drop(stash);
    assert_eq!(stage.gone.borrow().len(), 3);
}

#[test]
fn every_method_may_collect_frames_and_other_collectors() {
    let stage = Stage::new();
    let (registry, table) = (registry(), VMExternRefActivationsTable::new());
    let (other, gone) = (CycleCollector::new(), Gone::default());
    let around = Rc::new((registry, table, other));
    let objects = stage.pair();
    for object in &objects {
        let value = Evil::of(object);
        for action in [&value.on_trace, &value.on_unlink, &value.on_drop] {
            let (around, gone) = (around.clone(), gone.clone());
            set(action, move |value, visit| {
                let (registry, table, other) = &*around;
                drop(circle(other, &gone, 2));
                assert_freed(&other.collect(), 2, 2);
                // SAFETY: no frame holds anything.
                let report = unsafe {
                    let walker = RecordedWalker::new(Vec::new(), WalkEnd::Complete);
                    gc(registry, table, &walker)
                };
                assert!(report.swept());
                value.links.borrow().iter().for_each(visit);
            });
        }
        around.1.insert_without_gc(object.clone());
    }
    let weak = objects[0].downgrade().unwrap();
    drop(objects);
    // The entries went while values were traced; nothing is unlinked in vain.
    let report = stage.collector.collect();
    assert!(report.survivors <= 3, "{report}");
    if let Some(first) = weak.upgrade() {
        let second = Evil::of(&first).links.borrow()[0].clone();
        redeem(&second);
        redeem(&first);
    }
    assert_eq!(stage.gone.borrow().len(), 3);
    stage.assert_usable();
}

/// A collector that collects while another one traces takes no part in the other's counting.
#[test]
fn suspects_are_those_of_one_collector() {
    let stage = Stage::new();
    let (other, gone) = (Rc::new(CycleCollector::new()), Gone::default());
    let nested = stage.evil();
    let (inner, reports) = (other.clone(), stage.reports.clone());
    set(&Evil::of(&nested).on_trace, move |_, _| {
        reports.borrow_mut().push(inner.collect());
    });
    let [a, b, c] = stage.pair();
    let holder = other.new_traced(Object::new(1, &gone));
    link(&holder, &a);
    drop((a, b, c));
    let report = stage.collector.collect();
    assert_freed(&report, 4, 0);
    for report in stage.reports.take() {
        assert_freed(&report, 1, 0);
        assert_eq!(report.references, 1);
    }
    drop(holder);
    assert_freed(&stage.collector.collect(), 4, 3);
    assert_eq!(stage.gone.borrow().len(), 3);
    redeem(&nested);
}

#[test]
fn a_collection_within_another_leaves_the_boxes_of_that_alone() {
    let (one, other) = (Stage::new(), Stage::new());
    // In both orders, whichever of the collectors lies at the lower address.
    for (outer, inner) in [(&one, &other), (&other, &one)] {
        let within = Rc::clone(&inner.collector);
        let traced = outer.evil();
        Evil::of(&traced)
            .on_trace
            .replace(Some(Box::new(move |_, _| {
                let report = within.collect();
                assert_eq!((report.boxes, report.unlinked), (1, 0));
            })));
        let held = inner.evil();
        Evil::of(&held).links.borrow_mut().push(traced);
        assert_freed(&outer.collector.collect(), 1, 0);
        drop(held);
        assert_eq!((outer.gone.take().len(), inner.gone.take().len()), (1, 1));
    }
}
