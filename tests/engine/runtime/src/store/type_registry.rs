//! Store-wide ids of function types.

use crate::heap::Arena;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::FuncType;

/// A function type with an id.
#[derive(Debug)]
pub(crate) struct TypeEntry {
    /// The type.
    pub(crate) ty: FuncType,
    /// An exit trampoline for it; null until a module with one is loaded.
    pub(crate) exit_trampoline: Cell<*const u8>,
}

/// The function types of a store.
#[derive(Debug)]
pub(crate) struct TypeRegistry {
    entries: Arena<TypeEntry>,
    /// The ids, sorted by type.
    sorted: RefCell<Vec<u32>>,
}

impl TypeRegistry {
    /// A registry without types.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Arena::new(),
            sorted: RefCell::new(Vec::new()),
        }
    }

    /// The id of `ty`; a new one if the type is new.
    pub(crate) fn intern(&self, ty: &FuncType) -> Result<u32, OutOfMemory> {
        let mut sorted = self.sorted.borrow_mut();
        let place = sorted.binary_search_by(|&id| self.entry(id).ty.cmp(ty));
        let place = match place {
            Ok(found) => return Ok(sorted[found]),
            Err(place) => place,
        };
        sorted.try_reserve(1).map_err(|_| OutOfMemory(()))?;
        let id = u32::try_from(self.entries.len()).map_err(|_| OutOfMemory(()))?;
        self.entries.add(TypeEntry {
            ty: ty.clone(),
            exit_trampoline: Cell::new(ptr::null()),
        })?;
        sorted.insert(place, id);
        Ok(id)
    }

    /// The entry of that id.
    ///
    /// # Panics
    ///
    /// When the id is not from [`intern`](Self::intern).
    pub(crate) fn entry(&self, id: u32) -> &TypeEntry {
        let entry: NonNull<TypeEntry> = self
            .entries
            .at(id as usize)
            .expect("every id comes from this registry");
        // SAFETY: entries stay in place until the registry is dropped, and the registry is
        // borrowed.
        unsafe { entry.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::TypeRegistry;
    use vmexternref_engine_abi::{FuncType, ValType};

    #[test]
    fn equal_types_have_one_id() {
        let registry = TypeRegistry::new();
        let unary = FuncType::new([ValType::I32], []);
        let binary = FuncType::new([ValType::I32, ValType::ExternRef], [ValType::F64]);
        let id = registry.intern(&unary).unwrap();
        assert_ne!(registry.intern(&binary).unwrap(), id);
        assert_eq!(registry.intern(&unary.clone()).unwrap(), id);
        assert_eq!(registry.entry(id).ty, unary);
    }
}
