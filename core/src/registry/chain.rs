//! Chains of boxed values, linked through the values themselves.
//!
//! They need no memory, so that a writer can put values aside while it holds
//! the registry's lock.

use alloc::boxed::Box;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A value that has room for a link to another one.
pub(super) trait Linked: Sized {
    /// The link, which only the owner of the value's chain uses.
    ///
    /// It is atomic because readers of the registry may still share the value.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// Values that others may still read.
#[derive(Debug)]
pub(super) struct Chain<T> {
    first: *mut T,
    len: usize,
}

// SAFETY: a chain is a list of `T`s, to which it gives shared references only.
unsafe impl<T: Send + Sync> Send for Chain<T> {}

impl<T> Chain<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> Chain<T> {
    /// Puts `value` in front.
    ///
    /// # Safety
    ///
    /// `value` points to a live `T` that is in no other chain, and stays alive
    /// until it is popped.
    pub(super) unsafe fn push(&mut self, value: NonNull<T>) {
        // SAFETY: the caller guarantees a live value.
        let link = unsafe { value.as_ref() }.link();
        // Relaxed: whoever owns the chain next gets it through the lock.
        link.store(self.first, Relaxed);
        self.first = value.as_ptr();
        self.len += 1;
    }

    /// Takes the value in front out.
    pub(super) fn pop(&mut self) -> Option<NonNull<T>> {
        let value = NonNull::new(self.first)?;
        // SAFETY: whoever pushed the value guarantees that it lives until now.
        self.first = unsafe { value.as_ref() }.link().load(Relaxed);
        self.len -= 1;
        Some(value)
    }
}

/// Boxes that are nobody else's.
#[derive(Debug)]
pub(super) struct Boxes<T: Linked>(Chain<T>);

impl<T: Linked> Boxes<T> {
    pub(super) const fn new() -> Self {
        Self(Chain::new())
    }

    /// Takes over the values of a chain.
    ///
    /// # Safety
    ///
    /// They came from boxes, and nobody else reads or frees them from now on.
    pub(super) const unsafe fn take_over(chain: Chain<T>) -> Self {
        Self(chain)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, value: Box<T>) {
        let value = NonNull::from(Box::leak(value));
        // SAFETY: the box was nobody else's, so it lives until this chain frees it.
        unsafe { self.0.push(value) }
    }

    pub(super) fn pop(&mut self) -> Option<Box<T>> {
        let value = self.0.pop()?;
        // SAFETY: the value came from a box, and is nobody else's.
        Some(unsafe { Box::from_raw(value.as_ptr()) })
    }
}

impl<T: Linked> Default for Boxes<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> Drop for Boxes<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    struct Value(AtomicPtr<Self>, Rc<u32>);

    impl Linked for Value {
        fn link(&self) -> &AtomicPtr<Self> {
            &self.0
        }
    }

    #[test]
    fn boxes_are_freed_once_each() {
        let alive = Rc::new(7);
        let mut boxes = Boxes::new();
        for _ in 0..3 {
            boxes.push(Box::new(Value(AtomicPtr::default(), alive.clone())));
        }
        assert_eq!((boxes.len(), Rc::strong_count(&alive)), (3, 4));
        let mut chain = Chain::new();
        let taken = NonNull::from(Box::leak(boxes.pop().unwrap()));
        // SAFETY: the value was just taken out of its box, and is nobody else's.
        let mut others = unsafe {
            chain.push(taken);
            Boxes::take_over(chain)
        };
        assert_eq!((boxes.len(), others.len()), (2, 1));
        assert_eq!(*others.pop().unwrap().1, 7);
        assert!(others.pop().is_none());
        drop(boxes);
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}
