//! The activations tables, with what their hosts told them.

use core::cell::Cell;
use core::ptr;
use vmexternref_core::{Offsets, VMExternRefActivationsTable};

/// A table, and the books' copy of its settings.
pub(crate) struct Table {
    /// From a box, which is freed when this goes: guards of canaries borrow it.
    real: *mut VMExternRefActivationsTable,
    pub(crate) maximum: usize,
    pub(crate) verifies: bool,
    pub(crate) foreign_allowed: bool,
    pub(crate) immediate_bits: usize,
    /// Whether each call into Wasm has a canary, or none has.
    pub(crate) wraps: bool,
    /// Whether it has ever had a canary.
    pub(crate) had_canary: bool,
}

impl Table {
    pub(crate) fn new(initial: usize, maximum: usize, wraps: bool, immediate_bits: usize) -> Self {
        let real = VMExternRefActivationsTable::with_capacity(initial, maximum);
        let told = real.set_immediate_bits(immediate_bits);
        told.expect("these bits are no reference's");
        let mut table = Self {
            real: Box::into_raw(Box::new(real)),
            maximum,
            verifies: false,
            foreign_allowed: false,
            immediate_bits,
            wraps,
            had_canary: false,
        };
        table.verify(false);
        table
    }

    /// The table itself.
    pub(crate) fn real(&self) -> &'static VMExternRefActivationsTable {
        // SAFETY: the box stays until this goes, and so do all that borrow it.
        unsafe { &*self.real }
    }

    pub(crate) fn verify(&mut self, on: bool) {
        self.verifies = on;
        self.real().set_verification(on);
    }

    pub(crate) fn allow_foreign_roots(&mut self, allowed: bool) {
        self.foreign_allowed = allowed;
        self.real().allow_foreign_roots(allowed);
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.real().capacity() - self.real().len()
    }

    /// Inserts as compiled code does, counting inline; `false` if it has to call the host.
    ///
    /// # Safety
    ///
    /// `raw` is the word of a box that is alive.
    pub(crate) unsafe fn insert_inline(&self, raw: *mut u8) -> bool {
        let (next, end) = (
            self.word(Offsets::HOST.table_next()),
            self.word(Offsets::HOST.table_end()),
        );
        if next.get() == end.get() {
            return false;
        }
        // SAFETY: below `end` is a free slot; the caller guarantees the box.
        unsafe {
            next.get().write(raw);
            next.set(next.get().add(1));
            *count_of(raw) += 1;
        }
        true
    }

    /// A word of the table's header.
    fn word(&self, offset: u8) -> &Cell<*mut *mut u8> {
        let header = ptr::from_ref(self.real()).cast::<u8>();
        // SAFETY: the offset is that of such a cell, as `layout.rs` says.
        unsafe { &*header.add(usize::from(offset)).cast() }
    }

    /// The entries, as the words in the slots. All other slots are null.
    pub(crate) fn words(&self) -> Vec<usize> {
        let next = self.word(Offsets::HOST.table_next()).get();
        for free in 0..self.free_slots() {
            // SAFETY: the free slots follow each other up to the end.
            assert!(unsafe { next.add(free).read() }.is_null(), "a free slot");
        }
        let len = self.real().len();
        // SAFETY: the slots before the next free one are the entries.
        (1..=len)
            .map(|back| unsafe { next.sub(back).read() }.addr())
            .collect()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and no stack has a canary of the table any more.
        drop(unsafe { Box::from_raw(self.real) });
    }
}

/// The reference count of a box, as compiled code finds it.
pub(crate) fn count_of(raw: *mut u8) -> *mut usize {
    let address = raw.addr() + usize::from(Offsets::HOST.ref_count());
    ptr::with_exposed_provenance_mut(address)
}

/// What compiled code does where it overwrites a word that owns a reference.
///
/// # Safety
///
/// `raw` owns a reference, which is given up.
pub(crate) unsafe fn release_inline(raw: *mut u8) {
    let count = count_of(raw);
    // SAFETY: the caller guarantees the reference.
    unsafe {
        *count -= 1;
        if *count == 0 {
            vmexternref_core::drop_extern_ref(raw);
        }
    }
}
