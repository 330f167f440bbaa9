//! Live references of which no entry of the table knows.

use crate::activations_table::VMExternRefActivationsTable;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::fault::{Fault, Root};
use core::ptr;

/// Roots that can be kept; the others are leaked.
const KEPT: usize = 16;

/// The boxes that are marked still when the marks of all entries were taken off.
///
/// A second walk takes their marks off and counts a reference to each, which owns it from then on.
/// Whatever the walker shows this time, no count becomes too low: a box that it does not show again
/// keeps its mark, and is never freed.
pub(crate) struct LostRoots {
    kept: [Option<(Root, VMExternRef)>; KEPT],
    /// Boxes whose mark was taken off.
    found: usize,
    /// Boxes that got a reference, for which there was no room.
    leaked: usize,
}

impl LostRoots {
    pub(crate) const fn new() -> Self {
        Self {
            kept: [const { None }; KEPT],
            found: 0,
            leaked: 0,
        }
    }

    /// Takes the mark off the box of `root`, and says whether it had one.
    ///
    /// # Safety
    ///
    /// If the word is aligned, a box is there.
    pub(crate) unsafe fn pass_over(&mut self, root: Root) -> bool {
        let marked = VMExternData::can_be_at(root.word) && {
            // SAFETY: the caller guarantees a box.
            unsafe { VMExternData::at(root.word) }.ref_count().unmark()
        };
        self.found += usize::from(marked);
        marked
    }

    /// Takes the mark off the box of `root`, and counts a reference to it, if it had one.
    ///
    /// # Safety
    ///
    /// If the word is aligned, a box is there.
    #[inline(never)]
    pub(crate) unsafe fn take(&mut self, root: Root) {
        // SAFETY: the caller guarantees a box, and a marked one is alive.
        let reference = unsafe {
            if !self.pass_over(root) {
                return;
            }
            VMExternData::at(root.word).ref_count().restore();
            VMExternRef::from_raw(ptr::with_exposed_provenance_mut(root.word))
        };
        match self.kept.get_mut(self.found - 1) {
            Some(free) => *free = Some((root, reference)),
            None => {
                self.leaked += 1;
                core::mem::forget(reference);
            }
        }
    }

    /// Inserts what was taken into `table`, and reports it, and what is leaked of `missing` roots.
    ///
    /// It runs loggers and allocators: nothing has a mark but what the second walk did not show.
    pub(crate) fn keep(mut self, table: &VMExternRefActivationsTable, missing: usize) {
        for (root, reference) in self.kept.into_iter().flatten() {
            log::error!("externref gc: {root} {}", Fault::NotInTable);
            if let Err(reference) = table.try_insert_without_gc(reference) {
                self.leaked += 1;
                core::mem::forget(reference);
            }
        }
        let leaked = self.leaked + missing.saturating_sub(self.found);
        if leaked != 0 {
            log::error!(
                "externref gc: {leaked} roots cannot be kept there, they will never be freed"
            );
        }
    }
}
