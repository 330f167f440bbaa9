//! The cycle collector of a host, and who hears of its collections.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::fmt;
use vmexternref_core::{CycleCollector, CycleReport};

/// What an observer of cycle collections hears of each.
#[derive(Clone, Copy, Debug)]
pub enum CycleEvent<'r> {
    /// It begins.
    Begins,
    /// It is over, destructors included.
    Ended(&'r CycleReport),
}

/// A function that hears of every cycle collection.
type Observer = dyn Fn(CycleEvent<'_>);

/// A cycle collector, and who hears of its collections.
#[derive(Default)]
pub(crate) struct Cycles {
    collector: CycleCollector,
    observer: RefCell<Option<Rc<Observer>>>,
}

impl Cycles {
    /// Makes traced boxes.
    pub(crate) fn collector(&self) -> &CycleCollector {
        &self.collector
    }

    /// Frees cycles, and tells the observer.
    pub(crate) fn collect(&self) -> CycleReport {
        self.tell(CycleEvent::Begins);
        let report = self.collector.collect();
        self.tell(CycleEvent::Ended(&report));
        report
    }

    fn tell(&self, event: CycleEvent<'_>) {
        let observer = self.observer.borrow().clone();
        if let Some(observer) = observer {
            observer(event);
        }
    }

    /// Tells `observer` of every collection from now on.
    pub(crate) fn set_observer(&self, observer: Box<Observer>) {
        let before = self.observer.replace(Some(Rc::from(observer)));
        drop(before);
    }
}

impl fmt::Debug for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cycles")
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}
