//! Collections and insertions, as this runtime's glue does them.

use alloc::rc::Rc;
use core::ops::ControlFlow;

use vmexternref_core::{
    Frame, Garbage, GcReport, OutOfMemory, StackWalker, VMExternRef, WalkEnd, collect, gc,
};
use vmexternref_frame_pointer::ActivationsWalker;

use crate::store::StoreInner;

// Why the collections below may run, whenever safe code of the host asks for one: compiled code is only entered by
// `call`, which sets the canary, and only left through exit trampolines, which complete the activation record; every
// reference enters a frame through `insert`, `reserve` or compiled code's own insertion; and a module's code comes
// with its stack maps.
impl StoreInner {
    /// The host's walker; `None` stands for the store's own record.
    ///
    /// Where no Wasm of this store runs, the record proves it, which other walkers cannot.
    fn walker(&self) -> Option<Rc<dyn StackWalker>> {
        let outside = self.own_walker().walk(&mut |_| ControlFlow::Break(()));
        let host_walks = outside != WalkEnd::Complete;
        self.walker.borrow().clone().filter(|_| host_walks)
    }

    fn own_walker(&self) -> ActivationsWalker<'_> {
        ActivationsWalker::new(&self.context.record)
    }

    /// Visits the frames that a collection would visit.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        match self.walker() {
            Some(walker) => walker.walk(visit),
            None => self.own_walker().walk(visit),
        }
    }

    /// Collects and destroys.
    pub(crate) fn gc(&self) -> GcReport {
        let table = &self.context.table;
        let report = match self.walker() {
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            Some(walker) => unsafe { gc(&self.registry, table, &*walker) },
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            None => unsafe { gc(&self.registry, table, &self.own_walker()) },
        };
        self.observe(&report);
        report
    }

    /// Collects, and leaves the destructors to the caller.
    pub(crate) fn collect(&self) -> (GcReport, Garbage) {
        let table = &self.context.table;
        let (report, garbage) = match self.walker() {
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            Some(walker) => unsafe { collect(&self.registry, table, &*walker) },
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            None => unsafe { collect(&self.registry, table, &self.own_walker()) },
        };
        self.observe(&report);
        (report, garbage)
    }

    /// Collects if the store is in zeal mode.
    pub(crate) fn zeal(&self) {
        if self.zeal.get() {
            self.gc();
        }
    }

    /// Puts `reference` into the activations table, collecting where that is full.
    #[inline]
    pub(crate) fn insert(&self, reference: VMExternRef) -> Result<(), OutOfMemory> {
        match self.context.table.try_insert(reference) {
            Ok(()) => Ok(()),
            Err(reference) => self.insert_into_full_table(reference),
        }
    }

    #[cold]
    fn insert_into_full_table(&self, reference: VMExternRef) -> Result<(), OutOfMemory> {
        let table = &self.context.table;
        if !table.is_empty() {
            self.gc();
        }
        table
            .try_insert_without_gc(reference)
            .map_err(|_| OutOfMemory(()))
    }

    /// Sees to it that the next `count` insertions neither collect nor fail.
    #[inline]
    pub(crate) fn reserve(&self, count: usize) -> Result<(), OutOfMemory> {
        let table = &self.context.table;
        let free = table.capacity() - table.len();
        if count == 0 || (count <= free && !self.zeal.get()) {
            return Ok(());
        }
        self.reserve_in_full_table(count)
    }

    #[cold]
    fn reserve_in_full_table(&self, count: usize) -> Result<(), OutOfMemory> {
        let table = &self.context.table;
        if !table.is_empty() {
            self.gc();
        }
        match self.walker() {
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            Some(walker) => unsafe { table.reserve(count, &self.registry, &*walker) },
            // SAFETY: the glue of this crate keeps the contract of `gc`, as said above.
            None => unsafe { table.reserve(count, &self.registry, &self.own_walker()) },
        }
        .map(drop)
        .map_err(|_| OutOfMemory(()))
    }

    fn observe(&self, report: &GcReport) {
        let observer = self.observer.borrow().clone();
        if let Some(observer) = observer {
            observer(report);
        }
    }
}
