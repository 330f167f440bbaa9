//! The store itself.

use crate::code::LoadedCode;
use crate::engine::{Engine, EngineStack};
use crate::error::Trap;
use crate::heap::{Arena, Budget, Shared};
use crate::item::{GlobalItem, HostFunc, InstanceItem, MemoryItem, TableItem};
use crate::store::limits::Limits;
use crate::store::stacks::Stacks;
use crate::store::type_registry::TypeRegistry;
use crate::value::{StoreId, StoreIdentity};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::mem::offset_of;
use vmexternref_core::{
    GcReport, Observer, OutOfMemory, StackMapRegistry, StackWalker, VMExternRefActivationsTable,
};
use vmexternref_engine_abi::{FuncType, VMFuncRef, VMStoreContext};
use vmexternref_frame_pointer::ActivationRecord;

/// A function that gets the report of every collection.
pub(crate) type Reporter = dyn Fn(&GcReport);

/// The store itself; compiled code knows the address of its first field.
#[repr(C)]
pub(crate) struct StoreInner {
    pub(crate) context: VMStoreContext,
    identity: StoreIdentity,
    pub(crate) limits: Limits,
    /// What is left of [`Limits::max_bytes`].
    pub(crate) budget: Budget,
    pub(crate) registry: Arc<StackMapRegistry>,
    pub(crate) engine: Engine,
    pub(crate) stacks: Stacks,
    /// `None` stands for a walker over the activation records of the store's stacks.
    pub(crate) walker: RefCell<Option<Rc<dyn StackWalker>>>,
    /// Whether calls into Wasm set a canary. Walkers that prove their walks need none, as the
    /// store's own records.
    pub(crate) calls_have_canaries: Cell<bool>,
    /// Whether calls without a canary may be in progress, which only the records prove to be seen.
    pub(crate) has_bare_calls: Cell<bool>,
    pub(crate) reporter: RefCell<Option<Rc<Reporter>>>,
    pub(crate) observer: RefCell<Option<Rc<RefCell<dyn Observer>>>>,
    pub(crate) zeal: Cell<bool>,
    /// The trap that the youngest entry is about to return.
    pub(crate) trap: Cell<Option<Trap>>,
    pub(crate) types: TypeRegistry,
    pub(crate) tables: Arena<TableItem>,
    pub(crate) memories: Arena<MemoryItem>,
    pub(crate) globals: Arena<GlobalItem>,
    pub(crate) host_funcs: Arena<HostFunc>,
    pub(crate) instances: RefCell<Vec<Shared<InstanceItem>>>,
    pub(crate) code: RefCell<Vec<LoadedCode>>,
}

const _: () = assert!(offset_of!(StoreInner, context) == 0);

impl StoreInner {
    /// An empty store. `stack` is the engine's for the stack that runs now.
    pub(crate) fn new(
        registry: Arc<StackMapRegistry>,
        limits: Limits,
        engine: Engine,
        stack: EngineStack,
    ) -> Result<Self, OutOfMemory> {
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
        Ok(Self {
            context,
            identity: StoreIdentity::unique(),
            limits,
            budget: Budget::try_new(limits.max_bytes)?,
            registry,
            engine,
            stacks: Stacks::new(stack),
            walker: RefCell::new(None),
            calls_have_canaries: Cell::new(false),
            has_bare_calls: Cell::new(false),
            reporter: RefCell::new(None),
            observer: RefCell::new(None),
            zeal: Cell::new(false),
            trap: Cell::new(None),
            types: TypeRegistry::new(),
            tables: Arena::new(),
            memories: Arena::new(),
            globals: Arena::new(),
            host_funcs: Arena::new(),
            instances: RefCell::default(),
            code: RefCell::default(),
        })
    }

    /// The identity with which handles are resolved.
    pub(crate) const fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// The id of the store.
    pub(crate) const fn id(&self) -> StoreId {
        self.identity.id()
    }

    /// The type of a function of this store.
    pub(crate) fn type_of(&self, func: &VMFuncRef) -> &FuncType {
        &self.types.entry(func.type_id).ty
    }
}
