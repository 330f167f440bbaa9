//! The store: what instances share, and who owns it all.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::ControlFlow;

use vmexternref_core::{
    Frame, Garbage, GcReport, OutOfMemory, StackMapRegistry, StackWalker, VMExternRef,
    VMExternRefActivationsTable, WalkEnd,
};
use vmexternref_engine_abi::VMStoreContext;
use vmexternref_frame_pointer::ActivationRecord;

use crate::arena::Arena;
use crate::code::CodePlacer;
use crate::global::GlobalItem;
use crate::handle::StoreId;
use crate::host_func::HostFunc;
use crate::instance::InstanceItem;
use crate::load::Module;
use crate::memory::MemoryItem;
use crate::table::TableItem;
use crate::trap::Trap;
use crate::type_registry::TypeRegistry;

/// How much of the machine one store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of native stack below the outermost call that Wasm frames may occupy.
    ///
    /// What host functions, collections and destructors need comes on top and is the host's to leave free. Stores
    /// whose calls nest on one stack need the sum of theirs.
    pub stack_bytes: usize,
    /// Slots that the activations table starts with.
    pub table_slots_initial: usize,
    /// Slots that the activations table may grow to.
    pub table_slots_maximum: usize,
    /// Pages of 64 KiB that one memory may have.
    pub max_memory_pages: u32,
    /// Elements that one table may have.
    pub max_table_elements: u32,
}

impl Default for Limits {
    /// A mebibyte of stack, a gibibyte a memory, ten million elements a table.
    fn default() -> Self {
        Self {
            stack_bytes: 1 << 20,
            table_slots_initial: 512,
            table_slots_maximum: usize::MAX,
            max_memory_pages: 1 << 14,
            max_table_elements: 10_000_000,
        }
    }
}

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

/// What is told of every collection.
pub(crate) type Observer = dyn Fn(&GcReport);

/// The store itself; compiled code knows the address of its first field.
#[repr(C)]
pub(crate) struct StoreInner {
    pub(crate) context: VMStoreContext,
    id: StoreId,
    pub(crate) limits: Limits,
    pub(crate) registry: Arc<StackMapRegistry>,
    pub(crate) placer: Rc<dyn CodePlacer>,
    /// `None` is a walker over the store's own record.
    pub(crate) walker: RefCell<Option<Rc<dyn StackWalker>>>,
    pub(crate) observer: RefCell<Option<Rc<Observer>>>,
    pub(crate) zeal: Cell<bool>,
    /// The trap that is on its way to the youngest entry.
    pub(crate) trap: Cell<Option<Trap>>,
    pub(crate) types: TypeRegistry,
    pub(crate) tables: Arena<TableItem>,
    pub(crate) memories: Arena<MemoryItem>,
    pub(crate) globals: Arena<GlobalItem>,
    pub(crate) host_funcs: Arena<HostFunc>,
    pub(crate) instances: RefCell<Vec<Rc<InstanceItem>>>,
    pub(crate) modules: RefCell<Vec<Rc<Module>>>,
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
        let context = VMStoreContext {
            record: ActivationRecord::new(),
            stack_limit: Cell::new(0),
            handler_pc: Cell::new(0),
            handler_sp: Cell::new(0),
            handler_fp: Cell::new(0),
            table: VMExternRefActivationsTable::with_capacity(
                limits.table_slots_initial,
                limits.table_slots_maximum,
            ),
        };
        Self {
            inner: Rc::new(StoreInner {
                context,
                id: StoreId::unique(),
                limits,
                registry,
                placer,
                walker: RefCell::new(None),
                observer: RefCell::new(None),
                zeal: Cell::new(false),
                trap: Cell::new(None),
                types: TypeRegistry::new(),
                tables: Arena::new(),
                memories: Arena::new(),
                globals: Arena::new(),
                host_funcs: Arena::new(),
                instances: RefCell::default(),
                modules: RefCell::default(),
            }),
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

    /// Whether every builtin and host function collects.
    #[must_use]
    pub fn is_zealous(&self) -> bool {
        self.inner.zeal.get()
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

impl StoreInner {
    pub(crate) const fn id(&self) -> StoreId {
        self.id
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        // Nothing runs in this store any more, and its tables and globals release what they hold as they are dropped.
        for module in self.modules.take() {
            module.unload();
        }
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
            .field("id", &self.inner.id)
            .field("activation_entries", &self.activation_entries())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WeakStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakStore").finish_non_exhaustive()
    }
}
