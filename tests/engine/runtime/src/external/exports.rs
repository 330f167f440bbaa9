//! The exports of an instance.

use crate::external::extern_item::Extern;
use crate::external::global::Global;
use crate::external::memory::Memory;
use crate::external::table::Table;
use crate::item::InstanceItem;
use crate::value::{Func, Handle, StoreId};
use core::ptr::NonNull;
use vmexternref_engine_abi::ExportItem;

impl InstanceItem {
    /// The export of that name.
    pub(crate) fn export(&self, name: &str) -> Option<Extern> {
        let exports = self.module.exports();
        let export = exports.iter().find(|export| export.name == name)?;
        self.exported(export.item)
    }

    /// The item behind an export.
    pub(crate) fn exported(&self, item: ExportItem) -> Option<Extern> {
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
    // SAFETY: the arrays of an instance hold addresses of whole items, and their store keeps these
    // in place.
    Some(unsafe { Handle::new(store, item) })
}
