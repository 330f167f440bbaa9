//! Marking what frames hold, in the references' own counts.

use crate::activations_table::VMExternRefActivationsTable;
use crate::entry_set::EntrySet;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::frame_reader::{Walked, walk_roots};
use crate::registry::Modules;
use crate::walker::StackWalker;
use core::ptr;

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
    let unmark = UnmarkOnUnwind(table);
    let mark = |word| {
        // SAFETY: the caller keeps the contract of `gc`, so a root that was admitted is a box.
        unsafe { data_at(word) }.ref_count().mark()
    };
    // SAFETY: the caller keeps the contract of `gc`.
    let walked = unsafe { walk_roots(modules, table, entries.as_ref(), walker, mark) };
    core::mem::forget(unmark);
    walked
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
        walk_roots(modules, table, None, walker, |word| {
            if !data_at(word).ref_count().unmark() {
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

/// The box at a root.
///
/// # Safety
///
/// A live `VMExternData` is at this address.
unsafe fn data_at<'a>(word: usize) -> &'a VMExternData {
    // SAFETY: the caller guarantees a live box; everything that hands a word to compiled code exposes its provenance.
    unsafe { &*ptr::with_exposed_provenance(word) }
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
