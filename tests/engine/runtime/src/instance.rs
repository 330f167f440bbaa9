//! Instances.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use vmexternref_engine_abi::{
    ExportItem, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMMemory, VMTable,
};

use crate::const_expr::ConstScope;
use crate::extern_item::Extern;
use crate::func::Func;
use crate::global::Global;
use crate::handle::{Handle, StoreId};
use crate::load::Module;
use crate::memory::{Memory, MemoryItem};
use crate::owned::Owned;
use crate::table::{Table, TableItem};

/// An instance as the store owns it; its address is the `vmctx` of its functions.
#[repr(C)]
pub(crate) struct InstanceItem {
    pub(crate) vm: VMContext,
    pub(crate) store: StoreId,
    pub(crate) module: Rc<Module>,
    pub(crate) parts: Parts,
}

/// The arrays that a [`VMContext`] points to, and what only the runtime knows.
pub(crate) struct Parts {
    pub(crate) imports: Owned<[VMFuncImport]>,
    pub(crate) tables: Owned<[*const VMTable]>,
    pub(crate) memories: Owned<[*const VMMemory]>,
    pub(crate) globals: Owned<[*const VMGlobal]>,
    pub(crate) functions: Owned<[VMFuncRef]>,
    pub(crate) dropped_elements: Owned<[Cell<bool>]>,
    pub(crate) dropped_data: Owned<[Cell<bool>]>,
}

impl InstanceItem {
    /// The instance behind a context, if there is one.
    ///
    /// # Safety
    ///
    /// `context` belongs to an instance, or is [without one](VMContext::without_instance), and outlives `'a`.
    pub(crate) unsafe fn from_context<'a>(context: *const VMContext) -> Option<&'a Self> {
        // SAFETY: the caller guarantees a context that is alive.
        let exists = !unsafe { (*context).builtins }.is_null();
        // SAFETY: contexts that have builtins are the first field of an instance, whose address they came from.
        exists.then(|| unsafe { &*context.cast::<Self>() })
    }

    /// A table by its index.
    ///
    /// # Panics
    ///
    /// When the index is out of range; the compiler and `check` see to that.
    pub(crate) fn table(&self, index: u32) -> &TableItem {
        let table = self.parts.tables[index as usize];
        // SAFETY: the store keeps tables in place, and the array holds addresses of whole `TableItem`s.
        unsafe { &*table.cast::<TableItem>() }
    }

    /// A memory by its index.
    ///
    /// # Panics
    ///
    /// When the index is out of range; the compiler and `check` see to that.
    pub(crate) fn memory(&self, index: u32) -> &MemoryItem {
        let memory = self.parts.memories[index as usize];
        // SAFETY: the store keeps memories in place, and the array holds addresses of whole `MemoryItem`s.
        unsafe { &*memory.cast::<MemoryItem>() }
    }

    /// What constant expressions of this instance refer to.
    pub(crate) fn scope(&self) -> ConstScope<'_> {
        ConstScope {
            functions: &self.parts.functions,
            globals: &self.parts.globals,
        }
    }

    /// What the instance exports under that name.
    pub(crate) fn export(&self, name: &str) -> Option<Extern> {
        let exports = self.module.exports();
        let export = exports.iter().find(|export| export.name == name)?;
        self.item(export.item)
    }

    fn item(&self, item: ExportItem) -> Option<Extern> {
        Some(match item {
            ExportItem::Func(index) => Extern::Func(self.func_at(index)?),
            ExportItem::Table(index) => {
                let table = handle(self.store, *self.parts.tables.get(index as usize)?)?;
                Extern::Table(Table(table))
            }
            ExportItem::Memory(index) => Extern::Memory(self.memory_at(index)?),
            ExportItem::Global(index) => {
                let global = handle(self.store, *self.parts.globals.get(index as usize)?)?;
                Extern::Global(Global(global))
            }
        })
    }

    fn func_at(&self, index: u32) -> Option<Func> {
        let func = NonNull::from(self.parts.functions.get(index as usize)?);
        // SAFETY: the store keeps the instance, and the instance its functions, in place.
        Some(Func(unsafe { Handle::new(self.store, func) }))
    }

    /// A memory of the instance.
    pub(crate) fn memory_at(&self, index: u32) -> Option<Memory> {
        let memory = handle(self.store, *self.parts.memories.get(index as usize)?)?;
        Some(Memory(memory))
    }
}

/// Names the item whose first field `vm` is.
fn handle<V, T>(store: StoreId, vm: *const V) -> Option<Handle<T>> {
    let item = NonNull::new(vm.cast::<T>().cast_mut())?;
    // SAFETY: the arrays of an instance hold addresses of whole items, which their store keeps in place.
    Some(unsafe { Handle::new(store, item) })
}

/// An instance of a module.
///
/// A cheap handle; the store keeps the instance itself.
#[derive(Clone)]
pub struct Instance(pub(crate) Rc<InstanceItem>);

impl Instance {
    /// What it exports under that name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Extern> {
        self.0.export(name)
    }

    /// All that it exports, with the names.
    pub fn exports(&self) -> impl Iterator<Item = (&str, Extern)> {
        let exports = self.0.module.exports().iter();
        exports.filter_map(|export| Some((&*export.name, self.0.item(export.item)?)))
    }

    /// The module it is made of.
    #[must_use]
    pub fn module(&self) -> &Rc<Module> {
        &self.0.module
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("vmctx", &Rc::as_ptr(&self.0))
            .finish_non_exhaustive()
    }
}
