//! The over-approximation: what activations may hold.

use crate::canary::{CanaryChain, Link, StackCanary};
use crate::extern_ref::{OutOfMemory, VMExternRef};
use crate::garbage::Garbage;
use crate::layout::Offsets;
use crate::quarantine;
use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr::{self, NonNull};

type Slot = Option<VMExternRef>;

/// The references that activations may hold, one table per host context.
///
/// A chunk of slots, filled from the front, by compiled code too:
///
/// ```text
/// +------+------+------+------+------+------+
/// | ref  | ref  | ref  | None | None | None |
/// +------+------+------+------+------+------+
///    ^                    ^                    ^
///    base                 next                 end
/// ```
///
/// Every slot at or after `next` is `None`. One reference may stand in several slots; the next
/// collection keeps one of them. See [`Offsets`] for what compiled code may touch.
///
/// The capacity doubles when an insertion finds no free slot and no collection made room. After a
/// collection, free slots are wanted for as many references as survived, for as many as frames
/// were walked, or for the initial capacity, whichever is most. A table with three quarters of them
/// keeps its chunk; one with fewer grows. It shrinks when it is more than four times too large.
///
/// A table allocates nothing before its first insertion, so it can be part of a context that is
/// built at compile time. It is neither `Send` nor `Sync`: see the guide for
/// [threads](https://docs.rs/vmexternref/latest/vmexternref/guide/threads/index.html) and for
/// [processors](https://docs.rs/vmexternref/latest/vmexternref/guide/bare_metal/index.html).
///
/// ```
/// use vmexternref_core::{VMExternRef, VMExternRefActivationsTable};
///
/// let table = VMExternRefActivationsTable::with_capacity(16, 1024);
/// let refused = table.try_insert(VMExternRef::new(1)).unwrap_err();
/// table.insert_without_gc(refused);
/// assert_eq!((table.len(), table.capacity()), (1, 16));
/// ```
#[repr(C)]
pub struct VMExternRefActivationsTable {
    /// The first free slot; compiled code stores here and moves on.
    next: Cell<*mut Slot>,
    /// Behind the last slot; where `next` equals it, compiled code calls the host.
    end: Cell<*mut Slot>,
    base: Cell<*mut Slot>,
    initial: usize,
    maximum: usize,
    canaries: CanaryChain,
    collecting: Cell<bool>,
    verifying: Cell<bool>,
    foreign_roots: Cell<bool>,
    warned: Cell<bool>,
    /// Low bits that no reference has; a word with one of them is an immediate.
    immediate_bits: Cell<u8>,
}

const _: () = {
    let host = Offsets::HOST;
    assert!(host.table_next() as usize == offset_of!(VMExternRefActivationsTable, next));
    assert!(host.table_end() as usize == offset_of!(VMExternRefActivationsTable, end));
    assert!(host.table_slot() as usize == size_of::<Slot>());
};

/// Slots of a table whose host chose nothing: one page of 64-bit words.
const INITIAL_SLOTS: usize = 512;

/// Words read for which a collection leaves one slot free.
const WORDS_PER_SLOT: usize = 4;

