//! Handles of a store.

use crate::code::CodePlacer;
use crate::engine::{Engine, EngineStack};
use crate::heap::{Shared, Weak};
use crate::store::limits::Limits;
use crate::store::store_inner::StoreInner;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{ControlFlow, Range};
use vmexternref_core::{
    Frame, Garbage, GcReport, Observer, OutOfMemory, StackMapRegistry, StackWalker, VMExternRef,
    WalkEnd,
};
use vmexternref_engine_abi::{Target, VMStoreContext};
use vmexternref_frame_pointer::ActivationRecord;

/// A store: a cheap handle of everything created in it.
///
/// Functions, tables, memories, globals, instances and code live until the last handle is dropped.
/// Then every reference that they hold is released. A host object or function in the store keeps a
/// [`WeakStore`]: a strong handle would keep the store alive for ever.
#[derive(Clone)]
#[repr(transparent)]
pub struct Store {
    inner: Shared<StoreInner>,
}

/// A handle that does not keep its store alive.
#[derive(Clone)]
pub struct WeakStore {
    inner: Weak<StoreInner>,
}

impl Store {
    /// An empty store.
    ///
    /// `registry` takes the stack maps of its modules, and `placer` their code.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn new(
        registry: Arc<StackMapRegistry>,
        limits: Limits,
        placer: Rc<dyn CodePlacer>,
    ) -> Result<Self, OutOfMemory> {
        let (engine, stack) = (Engine::Native(placer), EngineStack::native());
        Self::with_engine(registry, limits, engine, stack)
    }

    /// An empty store that interprets its modules, which are compiled to bytecode.
    ///
    /// The interpreter has a stack of [`Limits::interpreter_stack_bytes`] for frames of Wasm.
    /// [`Limits::stack_bytes`] limits the stack of the host's own calls.
    ///
    /// # Errors
    ///
    /// When there is no memory for the interpreter.
    #[cfg(feature = "pulley")]
    pub fn interpreted(
        registry: Arc<StackMapRegistry>,
        limits: Limits,
    ) -> Result<Self, OutOfMemory> {
        let engine = Engine::Pulley;
        let stack = engine.stack(limits.interpreter_stack_bytes)?;
        Self::with_engine(registry, limits, engine, stack)
    }

    fn with_engine(
        registry: Arc<StackMapRegistry>,
        limits: Limits,
        engine: Engine,
        stack: EngineStack,
    ) -> Result<Self, OutOfMemory> {
        let inner = StoreInner::new(registry, limits, engine, stack)?;
        let inner = Shared::try_new(inner)?;
        Ok(Self { inner })
    }

    /// The target that modules for this store are compiled for.
    #[must_use]
    pub fn target(&self) -> Target {
        self.inner.engine.target()
    }

    /// A handle that does not keep the store alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakStore {
        WeakStore {
            inner: Shared::downgrade(&self.inner),
        }
    }

    /// Finds stack frames with `walker` from now on.
    ///
    /// A new store finds them from its own activation records. If calls are in progress that have
    /// no canary, which the walker needs, it goes on with these until a collection finds no call in
    /// progress.
    pub fn set_walker(&self, walker: Rc<dyn StackWalker>) {
        let need_canaries = !walker.proves_end();
        if !self.inner.calls_have_canaries.replace(need_canaries) && need_canaries {
            self.inner.has_bare_calls.set(!self.inner.is_idle());
        }
        let before = self.inner.walker.replace(Some(walker));
        drop(before);
    }

    /// Turns zeal mode on or off. In zeal mode every call of a builtin or a host function collects.
    pub fn set_zeal(&self, on: bool) {
        self.inner.zeal.set(on);
    }

    /// Whether zeal mode is on.
    #[must_use]
    pub fn is_zealous(&self) -> bool {
        self.inner.zeal.get()
    }

    /// Calls `observer` with the report of every collection from now on.
    pub fn set_gc_observer(&self, observer: Rc<dyn Fn(&GcReport)>) {
        let before = self.inner.reporter.replace(Some(observer));
        drop(before);
    }

    /// Tells `observer` of the stack and the garbage of every collection from now on.
    ///
    /// A collection that it asks for itself is not observed.
    pub fn observe_collections(&self, observer: Rc<RefCell<dyn Observer>>) {
        let before = self.inner.observer.replace(Some(observer));
        drop(before);
    }

    /// Collects: releases the references that no activation holds any more.
    pub fn gc(&self) -> GcReport {
        self.inner.gc()
    }

    /// Collects, and returns the garbage for the caller to release.
    pub fn collect(&self) -> (GcReport, Garbage) {
        self.inner.collect()
    }

    /// Inserts a reference into the activations table, and returns the word for compiled code.
    ///
    /// Raw functions and raw calls need it. It collects if the table is full, unless there was a
    /// [`reserve`](Self::reserve) before.
    ///
    /// # Errors
    ///
    /// When the table is full and there is no memory. Drops the reference.
    #[inline]
    pub fn insert(&self, reference: VMExternRef) -> Result<u64, OutOfMemory> {
        let word = reference.as_raw().expose_provenance() as u64;
        self.inner.insert(reference)?;
        Ok(word)
    }

    /// Makes room for `count` insertions, which then neither collect nor fail. May collect.
    ///
    /// # Errors
    ///
    /// When the table is full and there is no memory.
    #[inline]
    pub fn reserve(&self, count: usize) -> Result<(), OutOfMemory> {
        self.inner.reserve(count)
    }

    /// Whether the walker may show frames of other stores, which call and are called by this one.
    ///
    /// A walker that shows the whole stack does; the store's own does not.
    pub fn allow_foreign_roots(&self, allowed: bool) {
        self.inner.context.table.allow_foreign_roots(allowed);
    }

    /// Visits the frames that a collection would visit now, youngest first.
    pub fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.inner.walk(visit)
    }

    /// The part of the store that compiled code reads and writes.
    #[must_use]
    pub fn context(&self) -> &VMStoreContext {
        &self.inner.context
    }

    /// A walker over the activation records of all stacks of this store.
    ///
    /// It is the one of a new store.
    pub fn activations(&self) -> impl StackWalker {
        self.inner.activations()
    }

    /// Refuses to walk the running stack outside of `stack`, a range of addresses.
    pub fn set_stack_bounds(&self, stack: Range<usize>) {
        self.inner.stacks.set_running(stack);
    }

    /// Where this store's activations begin and end on the running stack.
    #[must_use]
    pub fn record(&self) -> &ActivationRecord {
        &self.inner.context.record
    }

    /// The registry with the stack maps of its modules.
    #[must_use]
    pub fn registry(&self) -> &Arc<StackMapRegistry> {
        &self.inner.registry
    }

    /// The limits of the store.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// The number of entries of the activations table, duplicates included.
    #[must_use]
    pub fn activation_entries(&self) -> usize {
        self.inner.context.table.len()
    }

    pub(crate) fn inner(&self) -> &StoreInner {
        &self.inner
    }

    /// The store of a context of compiled code, as a handle that is not counted.
    ///
    /// # Safety
    ///
    /// `context` is from [`context_ptr`](Self::context_ptr) of a store that outlives the handle.
    #[inline]
    pub(crate) unsafe fn borrow_raw(context: *const VMStoreContext) -> ManuallyDrop<Self> {
        // SAFETY: the context is the first field of a `StoreInner`, which the caller keeps alive.
        let inner = unsafe { Shared::borrow_raw(context.cast::<StoreInner>()) };
        ManuallyDrop::new(Self {
            inner: ManuallyDrop::into_inner(inner),
        })
    }

    /// The address of the context, for [`borrow_raw`](Self::borrow_raw).
    pub(crate) fn context_ptr(&self) -> *const VMStoreContext {
        Shared::as_ptr(&self.inner).cast()
    }
}

impl WeakStore {
    /// The store, unless it is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Store> {
        self.inner.upgrade().map(|inner| Store { inner })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.inner.id())
            .field("activation_entries", &self.activation_entries())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WeakStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakStore").finish_non_exhaustive()
    }
}
