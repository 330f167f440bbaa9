//! A box that may move while raw pointers point into it.

use crate::heap::fallible::{try_box, try_with_capacity};
use alloc::boxed::Box;
use core::any::Any;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use vmexternref_core::OutOfMemory;

/// Owns one heap allocation at a fixed address.
///
/// Moving a `Box` asserts that no other pointer to its contents is used. Compiled code uses some.
pub(crate) struct Owned<T: ?Sized>(NonNull<T>);

impl<T> Owned<T> {
    /// Moves `value` to the heap. Gives it back when there is no memory.
    pub(crate) fn try_new(value: T) -> Result<Self, OutOfMemory<T>> {
        try_box(value).map(Self::from)
    }
}

impl<T: Any> Owned<T> {
    /// Forgets the type of the value.
    pub(crate) const fn erase(self) -> Owned<dyn Any> {
        let value: NonNull<dyn Any> = self.into_ptr();
        Owned(value)
    }
}

impl<T: ?Sized> Owned<T> {
    /// The address, which stays the same until the value is dropped.
    pub(crate) const fn as_ptr(&self) -> NonNull<T> {
        self.0
    }

    const fn into_ptr(self) -> NonNull<T> {
        let ptr = self.0;
        core::mem::forget(self);
        ptr
    }
}

impl<T: ?Sized> From<Box<T>> for Owned<T> {
    fn from(value: Box<T>) -> Self {
        Self(NonNull::from(Box::leak(value)))
    }
}

impl<T: ?Sized> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the pointer comes from a box that this value owns, and only shared references are
        // made to its contents.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer comes from a box.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Collects `len` items, of which there are at least as many.
///
/// Fails instead of aborting when there is no memory.
pub(crate) fn try_collect<T>(
    len: usize,
    items: impl Iterator<Item = T>,
) -> Result<Owned<[T]>, OutOfMemory> {
    let mut collected = try_with_capacity(len)?;
    collected.extend(items.take(len));
    debug_assert_eq!(
        collected.len(),
        len,
        "a shorter list would be allocated again"
    );
    Ok(Owned::from(collected.into_boxed_slice()))
}

#[cfg(test)]
mod tests {
    use super::{Owned, try_collect};
    use alloc::rc::Rc;

    #[test]
    fn a_moved_value_keeps_its_address_and_is_dropped_once() {
        let value = Rc::new(());
        let owned = Owned::try_new(Rc::clone(&value)).ok().unwrap();
        let address = owned.as_ptr();
        let moved = owned;
        assert_eq!(moved.as_ptr(), address);
        assert_eq!(Rc::strong_count(&value), 2);
        drop(moved);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn slices_hold_what_was_collected() {
        let slice = try_collect(3, 1..).unwrap();
        assert_eq!(*slice, [1, 2, 3]);
    }
}
