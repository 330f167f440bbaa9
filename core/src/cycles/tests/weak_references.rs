//! References that keep nothing alive.

use super::*;

#[test]
fn a_weak_reference_follows_its_box() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let object = collector.new_traced(Object::new(1, &gone));
    let weak = object.downgrade().unwrap();
    let (other, clone) = (object.downgrade().unwrap(), weak.clone());
    let upgraded = weak.upgrade().unwrap();
    assert!(VMExternRef::eq(&upgraded, &object));
    assert_eq!(object.strong_count(), 2);
    assert_eq!(
        format!("{weak:?}"),
        format!("Weak{object:?}").replace("VM", "")
    );
    drop((object, weak));
    assert!(clone.upgrade().is_some());
    drop(upgraded);
    assert_eq!(*gone.borrow(), [1], "weak references keep nothing alive");
    assert!(clone.upgrade().is_none() && other.upgrade().is_none());
    drop(other.clone());
    assert!(VMExternRef::new(1).downgrade().is_none());
}

/// Looks, in each of its methods, whether its own box and another can still be reached.
struct Looks {
    weak: RefCell<Vec<WeakExternRef>>,
    links: RefCell<Vec<VMExternRef>>,
    seen: Rc<RefCell<Vec<(&'static str, usize)>>>,
}

impl Looks {
    fn look(&self, whence: &'static str) {
        let weak = self.weak.borrow();
        let alive = weak.iter().filter_map(WeakExternRef::upgrade).count();
        self.seen.borrow_mut().push((whence, alive));
    }
}

impl Trace for Looks {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        self.look("trace");
        self.links.borrow().iter().for_each(visit);
    }

    fn unlink(&self) {
        self.look("unlink");
        drop(self.links.take());
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.look("drop");
    }
}

#[test]
fn weak_references_are_dead_before_the_first_value_is_unlinked() {
    let (collector, seen) = (CycleCollector::new(), Rc::<RefCell<Vec<_>>>::default());
    let make = || {
        collector.new_traced(Looks {
            weak: RefCell::default(),
            links: RefCell::default(),
            seen: seen.clone(),
        })
    };
    let of = |reference: &VMExternRef| -> Vec<WeakExternRef> {
        [reference].map(|r| r.downgrade().unwrap()).into()
    };
    let objects = [make(), make()];
    for (from, to) in [(0, 1), (1, 0)] {
        let value = objects[from].downcast_ref::<Looks>().unwrap();
        value.links.borrow_mut().push(objects[to].clone());
        value.weak.borrow_mut().extend(of(&objects[0]));
        value.weak.borrow_mut().extend(of(&objects[1]));
    }
    assert_freed(&collector.collect(), 2, 0);
    assert_eq!(seen.take(), [("trace", 2); 4], "both are alive");
    drop(objects);
    assert_freed(&collector.collect(), 2, 2);
    let expected = [("trace", 2), ("trace", 2), ("unlink", 0), ("unlink", 0)];
    assert_eq!(seen.borrow()[..4], expected);
    assert_eq!(seen.borrow()[4..], [("drop", 0), ("drop", 0)]);
}

#[test]
fn a_destructor_cannot_revive_its_own_box() {
    let (collector, seen) = (CycleCollector::new(), Rc::<RefCell<Vec<_>>>::default());
    let object = collector.new_traced(Looks {
        weak: RefCell::default(),
        links: RefCell::default(),
        seen: seen.clone(),
    });
    let value = object.downcast_ref::<Looks>().unwrap();
    value.weak.borrow_mut().push(object.downgrade().unwrap());
    let last = object.downgrade().unwrap();
    drop(object);
    assert_eq!(*seen.borrow(), [("drop", 0)]);
    drop(last);
}

/// Two collections see the box alive, though the first of them unlinked it.
#[test]
fn weak_references_to_a_survivor_live_again() {
    let (collector, gone) = (CycleCollector::new(), Gone::default());
    let object = collector.new_traced(Forgetful(RefCell::default()));
    let value = object.downcast_ref::<Forgetful>().unwrap();
    value.0.borrow_mut().push(object.clone());
    let weak = object.downgrade().unwrap();
    drop(object);
    assert_eq!(collector.collect().survivors, 1);
    let again = weak.upgrade().unwrap();
    assert_eq!(again.strong_count(), 2);
    drop(again.downcast_ref::<Forgetful>().unwrap().0.take());
    drop(again);
    assert!(weak.upgrade().is_none() && gone.borrow().is_empty());
}

/// Gives nothing up.
struct Forgetful(RefCell<Vec<VMExternRef>>);

impl Trace for Forgetful {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        self.0.borrow().iter().for_each(visit);
    }

    fn unlink(&self) {}
}
