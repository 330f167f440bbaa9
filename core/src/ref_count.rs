//! The reference count, and what else its word says.
//!
//! The two top bits tell three states apart:
//!
//! ```text
//! live     0 0 | references, at least 1
//! marked   1 0 | references               while a collection knows the box to be a root
//! dead     1 1 | address of the next dead box, shifted right by two
//! ```
//!
//! Compiled code increments and decrements a live count inline, and never looks at the top bits.
//! Its increment cannot make a dead box live, and its decrement cannot bring a marked count to
//! zero.

use crate::layout::WORD;
use core::cell::Cell;

/// Set in marked counts, and in dead ones.
const MARK: usize = 1 << (usize::BITS - 1);

/// Both set in dead counts only.
const DEAD: usize = MARK | MARK >> 1;

/// The most references that host code may make.
///
/// Host code can forget clones, and so count without end; it is stopped here. Compiled code is
/// not: each of its increments stands for one word of memory that holds the reference, so it adds
/// at most `usize::MAX / WORD`. The sum never reaches [`MARK`]. It could reach the second bit on
/// 32-bit machines only, by filling three quarters of all memory with one reference.
const LIMIT: usize = usize::MAX >> 4;

const _: () = assert!(LIMIT + usize::MAX / WORD < MARK);
const _: () = assert!(WORD < 8 || LIMIT + usize::MAX / WORD < MARK >> 1);

/// A plain, not atomic, count of references.
#[repr(transparent)]
pub(crate) struct RefCount(Cell<usize>);

impl RefCount {
    pub(crate) const fn one() -> Self {
        Self(Cell::new(1))
    }

    /// References to the box; none to a dead one.
    #[inline]
    pub(crate) fn references(&self) -> usize {
        if self.is_dead() {
            return 0;
        }
        self.0.get() & !MARK
    }

    /// Counts one more reference.
    ///
    /// Aborts where the box is dead, and at [`LIMIT`], as `Rc` does.
    #[inline]
    pub(crate) fn increment(&self) {
        let word = self.0.get();
        if word >= LIMIT {
            return self.increment_marked();
        }
        self.0.set(word + 1);
    }

    /// Increments a marked count below the limit; aborts for any other.
    ///
    /// Outside of a collection a mark is what remains of a root that the walker did not show
    /// again: its box is never freed.
    #[cold]
    fn increment_marked(&self) {
        if self.is_dead() {
            abort("use of a freed reference: it was cloned");
        }
        if self.references() >= LIMIT {
            abort("the reference count of a VMExternRef overflowed");
        }
        self.restore();
    }

    /// Counts one reference less, and says whether it was the last.
    ///
    /// A marked count never reaches zero.
    #[inline]
    pub(crate) fn decrement(&self) -> bool {
        let word = self.0.get();
        debug_assert!(word != 0 && !self.is_dead(), "a reference is given up once");
        self.0.set(word.wrapping_sub(1));
        word == 1
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
        let marked = self.is_marked();
        if marked {
            self.0.set(word & !MARK);
        }
        marked
    }

    /// Whether the box has a mark.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.0.get() & DEAD == MARK
    }

    /// Whether the last reference is gone.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.0.get() >= DEAD
    }

    /// Makes the box a dead one, and links it to `next`: an address that is a multiple of 4, or 0.
    #[inline]
    pub(crate) fn kill(&self, next: usize) {
        self.0.set(DEAD | next >> 2);
    }

    /// The address that [`kill`](Self::kill) was given last.
    #[inline]
    pub(crate) fn next_dead(&self) -> usize {
        (self.0.get() & !DEAD) << 2
    }

    /// Takes back what made the box dead. It has no reference then.
    pub(crate) fn revive(&self) {
        self.0.set(0);
    }

    /// Takes back one [`decrement`](Self::decrement).
    pub(crate) fn restore(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

/// Ends the process with a message, also without `std`.
#[cold]
pub(crate) fn abort(message: &str) -> ! {
    abort_with(format_args!("{message}"))
}

/// Ends the process with a message: a panic cannot leave an `extern "C"` function.
#[cold]
#[expect(
    improper_ctypes_definitions,
    reason = "nothing but this crate calls it, and only the ABI's refusal to unwind is wanted"
)]
pub(crate) extern "C" fn abort_with(message: core::fmt::Arguments<'_>) -> ! {
    panic!("{message}");
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

    /// What remains marked is leaked: counting it aborts nothing and frees nothing.
    #[test]
    fn a_marked_count_goes_on_and_never_reaches_zero() {
        let count = RefCount::one();
        count.mark();
        count.increment();
        assert_eq!(count.references(), 2);
        assert!(!count.decrement());
        assert!(!count.decrement());
        assert!(!count.decrement());
    }

    #[test]
    fn a_dead_count_holds_a_link_and_is_never_taken_for_a_root() {
        let count = RefCount::one();
        assert!(count.decrement());
        for next in [0, 4, 0x7fff_fff8, usize::MAX & !3] {
            count.kill(next);
            assert_eq!(count.next_dead(), next);
            assert!(count.is_dead());
            assert_eq!(count.references(), 0);
            assert!(!count.mark());
            assert!(!count.unmark());
        }
        count.revive();
        count.restore();
        assert_eq!((count.references(), count.is_dead()), (1, false));
    }
}
