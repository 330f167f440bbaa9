//! Lists whose items never move.

use crate::heap::fallible::try_reserve;
use crate::heap::owned::Owned;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use vmexternref_core::OutOfMemory;

/// A list that only grows, and whose items never move.
///
/// While the list is borrowed, no item is dropped and no foreign code runs.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    items: RefCell<Vec<Owned<T>>>,
}

impl<T> Arena<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            items: RefCell::new(Vec::new()),
        }
    }

    /// Makes room for `count` items, so that the next `count` calls of [`keep`](Self::keep) do not
    /// fail.
    pub(crate) fn reserve(&self, count: usize) -> Result<(), OutOfMemory> {
        try_reserve(&mut self.items.borrow_mut(), count)
    }

    /// Keeps `item`, or drops it when there is no memory.
    pub(crate) fn keep(&self, item: Owned<T>) -> Result<NonNull<T>, OutOfMemory> {
        self.reserve(1)?;
        let ptr = item.as_ptr();
        self.items.borrow_mut().push(item);
        Ok(ptr)
    }

    /// Moves `item` to the heap and keeps it.
    pub(crate) fn add(&self, item: T) -> Result<NonNull<T>, OutOfMemory> {
        let item = Owned::try_new(item).map_err(|_| OutOfMemory(()))?;
        self.keep(item)
    }

    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// The address of one item.
    pub(crate) fn at(&self, index: usize) -> Option<NonNull<T>> {
        self.items.borrow().get(index).map(Owned::as_ptr)
    }

    /// The address of each item.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = NonNull<T>> {
        (0..).map_while(|index| self.at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;
    use alloc::rc::Rc;

    #[test]
    fn items_stay_in_place_and_are_dropped_once() {
        let value = Rc::new(());
        let arena = Arena::new();
        let first = arena.add(Rc::clone(&value)).unwrap();
        for _ in 0..100 {
            arena.add(Rc::clone(&value)).unwrap();
        }
        assert_eq!(arena.at(0), Some(first));
        assert_eq!(arena.len(), 101);
        assert_eq!(arena.addresses().count(), 101);
        drop(arena);
        assert_eq!(Rc::strong_count(&value), 1);
    }
}
