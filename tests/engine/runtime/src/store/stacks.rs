//! The stacks that the calls of a store run on.
//!
//! ```text
//!            StoreInner               slot of B          slot of C
//!          +------------+            +------------+     +------------+
//! A runs   | state of A |            | of B       |     | of C       |   B and C are suspended
//!          +------------+            +------------+     +------------+
//! A runs   | state of B | <- swap -> | of A       |     | of C       |   A waits for B
//! B        +------------+            +------------+     +------------+
//! ```
//!
//! Compiled code finds the state of the running stack in the context of its store. Each other stack
//! that has calls in progress is in one of the slots, so that a walk over the context and all slots
//! sees every stack.

use crate::engine::{Engine, EngineStack, FramesWalker};
use crate::heap::{Owned, try_push};
use crate::store::store_handle::Store;
use alloc::vec::Vec;
use core::cell::{Cell, Ref, RefCell};
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::VMStoreContext;
use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker};

/// The first address of a stack, and the one behind its last.
type Bounds = (usize, usize);

/// The stacks of a store.
pub(crate) struct Stacks {
    /// The bounds of the running stack.
    running: Cell<Bounds>,
    /// What the engine keeps for the running stack.
    engine: EngineStack,
    slots: RefCell<Vec<NonNull<Slot>>>,
}

/// What belongs to one stack, for each stack but the one that runs.
struct Slot {
    /// The bounds of the stack that the slot was made for.
    stack: Range<usize>,
    /// Its index in the list of slots.
    index: Cell<usize>,
    /// Whether that stack runs, and the slot holds the state of the one that resumed it.
    runs: Cell<bool>,
    /// The bounds of the stack whose state the slot holds.
    bounds: Cell<Bounds>,
    engine: EngineStack,
    record: ActivationRecord,
    stack_limit: Cell<usize>,
    handler_pc: Cell<usize>,
    handler_sp: Cell<usize>,
    handler_fp: Cell<usize>,
}

impl Slot {
    /// The slot of a stack that has not been run yet.
    fn new(stack: Range<usize>, host_bytes: usize, engine: &Engine) -> Result<Self, OutOfMemory> {
        let limit = stack.start.saturating_add(host_bytes).min(stack.end);
        Ok(Self {
            engine: engine.stack(stack.end - limit)?,
            index: Cell::new(0),
            runs: Cell::new(false),
            bounds: Cell::new((stack.start, stack.end)),
            stack,
            record: ActivationRecord::new(),
            stack_limit: Cell::new(limit.max(1)),
            handler_pc: Cell::new(0),
            handler_sp: Cell::new(0),
            handler_fp: Cell::new(0),
        })
    }

    /// Exchanges the state of the running stack for that in the slot.
    ///
    /// # Safety
    ///
    /// As for [`ActivationRecord::swap`].
    unsafe fn swap(&self, context: &VMStoreContext, stacks: &Stacks) {
        // SAFETY: the caller keeps the contract.
        unsafe { context.record.swap(&self.record) };
        context.stack_limit.swap(&self.stack_limit);
        context.handler_pc.swap(&self.handler_pc);
        context.handler_sp.swap(&self.handler_sp);
        context.handler_fp.swap(&self.handler_fp);
        stacks.running.swap(&self.bounds);
        stacks.engine.swap(&self.engine);
    }
}

impl Stacks {
    /// One stack, with unknown bounds.
    pub(crate) const fn new(engine: EngineStack) -> Self {
        Self {
            running: Cell::new((0, usize::MAX)),
            engine,
            slots: RefCell::new(Vec::new()),
        }
    }

