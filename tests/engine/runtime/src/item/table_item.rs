//! Tables: references at rest, counted exactly.

use crate::error::{AccessError, OutsideTable};
use crate::heap::{Budget, Buffer};
use crate::value::Reference;
use core::cell::{Cell, RefCell};
use core::mem::offset_of;
use core::ops::Range;
use core::ptr::NonNull;
use vmexternref_engine_abi::{TableType, VMTable, ValType};

const WORD: usize = size_of::<usize>();

/// A table as the store owns it.
///
/// Compiled code knows the address of its first field. Each slot of a table of externrefs owns one
/// count. Methods that replace a reference store the new one first and drop the old one last: a
/// destructor may read, write and grow the same table.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TableItem {
    vm: VMTable,
    /// The target of `vm.base`; never borrowed while a reference is dropped.
    slots: RefCell<Buffer>,
    element: ValType,
    /// The maximum of its type.
    declared_maximum: Option<u32>,
    /// The least of all limits.
    maximum: u32,
}

const _: () = assert!(offset_of!(TableItem, vm) == 0);

impl TableItem {
    /// A table of nulls, which takes its bytes from `budget`.
    pub(crate) fn new(
        ty: TableType,
        store_maximum: u32,
        budget: &Budget,
    ) -> Result<Self, AccessError> {
        if !ty.is_valid() {
            return Err(AccessError::InvalidType);
        }
        let table = Self {
            vm: VMTable {
                base: Cell::new(NonNull::dangling().as_ptr()),
                len: Cell::new(0),
            },
            slots: RefCell::new(Buffer::aligned_for::<usize>(budget.clone())),
            element: ty.element,
            declared_maximum: ty.maximum,
            maximum: ty.maximum.unwrap_or(u32::MAX).min(store_maximum),
        };
        table.grow(ty.minimum, &Reference::null(ty.element))?;
        Ok(table)
    }

    /// The type of the elements.
    pub(crate) const fn element(&self) -> ValType {
        self.element
    }

    /// Its type; the minimum is the current size, which imports are matched with.
    pub(crate) fn ty(&self) -> TableType {
        TableType {
            element: self.element,
            minimum: self.size(),
            maximum: self.declared_maximum,
        }
    }

    /// The number of elements.
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
        // SAFETY: every slot is initialized and owns its reference, and no other code runs in
        // between.
        Some(unsafe { Reference::clone_from_raw(self.element, slot.read()) })
    }

    /// Stores `value` in a slot, and then drops the old reference.
    pub(crate) fn set(&self, index: u32, value: Reference) -> Result<(), OutsideTable> {
        let slot = self.slot(index).ok_or(OutsideTable)?;
        // SAFETY: the slot is initialized, and its word owns its reference until it is overwritten
        // here.
        let old = unsafe { Reference::from_raw(self.element, slot.replace(value.into_raw())) };
        drop(old);
        Ok(())
    }

    /// Appends `delta` copies of `value` and returns the old size.
    pub(crate) fn grow(&self, delta: u32, value: &Reference) -> Result<u32, AccessError> {
        let old = self.size();
        let new = old.checked_add(delta).filter(|&new| new <= self.maximum);
        let new = new.ok_or(AccessError::LimitReached)?;
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
        Ok(old)
    }

    /// Makes room for `len` elements in all. The elements beyond the size are zero.
    fn reserve(&self, len: usize) -> Result<(), AccessError> {
        let mut slots = self.slots.borrow_mut();
        let needed = len.checked_mul(WORD).ok_or(AccessError::OutOfMemory)?;
        if needed > slots.len() {
            let ample = needed.max(slots.len().saturating_mul(2));
            let ample = ample.min((self.maximum as usize).saturating_mul(WORD));
            if self.size() == 0 || slots.grow(ample).is_err() {
                slots.grow(needed)?;
            }
            self.vm.base.set(slots.base().cast().as_ptr());
        }
        Ok(())
    }

    /// Stores copies of `value` into `count` slots.
    pub(crate) fn fill(&self, to: u32, value: &Reference, count: u32) -> Result<(), OutsideTable> {
        for index in self.range(to, count)? {
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
    ) -> Result<(), OutsideTable> {
        let targets = self.range(to, count)?;
        source.range(from, count)?;
        let step = |target: u32| {
            let value = source.at(target - to + from);
            self.set(target, value.ok_or(OutsideTable)?)
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
    ) -> Result<(), OutsideTable> {
        let targets = self.range(to, count)?;
        from.checked_add(count)
            .filter(|&end| end as usize <= len)
            .ok_or(OutsideTable)?;
        for target in targets {
            self.set(target, item((target - to + from) as usize))?;
        }
        Ok(())
    }

    fn range(&self, start: u32, count: u32) -> Result<Range<u32>, OutsideTable> {
        let end = start.checked_add(count).filter(|&end| end <= self.size());
        Ok(start..end.ok_or(OutsideTable)?)
    }
}

impl Drop for TableItem {
    fn drop(&mut self) {
        let null = Reference::null(self.element);
        let filled = self.fill(0, &null, self.size());
        debug_assert_eq!(filled, Ok(()), "a table has its own elements");
    }
}
