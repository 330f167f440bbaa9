//! Instances.

use crate::code::Module;
use crate::heap::Owned;
use crate::item::const_scope::ConstScope;
use crate::item::memory_item::MemoryItem;
use crate::item::table_item::TableItem;
use crate::value::StoreId;
use core::cell::Cell;
use core::mem::offset_of;
use vmexternref_engine_abi::{VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMMemory, VMTable};

/// An instance as the store owns it.
///
/// Its address is the `vmctx` of its functions.
#[repr(C)]
pub(crate) struct InstanceItem {
    pub(crate) vm: VMContext,
    pub(crate) store: StoreId,
    pub(crate) module: Module,
    pub(crate) parts: Parts,
}

const _: () = assert!(offset_of!(InstanceItem, vm) == 0);

/// The arrays that a [`VMContext`] points to, and which segments are dropped.
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
    /// `context` belongs to an instance, or is [without one](VMContext::without_instance), and
    /// outlives `'a`.
    pub(crate) unsafe fn from_context<'a>(context: *const VMContext) -> Option<&'a Self> {
        // SAFETY: the caller guarantees a context that is alive.
        let exists = !unsafe { (*context).builtins }.is_null();
        // SAFETY: contexts that have builtins are the first field of an instance, whose address
        // they came from.
        exists.then(|| unsafe { &*context.cast::<Self>() })
    }

    /// A table by its index.
    ///
    /// # Panics
    ///
    /// When the index is out of range, which the compiler and `check` prevent.
    pub(crate) fn table(&self, index: u32) -> &TableItem {
        let table = self.parts.tables[index as usize];
        // SAFETY: the store keeps tables in place, and the array holds addresses of whole
        // `TableItem`s.
        unsafe { &*table.cast::<TableItem>() }
    }

    /// A memory by its index.
    ///
    /// # Panics
    ///
    /// When the index is out of range, which the compiler and `check` prevent.
    pub(crate) fn memory(&self, index: u32) -> &MemoryItem {
        let memory = self.parts.memories[index as usize];
        // SAFETY: the store keeps memories in place, and the array holds addresses of whole
        // `MemoryItem`s.
        unsafe { &*memory.cast::<MemoryItem>() }
    }

    /// The scope of this instance's constant expressions.
    pub(crate) fn scope(&self) -> ConstScope<'_> {
        ConstScope {
            functions: &self.parts.functions,
            globals: &self.parts.globals,
        }
    }
}