    /// Whether there is one stack only.
    pub(crate) fn is_single(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    /// What the engine keeps for the running stack.
    pub(crate) const fn engine(&self) -> &EngineStack {
        &self.engine
    }

    /// Tells the bounds of the running stack.
    pub(crate) fn set_running(&self, stack: Range<usize>) {
        self.running.set((stack.start, stack.end));
    }

    /// Addresses around `place` that belong to one stack, or to no stack with a slot.
    pub(crate) fn around(&self, place: usize) -> Range<usize> {
        let mut gap = 0..usize::MAX;
        for slot in self.slots.borrow().iter() {
            // SAFETY: a slot is in the list for as long as its handle owns it.
            let stack = unsafe { &slot.as_ref().stack };
            if stack.contains(&place) {
                return stack.clone();
            }
            if stack.end <= place {
                gap.start = gap.start.max(stack.end);
            } else {
                gap.end = gap.end.min(stack.start);
            }
        }
        gap
    }

    fn add(&self, slot: &Owned<Slot>) -> Result<(), OutOfMemory> {
        let mut slots = self.slots.borrow_mut();
        slot.index.set(slots.len());
        try_push(&mut slots, slot.as_ptr())
    }

    fn remove(&self, slot: &Slot) {
        let mut slots = self.slots.borrow_mut();
        let index = slot.index.get();
        slots.swap_remove(index);
        if let Some(moved) = slots.get(index) {
            // SAFETY: a slot is in the list for as long as its handle owns it.
            unsafe { moved.as_ref() }.index.set(index);
        }
    }
}

/// Every stack of a store, as walkers.
#[derive(Clone, Copy)]
pub(crate) struct AllStacks<'s> {
    context: &'s VMStoreContext,
    stacks: &'s Stacks,
}

impl<'s> AllStacks<'s> {
    /// The running stack, whose state is in `context`, and the others.
    pub(crate) const fn new(context: &'s VMStoreContext, stacks: &'s Stacks) -> Self {
        Self { context, stacks }
    }
}

impl<'s> IntoIterator for AllStacks<'s> {
    type Item = FramesWalker<'s>;
    type IntoIter = EachStack<'s>;

    fn into_iter(self) -> EachStack<'s> {
        EachStack {
            running: Some(self),
            slots: self.stacks.slots.borrow(),
            next: 0,
        }
    }
}

/// Goes from one stack to the next. No stack comes or goes meanwhile.
pub(crate) struct EachStack<'s> {
    running: Option<AllStacks<'s>>,
    slots: Ref<'s, Vec<NonNull<Slot>>>,
    next: usize,
}

impl<'s> Iterator for EachStack<'s> {
    type Item = FramesWalker<'s>;

    fn next(&mut self) -> Option<FramesWalker<'s>> {
        let (engine, record, (start, end)) = match self.running.take() {
            Some(AllStacks { context, stacks }) => {
                (&stacks.engine, &context.record, stacks.running.get())
            }
            None => {
                let slot = self.slots.get(self.next)?;
                self.next += 1;
                // SAFETY: a slot is in the list for as long as its handle owns it, and the list is
                // borrowed: a handle that is dropped meanwhile panics.
                let slot = unsafe { slot.as_ref() };
                (&slot.engine, &slot.record, slot.bounds.get())
            }
        };
        Some(engine.walker(record, start..end))
    }
}

/// The stacks of a store that runs machine code.
///
/// Their walker is of one type, so that a collection makes no call for a frame.
#[derive(Clone)]
pub(crate) struct NativeStacks<'s>(AllStacks<'s>);

impl<'s> NativeStacks<'s> {
    /// `all`, if the engine of these stacks is the machine.
    pub(crate) fn new(all: AllStacks<'s>) -> Option<Self> {
        all.stacks.engine.is_native().then_some(Self(all))
    }
}

impl<'s> IntoIterator for NativeStacks<'s> {
    type Item = ActivationsWalker<'s>;
    type IntoIter = EachNativeStack<'s>;

    fn into_iter(self) -> EachNativeStack<'s> {
        EachNativeStack(self.0.into_iter())
    }
}

/// Goes from one stack of machine code to the next.
pub(crate) struct EachNativeStack<'s>(EachStack<'s>);

impl<'s> Iterator for EachNativeStack<'s> {
    type Item = ActivationsWalker<'s>;

    fn next(&mut self) -> Option<ActivationsWalker<'s>> {
        let walker = self.0.next()?.into_native();
        Some(walker.expect("the stacks of a store have one engine"))
    }
}