impl VMExternRefActivationsTable {
    /// An empty table that begins with 512 slots and grows without bound.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_capacity(INITIAL_SLOTS, usize::MAX)
    }

    /// An empty table that begins with `initial` slots, and has at most `maximum`.
    ///
    /// 0 counts as 1, and an `initial` above `maximum` as `maximum`. Insertions fail when `maximum`
    /// slots are full of references that are in use.
    #[must_use]
    pub const fn with_capacity(initial: usize, maximum: usize) -> Self {
        let maximum = if maximum == 0 { 1 } else { maximum };
        let initial = if initial == 0 { 1 } else { initial };
        let nowhere = NonNull::dangling().as_ptr();
        Self {
            next: Cell::new(nowhere),
            end: Cell::new(nowhere),
            base: Cell::new(nowhere),
            initial: if initial < maximum { initial } else { maximum },
            maximum,
            canaries: CanaryChain::new(),
            collecting: Cell::new(false),
            verifying: Cell::new(quarantine::CHECKS),
            foreign_roots: Cell::new(false),
            warned: Cell::new(false),
            immediate_bits: Cell::new(0),
        }
    }

    /// The number of entries, including duplicates.
    #[must_use]
    pub fn len(&self) -> usize {
        slots_between(self.base.get(), self.next.get())
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.get() == self.next.get()
    }

    /// The number of slots, taken or free.
    #[must_use]
    pub fn capacity(&self) -> usize {
        slots_between(self.base.get(), self.end.get())
    }

    pub(crate) fn free_slots(&self) -> usize {
        slots_between(self.next.get(), self.end.get())
    }

    /// Sets whether collections look each root up in the table before they touch it.
    ///
    /// Verification makes a wrong stack map a report instead of a crash, and costs a hash set of
    /// the entries for each collection. It is on in builds with debug assertions or with the
    /// feature `quarantine`. A collection that verifies also walks on after the last stack canary,
    /// and reports Wasm frames that it finds there.
    pub fn set_verification(&self, on: bool) {
        self.verifying.set(on);
    }

    pub(crate) fn verifies(&self) -> bool {
        self.verifying.get()
    }

    /// Sets whether walks may show references of other tables.
    ///
    /// Several contexts that call each other on one stack need this under a walker that shows the
    /// whole stack: the frames of one hold references that are in the table of another. Such roots
    /// are passed over, and counted in the report. Without it a root that is in no entry of the
    /// table is a broken contract, and the collection keeps everything.
    pub fn allow_foreign_roots(&self, allowed: bool) {
        self.foreign_roots.set(allowed);
    }

    pub(crate) fn allows_foreign_roots(&self) -> bool {
        self.foreign_roots.get()
    }

    /// Says which low bits mark an *immediate*: a word that is no reference.
    ///
    /// Language runtimes keep small integers in the words of references. A collection skips a live
    /// word that has one of `bits`; it is no root. A table that was told nothing takes such a word
    /// for a broken contract, keeps everything and reports it, and so does one that was told other
    /// bits.
    ///
    /// Compiled code never inserts an immediate, counts it, or gives it to
    /// [`drop_extern_ref`](crate::drop_extern_ref), and a host never makes a [`VMExternRef`] of it:
    /// each tests the bits where it tests for null.
    ///
    /// ```
    /// use vmexternref_core::VMExternRefActivationsTable;
    ///
    /// let table = VMExternRefActivationsTable::new();
    /// assert!(table.set_immediate_bits(0b01).is_ok());
    /// let integer = 42_usize << 1 | 0b01; // what compiled code may have for a reference
    /// assert!(table.set_immediate_bits(integer).is_err(), "references have such bits");
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImmediateBitsError`], if `bits` are not all among
    /// [`Offsets::immediate_bits`]; nothing has changed then.
    pub fn set_immediate_bits(&self, bits: usize) -> Result<(), ImmediateBitsError> {
        match u8::try_from(bits) {
            Ok(bits) if bits & !Offsets::HOST.immediate_bits() == 0 => {
                self.immediate_bits.set(bits);
                Ok(())
            }
            _ => Err(ImmediateBitsError),
        }
    }

    #[inline]
    pub(crate) fn immediate_bits(&self) -> usize {
        usize::from(self.immediate_bits.get())
    }

    /// Whether this is the first time that nothing proved a walk.
    pub(crate) fn warns_of_no_proof(&self) -> bool {
        !self.warned.replace(true)
    }

    /// Inserts `reference` if a slot is free.
    ///
    /// # Errors
    ///
    /// The reference, if the chunk is full.
    #[inline]
    pub fn try_insert(&self, reference: VMExternRef) -> Result<(), VMExternRef> {
        reference.check("inserted");
        let next = self.next.get();
        if next == self.end.get() {
            return Err(reference);
        }
        // SAFETY: `next` is below `end`, so it is a slot of this table's chunk, and what it holds
        // is `None`.
        unsafe {
            next.write(Some(reference));
            self.next.set(next.add(1));
        }
        Ok(())
    }

    /// Inserts `reference`, growing the table where it is full.
    ///
    /// Calls [`handle_alloc_error`] when out of memory, or beyond the table's maximum; see
    /// [`try_insert_without_gc`](Self::try_insert_without_gc).
    #[inline]
    pub fn insert_without_gc(&self, reference: VMExternRef) {
        if self.try_insert_without_gc(reference).is_err() {
            self.fail();
        }
    }

    /// Inserts `reference`, growing the table where it is full.
    ///
    /// # Errors
    ///
    /// The reference, if there is no memory or the table has its maximum.
    #[inline]
    pub fn try_insert_without_gc(&self, reference: VMExternRef) -> Result<(), VMExternRef> {
        let Err(reference) = self.try_insert(reference) else {
            return Ok(());
        };
        match self.reserve_without_gc(1) {
            Ok(()) => self.try_insert(reference),
            Err(OutOfMemory(())) => Err(reference),
        }
    }

    /// Gives up every entry without a walk.
    ///
    /// It is for a host that knows that no Wasm is on any stack, and needs neither a walker nor a
    /// canary. The result has the boxes that nobody holds any more; dropping it runs their
    /// destructors. During a walk of this table it gives up nothing.
    ///
    /// ```
    /// use vmexternref_core::{VMExternRef, VMExternRefActivationsTable};
    ///
    /// let table = VMExternRefActivationsTable::new();
    /// table.insert_without_gc(VMExternRef::new("used by Wasm that has returned"));
    /// // SAFETY: there is no Wasm.
    /// assert_eq!(unsafe { table.clear() }.len(), 1);
    /// assert!(table.is_empty());
    /// ```
    ///
    /// # Safety
    ///
    /// No Wasm frame, running or suspended, holds a reference that was inserted into this table.
    pub unsafe fn clear(&self) -> Garbage {
        if self.collecting.get() {
            return Garbage::new();
        }
        self.take_entries()
    }

    /// Runs `f`, which enters Wasm, under a stack canary of its own.
    ///
    /// A canary marks where on the stack Wasm was entered. If a walker cannot prove that it saw
    /// every Wasm frame, a collection frees only if the walk [passed](StackCanary) every canary. So
    /// a host wraps each of its calls into Wasm.
    ///
    /// ```
    /// use vmexternref_core::VMExternRefActivationsTable;
    ///
    /// # let call_wasm = || 42;
    /// let table = VMExternRefActivationsTable::new();
    /// let result = table.with_stack_canary(|| call_wasm());
    /// # assert_eq!(result, 42);
    /// ```
    // In a frame of its own: the caller may be the outermost frame, and a walk has to get above the
    // canary.
    #[inline(never)]
    pub fn with_stack_canary<R>(&self, f: impl FnOnce() -> R) -> R {
        let canary = StackCanary::new();
        // SAFETY: the guard is dropped before the canary, however `f` ends.
        let _guard = unsafe { self.set_stack_canary(core::hint::black_box(&canary)) };
        f()
    }

    /// Keeps `canary` in the chain of canaries until the guard is dropped.
    ///
    /// For hosts that cannot call Wasm from a closure; see
    /// [`with_stack_canary`](Self::with_stack_canary) for what a canary does.
    ///
    /// # Safety
    ///
    /// `canary` is a local variable of the frame that enters Wasm, and is in no chain yet. The
    /// guard is dropped, not forgotten, before `canary` is, and not before the call into Wasm has
    /// returned or unwound.
    #[inline]
    #[must_use = "the canary is taken away when the guard goes"]
    pub unsafe fn set_stack_canary<'a>(&'a self, canary: &'a StackCanary) -> CanaryGuard<'a> {
        CanaryGuard {
            // SAFETY: the caller guarantees that the guard is dropped first.
            _link: unsafe { self.canaries.link(canary) },
        }
    }

    /// Takes away the canaries in `stack`, a range of addresses, for a host that frees a stack on
    /// which Wasm is suspended.
    ///
    /// Unwinding the stack takes them away too, and drops what its frames own.
    ///
    /// # Safety
    ///
    /// No frame in `stack` runs, returns or unwinds any more.
    pub unsafe fn discard_stack_canaries(&self, stack: &Range<usize>) {
        // SAFETY: the links lie in frames that never drop them, as the caller guarantees.
        unsafe { self.canaries.discard(stack) };
    }

    pub(crate) fn canaries(&self) -> &CanaryChain {
        &self.canaries
    }

    /// Claims the table for one walk; `None` if one is under way already.
    pub(crate) fn claim(&self) -> Option<Claim<'_>> {
        (!self.collecting.replace(true)).then(|| Claim(self))
    }

    /// Visits the entries; `visit` changes no table and runs no foreign code.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&VMExternRef)) {
        let mut slot = self.base.get();
        while slot != self.next.get() {
            // SAFETY: slots from `base` to `next` are initialised, and nothing changes them
            // meanwhile.
            if let Some(reference) = unsafe { &*slot } {
                visit(reference);
            }
            // SAFETY: `slot` is below `next`, so the following slot is at most at `next`.
            slot = unsafe { slot.add(1) };
        }
    }

    /// Keeps the first entry of each marked reference, takes its mark off, and gives up the others.
    ///
    /// `accept` judges the number of marks that were taken off. Where it refuses, the table keeps
    /// every entry, and only the marks are gone. No foreign code runs.
    pub(crate) fn sweep(&self, accept: impl FnOnce(usize) -> bool) -> Result<Garbage, usize> {
        let mut garbage = Garbage::new();
        let (base, end) = (self.base.get(), self.next.get());
        let (mut from, mut kept) = (base, base);
        // Even if a step below panics, no entry is dropped twice.
        self.next.set(base);
        while from != end {
            // SAFETY: slots up to the old `next` are initialised, and each is judged once: what
            // stands from `kept` to `from` was given up, and its words stay only to be taken back
            // below.
            unsafe {
                match from.read() {
                    Some(reference) if reference.data().ref_count().unmark() => {
                        if kept != from {
                            kept.swap(from);
                        }
                        core::mem::forget(reference);
                        kept = kept.add(1);
                    }
                    Some(reference) => garbage.give_up(reference),
                    None => {}
                }
                from = from.add(1);
            }
        }
        let marks = slots_between(base, kept);
        if accept(marks) {
            // SAFETY: the slots from `kept` on own nothing any more, and a slot of zeros is `None`.
            unsafe { kept.write_bytes(0, slots_between(kept, end)) };
            self.next.set(kept);
            return Ok(garbage);
        }
        garbage.revive();
        self.next.set(end);
        while kept != end {
            // SAFETY: the slot is below `end`, and every box that it was given up of is allocated:
            // dead ones were revived just now.
            unsafe {
                if let Some(reference) = &*kept {
                    reference.data().ref_count().restore();
                }
                kept = kept.add(1);
            }
        }
        Err(marks)
    }

    /// Gives up every entry. No foreign code runs.
    fn take_entries(&self) -> Garbage {
        let mut garbage = Garbage::new();
        let (base, end) = (self.base.get(), self.next.get());
        self.next.set(base);
        let mut slot = base;
        while slot != end {
            // SAFETY: slots up to the old `next` are initialised, and each is taken once; a slot of
            // zeros is `None`.
            unsafe {
                if let Some(reference) = slot.replace(None) {
                    garbage.give_up(reference);
                }
                slot = slot.add(1);
            }
        }
        garbage
    }

    /// Resizes the chunk after a collection. Keeps the old one when out of memory.
    ///
    /// The collection cost time in proportion to the entries, to the frames walked and to the
    /// words read. Free slots in the same proportion keep the cost per insertion flat; three
    /// quarters of them are enough, so that a few survivors do not move the table. A table that has
    /// become four times too large gives memory back.
    pub(crate) fn fit(&self, frames: usize, words: usize) {
        let survivors = self.len();
        let cost = frames.max(words / WORDS_PER_SLOT);
        let free = self.initial.max(survivors).max(cost);
        let wanted = survivors.saturating_add(free).min(self.maximum);
        let wanted = wanted.max(survivors);
        let enough = wanted.saturating_sub(free / 4);
        let capacity = self.capacity();
        let misfit = capacity != 0 && (capacity < enough || capacity / 4 > wanted);
        if misfit && self.replace_chunk(wanted).is_err() {
            log::warn!("externref table: no memory for {wanted} slots, staying at {capacity}");
        }
    }

    /// Makes the next `n` insertions neither collect nor fail, without a collection.
    ///
    /// It is for a host that collects in its own way, when fewer than `n` slots are free: the
    /// [`capacity`](Self::capacity) less the [`len`](Self::len).
    ///
    /// # Errors
    ///
    /// No memory, or more than the table's maximum.
    #[cold]
    pub fn reserve_without_gc(&self, n: usize) -> Result<(), OutOfMemory> {
        // Once is enough, unless the allocator inserts into this table.
        while self.free_slots() < n {
            let needed = self.len().checked_add(n).ok_or(OutOfMemory(()))?;
            if needed > self.maximum {
                return Err(OutOfMemory(()));
            }
            let comfortable = needed
                .max(self.initial)
                .max(self.capacity().saturating_mul(2))
                .min(self.maximum);
            self.replace_chunk(comfortable)
                .or_else(|_| self.replace_chunk(needed))?;
        }
        Ok(())
    }

    /// Moves the entries into a chunk of `capacity` slots, or of more if there are more by then.
    ///
    /// An allocator may collect, and so change this table: nothing of it is read before the chunk
    /// is there, and everything is written before the old chunk goes.
    fn replace_chunk(&self, capacity: usize) -> Result<(), OutOfMemory> {
        let layout = Layout::array::<Slot>(capacity).map_err(|_| OutOfMemory(()))?;
        debug_assert!(capacity != 0, "a chunk has slots");
        // SAFETY: a capacity is never zero, so the layout is not empty.
        let chunk: *mut Slot = unsafe { alloc_zeroed(layout) }.cast();
        if chunk.is_null() {
            return Err(OutOfMemory(()));
        }
        let (len, old, old_capacity) = (self.len(), self.base.get(), self.capacity());
        if capacity < len {
            // SAFETY: the chunk was allocated just now, with this capacity.
            unsafe { free_chunk(chunk, capacity) };
            return self.replace_chunk(len);
        }
        chunk.expose_provenance();
        // SAFETY: both chunks have room for `len` slots, and zeroed slots are `None`.
        unsafe {
            ptr::copy_nonoverlapping(old, chunk, len);
            self.next.set(chunk.add(len));
            self.end.set(chunk.add(capacity));
        }
        self.base.set(chunk);
        // SAFETY: `old` had this capacity, and its entries have moved.
        unsafe { free_chunk(old, old_capacity) };
        Ok(())
    }

    /// Ends like an allocation that failed.
    #[cold]
    pub(crate) fn fail(&self) -> ! {
        let layout = Layout::array::<Slot>(self.len().saturating_add(1));
        handle_alloc_error(layout.unwrap_or(Layout::new::<Slot>()))
    }
}

