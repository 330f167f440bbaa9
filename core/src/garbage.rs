//! Dead boxes, waiting for their destructors.

use crate::extern_ref::{DeadBox, VMExternData, VMExternRef};
use core::any::Any;
use core::fmt;
use core::iter;
use core::marker::PhantomData;
use core::mem;

/// The boxes whose last reference a collection released; dropping it frees them.
///
/// A host that must bound its pauses gets it from [`collect`](crate::collect) and calls
/// [`release`](Self::release) whenever it has time. The list needs no memory of its own: it links
/// the boxes through their counts, which dead boxes do not need.
///
/// ```text
/// oldest --> [ count: next ] --> [ count: next ] --> [ count: 0 ] <-- youngest
/// ```
///
/// Destructors may do anything, collect again included. If one panics, the others still run while
/// the panic unwinds.
///
/// A destructor that drops the last reference to another box destroys that, too, within the same
/// slice and on top of its own stack frame. Where guests can make long chains of boxes, use traced
/// ones: a [`CycleCollector`](crate::CycleCollector) bounds how deep their destructors nest.
///
/// ```
/// use vmexternref_core::*;
///
/// let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
/// for number in 0..1000 {
///     table.insert_without_gc(VMExternRef::new(number));
/// }
/// // SAFETY: no compiled code runs, so that there are no frames to visit.
/// let (_, mut garbage) = unsafe {
///     collect(&registry, &table, &RecordedWalker::new(vec![], WalkEnd::Complete))
/// };
/// assert_eq!(garbage.release(100), 100); // a slice now,
/// assert_eq!(garbage.len(), 900);
/// drop(garbage); // and the rest at once
/// ```
#[must_use = "dropping it runs destructors, which may take long"]
pub struct Garbage {
    /// Addresses of dead boxes; 0 if there is none.
    oldest: usize,
    youngest: usize,
    len: usize,
    /// The boxes belong to one thread.
    one_thread: PhantomData<VMExternRef>,
}

impl Garbage {
    pub(crate) const fn new() -> Self {
        Self {
            oldest: 0,
            youngest: 0,
            len: 0,
            one_thread: PhantomData,
        }
    }

    /// Dead boxes that still wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no box waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The dead boxes, oldest first: the word that frames held, and the value.
    pub fn boxes(&self) -> impl Iterator<Item = (usize, &dyn Any)> {
        let mut next = self.oldest;
        iter::from_fn(move || {
            let word = next;
            // SAFETY: the box waits in the list, which is borrowed.
            let dead = unsafe { DeadBox::at(word) }?;
            next = dead.ref_count().next_dead();
            // SAFETY: nothing destroys the value while the list is borrowed.
            Some((word, unsafe { dead.value() }))
        })
    }

    /// Destroys the oldest boxes, `at_most` of them, and returns how many it destroyed.
    ///
    /// # Panics
    ///
    /// If a destructor panics. Its own box is gone then, and the others still wait.
    pub fn release(&mut self, at_most: usize) -> usize {
        let mut released = 0;
        while released < at_most {
            let Some(dead) = self.pop() else { break };
            released += 1;
            dead.destroy();
        }
        released
    }

    /// Lets the boxes of `younger` wait behind those that wait here, in constant time.
    ///
    /// ```
    /// use vmexternref_core::*;
    ///
    /// # let table = VMExternRefActivationsTable::new();
    /// let mut collect = |number: u32| {
    ///     table.insert_without_gc(VMExternRef::new(number));
    ///     // SAFETY: there is no Wasm.
    ///     unsafe { table.clear() }
    /// };
    /// let mut waiting = collect(1);
    /// waiting.append(collect(2));
    /// assert_eq!((waiting.len(), waiting.release(2)), (2, 2));
    /// ```
    pub fn append(&mut self, younger: Self) {
        let younger = mem::ManuallyDrop::new(younger);
        if younger.is_empty() {
            return;
        }
        self.link(younger.oldest, younger.youngest);
        self.len += younger.len;
    }

    /// Gives up `reference`; if it was the last one, the box joins the list.
    #[inline]
    pub(crate) fn give_up(&mut self, reference: VMExternRef) {
        if let Some(dead) = reference.release() {
            self.push(dead);
        }
    }

    /// Lets a dead box wait in the list.
    #[inline]
    pub(crate) fn push(&mut self, dead: DeadBox) {
        dead.ref_count().kill(0);
        let address = dead.into_address();
        self.link(address, address);
        self.len += 1;
    }

