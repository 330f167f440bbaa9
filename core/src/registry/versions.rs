//! One published version, and the readers that may still see older ones.
//!
//! ```text
//!               newest --> version 7        recent:  what 7 replaced
//!                                           earlier: what 6 and 5 replaced
//!   readers:   [ 2,          1 ]
//!                |           |
//!     left over from         join here  <-- joining = 1
//!     before the turn
//! ```
//!
//! A reader counts itself in one of two counters, and then loads the newest
//! version. It does not matter in which: `joining` is only a hint, so that one
//! of the counters runs empty although new readers keep coming. The rule is
//!
//! > what a version replaced is freed when each counter was seen empty once
//! > after the version was published.
//!
//! Why that is sound, for a reader that counts itself with `I` and takes itself
//! out with `O`, and a writer that publishes and then finds the reader's
//! counter empty with `E`. All three are read-modify-write operations on one
//! counter, so they have one order, and each reads what the one before it left:
//!
//! 1. If `I` comes after `E`, then `I` (acquire) synchronises with `E`
//!    (release), before which the writer has published: the reader sees this
//!    version or a newer one, and nothing that was replaced before.
//! 2. If `I` comes before `E`, then so does `O`, since `E` found the counter
//!    empty. `E` (acquire) synchronises with `O` (release), before which the
//!    reader has read: whatever it read may be freed.
//!
//! Nobody waits. The file is compiled with `loom` too, by `tests/loom.rs`.

use super::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The newest version, and how many readers there are.
///
/// One cache line, as a reader needs all of it.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Versions<T> {
    newest: AtomicPtr<T>,
    /// The counter that readers join; a writer turns it.
    joining: AtomicUsize,
    readers: [AtomicUsize; 2],
}

/// A reader, from its announcement to its withdrawal.
#[derive(Debug)]
pub(super) struct Reader<'v, T> {
    newest: *const T,
    counter: &'v AtomicUsize,
}

impl<T> Versions<T> {
    /// Nothing published yet: `newest` is null, all numbers are 0.
    pub(super) const fn new(
        newest: AtomicPtr<T>,
        joining: AtomicUsize,
        readers: [AtomicUsize; 2],
    ) -> Self {
        Self {
            newest,
            joining,
            readers,
        }
    }

    /// Announces a reader of the newest version.
    #[inline]
    pub(super) fn read(&self) -> Reader<'_, T> {
        // Relaxed: any answer is right, an old one only keeps a counter from running empty for
        // longer.
        let counter = &self.readers[self.joining.load(Ordering::Relaxed) & 1];
        // Acquire: case 1 above.
        counter.fetch_add(1, Ordering::Acquire);
        // Acquire: what the writer built before it published.
        let newest = self.newest.load(Ordering::Acquire);
        Reader { newest, counter }
    }

    /// The newest version, which is null before the first.
    ///
    /// For writers, one at a time.
    pub(super) fn newest(&self) -> *mut T {
        // Relaxed: a writer published it, and whatever keeps writers apart orders them.
        self.newest.load(Ordering::Relaxed)
    }

    /// Makes `version` what later readers see.
    ///
    /// # Safety
    ///
    /// There is one writer at a time. `version` is null, or points to a value
    /// that stays alive and unchanged, with everything readers reach from it,
    /// until a later [`Retired::settle`] gives it back.
    pub(super) unsafe fn publish(&self, version: *mut T) {
        // Release: everything that was built for readers.
        self.newest.store(version, Ordering::Release);
    }

    /// Lets readers join the other counter, if it is empty.
    ///
    /// For writers, one at a time. Returns whether it was empty.
    fn turn(&self) -> bool {
        let other = (self.joining.load(Ordering::Relaxed) & 1) ^ 1;
        // It writes the counter, and so has a place in the order of its changes; a load would have
        // none.
        // Release: case 1 above. Acquire: case 2.
        let empty = self.readers[other].fetch_add(0, Ordering::AcqRel) == 0;
        if empty {
            self.joining.store(other, Ordering::Relaxed);
        }
        empty
    }
}

impl<T> Reader<'_, T> {
    /// The version that was the newest when the reader came, if any was there.
    #[inline]
    pub(super) fn version(&self) -> Option<&T> {
        // SAFETY: who published the version keeps it alive until this reader has gone.
        unsafe { self.newest.as_ref() }
    }
}

impl<T> Drop for Reader<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: case 2 above.
        self.counter.fetch_sub(1, Ordering::Release);
    }
}

/// What versions replaced, until no reader can see it; a writer's.
#[derive(Debug, Default)]
pub(super) struct Retired<L> {
    /// Replaced since the last turn: neither counter was seen empty since.
    recent: L,
    /// Replaced before the last turn: the counter that readers join was seen empty since.
    earlier: L,
}

impl<L> Retired<L> {
    pub(super) const fn new(recent: L, earlier: L) -> Self {
        Self { recent, earlier }
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> [&L; 2] {
        [&self.recent, &self.earlier]
    }

    /// Where to put what the newest version replaced.
    pub(super) fn recent(&mut self) -> &mut L {
        &mut self.recent
    }
}

impl<L: Default> Retired<L> {
    /// Gives back everything. There must be no reader.
    pub(super) fn take(&mut self) -> [L; 2] {
        let Self { recent, earlier } = core::mem::take(self);
        [recent, earlier]
    }

    /// Gives back what no reader can see any more.
    ///
    /// To be called after what has replaced it was published.
    pub(super) fn settle<T>(&mut self, versions: &Versions<T>) -> [L; 2] {
        [self.settle_once(versions), self.settle_once(versions)]
    }

    #[inline(never)]
    fn settle_once<T>(&mut self, versions: &Versions<T>) -> L {
        if !versions.turn() {
            return L::default();
        }
        let recent = core::mem::take(&mut self.recent);
        core::mem::replace(&mut self.earlier, recent)
    }
}