/// Slots from `start` to `end`, both of one chunk.
#[inline]
fn slots_between(start: *mut Slot, end: *mut Slot) -> usize {
    (end.addr() - start.addr()) / size_of::<Slot>()
}

/// Frees a chunk whose slots own nothing any more.
///
/// # Safety
///
/// `chunk` has `capacity` slots, and nothing uses it any more.
unsafe fn free_chunk(chunk: *mut Slot, capacity: usize) {
    if let (1.., Ok(layout)) = (capacity, Layout::array::<Slot>(capacity)) {
        // SAFETY: the caller guarantees the capacity with which the chunk was allocated.
        unsafe { dealloc(chunk.cast(), layout) }
    }
}

/// Some of the bits cannot mark immediates, because references have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImmediateBitsError;

impl fmt::Display for ImmediateBitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("references have some of the bits that should mark immediates")
    }
}

impl core::error::Error for ImmediateBitsError {}

impl Default for VMExternRefActivationsTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for VMExternRefActivationsTable {
    fn drop(&mut self) {
        let garbage = self.take_entries();
        // SAFETY: every entry was taken out, and nobody uses the table any more.
        unsafe { free_chunk(self.base.get(), self.capacity()) };
        drop(garbage);
    }
}

impl fmt::Debug for VMExternRefActivationsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VMExternRefActivationsTable")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("has_canary", &!self.canaries.is_empty())
            .finish_non_exhaustive()
    }
}

