//! A value with several owners, as in an `Rc`, which can be made without aborting.
//!
//! ```text
//! Shared, Weak ---> +---------------------------+
//!                   | value, until no Shared is |
//!                   | left                      |
//!                   +---------------------------+
//!                   | strong: how many Shared   |
//!                   +---------------------------+
//!                   | weak: how many Weak, and  |   the last of these frees it
//!                   | one for all Shared        |
//!                   +---------------------------+
//! ```

use crate::heap::fallible::try_box;
use alloc::boxed::Box;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::ops::Deref;
use core::ptr::{self, NonNull};
use vmexternref_core::OutOfMemory;

/// One of the owners of a value, which stays in place.
pub(crate) struct Shared<T> {
    counted: NonNull<Counted<T>>,
    owns: PhantomData<T>,
}

/// Refers to a value without keeping it.
pub(crate) struct Weak<T> {
    counted: NonNull<Counted<T>>,
    owns: PhantomData<T>,
}

#[repr(C)]
struct Counted<T> {
    value: ManuallyDrop<T>,
    strong: Cell<usize>,
    weak: Cell<usize>,
}

impl<T> Shared<T> {
    /// The first owner of `value`, which is dropped when there is no memory.
    pub(crate) fn try_new(value: T) -> Result<Self, OutOfMemory> {
        let counted = try_box(Counted {
            value: ManuallyDrop::new(value),
            strong: Cell::new(1),
            weak: Cell::new(1),
        });
        match counted {
            Ok(counted) => Ok(Self {
                counted: NonNull::from(Box::leak(counted)),
                owns: PhantomData,
            }),
            Err(OutOfMemory(counted)) => {
                drop(ManuallyDrop::into_inner(counted.value));
                Err(OutOfMemory(()))
            }
        }
    }

    /// The address of the value.
    pub(crate) const fn as_ptr(this: &Self) -> *const T {
        const { assert!(offset_of!(Counted<T>, value) == 0) };
        this.counted.as_ptr().cast_const().cast()
    }

    /// An owner that is not counted.
    ///
    /// # Safety
    ///
    /// `value` is from [`as_ptr`](Self::as_ptr), and has an owner for as long as this one exists.
    pub(crate) const unsafe fn borrow_raw(value: *const T) -> ManuallyDrop<Self> {
        // SAFETY: the value begins what the owners count, so the address is not null.
        let counted = unsafe { NonNull::new_unchecked(value.cast_mut().cast()) };
        ManuallyDrop::new(Self {
            counted,
            owns: PhantomData,
        })
    }

    /// Refers to the same value.
    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        increment(this.weak());
        Weak {
            counted: this.counted,
            owns: PhantomData,
        }
    }

    fn strong(&self) -> &Cell<usize> {
        // SAFETY: an owner keeps the counts.
        unsafe { &(*self.counted.as_ptr()).strong }
    }

    fn weak(&self) -> &Cell<usize> {
        // SAFETY: an owner keeps the counts.
        unsafe { &(*self.counted.as_ptr()).weak }
    }
}

/// Counts one more.
fn increment(count: &Cell<usize>) {
    let more = count.get().checked_add(1);
    count.set(more.expect("fewer handles exist than bytes of address space"));
}

impl<T> Weak<T> {
    /// An owner of the value, if it has one.
    ///
    /// # Panics
    ///
    /// When the count overflows.
    pub(crate) fn upgrade(&self) -> Option<Shared<T>> {
        // SAFETY: a weak reference keeps the counts.
        let strong = unsafe { &(*self.counted.as_ptr()).strong };
        (strong.get() != 0).then(|| {
            increment(strong);
            Shared {
                counted: self.counted,
                owns: PhantomData,
            }
        })
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: an owner keeps the value, and only shared references are made to it.
        unsafe { &*Self::as_ptr(self) }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        increment(self.strong());
        Self {
            counted: self.counted,
            owns: PhantomData,
        }
    }
}

impl<T> Clone for Weak<T> {
    fn clone(&self) -> Self {
        // SAFETY: a weak reference keeps the counts.
        increment(unsafe { &(*self.counted.as_ptr()).weak });
        Self {
            counted: self.counted,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let left = self.strong().get() - 1;
        self.strong().set(left);
        if left == 0 {
            // Frees the counts, also when the value's destructor panics.
            let _weak = Weak {
                counted: self.counted,
                owns: PhantomData,
            };
            // SAFETY: no owner is left, and none comes back: the value is dropped once. Weak
            // references look at the counts only.
            unsafe { ptr::drop_in_place(Self::as_ptr(self).cast_mut()) };
        }
    }
}

impl<T> Drop for Weak<T> {
    fn drop(&mut self) {
        // SAFETY: a weak reference keeps the counts.
        let weak = unsafe { &(*self.counted.as_ptr()).weak };
        let left = weak.get() - 1;
        weak.set(left);
        if left == 0 {
            // SAFETY: `try_new` took it from a box, the value is dropped, and nothing else refers
            // to the counts.
            drop(unsafe { Box::from_raw(self.counted.as_ptr()) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Shared, Weak};
    use core::cell::{Cell, RefCell};

    /// Says whether its own weak reference finds it while it is dropped.
    struct Node<'t> {
        own: RefCell<Option<Weak<Self>>>,
        found: &'t Cell<Option<bool>>,
    }

    impl Drop for Node<'_> {
        fn drop(&mut self) {
            assert_eq!(self.found.get(), None, "it is dropped once");
            let own = self.own.take();
            self.found
                .set(Some(own.and_then(|own| own.upgrade()).is_some()));
        }
    }

    #[test]
    fn the_last_owner_drops_the_value() {
        let found = Cell::new(None);
        let first = Shared::try_new(Node {
            own: RefCell::new(None),
            found: &found,
        })
        .unwrap();
        let weak = Shared::downgrade(&first);
        first.own.replace(Some(weak.clone()));
        let second = weak.upgrade().unwrap();
        assert_eq!(Shared::as_ptr(&first), Shared::as_ptr(&second));
        drop(first);
        assert_eq!(found.get(), None);
        drop(second);
        assert_eq!(found.get(), Some(false));
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_borrowed_owner_is_not_counted() {
        let found = Cell::new(None);
        let owner = Shared::try_new(Node {
            own: RefCell::new(None),
            found: &found,
        })
        .unwrap();
        // SAFETY: the owner is dropped last.
        let borrowed = unsafe { Shared::borrow_raw(Shared::as_ptr(&owner)) };
        let counted = Shared::clone(&borrowed);
        drop(owner);
        assert_eq!(found.get(), None);
        drop(counted);
        assert_eq!(found.get(), Some(false));
    }
}
