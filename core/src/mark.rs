//! Marking what frames hold, in the references' own counts.

use crate::activations_table::VMExternRefActivationsTable;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::frame_reader::{Walked, walk_roots};
use crate::registry::{Modules, mix};
use crate::walker::StackWalker;
use core::ptr;
use hashbrown::HashTable;

/// Walks, and marks the box of each root in its own reference count.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
pub(crate) unsafe fn mark_roots<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> Walked {
    let entries = table.verifies().then(|| EntrySet::new(table));
    let mut untouched = 0;
    let unmark = UnmarkOnUnwind(table);
    // SAFETY: the caller keeps the contract of `gc`.
    let mut walked = unsafe {
        walk_roots(modules, table, walker, |word| {
            if !may_be_box(word, entries.as_ref()) {
                untouched += 1;
                report_stranger(word);
                return false;
            }
            data_at(word).ref_count().mark()
        })
    };
    core::mem::forget(unmark);
    walked.untouched = untouched;
    walked
}

#[cold]
fn report_stranger(word: usize) {
    log::error!("externref gc: root {word:#x} is not in the activations table");
}

/// Walks again, and inserts a clone of each root that is still marked.
///
/// These were in no entry of the table: a contract is broken, and they are
/// kept alive. Says how many references it inserted.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc), and nothing has happened on the stack
/// since [`mark_roots`].
pub(crate) unsafe fn rescue_marked<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> usize {
    // SAFETY: the caller keeps the contract of `gc`.
    let walked = unsafe {
        walk_roots(modules, table, walker, |word| {
            if !may_be_box(word, None) || !data_at(word).ref_count().unmark() {
                return false;
            }
            log::error!("externref gc: root {word:#x} was not in the activations table");
            let clone = VMExternRef::clone_from_raw(ptr::with_exposed_provenance_mut(word));
            if let Err(clone) = table.try_insert_without_gc(clone) {
                log::error!("externref gc: no memory to keep it there, it will never be freed");
                core::mem::forget(clone);
            }
            true
        })
    };
    walked.marks
}

/// The box at a word that [`may_be_box`].
///
/// # Safety
///
/// A live `VMExternData` is at this address.
unsafe fn data_at<'a>(word: usize) -> &'a VMExternData {
    // SAFETY: the caller guarantees a live box; everything that hands a word to compiled code exposes its provenance.
    unsafe { &*ptr::with_exposed_provenance(word) }
}

/// Whether a root can be the address of a box, as far as can be told.
#[inline]
fn may_be_box(word: usize, entries: Option<&EntrySet<'_>>) -> bool {
    word.is_multiple_of(align_of::<VMExternData>())
        && entries.is_none_or(|entries| entries.contains(word))
}

/// Takes the marks off a table's entries if a walker panics.
struct UnmarkOnUnwind<'t>(&'t VMExternRefActivationsTable);

impl Drop for UnmarkOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.for_each(|entry| {
            entry.data().ref_count().unmark();
        });
    }
}

/// The addresses of a table's entries.
struct EntrySet<'t> {
    table: &'t VMExternRefActivationsTable,
    /// `None` without memory: then each question goes through the table.
    set: Option<HashTable<usize>>,
}

impl<'t> EntrySet<'t> {
    fn new(table: &'t VMExternRefActivationsTable) -> Self {
        let mut set = HashTable::new();
        let hash = |&word: &usize| mix(word as u64);
        if set.try_reserve(table.len(), hash).is_err() {
            return Self { table, set: None };
        }
        table.for_each(|entry| {
            let word = entry.as_raw().addr();
            let _ = set
                .entry(hash(&word), |&other| other == word, hash)
                .or_insert(word);
        });
        Self {
            table,
            set: Some(set),
        }
    }

    fn contains(&self, word: usize) -> bool {
        if let Some(set) = &self.set {
            return set.find(mix(word as u64), |&other| other == word).is_some();
        }
        let mut found = false;
        self.table
            .for_each(|entry| found |= entry.as_raw().addr() == word);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_memory_the_table_itself_answers() {
        let table = VMExternRefActivationsTable::new();
        let inside = VMExternRef::new(1);
        table.insert_without_gc(inside.clone());
        for set in [
            EntrySet::new(&table),
            EntrySet {
                table: &table,
                set: None,
            },
        ] {
            assert!(set.contains(inside.as_raw().addr()));
            assert!(!set.contains(VMExternRef::new(2).as_raw().addr()));
        }
    }
}
