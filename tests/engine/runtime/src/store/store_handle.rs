//! Handles of a store.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::ControlFlow;

use vmexternref_core::{
    Frame, Garbage, GcReport, OutOfMemory, StackMapRegistry, StackWalker, VMExternRef, WalkEnd,
};
use vmexternref_engine_abi::VMStoreContext;
use vmexternref_frame_pointer::ActivationRecord;

use crate::code::CodePlacer;
use crate::store::limits::Limits;
use crate::store::store_inner::StoreInner;

/// A store: a cheap handle to everything created in it.
///
/// Functions, tables, memories, globals, instances and modules live until the last handle is dropped; then every
/// reference they hold is released. A host object or function that is itself in the store keeps a [`WeakStore`],
/// for a strong handle would keep the store alive for ever.
#[derive(Clone)]
#[repr(transparent)]
pub struct Store {
    inner: Rc<StoreInner>,
}

/// A handle that does not keep its store alive.
#[derive(Clone)]
pub struct WeakStore {
    inner: Weak<StoreInner>,
}

impl Store {
    /// An empty store.
    ///
    /// Its stack maps go to `registry`, and its code where `placer` puts it.
    #[must_use]
    pub fn new(
        registry: Arc<StackMapRegistry>,
        limits: Limits,
        placer: Rc<dyn CodePlacer>,
    ) -> Self {
        Self {
            inner: Rc::new(StoreInner::new(registry, limits, placer)),
        }
    }

    /// A handle that does not keep the store alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakStore {
        WeakStore {
            inner: Rc::downgrade(&self.inner),
        }
    }

    /// Finds stack frames with `walker` from now on.
    ///
    /// A new store finds them by its own activation record.
    pub fn set_walker(&self, walker: Box<dyn StackWalker>) {
        let before = self.inner.walker.replace(Some(Rc::from(walker)));
        drop(before);
    }

    /// Collects whenever a builtin or a host function is called, if `on`.
    pub fn set_zeal(&self, on: bool) {
        self.inner.zeal.set(on);
    }

    /// Shows the report of every collection to `observer`.
    pub fn set_gc_observer(&self, observer: Box<dyn Fn(&GcReport)>) {
        let before = self.inner.observer.replace(Some(Rc::from(observer)));
        drop(before);
    }

    /// Releases the references that no activation holds any more.
    pub fn gc(&self) -> GcReport {
        self.inner.gc()
    }

    /// Collects, and leaves what is dead for the caller to release.
    pub fn collect(&self) -> (GcReport, Garbage) {
        self.inner.collect()
    }

    /// Puts a reference into the activations table and returns its slot.
    ///
    /// The slot is what compiled code gets. For raw functions and calls only. It may collect, unless [`reserve`](Self::reserve) came first.
    ///
    /// # Errors
    ///
    /// When the table is full and there is no memory; the reference is dropped.
    #[inline]
    pub fn insert(&self, reference: VMExternRef) -> Result<u64, OutOfMemory> {
        let word = reference.as_raw().expose_provenance() as u64;
        self.inner.insert(reference)?;
        Ok(word)
    }

    /// Sees to it that the next `count` insertions neither collect nor fail.
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

    /// What compiled code shares with this store.
    #[must_use]
    pub fn context(&self) -> &VMStoreContext {
        &self.inner.context
    }

    /// Where this store's activations begin and end on the native stack.
    #[must_use]
    pub fn record(&self) -> &ActivationRecord {
        &self.inner.context.record
    }

    /// The registry that this store's stack maps are in.
    #[must_use]
    pub fn registry(&self) -> &Arc<StackMapRegistry> {
        &self.inner.registry
    }

    /// How much of the machine this store may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// How many entries the activations table holds; duplicates count.
    #[must_use]
    pub fn activation_entries(&self) -> usize {
        self.inner.context.table.len()
    }

    pub(crate) fn inner(&self) -> &StoreInner {
        &self.inner
    }

    /// The handle that stands behind a context of compiled code, not counted.
    ///
    /// # Safety
    ///
    /// `context` is from [`context_ptr`](Self::context_ptr) of a store that outlives the handle.
    #[inline]
    pub(crate) unsafe fn borrow_raw(context: *const VMStoreContext) -> ManuallyDrop<Self> {
        // SAFETY: the context is the first field of a `StoreInner` in an `Rc`, which the caller keeps alive.
        let inner = unsafe { Rc::from_raw(context.cast::<StoreInner>()) };
        ManuallyDrop::new(Self { inner })
    }

    /// The address of the context, from which [`borrow_raw`](Self::borrow_raw) leads back.
    pub(crate) fn context_ptr(&self) -> *const VMStoreContext {
        Rc::as_ptr(&self.inner).cast()
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
