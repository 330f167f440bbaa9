//! Tables: references at rest, counted exactly.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::offset_of;
use core::ptr::NonNull;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{TableType, TrapCode, VMTable, ValType};

use crate::buffer::Buffer;
use crate::error::AccessError;
use crate::handle::Handle;
use crate::reference::Reference;
use crate::store::{Store, StoreInner};
use crate::val::Val;

const WORD: usize = size_of::<usize>();

/// A table as the store owns it; compiled code knows the address of its first field.
///
/// Each slot of a table of externrefs owns one count. Whatever replaces a reference stores the new one first and
/// drops the old one last, for a destructor may read, write and grow the same table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TableItem {
    vm: VMTable,
    /// Where `vm.base` points to; never borrowed while a reference is dropped.
    slots: RefCell<Buffer>,
    element: ValType,
    minimum: u32,
    /// As declared.
    declared_maximum: Option<u32>,
    /// The least of all limits.
    maximum: u32,
}

const _: () = assert!(offset_of!(TableItem, vm) == 0);

impl TableItem {
    /// A table of nulls.
    pub(crate) fn new(ty: TableType, store_maximum: u32) -> Result<Self, AccessError> {
        if !ty.element.is_ref() || ty.maximum.is_some_and(|maximum| maximum < ty.minimum) {
            return Err(AccessError::InvalidType);
        }
        if ty.minimum > store_maximum {
            return Err(AccessError::LimitReached);
        }
        let table = Self {
            vm: VMTable {
                base: Cell::new(NonNull::dangling().as_ptr()),
                len: Cell::new(0),
            },
            slots: RefCell::new(Buffer::aligned_for::<usize>()),
            element: ty.element,
            minimum: ty.minimum,
            declared_maximum: ty.maximum,
            maximum: ty.maximum.unwrap_or(u32::MAX).min(store_maximum),
        };
        table
            .grow(ty.minimum, &Reference::null(ty.element))
            .ok_or(AccessError::OutOfMemory)?;
        Ok(table)
    }

    /// The type of the elements.
    pub(crate) const fn element(&self) -> ValType {
        self.element
    }

    /// The type, with the present size for a minimum, as linking compares it.
    pub(crate) fn ty(&self) -> TableType {
        TableType {
            element: self.element,
            minimum: self.size(),
            maximum: self.declared_maximum,
        }
    }

    /// How many elements there are.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`grow` keeps the size within `maximum`"
    )]
    pub(crate) fn size(&self) -> u32 {
        self.vm.len.get() as u32
    }

    fn slot(&self, index: u32) -> Option<NonNull<usize>> {
        (index < self.size()).then(|| {
            // SAFETY: the buffer holds `size` words, and `index` is less.
            unsafe { NonNull::new_unchecked(self.vm.base.get().add(index as usize)) }
        })
    }

    /// A copy of one element.
    pub(crate) fn at(&self, index: u32) -> Option<Reference> {
        let slot = self.slot(index)?;
        // SAFETY: every slot is initialized and owns what it refers to, and nothing runs in between.
        Some(unsafe { Reference::clone_from_raw(self.element, slot.read()) })
    }

    /// Puts `value` into a slot, and then drops what was there.
    pub(crate) fn set(&self, index: u32, value: Reference) -> Result<(), TrapCode> {
        let slot = self.slot(index).ok_or(TrapCode::TableOutOfBounds)?;
        // SAFETY: the slot is initialized, and its word owns what it refers to until it is overwritten here.
        let old = unsafe { Reference::from_raw(self.element, slot.replace(value.into_raw())) };
        drop(old);
        Ok(())
    }

    /// Appends `delta` copies of `value` and returns the old size; `None` if that is too much.
    pub(crate) fn grow(&self, delta: u32, value: &Reference) -> Option<u32> {
        let old = self.size();
        let new = old.checked_add(delta).filter(|&new| new <= self.maximum)?;
        self.reserve(new as usize)?;
        if value.as_raw() != 0 {
            for index in old..new {
                // SAFETY: the buffer holds `new` words, and those beyond the old size own nothing.
                unsafe {
                    self.vm
                        .base
                        .get()
                        .add(index as usize)
                        .write(value.clone().into_raw());
                }
            }
        }
        self.vm.len.set(new as usize);
        Some(old)
    }

    /// Makes room for `len` elements in all; those beyond the size are zero.
    fn reserve(&self, len: usize) -> Option<()> {
        let mut slots = self.slots.borrow_mut();
        let needed = len.checked_mul(WORD)?;
        if needed > slots.len() {
            let ample = needed.max(slots.len().saturating_mul(2));
            let ample = ample.min((self.maximum as usize).saturating_mul(WORD));
            let grown = (self.size() != 0 && slots.grow(ample)) || slots.grow(needed);
            grown.then_some(())?;
            self.vm.base.set(slots.base().cast().as_ptr());
        }
        Some(())
    }

    /// Stores copies of `value` into `count` slots.
    pub(crate) fn fill(&self, to: u32, value: &Reference, count: u32) -> Result<(), TrapCode> {
        let range = self.range(to, count)?;
        for index in range {
            self.set(index, value.clone())?;
        }
        Ok(())
    }

    /// Copies elements within a table or between two, as if through a third.
    pub(crate) fn copy(
        &self,
        to: u32,
        source: &Self,
        from: u32,
        count: u32,
    ) -> Result<(), TrapCode> {
        let targets = self.range(to, count)?;
        source.range(from, count)?;
        let step = |target: u32| {
            let value = source.at(target - to + from);
            self.set(target, value.ok_or(TrapCode::TableOutOfBounds)?)
        };
        if to <= from {
            targets.into_iter().try_for_each(step)
        } else {
            targets.into_iter().rev().try_for_each(step)
        }
    }

    /// Stores `count` elements of a segment of `len` elements; `item` makes each of them.
    pub(crate) fn init(
        &self,
        to: u32,
        len: usize,
        from: u32,
        count: u32,
        item: impl Fn(usize) -> Reference,
    ) -> Result<(), TrapCode> {
        let targets = self.range(to, count)?;
        from.checked_add(count)
            .filter(|&end| end as usize <= len)
            .ok_or(TrapCode::TableOutOfBounds)?;
        for target in targets {
            self.set(target, item((target - to + from) as usize))?;
        }
        Ok(())
    }

    fn range(&self, start: u32, count: u32) -> Result<core::ops::Range<u32>, TrapCode> {
        let end = start.checked_add(count).filter(|&end| end <= self.size());
        Ok(start..end.ok_or(TrapCode::TableOutOfBounds)?)
    }
}

