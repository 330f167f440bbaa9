//! Collections and insertions.

use crate::store::stacks::{AllStacks, NativeStacks, Stacks};
use crate::store::store_inner::StoreInner;
use alloc::rc::Rc;
use core::ops::{ControlFlow, Range};
use vmexternref_core::{
    Frame, Garbage, GcReport, OutOfMemory, StackWalker, VMExternRef, WalkEnd, collect,
    collect_observed,
};
use vmexternref_frame_pointer::StacksWalker;

/// The walker of a store's collections.
enum StoreWalker<'s> {
    /// The host's, and the stacks that it may show.
    Host(Rc<dyn StackWalker>, &'s Stacks),
    /// A walker over the store's own records of machine code.
    Native(StacksWalker<NativeStacks<'s>>),
    /// A walker over the store's own records of any engine.
    #[cfg(feature = "pulley")]
    Records(StacksWalker<AllStacks<'s>>),
}

// SAFETY: it visits the frames that the other walker visits, marks those that begin another stack,
// and returns what the other walker returns.
unsafe impl StackWalker for StoreWalker<'_> {
    // A collection pays for each frame: with this inlined it makes no call for a frame.
    #[inline(always)]
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        match self {
            Self::Host(walker, stacks) if stacks.is_single() => walker.walk(visit),
            Self::Host(walker, stacks) => walker.walk(&mut mark_new_stacks(stacks, visit)),
            Self::Native(walker) => walker.walk(visit),
            #[cfg(feature = "pulley")]
            Self::Records(walker) => walker.walk(visit),
        }
    }

    #[inline]
    fn proves_end(&self) -> bool {
        match self {
            Self::Host(walker, _) => walker.proves_end(),
            // Every engine's records do.
            _ => true,
        }
    }
}

/// Passes frames on, each that lies on another stack than the one before it as such.
///
/// An unwinder goes on from a coroutine to the stack that resumed it, and does not tell. A canary
/// of a third stack may lie between their addresses, and was not passed.
fn mark_new_stacks(
    stacks: &Stacks,
    visit: &mut dyn FnMut(Frame) -> ControlFlow<()>,
) -> impl FnMut(Frame) -> ControlFlow<()> {
    let mut stack = Range::default();
    move |frame: Frame| match frame.sp.or(frame.fp) {
        Some(place) if !stack.contains(&place) => {
            stack = stacks.around(place);
            visit(frame.on_new_stack())
        }
        _ => visit(frame),
    }
}