/// Takes a stack canary away when it is dropped.
#[derive(Debug)]
pub struct CanaryGuard<'a> {
    _link: Link<'a>,
}

/// Ends a walk when it goes.
#[derive(Debug)]
pub(crate) struct Claim<'a>(&'a VMExternRefActivationsTable);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.collecting.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use static_assertions::assert_not_impl_any;

    assert_not_impl_any!(VMExternRefActivationsTable: Send, Sync);

    fn numbers(table: &VMExternRefActivationsTable) -> Vec<u32> {
        let mut numbers = Vec::new();
        table.for_each(|reference| numbers.push(*reference.downcast_ref().unwrap()));
        numbers
    }

    fn table_of(initial: usize, maximum: usize, count: u32) -> VMExternRefActivationsTable {
        let table = VMExternRefActivationsTable::with_capacity(initial, maximum);
        for number in 0..count {
            table.insert_without_gc(VMExternRef::new(number));
        }
        table
    }

    #[test]
    fn allocates_when_first_needed() {
        let table = VMExternRefActivationsTable::new();
        assert_eq!((table.len(), table.capacity()), (0, 0));
        let reference = table.try_insert(VMExternRef::new(0_u32)).unwrap_err();
        table.insert_without_gc(reference);
        assert_eq!((table.len(), table.capacity()), (1, INITIAL_SLOTS));
    }

    #[test]
    fn growing_keeps_every_entry() {
        let table = table_of(2, usize::MAX, 100);
        assert_eq!(numbers(&table), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_table_at_its_maximum_gives_back() {
        let table = table_of(2, 3, 3);
        assert_eq!(table.capacity(), 3);
        let reference = table.try_insert_without_gc(VMExternRef::new(9_u32));
        assert_eq!(*reference.unwrap_err().downcast_ref::<u32>().unwrap(), 9);
    }

    #[test]
    fn free_slots_are_null() {
        let table = table_of(8, 8, 5);
        table.for_each(|entry| {
            let even = entry.downcast_ref::<u32>().unwrap() % 2 == 0;
            assert!(!even || entry.data().ref_count().mark());
        });
        assert_eq!(table.sweep(|marks| marks == 3).unwrap().len(), 2);
        assert_eq!(numbers(&table), [0, 2, 4]);
        let mut slot = table.next.get();
        while slot != table.end.get() {
            // SAFETY: `slot` lies in the chunk, whose slots are all initialised.
            unsafe {
                assert!((*slot).is_none());
                slot = slot.add(1);
            }
        }
    }

    #[test]
    fn compiled_code_can_insert() {
        let table = VMExternRefActivationsTable::with_capacity(4, 4);
        table.insert_without_gc(VMExternRef::new(0_u32));
        let reference = VMExternRef::new(1_u32);
        let raw = reference.clone().into_raw();
        let header = ptr::from_ref(&table).cast::<Cell<*mut *mut u8>>();
        // SAFETY: this is the inline sequence of `layout.rs`, with a reference counted for the
        // slot.
        unsafe {
            let (next, end) = (&*header, &*header.add(1));
            assert_ne!(next.get(), end.get());
            *next.get() = raw;
            next.set(next.get().add(1));
        }
        assert_eq!(numbers(&table), [0, 1]);
        drop(table);
        assert_eq!(reference.strong_count(), 1);
    }

    #[test]
    fn capacity_follows_survivors_and_frames() {
        let table = table_of(4, usize::MAX, 40);
        table.fit(0, 0);
        assert_eq!(table.capacity(), 80);
        table.fit(1000, 0);
        assert_eq!(table.capacity(), 1040);
        table.fit(0, 0);
        assert_eq!(table.capacity(), 80, "a quarter is enough");
        table.fit(10, 4000);
        assert_eq!(table.capacity(), 1040, "one slot for four words");
        drop(table.sweep(|_| true));
        table.fit(0, 0);
        assert_eq!(table.capacity(), 4);
        table.fit(0, 0);
        assert_eq!(table.capacity(), 4, "a table that fits stays");
    }

    /// A chunk that shrank by half would grow again with the next entries, and again shrink.
    #[test]
    fn a_table_less_than_four_times_too_large_keeps_its_chunk() {
        let table = table_of(4, usize::MAX, 40);
        table.fit(200, 0);
        assert_eq!(table.capacity(), 240);
        let chunk = table.base.get();
        table.fit(30, 0);
        assert_eq!((table.capacity(), table.base.get()), (240, chunk));
    }

    /// Defect: each collection with a survivor more moved the table, for one slot.
    #[test]
    fn a_table_with_three_quarters_of_the_free_slots_keeps_its_chunk() {
        let table = table_of(64, usize::MAX, 16);
        let chunk = table.base.get();
        table.fit(0, 0);
        assert_eq!((table.capacity(), table.base.get()), (64, chunk), "48 free");
        table.insert_without_gc(VMExternRef::new(16_u32));
        table.fit(0, 0);
        assert_eq!(table.capacity(), 17 + 64, "47 were free");
        let table = table_of(8, 20, 12);
        assert_eq!(table.capacity(), 16);
        table.fit(0, 0);
        assert_eq!(table.capacity(), 20, "as many as there may be");
    }

    /// The table grows by what is comfortable, and by what is needed where that is too much.
    #[test]
    fn growing_is_bounded_by_the_maximum() {
        let table = table_of(8, 20, 16);
        assert_eq!(table.capacity(), 16);
        table.insert_without_gc(VMExternRef::new(16_u32));
        assert_eq!(table.capacity(), 20);
    }

    #[test]
    fn a_refused_sweep_gives_back_every_entry() {
        let table = table_of(8, 8, 6);
        let shared = VMExternRef::new(7_u32);
        for _ in 0..2 {
            table.insert_without_gc(shared.clone());
        }
        let mut mark = [false, true, false, false, true, false, false, false].into_iter();
        table.for_each(|entry| {
            assert!(!mark.next().unwrap() || entry.data().ref_count().mark());
        });
        assert_eq!(table.sweep(|marks| marks == 3).unwrap_err(), 2);
        let mut kept = numbers(&table);
        kept.sort_unstable();
        assert_eq!(kept, [0, 1, 2, 3, 4, 5, 7, 7]);
        assert_eq!(shared.strong_count(), 3);
        table.for_each(|entry| {
            let count = if VMExternRef::eq(entry, &shared) {
                3
            } else {
                1
            };
            assert_eq!(entry.strong_count(), count);
            assert!(!entry.data().ref_count().unmark(), "the marks are gone");
        });
        assert_eq!(table.sweep(|marks| marks == 0).unwrap().len(), 6);
        assert_eq!(shared.strong_count(), 1);
    }

    #[test]
    fn clearing_gives_up_every_entry() {
        let table = table_of(4, usize::MAX, 5);
        let held = VMExternRef::new(5_u32);
        table.insert_without_gc(held.clone());
        // SAFETY: there is no Wasm.
        let garbage = unsafe { table.clear() };
        assert_eq!((garbage.len(), table.len(), held.strong_count()), (5, 0, 1));
        table.insert_without_gc(held);
        let claim = table.claim();
        // SAFETY: there is no Wasm.
        assert_eq!(unsafe { table.clear() }.len(), 0, "a walk is under way");
        drop(claim);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn canaries_last_as_long_as_the_call() {
        let table = VMExternRefActivationsTable::new();
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            table.with_stack_canary(|| {
                table.with_stack_canary(|| assert!(!table.canaries.is_empty()));
                assert!(!table.canaries.is_empty(), "the outer call still runs");
                panic!("a host function panics");
            })
        }));
        assert!(unwound.is_err());
        assert!(table.canaries.is_empty() && table.canaries.was_used());
    }

    #[test]
    fn impossible_reservations_fail() {
        let table = VMExternRefActivationsTable::new();
        table.insert_without_gc(VMExternRef::new(0_u32));
        for n in [usize::MAX, isize::MAX.unsigned_abs()] {
            assert_eq!(table.reserve_without_gc(n), Err(OutOfMemory(())));
        }
        assert_eq!(numbers(&table), [0]);
    }
}
