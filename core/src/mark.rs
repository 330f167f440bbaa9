//! Walking: which references do frames hold, and can the walk be trusted?

use crate::activations_table::VMExternRefActivationsTable;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::layout::WORD;
use crate::registry::{Found, Modules, mix};
use crate::walker::{Frame, StackWalker, WalkEnd};
use core::ops::ControlFlow;
use core::ptr;
use hashbrown::HashTable;

/// What one walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    pub(crate) end: WalkEnd,
    pub(crate) frames: usize,
    pub(crate) wasm_frames: usize,
    /// Live words that were not null.
    pub(crate) roots: usize,
    /// Boxes that were not marked before.
    pub(crate) marks: usize,
    /// Roots that cannot be references of this table, and were not touched.
    pub(crate) untouched: usize,
    /// Whether the walk passed the stack canary.
    pub(crate) covered: bool,
    /// Whether a frame with live references did not tell where they are.
    pub(crate) unreadable: bool,
}

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
    let mut marks = 0;
    let mut untouched = 0;
    let unmark = UnmarkOnUnwind(table);
    // SAFETY: the caller keeps the contract of `gc`.
    let mut walked = unsafe {
        walk_roots(modules, table, walker, |word| {
            if !may_be_box(word, entries.as_ref()) {
                untouched += 1;
                log::error!("externref gc: root {word:#x} is not in the activations table");
                return;
            }
            marks += usize::from(data_at(word).ref_count().mark());
        })
    };
    core::mem::forget(unmark);
    walked.marks = marks;
    walked.untouched = untouched;
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
    let mut rescued = 0;
    // SAFETY: the caller keeps the contract of `gc`.
    unsafe {
        walk_roots(modules, table, walker, |word| {
            if !may_be_box(word, None) || !data_at(word).ref_count().unmark() {
                return;
            }
            rescued += 1;
            log::error!("externref gc: root {word:#x} was not in the activations table");
            let clone = VMExternRef::clone_from_raw(ptr::with_exposed_provenance_mut(word));
            if let Err(clone) = table.try_insert_without_gc(clone) {
                log::error!("externref gc: no memory to keep it there, it will never be freed");
                core::mem::forget(clone);
            }
        });
    }
    rescued
}

/// Walks, and visits each live word that is not null.
///
/// # Safety
///
/// The contract of [`gc`](crate::gc).
#[inline]
unsafe fn walk_roots<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    walker: &W,
    mut visit: impl FnMut(usize),
) -> Walked {
    let mut walked = Walked {
        end: WalkEnd::Stopped,
        frames: 0,
        wasm_frames: 0,
        roots: 0,
        marks: 0,
        untouched: 0,
        covered: false,
        unreadable: false,
    };
    let mut canary = Canary::new(table.stack_canary());
    let mut last = (0, Found::Other);
    walked.end = walker.walk(&mut |frame| {
        walked.frames += 1;
        canary.pass(frame);
        if frame.pc != last.0 {
            last = (frame.pc, modules.find(frame.pc));
        }
        let Found::Wasm(map) = last.1 else {
            return ControlFlow::Continue(());
        };
        walked.wasm_frames += 1;
        let Some(map) = map else {
            return ControlFlow::Continue(());
        };
        let Some(start) = map.first_word(frame).filter(|at| at.is_multiple_of(WORD)) else {
            walked.unreadable |= !map.is_empty();
            return ControlFlow::Continue(());
        };
        for index in map.live_words() {
            let slot = ptr::with_exposed_provenance::<usize>(start + index as usize * WORD);
            // SAFETY: the caller guarantees that the walker's frames are true and the map describes them, so this word is in the frame.
            let word = unsafe { slot.read() };
            if word != 0 {
                log::trace!(
                    "externref gc: root {word:#x} at {slot:p}, pc {:#x}",
                    frame.pc
                );
                walked.roots += 1;
                visit(word);
            }
        }
        ControlFlow::Continue(())
    });
    walked.covered = canary.covered;
    walked
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

/// Finds out whether a walk passes the stack canary.
struct Canary {
    address: Option<usize>,
    younger: Option<usize>,
    covered: bool,
}

impl Canary {
    fn new(address: Option<usize>) -> Self {
        Self {
            address,
            younger: None,
            covered: false,
        }
    }

    /// A canary lies between two frames of one stack once both were visited.
    #[inline]
    fn pass(&mut self, frame: Frame) {
        let Some(address) = self.address else { return };
        let older = frame.sp.or(frame.fp);
        if let (Some(younger), Some(older)) = (self.younger, older) {
            self.covered |= (younger..older).contains(&address);
        }
        self.younger = older;
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

    fn at(sp: usize) -> Frame {
        Frame {
            pc: 1,
            sp: Some(sp),
            fp: None,
        }
    }

    fn covered(canary: Option<usize>, stack_pointers: &[usize]) -> bool {
        let mut state = Canary::new(canary);
        for &sp in stack_pointers {
            state.pass(at(sp));
        }
        state.covered
    }

    #[test]
    fn a_canary_must_lie_between_two_frames() {
        assert!(covered(Some(150), &[100, 200]));
        assert!(covered(Some(100), &[100, 200]));
        assert!(!covered(Some(200), &[100, 200]));
        assert!(!covered(Some(50), &[100, 200]));
        assert!(!covered(Some(250), &[100, 200]));
        assert!(!covered(None, &[100, 200]));
        assert!(!covered(Some(150), &[200, 100]), "another stack begins");
    }

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