impl Drop for TableItem {
    fn drop(&mut self) {
        let null = Reference::null(self.element);
        let _ = self.fill(0, &null, self.size());
    }
}

/// A table of a store: a name that is only good together with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Table(pub(crate) Handle<TableItem>);

impl Table {
    /// A table whose elements are all `initial`.
    ///
    /// # Errors
    ///
    /// An impossible type, a value of another type or store, a size beyond the store's limits, or no memory.
    pub fn new(store: &Store, ty: TableType, initial: &Val) -> Result<Self, AccessError> {
        let initial = initial.to_reference(store.inner(), ty.element)?;
        let table = TableItem::new(ty, store.limits().max_table_elements)?;
        let table = Self::keep(store.inner(), table)?;
        let item = table.item(store)?;
        item.fill(0, &initial, item.size())?;
        Ok(table)
    }

    pub(crate) fn keep(store: &StoreInner, table: TableItem) -> Result<Self, OutOfMemory> {
        let item = store.tables.add(table)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(store.id(), item) }))
    }

    fn item<'s>(&self, store: &'s Store) -> Result<&'s TableItem, AccessError> {
        Ok(self.0.resolve(store.inner())?)
    }

    /// Its type, with the present size for a minimum.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<TableType, AccessError> {
        Ok(self.item(store)?.ty())
    }

    /// How many elements there are.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn size(&self, store: &Store) -> Result<u32, AccessError> {
        Ok(self.item(store)?.size())
    }

    /// One element.
    ///
    /// # Errors
    ///
    /// When there is no such element, or the table belongs to another store.
    pub fn at(&self, store: &Store, index: u32) -> Result<Val, AccessError> {
        let element = self.item(store)?.at(index);
        let element = element.ok_or(AccessError::TableOutOfBounds)?;
        Ok(Val::from_reference(store.inner(), element))
    }

    /// Replaces one element.
    ///
    /// # Errors
    ///
    /// When there is no such element, or the value or the table does not fit.
    pub fn set(&self, store: &Store, index: u32, value: &Val) -> Result<(), AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner(), table.element)?;
        Ok(table.set(index, value)?)
    }

    /// Appends `delta` copies of `value` and returns the old size.
    ///
    /// # Errors
    ///
    /// When a limit is reached or there is no memory, or the value or the table does not fit.
    pub fn grow(&self, store: &Store, delta: u32, value: &Val) -> Result<u32, AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner(), table.element)?;
        table.grow(delta, &value).ok_or(AccessError::LimitReached)
    }

    /// Stores copies of `value` into `count` elements.
    ///
    /// # Errors
    ///
    /// When there are no such elements, or the value or the table does not fit.
    pub fn fill(&self, store: &Store, to: u32, value: &Val, count: u32) -> Result<(), AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner(), table.element)?;
        Ok(table.fill(to, &value, count)?)
    }

    /// Copies `count` elements of `source`, which may be the same table.
    ///
    /// # Errors
    ///
    /// When there are no such elements, or the tables do not fit.
    pub fn copy(
        &self,
        store: &Store,
        to: u32,
        source: &Self,
        from: u32,
        count: u32,
    ) -> Result<(), AccessError> {
        let (table, source) = (self.item(store)?, source.item(store)?);
        if table.element != source.element {
            return Err(AccessError::WrongType {
                expected: table.element,
                found: source.element,
            });
        }
        Ok(table.copy(to, source, from, count)?)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;

    use vmexternref_engine_abi::{TableType, ValType};

    use super::Table;
    use crate::error::AccessError;
    use crate::testing::{Alive, object, store};
    use crate::val::Val;

    const NULL: Val = Val::ExternRef(None);

    fn objects(minimum: u32, maximum: Option<u32>) -> TableType {
        TableType {
            element: ValType::ExternRef,
            minimum,
            maximum,
        }
    }

    #[test]
    fn a_slot_owns_exactly_one_count() {
        let (store, alive) = (store(), Alive::default());
        let val = alive.val();
        let count = || object(&val).unwrap().strong_count();
        let table = Table::new(&store, objects(3, None), &val).unwrap();
        assert_eq!(count(), 4);
        table.set(&store, 1, &NULL).unwrap();
        assert_eq!(count(), 3);
        assert_eq!(table.grow(&store, 2, &val).unwrap(), 3);
        assert_eq!(count(), 5);
        table.fill(&store, 0, &NULL, 5).unwrap();
        assert_eq!(count(), 1);
        table.set(&store, 4, &val).unwrap();
        table.copy(&store, 0, &table, 3, 2).unwrap();
        assert_eq!(count(), 3);
        drop(store);
        assert_eq!(count(), 1);
    }

    #[test]
    fn copies_overlap_in_both_directions() {
        let (store, alive) = (store(), Alive::default());
        let table = Table::new(&store, objects(5, None), &NULL).unwrap();
        let vals = [alive.val(), alive.val(), alive.val()];
        for (index, val) in (0..).zip(&vals) {
            table.set(&store, index, val).unwrap();
        }
        table.copy(&store, 1, &table, 0, 3).unwrap();
        table.copy(&store, 0, &table, 1, 3).unwrap();
        for (index, val) in (0..).zip(&vals) {
            let element = table.at(&store, index).unwrap();
            let (element, val) = (object(&element).unwrap(), object(val).unwrap());
            assert_eq!(element.as_raw(), val.as_raw());
        }
    }

    #[test]
    fn limits_and_bounds_are_errors() {
        let (store, alive) = (store(), Alive::default());
        let val = alive.val();
        let table = Table::new(&store, objects(2, Some(4)), &NULL).unwrap();
        assert_eq!(table.grow(&store, 3, &val), Err(AccessError::LimitReached));
        assert_eq!(
            table.grow(&store, u32::MAX, &val),
            Err(AccessError::LimitReached)
        );
        assert_eq!(
            table.fill(&store, 1, &val, 2),
            Err(AccessError::TableOutOfBounds)
        );
        assert_eq!(
            table.set(&store, 2, &val),
            Err(AccessError::TableOutOfBounds)
        );
        assert_eq!(table.fill(&store, 2, &val, 0), Ok(()));
        let too_large = Table::new(&store, objects(101, None), &NULL);
        assert_eq!(too_large, Err(AccessError::LimitReached));
        let impossible = Table::new(&store, objects(2, Some(1)), &NULL);
        assert_eq!(impossible, Err(AccessError::InvalidType));
        assert_eq!(object(&val).unwrap().strong_count(), 1);
    }

    #[test]
    fn a_destructor_may_grow_and_read_the_table_that_is_being_filled() {
        let (store, alive) = (store(), Alive::default());
        let table = Table::new(&store, objects(3, None), &NULL).unwrap();
        let seen = Rc::new(Cell::new(0));
        for index in 0..3 {
            let (weak, seen) = (store.downgrade(), Rc::clone(&seen));
            let last_words = move || {
                let Some(store) = weak.upgrade() else { return };
                let old = table.grow(&store, 20, &NULL).unwrap();
                assert!(old >= 3);
                assert!(object(&table.at(&store, index).unwrap()).is_none());
                seen.set(seen.get() + 1);
            };
            let val = Val::ExternRef(Some(alive.dying_with(last_words)));
            table.set(&store, index, &val).unwrap();
        }
        table.fill(&store, 0, &NULL, 3).unwrap();
        assert_eq!((seen.get(), alive.count()), (3, 0));
        assert_eq!(table.size(&store), Ok(63));
    }

    #[test]
    fn values_and_tables_of_other_stores_are_refused() {
        let (one, other) = (store(), store());
        let table = Table::new(&one, objects(1, None), &NULL).unwrap();
        assert_eq!(table.size(&other), Err(AccessError::WrongStore));
        let wrong = table.set(&one, 0, &Val::I32(1));
        assert!(matches!(wrong, Err(AccessError::WrongType { .. })));
    }
}
