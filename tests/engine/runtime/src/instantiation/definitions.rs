//! The tables, memories and globals that a module defines.

use crate::error::{AccessError, InstantiateError};
use crate::heap::{Owned, try_collect, try_with_capacity};
use crate::item::{ConstScope, GlobalItem, MemoryItem, TableItem};
use crate::store::{Limits, StoreInner};
use crate::value::Reference;
use alloc::vec::Vec;
use core::ptr::NonNull;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{
    CompiledModule, GlobalDefinition, MemoryType, TableType, VMFuncRef, VMGlobal,
};

/// Tables, memories and globals that no store owns yet.
pub(crate) struct Definitions {
    pub(crate) tables: Vec<Owned<TableItem>>,
    pub(crate) memories: Vec<Owned<MemoryItem>>,
    pub(crate) globals: Vec<Owned<GlobalItem>>,
}

impl Definitions {
    /// Makes everything that `compiled` defines, except its functions, which exist already.
    pub(crate) fn new(
        store: &StoreInner,
        compiled: &CompiledModule,
        imported: &[NonNull<GlobalItem>],
        functions: &[VMFuncRef],
    ) -> Result<Self, InstantiateError> {
        let globals = imported
            .iter()
            .map(|global| global.as_ptr().cast_const().cast::<VMGlobal>());
        let scope = ConstScope {
            functions,
            globals: &try_collect(imported.len(), globals)?,
        };
        Ok(Self {
            tables: make_all(&compiled.tables, |&ty| make_table(store, ty))?,
            memories: make_all(&compiled.memories, |&ty| make_memory(store, ty))?,
            globals: make_all(&compiled.globals, |global| Ok(make_global(scope, global)))?,
        })
    }

    /// Moves everything to the store, or nothing if there is no memory.
    pub(crate) fn keep(self, store: &StoreInner) -> Result<(), OutOfMemory> {
        store.tables.reserve(self.tables.len())?;
        store.memories.reserve(self.memories.len())?;
        store.globals.reserve(self.globals.len())?;
        for table in self.tables {
            store.tables.keep(table)?;
        }
        for memory in self.memories {
            store.memories.keep(memory)?;
        }
        for global in self.globals {
            store.globals.keep(global)?;
        }
        Ok(())
    }
}

fn make_all<D, T>(
    definitions: &[D],
    make: impl Fn(&D) -> Result<T, InstantiateError>,
) -> Result<Vec<Owned<T>>, InstantiateError> {
    let mut items = try_with_capacity(definitions.len())?;
    for definition in definitions {
        let item = Owned::try_new(make(definition)?);
        items.push(item.map_err(|_| OutOfMemory(()))?);
    }
    Ok(items)
}

fn make_table(store: &StoreInner, ty: TableType) -> Result<TableItem, InstantiateError> {
    let limits = &store.limits;
    let table = TableItem::new(ty, limits.max_table_elements, &store.budget);
    table.map_err(|error| match error {
        AccessError::LimitReached => InstantiateError::TableLimit {
            elements: ty.minimum,
        },
        other => of_all(limits, other),
    })
}

fn make_memory(store: &StoreInner, ty: MemoryType) -> Result<MemoryItem, InstantiateError> {
    let limits = &store.limits;
    let memory = MemoryItem::new(ty, limits.max_memory_pages, &store.budget);
    memory.map_err(|error| match error {
        AccessError::LimitReached => InstantiateError::MemoryLimit { pages: ty.minimum },
        other => of_all(limits, other),
    })
}

/// Why a table or memory of a valid type, and within the limit for one, could not be made.
fn of_all(limits: &Limits, error: AccessError) -> InstantiateError {
    match error {
        AccessError::StoreLimitReached => InstantiateError::StoreLimit {
            bytes: limits.max_bytes,
        },
        _ => InstantiateError::OutOfMemory,
    }
}

fn make_global(scope: ConstScope<'_>, global: &GlobalDefinition) -> GlobalItem {
    if !global.ty.value.is_ref() {
        // SAFETY: the scope holds globals of this store, which keeps them.
        let bits = unsafe { scope.evaluate(global.init) };
        return GlobalItem::new(global.ty, bits);
    }
    // SAFETY: the scope holds globals of this store, which keeps them.
    let word = unsafe { scope.word(global.init) };
    // SAFETY: `check` found the constant to be of the global's type, and an imported global keeps
    // its object alive.
    let value = unsafe { Reference::clone_from_raw(global.ty.value, word) };
    GlobalItem::new(global.ty, value.into_raw() as u64)
}
