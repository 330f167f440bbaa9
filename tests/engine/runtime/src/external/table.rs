//! Tables as the host holds them.

use crate::error::AccessError;
use crate::item::TableItem;
use crate::store::{Store, StoreInner};
use crate::value::{Handle, Val};
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::TableType;

/// A table of a store.
///
/// It names the table, and is valid only together with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Table(pub(crate) Handle<TableItem>);

impl Table {
    /// A table whose elements are all `initial`.
    ///
    /// # Errors
    ///
    /// An impossible type, a value of another type or store, a size beyond the store's limits, or
    /// no memory.
    pub fn new(store: &Store, ty: TableType, initial: &Val) -> Result<Self, AccessError> {
        let initial = initial.to_reference(store.inner().identity(), ty.element)?;
        let limits = store.limits();
        let table = TableItem::new(ty, limits.max_table_elements, &store.inner().budget)?;
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
        Ok(self.0.resolve(store.inner().identity())?)
    }

    /// Its type; the minimum is the current size.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<TableType, AccessError> {
        Ok(self.item(store)?.ty())
    }

    /// The number of elements.
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
        Ok(Val::from_reference(store.inner().id(), element))
    }

    /// Replaces one element.
    ///
    /// # Errors
    ///
    /// When there is no such element, the value has another type, or one of the two belongs to
    /// another store.
    pub fn set(&self, store: &Store, index: u32, value: &Val) -> Result<(), AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner().identity(), table.element())?;
        Ok(table.set(index, value)?)
    }

    /// Appends `delta` copies of `value` and returns the old size.
    ///
    /// # Errors
    ///
    /// When a limit or the host's memory is exhausted, the value has another type, or one of the
    /// two belongs to another store.
    pub fn grow(&self, store: &Store, delta: u32, value: &Val) -> Result<u32, AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner().identity(), table.element())?;
        table.grow(delta, &value)
    }

    /// Stores copies of `value` into `count` elements.
    ///
    /// # Errors
    ///
    /// When there are no such elements, the value has another type, or one of the two belongs to
    /// another store.
    pub fn fill(&self, store: &Store, to: u32, value: &Val, count: u32) -> Result<(), AccessError> {
        let table = self.item(store)?;
        let value = value.to_reference(store.inner().identity(), table.element())?;
        Ok(table.fill(to, &value, count)?)
    }

    /// Copies `count` elements of `source`, which may be the same table.
    ///
    /// # Errors
    ///
    /// When there are no such elements, the types differ, or one of the two belongs to another
    /// store.
    pub fn copy(
        &self,
        store: &Store,
        to: u32,
        source: &Self,
        from: u32,
        count: u32,
    ) -> Result<(), AccessError> {
        let (table, source) = (self.item(store)?, source.item(store)?);
        if table.element() != source.element() {
            return Err(AccessError::WrongType {
                expected: table.element(),
                found: source.element(),
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
    use super::Table;
    use crate::error::AccessError;
    use crate::testing::{Alive, object, store};
    use crate::value::Val;
    use alloc::rc::Rc;
    use core::cell::Cell;
    use vmexternref_engine_abi::{TableType, ValType};

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
