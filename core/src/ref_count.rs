//! The reference count, and what a collection keeps in it.
//!
//! The word is in one of three states:
//!
//! ```text
//! live     0 | references, at least 1        any time
//! marked   1 | references                    only inside a collection, while no other code runs
//! dead     address of the next dead box      after the last reference went to a `Garbage` list
//! ```
//!
//! Compiled code increments and decrements the word inline without looking at
//! the top bit, so it must never run while a count is marked.

use core::cell::Cell;

/// The top bit: set while a collection knows the box to be a root.
const MARK: usize = 1 << (usize::BITS - 1);

/// The most references that host code may make.
///
/// Host code can forget clones, and so count without end; it is stopped here.
/// Compiled code is not: each of its increments stands for one word of memory
/// that holds the reference, so it can add at most `usize::MAX / WORD` to
/// what host code made, and the sum stays below [`MARK`].
const LIMIT: usize = usize::MAX >> 2;

const _: () = assert!(LIMIT + usize::MAX / crate::layout::WORD < MARK);

/// A plain, not atomic, count of references.
#[repr(transparent)]
pub(crate) struct RefCount(Cell<usize>);

impl RefCount {
    pub(crate) const fn one() -> Self {
        Self(Cell::new(1))
    }

    pub(crate) fn references(&self) -> usize {
        self.0.get() & !MARK
    }

    /// Counts one more reference; aborts at [`LIMIT`], as `Rc` does.
    #[inline]
    pub(crate) fn increment(&self) {
        let references = self.0.get();
        if references >= LIMIT {
            abort_overflow();
        }
        self.0.set(references + 1);
    }

    /// Counts one reference less, and says whether it was the last.
    #[inline]
    pub(crate) fn decrement(&self) -> bool {
        let references = self.0.get();
        debug_assert!(
            references != 0 && references & MARK == 0,
            "a reference is given up once, and never while a collection marks"
        );
        self.0.set(references.wrapping_sub(1));
        references == 1
    }

    /// Sets the mark, and says whether it was clear.
    #[inline]
    pub(crate) fn mark(&self) -> bool {
        let word = self.0.get();
        let unmarked = word & MARK == 0;
        // A reference that many frames share is written once.
        if unmarked {
            self.0.set(word | MARK);
        }
        unmarked
    }

    /// Clears the mark, and says whether it was set.
    #[inline]
    pub(crate) fn unmark(&self) -> bool {
        let word = self.0.get();
        let marked = word & MARK != 0;
        if marked {
            self.0.set(word & !MARK);
        }
        marked
    }

    /// Turns the count of a dead box into a link.
    #[inline]
    pub(crate) fn link(&self, next: usize) {
        self.0.set(next);
    }

    /// The link of a dead box.
    #[inline]
    pub(crate) fn linked(&self) -> usize {
        self.0.get()
    }
}

/// A panic cannot leave an `extern "C"` function: it aborts, also without `std`.
#[cold]
extern "C" fn abort_overflow() -> ! {
    panic!("the reference count of a VMExternRef overflowed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_to_the_last_reference() {
        let count = RefCount::one();
        count.increment();
        assert_eq!(count.references(), 2);
        assert!(!count.decrement());
        assert!(count.decrement());
    }

    #[test]
    fn a_mark_leaves_the_count_alone() {
        let count = RefCount::one();
        assert!(count.mark());
        assert!(!count.mark());
        assert_eq!(count.references(), 1);
        assert!(count.unmark());
        assert!(!count.unmark());
        assert_eq!(count.references(), 1);
    }
}