/// A stack of its own for calls of a store: a coroutine's, a green thread's.
///
/// A call that runs on it can be suspended inside a host function, while other calls of the store
/// run on other stacks. The references that its frames hold stay alive.
///
/// Dropping the handle while calls are suspended on the stack throws the calls away, and the next
/// collection releases the references of their Wasm frames. What host frames own is leaked. A host
/// that wants it released resumes the stack once more, and lets the host function that suspended it
/// return a [`Trap`](crate::Trap).
pub struct GuestStack {
    store: Store,
    slot: Owned<Slot>,
}

impl Store {
    /// Makes another stack known on which the host will run calls of this store.
    ///
    /// `stack` is a range of addresses. Wasm leaves the lowest `host_bytes` of it to host
    /// functions, collections and destructors. Where Wasm is interpreted, the interpreter gets a
    /// stack of its own, as large as the rest.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    ///
    /// # Panics
    ///
    /// During a walk of this store.
    pub fn add_stack(
        &self,
        stack: Range<usize>,
        host_bytes: usize,
    ) -> Result<GuestStack, OutOfMemory> {
        let slot = Slot::new(stack, host_bytes, &self.inner().engine)?;
        let slot = Owned::try_new(slot).map_err(|OutOfMemory(_)| OutOfMemory(()))?;
        self.inner().stacks.add(&slot)?;
        Ok(GuestStack {
            store: self.clone(),
            slot,
        })
    }
}

impl GuestStack {
    /// Runs `resume`, which continues on this stack and returns once it is suspended or has ended.
    ///
    /// Whatever else belongs to a stack is exchanged before and after: the activation record, the
    /// stack's limit, the handler of traps. Calls nest: code on this stack may resume others.
    ///
    /// # Panics
    ///
    /// When the stack runs already, or when `resume` panics.
    ///
    /// # Safety
    ///
    /// - Code that `resume` runs, until it comes back, runs on the stack that the handle was made
    ///   for. It comes back on the stack that it was called on, after each `run` that began later.
    /// - A stack on which calls are suspended goes on inside `run` of its handle only, and keeps
    ///   its memory until the handle is dropped. After that it does not go on.
    /// - The store's walker, if the host has [set](Store::set_walker) one, says
    ///   [`Complete`](vmexternref_core::WalkEnd::Complete) only of all stacks, as
    ///   [`Store::activations`] does.
    pub unsafe fn run<R>(&self, resume: impl FnOnce() -> R) -> R {
        assert!(!self.slot.runs.replace(true), "the stack runs already");
        let _resumer = Resumer::leave(self);
        resume()
    }

    /// Whether calls are in progress on the stack, which does not run.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        !self.slot.runs.get() && !self.slot.record.is_idle()
    }
}

impl Drop for GuestStack {
    fn drop(&mut self) {
        let inner = self.store.inner();
        inner.stacks.remove(&self.slot);
        if self.is_suspended() {
            // SAFETY: whoever ran the stack guarantees that it does not go on after this.
            unsafe { inner.context.table.discard_stack_canaries(&self.slot.stack) };
        }
    }
}

impl fmt::Debug for GuestStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestStack")
            .field("store", &self.store)
            .field("stack", &format_args!("{:#x?}", self.slot.stack))
            .field("suspended", &self.is_suspended())
            .finish()
    }
}

/// The stack that waits for another one. Dropping it goes back there.
struct Resumer<'g>(&'g GuestStack);

impl<'g> Resumer<'g> {
    fn leave(stack: &'g GuestStack) -> Self {
        let resumer = Self(stack);
        resumer.switch();
        resumer
    }

    fn switch(&self) {
        let inner = self.0.store.inner();
        // SAFETY: the caller of `run` guarantees that each stack goes on only while the context
        // holds its state, and has its memory for as long as the slot is in the list.
        unsafe { self.0.slot.swap(&inner.context, &inner.stacks) };
    }
}