// Safe code of the host may ask for a collection at any time, because this crate keeps the contract
// of `gc`:
//
// - Only `invoke` enters compiled code, and it sets the canary where a walker needs it.
// - Compiled code leaves only through exit trampolines, which complete the activation record.
// - A reference gets into a frame only after `insert`, or after an insertion by compiled code.
// - A module's stack maps are registered before its code can run.
impl StoreInner {
    /// The host's walker, or the store's own where the host has none.
    ///
    /// Where no Wasm of this store is active, its records prove it. Other walkers cannot, and some
    /// need the canary of each call.
    fn walker(&self) -> StoreWalker<'_> {
        let stacks = AllStacks::new(&self.context, &self.stacks);
        match &*self.walker.borrow() {
            Some(walker) if self.is_seen_by(&**walker) => {
                StoreWalker::Host(Rc::clone(walker), &self.stacks)
            }
            _ => match NativeStacks::new(stacks) {
                // SAFETY: as in `activations`, for the same stacks.
                Some(native) => StoreWalker::Native(unsafe { StacksWalker::new(native) }),
                #[cfg(feature = "pulley")]
                None => StoreWalker::Records(self.activations()),
                #[cfg(not(feature = "pulley"))]
                None => unreachable!("the machine is the only engine"),
            },
        }
    }

    /// Whether calls into Wasm are in progress, and each has a canary or the walker needs none.
    fn is_seen_by(&self, walker: &dyn StackWalker) -> bool {
        if self.is_idle() {
            // Those that begin from now on have one.
            self.has_bare_calls.set(false);
            return false;
        }
        !self.has_bare_calls.get() || walker.proves_end()
    }

    /// Whether no call into Wasm is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        let end = self.activations().walk(&mut |_| ControlFlow::Break(()));
        end == WalkEnd::Complete
    }

    /// The walker over the records of all stacks.
    pub(crate) fn activations(&self) -> StacksWalker<AllStacks<'_>> {
        let stacks = AllStacks::new(&self.context, &self.stacks);
        // SAFETY: calls in progress are on the running stack or on one in a slot, whose memory
        // `GuestStack::run` asks for, and the list of slots is only read meanwhile.
        unsafe { StacksWalker::new(stacks) }
    }

    /// Visits the frames that a collection would visit.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.walker().walk(visit)
    }

    /// Collects, and runs destructors.
    pub(crate) fn gc(&self) -> GcReport {
        let (report, garbage) = self.collect_unreported();
        drop(garbage);
        self.report(&report);
        report
    }

    /// Collects, and leaves the destructors to the caller.
    pub(crate) fn collect(&self) -> (GcReport, Garbage) {
        let (report, garbage) = self.collect_unreported();
        self.report(&report);
        (report, garbage)
    }

    // Inlined, so that the report is not moved once more.
    #[inline(always)]
    fn collect_unreported(&self) -> (GcReport, Garbage) {
        let (registry, table, walker) = (&self.registry, &self.context.table, self.walker());
        let observer = self.observer.borrow().clone();
        // It is borrowed already where it collects itself.
        let observer = observer
            .as_ref()
            .and_then(|shared| shared.try_borrow_mut().ok());
        // SAFETY: this crate keeps the contract of `gc`, as said above, and each reference in a
        // frame is in the table.
        unsafe {
            match observer {
                Some(mut observer) => collect_observed(registry, table, &walker, &mut *observer),
                None => collect(registry, table, &walker),
            }
        }
    }

    /// Collects if the store is in zeal mode.
    pub(crate) fn zeal(&self) {
        if self.zeal.get() {
            self.gc();
        }
    }

    /// Inserts `reference` into the activations table. Collects if the table is full.
    #[inline]
    pub(crate) fn insert(&self, reference: VMExternRef) -> Result<(), OutOfMemory> {
        match self.context.table.try_insert(reference) {
            Ok(()) => Ok(()),
            Err(reference) => self.insert_into_full_table(reference),
        }
    }

    /// Makes room first: the observer may collect, and must not find a reference that no frame
    /// holds yet.
    #[cold]
    fn insert_into_full_table(&self, reference: VMExternRef) -> Result<(), OutOfMemory> {
        self.reserve(1)?;
        let inserted = self.context.table.try_insert(reference);
        inserted.map_err(|_| OutOfMemory(()))
    }

    /// Makes room for `count` insertions, which then neither collect nor fail.
    #[inline]
    pub(crate) fn reserve(&self, count: usize) -> Result<(), OutOfMemory> {
        let table = &self.context.table;
        if self.zeal.get() && count != 0 && !table.is_empty() {
            self.gc();
        }
        // The observer of a collection may insert references, too.
        while count > table.capacity() - table.len() {
            self.make_room(count)?;
        }
        Ok(())
    }

    #[cold]
    fn make_room(&self, count: usize) -> Result<(), OutOfMemory> {
        let table = &self.context.table;
        if !table.is_empty() {
            self.gc();
        }
        table.reserve_without_gc(count)
    }

    fn report(&self, report: &GcReport) {
        let reporter = self.reporter.borrow().clone();
        if let Some(reporter) = reporter {
            reporter(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Store, WeakStore};
    use crate::testing::{Alive, store};
    use alloc::rc::Rc;
    use core::cell::{Cell, RefCell};
    use vmexternref_core::{Garbage, GcReport, ObservedStack, Observer};

    /// Calls `f` after the next collection of `store`.
    fn after_next_collection(store: &Store, f: impl Fn(&Store) + 'static) {
        let (weak, called) = (store.downgrade(), Cell::new(false));
        store.set_gc_observer(Rc::new(move |_| {
            let store = weak.upgrade().expect("it collects");
            if !called.replace(true) {
                f(&store);
            }
        }));
    }

    fn fill(store: &Store, alive: &Alive) {
        for _ in 0..store.limits().table_slots_initial {
            store.insert(alive.object()).unwrap();
        }
    }

    #[test]
    fn an_observer_that_collects_does_not_free_the_inserted_reference() {
        let (store, alive) = (store(), Alive::default());
        fill(&store, &alive);
        after_next_collection(&store, |store| {
            store.gc();
        });
        store.insert(alive.object()).unwrap();
        assert_eq!((alive.count(), store.activation_entries()), (1, 1));
    }

    #[test]
    fn an_observer_that_inserts_leaves_the_reserved_slots_free() {
        let (store, alive) = (store(), Alive::default());
        fill(&store, &alive);
        let objects = alive.clone();
        after_next_collection(&store, move |store| fill(store, &objects));
        store.reserve(3).unwrap();
        let table = &store.context().table;
        assert!(table.capacity() - table.len() >= 3);
    }

    /// Collects and inserts whenever it is told anything.
    struct Meddler(WeakStore, Alive, usize);

    impl Meddler {
        fn meddle(&mut self) {
            let store = self.0.upgrade().expect("it collects");
            self.2 += 1;
            store.gc();
            fill(&store, &self.1);
        }
    }

    impl Observer for Meddler {
        fn walked(&mut self, _: &ObservedStack<'_>) {
            self.meddle();
        }

        fn collected(&mut self, _: &GcReport, _: &Garbage) {
            self.meddle();
        }
    }

    #[test]
    fn an_observer_of_the_stack_may_collect_and_insert() {
        let (store, alive) = (store(), Alive::default());
        fill(&store, &alive);
        let meddler = Meddler(store.downgrade(), alive.clone(), 0);
        let meddler = Rc::new(RefCell::new(meddler));
        store.observe_collections(Rc::clone(&meddler) as _);
        store.reserve(3).unwrap();
        let table = &store.context().table;
        assert!(table.capacity() - table.len() >= 3);
        assert_eq!(meddler.borrow().2, 2, "each call comes once");
    }

    #[test]
    fn zeal_collects_at_every_reservation() {
        let (store, alive) = (store(), Alive::default());
        store.insert(alive.object()).unwrap();
        store.reserve(1).unwrap();
        assert_eq!(alive.count(), 1);
        store.set_zeal(true);
        store.reserve(1).unwrap();
        assert_eq!(alive.count(), 0);
    }
}
