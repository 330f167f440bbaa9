//! Store-wide ids of function types.

use crate::heap::{Arena, Owned, try_collect, try_reserve, try_with_capacity};
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
        Ok(self.intern_all(core::slice::from_ref(ty))?[0])
    }

    /// The ids of all types, in their order.
    pub(crate) fn intern_all(&self, types: &[FuncType]) -> Result<Owned<[u32]>, OutOfMemory> {
        let count = u32::try_from(types.len()).map_err(|_| OutOfMemory(()))?;
        let mut order = try_with_capacity(types.len())?;
        order.extend(0..count);
        sort_by_type(&mut order, &|index| &types[index as usize]);
        try_reserve(&mut self.sorted.borrow_mut(), types.len())?;
        let ids = try_collect(types.len(), types.iter().map(|_| Cell::new(0)))?;
        let known = self.entries.len();
        let added = self.add_sorted(types, &order, &ids);
        // Those that are new are known from now on, also where another one found no memory.
        if self.entries.len() > known {
            sort_by_type(&mut self.sorted.borrow_mut(), &|id| &self.entry(id).ty);
        }
        added?;
        try_collect(ids.len(), ids.iter().map(Cell::get))
    }

    /// Finds or adds types in an order that sorts them, and sets the id of each. New ones end the
    /// list of ids.
    fn add_sorted(
        &self,
        types: &[FuncType],
        order: &[u32],
        ids: &[Cell<u32>],
    ) -> Result<(), OutOfMemory> {
        let mut sorted = self.sorted.borrow_mut();
        let known = sorted.len();
        let mut last = None;
        for &index in order {
            let ty = &types[index as usize];
            let id = match (
                last,
                sorted[..known].binary_search_by(|&id| self.entry(id).ty.cmp(ty)),
            ) {
                (Some((id, same)), _) if same == ty => id,
                (_, Ok(place)) => sorted[place],
                (_, Err(_)) => {
                    let id = self.add(ty)?;
                    sorted.push(id);
                    id
                }
            };
            last = Some((id, ty));
            ids[index as usize].set(id);
        }
        Ok(())
    }

    /// Adds an entry.
    fn add(&self, ty: &FuncType) -> Result<u32, OutOfMemory> {
        let id = u32::try_from(self.entries.len()).map_err(|_| OutOfMemory(()))?;
        self.entries.add(TypeEntry {
            ty: ty.try_clone()?,
            exit_trampoline: Cell::new(ptr::null()),
        })?;
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

/// Sorts numbers by the types that they stand for.
///
/// A sort is large where code is: this one serves both lists.
fn sort_by_type<'t>(numbers: &mut [u32], type_of: &dyn Fn(u32) -> &'t FuncType) {
    numbers.sort_unstable_by(|&one, &other| type_of(one).cmp(type_of(other)));
}

#[cfg(test)]
mod tests {
    use super::TypeRegistry;
    use alloc::vec::Vec;
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

    #[test]
    fn types_that_are_interned_together_have_the_ids_of_equal_ones() {
        let registry = TypeRegistry::new();
        let ty = |number: u32| {
            let param = |at: u32| match number >> at & 1 {
                0 => ValType::ExternRef,
                _ => ValType::I64,
            };
            FuncType::new((0..8).map(param), [])
        };
        let early: Vec<u32> = (0..256)
            .step_by(3)
            .map(|number| registry.intern(&ty(number)).unwrap())
            .collect();
        let twice: Vec<FuncType> = (0..256).rev().chain(0..256).map(ty).collect();
        let ids = registry.intern_all(&twice).unwrap();
        for (number, &id) in (0..256).rev().chain(0..256).zip(ids.iter()) {
            assert_eq!(registry.entry(id).ty, ty(number));
            assert_eq!(registry.intern(&ty(number)).unwrap(), id);
        }
        for (number, id) in (0..256).step_by(3).zip(early) {
            assert_eq!(registry.intern(&ty(number)).unwrap(), id);
        }
    }
}
