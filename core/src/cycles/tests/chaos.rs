//! Values that do at random what no value should: nothing is ever dropped twice, or while it is
//! held, and the collector goes on.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What all values of one run share.
struct Chaos {
    collector: CycleCollector,
    other: CycleCollector,
    state: Cell<u64>,
    calm: Cell<bool>,
    stash: RefCell<Vec<VMExternRef>>,
    weak: RefCell<Vec<WeakExternRef>>,
    /// Each value that was ever made.
    made: RefCell<Vec<WeakExternRef>>,
    alive: RefCell<Vec<bool>>,
    panics: Cell<usize>,
}

impl Chaos {
    /// A number below `bound`, by the generator of Knuth's MMIX.
    fn below(&self, bound: usize) -> usize {
        let factor = 6_364_136_223_846_793_005_u64;
        let next = self.state.get().wrapping_mul(factor);
        let next = next.wrapping_add(1_442_695_040_888_963_407);
        self.state.set(next);
        usize::try_from(next >> 33).unwrap() % bound
    }

    fn make(self: &Rc<Self>) -> VMExternRef {
        let id = self.alive.borrow().len();
        self.alive.borrow_mut().push(true);
        let value = Value {
            id,
            links: RefCell::default(),
            chaos: self.clone(),
        };
        let collector = if self.below(4) == 0 {
            &self.other
        } else {
            &self.collector
        };
        let reference = collector.new_traced(value);
        self.weak.borrow_mut().extend(reference.downgrade());
        self.made.borrow_mut().extend(reference.downgrade());
        reference
    }

    fn any(&self) -> Option<VMExternRef> {
        if self.below(2) == 0 {
            let stash = self.stash.borrow();
            return (!stash.is_empty()).then(|| stash[self.below(stash.len())].clone());
        }
        let weak = self.weak.borrow();
        if weak.is_empty() {
            return None;
        }
        weak[self.below(weak.len())].upgrade()
    }

    /// Something at random, in a value or outside of all.
    fn act(self: &Rc<Self>, value: Option<&Value>, visit: &mut dyn FnMut(&VMExternRef)) {
        if self.calm.get() {
            return;
        }
        match self.below(14) {
            0 => {
                let new = self.make();
                self.stash.borrow_mut().push(new);
            }
            1 | 2 => {
                let any = self.any();
                self.stash.borrow_mut().extend(any);
            }
            3 | 4 => {
                let popped = self.stash.borrow_mut().pop();
                drop(popped);
            }
            5 | 6 => {
                if let (Some(a), Some(b)) = (self.any(), self.any()) {
                    let value = a.downcast_ref::<Value>().unwrap();
                    if let Ok(mut links) = value.links.try_borrow_mut() {
                        links.push(b);
                    }
                }
            }
            7 => {
                if let Some(a) = self.any() {
                    let value = a.downcast_ref::<Value>().unwrap();
                    let cut = value.links.try_borrow_mut().map(|mut links| links.pop());
                    drop(cut);
                }
            }
            8 => {
                self.collector.collect();
            }
            9 => {
                self.other.collect();
            }
            10 => self.any().iter().for_each(visit),
            11 => {
                if let Some(value) = value {
                    let links = value.links.try_borrow().map(|links| links.clone());
                    links.iter().flatten().for_each(visit);
                }
            }
            12 => {
                let weak = self.weak.borrow_mut().pop();
                drop(weak);
            }
            _ if self.below(8) == 0 && !std::thread::panicking() => {
                self.panics.set(self.panics.get() + 1);
                panic!("not today");
            }
            _ => {}
        }
        self.check();
    }

    /// Whatever is held lives.
    fn check(&self) {
        let alive = self.alive.borrow();
        for held in self.stash.borrow().iter() {
            assert!(alive[held.downcast_ref::<Value>().unwrap().id]);
        }
    }
}

struct Value {
    id: usize,
    links: RefCell<Vec<VMExternRef>>,
    chaos: Rc<Chaos>,
}

impl Trace for Value {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        if self.chaos.below(3) == 0 {
            self.chaos.act(Some(self), visit);
        }
        if let Ok(links) = self.links.try_borrow() {
            links.iter().for_each(&mut *visit);
        }
        if self.chaos.below(3) == 0 {
            self.chaos.act(Some(self), visit);
        }
    }

    fn unlink(&self) {
        if self.chaos.below(3) == 0 {
            self.chaos.act(Some(self), &mut |_| ());
        }
        if self.chaos.calm.get() || self.chaos.below(4) != 0 {
            drop(self.links.take());
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let was_alive = core::mem::replace(&mut self.chaos.alive.borrow_mut()[self.id], false);
        assert!(was_alive, "dropped twice");
        if self.chaos.below(3) == 0 {
            self.chaos.act(Some(self), &mut |_| ());
        }
    }
}

fn run(seed: u64) -> (usize, usize) {
    let chaos = Rc::new(Chaos {
        collector: CycleCollector::new(),
        other: CycleCollector::new(),
        state: Cell::new(seed),
        calm: Cell::new(false),
        stash: RefCell::default(),
        weak: RefCell::default(),
        made: RefCell::default(),
        alive: RefCell::default(),
        panics: Cell::new(0),
    });
    for _ in 0..300 {
        let act = || chaos.act(None, &mut |_| ());
        let _ = catch_unwind(AssertUnwindSafe(act));
    }
    // Peace: everything that is left can be freed, and nothing was freed that is held.
    chaos.calm.set(true);
    let gone = Gone::default();
    drop(circle(&chaos.collector, &gone, 3));
    let report = chaos.collector.collect();
    assert_eq!(report.outcome, CycleOutcome::Collected, "{report}");
    assert_eq!(gone.borrow().len(), 3);
    chaos.check();
    drop(chaos.stash.take());
    // Circles through both collectors are cut by hand.
    for value in chaos.made.take().iter().filter_map(WeakExternRef::upgrade) {
        drop(value.downcast_ref::<Value>().unwrap().links.take());
    }
    drop(chaos.weak.take());
    assert_eq!(Rc::strong_count(&chaos), 1, "no value is left");
    (chaos.alive.borrow().len(), chaos.panics.get())
}

#[test]
fn nothing_is_dropped_twice_or_while_it_is_held() {
    let seeds = std::env::var("VMEXTERNREF_TEST_SECONDS");
    let fewest = if cfg!(miri) { 3 } else { 200 };
    let seeds: u64 = seeds.map_or(fewest, |text| 2000 * text.parse::<u64>().unwrap());
    let (mut made, mut panics) = (0, 0);
    for seed in 0..seeds {
        let (values, caught) = run(seed);
        made += values;
        panics += caught;
    }
    let enough = cfg!(miri) || made > 1000 && panics > 10;
    assert!(enough, "{made} values, {panics} panics");
}