    /// Links dead boxes, which are linked with each other, behind those that wait.
    #[inline]
    fn link(&mut self, oldest: usize, youngest: usize) {
        match mem::replace(&mut self.youngest, youngest) {
            0 => self.oldest = oldest,
            // SAFETY: the box waits in the list, which alone uses its count.
            before => unsafe { VMExternData::at(before) }.ref_count().kill(oldest),
        }
    }

    /// Makes every box live again, with no reference.
    pub(crate) fn revive(mut self) {
        while let Some(dead) = self.pop() {
            dead.ref_count().revive();
        }
    }

    fn pop(&mut self) -> Option<DeadBox> {
        // SAFETY: `oldest` was given up when its box joined the list, and it is replaced below.
        let dead = unsafe { DeadBox::at(self.oldest) }?;
        self.oldest = dead.ref_count().next_dead();
        if self.oldest == 0 {
            self.youngest = 0;
        }
        self.len -= 1;
        Some(dead)
    }
}

/// Goes on with the rest if a destructor panics.
struct ReleaseAll<'g>(&'g mut Garbage);

impl Drop for ReleaseAll<'_> {
    fn drop(&mut self) {
        self.0.release(usize::MAX);
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        let rest = ReleaseAll(self);
        rest.0.release(usize::MAX);
        mem::forget(rest);
    }
}

impl fmt::Debug for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Garbage")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    struct Logs(Rc<RefCell<Vec<u32>>>, u32);

    impl Drop for Logs {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
            assert_ne!(self.1, 13, "unlucky");
        }
    }

    fn garbage(log: &Rc<RefCell<Vec<u32>>>, numbers: &[u32]) -> Garbage {
        let mut garbage = Garbage::new();
        for &number in numbers {
            garbage.give_up(VMExternRef::new(Logs(log.clone(), number)));
        }
        garbage
    }

    #[test]
    fn releases_in_slices_oldest_first() {
        let log = Rc::default();
        let mut garbage = garbage(&log, &[1, 2, 3, 4, 5]);
        assert_eq!(garbage.release(2), 2);
        assert_eq!((log.borrow().as_slice(), garbage.len()), (&[1, 2][..], 3));
        garbage.give_up(VMExternRef::new(Logs(log.clone(), 6)));
        drop(garbage);
        assert_eq!(*log.borrow(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_list_can_run_empty_and_fill_again() {
        let log = Rc::default();
        let mut garbage = garbage(&log, &[1]);
        assert_eq!(garbage.release(9), 1);
        assert!(garbage.is_empty());
        garbage.give_up(VMExternRef::new(Logs(log.clone(), 2)));
        assert_eq!(garbage.release(9), 1);
        assert_eq!(*log.borrow(), [1, 2]);
    }

    #[test]
    fn lists_are_joined_in_order() {
        let log = Rc::default();
        let mut joined = garbage(&log, &[]);
        for numbers in [&[][..], &[1, 2], &[], &[3]] {
            joined.append(garbage(&log, numbers));
        }
        assert_eq!(joined.len(), 3);
        joined.give_up(VMExternRef::new(Logs(log.clone(), 4)));
        assert!(log.borrow().is_empty(), "nothing was released");
        drop(joined);
        assert_eq!(*log.borrow(), [1, 2, 3, 4]);
    }

    #[test]
    fn references_held_elsewhere_stay() {
        let log = Rc::default();
        let held = VMExternRef::new(Logs(Rc::clone(&log), 1));
        let mut garbage = Garbage::new();
        garbage.give_up(held.clone());
        assert!(garbage.is_empty());
        assert_eq!((held.strong_count(), log.borrow().len()), (1, 0));
    }

    #[test]
    fn a_panic_does_not_stop_the_others() {
        let log = Rc::default();
        let garbage = garbage(&log, &[1, 13, 2, 3]);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(garbage))).is_err());
        assert_eq!(*log.borrow(), [1, 13, 2, 3]);
    }

    #[test]
    fn a_panic_in_a_slice_leaves_the_rest() {
        let log = Rc::default();
        let mut garbage = garbage(&log, &[13, 2]);
        assert!(catch_unwind(AssertUnwindSafe(|| garbage.release(2))).is_err());
        assert_eq!(garbage.release(2), 1);
        assert_eq!(*log.borrow(), [13, 2]);
    }
}
