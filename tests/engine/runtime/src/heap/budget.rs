//! The bytes that a store may take.

use crate::heap::shared::Shared;
use core::cell::Cell;
use vmexternref_core::OutOfMemory;

/// Bytes that buffers may still take together; clones are one budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Shared<Cell<usize>>);

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn try_new(bytes: usize) -> Result<Self, OutOfMemory> {
        Shared::try_new(Cell::new(bytes)).map(Self)
    }

    /// Takes `bytes`, or nothing if there are not so many.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        if let Some(left) = left {
            self.0.set(left);
        }
        left.is_some()
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}