impl Drop for Resumer<'_> {
    fn drop(&mut self) {
        self.switch();
        self.0.slot.runs.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::GuestStack;
    use crate::store::Store;
    use crate::testing::store;
    use alloc::vec::Vec;
    use core::ops::{ControlFlow, Range};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use vmexternref_core::{StackWalker, WalkEnd};

    fn add(store: &Store, stack: Range<usize>) -> GuestStack {
        store.add_stack(stack, 0x100).unwrap()
    }

    /// Runs `f` as if on `stack`.
    fn run<R>(stack: &GuestStack, f: impl FnOnce() -> R) -> R {
        // SAFETY: nothing calls Wasm in these tests, and no stack is suspended.
        unsafe { stack.run(f) }
    }

    #[test]
    fn places_are_told_apart_by_the_stacks_that_are_known() {
        let store = store();
        let around = |place| store.inner().stacks.around(place);
        assert_eq!(around(0x5000), 0..usize::MAX);
        let low = add(&store, 0x2000..0x3000);
        let high = add(&store, 0x6000..0x7000);
        for (place, stack) in [
            (0x1000, 0..0x2000),
            (0x2000, 0x2000..0x3000),
            (0x2fff, 0x2000..0x3000),
            (0x3000, 0x3000..0x6000),
            (0x6800, 0x6000..0x7000),
            (0x7000, 0x7000..usize::MAX),
        ] {
            assert_eq!(around(place), stack, "{place:#x}");
        }
        drop(low);
        assert_eq!(around(0x2800), 0..0x6000);
        drop(high);
        assert!(store.inner().stacks.is_single());
    }

    #[test]
    fn stacks_may_go_in_any_order() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let store = store();
            let stack = |n: usize| n * 0x1000..(n + 1) * 0x1000;
            let mut stacks: Vec<_> = (0..3).map(|n| Some(add(&store, stack(n)))).collect();
            for gone in order {
                stacks[gone] = None;
                for (n, left) in stacks.iter().enumerate() {
                    let known = store.inner().stacks.around(stack(n).start) == stack(n);
                    assert!(known || left.is_none(), "{order:?}: {n}");
                }
            }
            assert!(store.inner().stacks.is_single());
        }
    }

    #[test]
    fn what_compiled_code_reads_belongs_to_the_stack_that_runs() {
        let store = store();
        let context = store.context();
        let words = || {
            let context = store.context();
            let handler = [
                &context.handler_pc,
                &context.handler_sp,
                &context.handler_fp,
            ];
            let [pc, sp, fp] = handler.map(core::cell::Cell::get);
            [context.stack_limit.get(), pc, sp, fp]
        };
        let of_outer = [0x9000, 1, 2, 3];
        context.stack_limit.set(0x9000);
        context.handler_pc.set(1);
        context.handler_sp.set(2);
        context.handler_fp.set(3);
        let (stack, small) = (add(&store, 0x2000..0x3000), add(&store, 0x40..0x80));
        run(&stack, || {
            assert_eq!(words(), [0x2100, 0, 0, 0]);
            assert!(!stack.is_suspended());
            context.handler_pc.set(4);
            run(&small, || {
                assert_eq!(words(), [0x80, 0, 0, 0], "all of it is the host's");
            });
            assert_eq!(words(), [0x2100, 4, 0, 0]);
        });
        assert_eq!(words(), of_outer);
        let panics = AssertUnwindSafe(|| run(&stack, || panic!("the coroutine panics")));
        assert!(catch_unwind(panics).is_err());
        assert_eq!(words(), of_outer);
        run(&stack, || assert_eq!(words(), [0x2100, 4, 0, 0]));
    }

    #[test]
    fn idle_stacks_are_no_frames_for_certain() {
        let store = store();
        let stacks = [add(&store, 0x2000..0x3000), add(&store, 0x4000..0x5000)];
        let walk = || store.activations().walk(&mut |_| ControlFlow::Break(()));
        assert_eq!(walk(), WalkEnd::Complete);
        run(&stacks[1], || assert_eq!(walk(), WalkEnd::Complete));
        drop(stacks);
        assert_eq!(walk(), WalkEnd::Complete);
    }
}
