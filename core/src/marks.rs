//! The marks of one collection.

use crate::activations_table::VMExternRefActivationsTable;
use crate::extern_ref::VMExternData;
use crate::fault::Fault;
use crate::garbage::Garbage;
use crate::quarantine;

/// The marks that one collection has set on its roots.
///
/// No mark outlives this value, but those on boxes that are in no entry of the table: the sweep
/// and the drop take marks off entry by entry, and say how many were not met.
#[must_use]
pub(crate) struct Marks<'t> {
    table: &'t VMExternRefActivationsTable,
}

/// What a sweep came to.
pub(crate) struct Swept {
    /// Boxes that died.
    pub(crate) garbage: Garbage,
    /// Whether the sweep was taken back, because marks and entries did not agree.
    pub(crate) taken_back: bool,
    /// Boxes that are still marked, because they are in no entry.
    pub(crate) missing: usize,
}

impl<'t> Marks<'t> {
    pub(crate) const fn new(table: &'t VMExternRefActivationsTable) -> Self {
        Self { table }
    }

    /// Marks the box at `word`, and says whether it had no mark.
    ///
    /// # Safety
    ///
    /// If `word` is aligned, a box is there.
    #[inline]
    pub(crate) unsafe fn set(&self, word: usize) -> Result<bool, Fault> {
        if !VMExternData::can_be_at(word) {
            return Err(Fault::Misaligned);
        }
        // SAFETY: the caller guarantees a box.
        let count = unsafe { VMExternData::at(word) }.ref_count();
        if quarantine::CHECKS && count.is_dead() {
            return Err(Fault::Freed);
        }
        Ok(count.mark())
    }

    /// Gives up every entry without a mark, and takes the marks off the others.
    ///
    /// Keeps every entry if the marks that were `set` are not those that were met. With
    /// `foreign_allowed` there may be boxes among the roots that are in no entry.
    pub(crate) fn sweep(self, set: usize, foreign_allowed: bool) -> Swept {
        let this = core::mem::ManuallyDrop::new(self);
        let mut met = 0;
        let swept = this.table.sweep(|marks| {
            met = marks;
            marks == set || (foreign_allowed && marks < set)
        });
        let taken_back = swept.is_err();
        Swept {
            garbage: swept.unwrap_or(Garbage::new()),
            taken_back,
            missing: set.saturating_sub(met),
        }
    }

    /// Takes the marks off, and says how many boxes of those that were `set` are still marked.
    pub(crate) fn take_off(self, set: usize) -> usize {
        let this = core::mem::ManuallyDrop::new(self);
        set.saturating_sub(this.take_off_entries())
    }

    /// Takes the marks off the entries, and says how many there were.
    fn take_off_entries(&self) -> usize {
        let mut met = 0;
        self.table
            .for_each(|entry| met += usize::from(entry.data().ref_count().unmark()));
        met
    }
}

impl Drop for Marks<'_> {
    fn drop(&mut self) {
        self.take_off_entries();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extern_ref::VMExternRef;

    #[test]
    fn no_mark_outlives_the_value() {
        let table = VMExternRefActivationsTable::new();
        let reference = VMExternRef::new(1);
        table.insert_without_gc(reference.clone());
        let mark = |marks: &Marks<'_>| {
            // SAFETY: the word is that of a live box.
            assert_eq!(unsafe { marks.set(reference.as_raw().addr()) }, Ok(true));
            assert!(!reference.data().ref_count().mark(), "it is marked already");
        };
        for end in [
            drop,
            |marks| assert_eq!(Marks::take_off(marks, 1), 0),
            |marks| {
                assert!(!Marks::sweep(marks, 1, false).taken_back);
            },
        ] {
            let marks = Marks::new(&table);
            mark(&marks);
            end(marks);
            assert!(!reference.data().ref_count().unmark());
        }
    }
}
