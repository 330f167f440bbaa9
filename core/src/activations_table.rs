//! The over-approximation: what activations may hold.

use crate::extern_ref::{OutOfMemory, VMExternRef};
use crate::garbage::Garbage;
use crate::gc::gc;
use crate::registry::StackMapRegistry;
use crate::walker::StackWalker;
use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
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
/// Every slot at or after `next` is `None`. One reference may stand in several
/// slots; the next collection keeps one of them. See
/// [`Offsets`](crate::Offsets) for what compiled code may touch.
///
/// A table allocates nothing before its first insertion, so it can stand in a
/// context block that is built at compile time.
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
    pub(crate) next: Cell<*mut Slot>,
    /// Behind the last slot; where `next` equals it, compiled code calls the host.
    pub(crate) end: Cell<*mut Slot>,
    base: Cell<*mut Slot>,
    initial: usize,
    maximum: usize,
    canary: Cell<Option<usize>>,
    collecting: Cell<bool>,
    verifying: Cell<bool>,
}

/// Slots of a table whose host chose nothing: one page of 64-bit words.
const INITIAL_SLOTS: usize = 512;

impl VMExternRefActivationsTable {
    /// An empty table that begins with 512 slots and grows without bound.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_capacity(INITIAL_SLOTS, usize::MAX)
    }

    /// An empty table that begins with `initial` slots, and has at most `maximum`.
    ///
    /// It has at least one slot in any case, and `initial` gives way to
    /// `maximum`. With the largest table full of references that are in use,
    /// insertions fail.
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
            canary: Cell::new(None),
            collecting: Cell::new(false),
            verifying: Cell::new(cfg!(debug_assertions)),
        }
    }

    /// Entries, duplicates included.
    #[must_use]
    pub fn len(&self) -> usize {
        slots_between(self.base.get(), self.next.get())
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.get() == self.next.get()
    }

    /// Slots, taken or free.
    #[must_use]
    pub fn capacity(&self) -> usize {
        slots_between(self.base.get(), self.end.get())
    }

    fn free_slots(&self) -> usize {
        slots_between(self.next.get(), self.end.get())
    }

    /// Whether collections check each root against the table before use.
    ///
    /// It is on where debug assertions are. It costs a hash set for each
    /// collection, and makes a wrong stack map a report instead of a crash.
    pub fn set_verification(&self, on: bool) {
        self.verifying.set(on);
    }

    pub(crate) fn verifies(&self) -> bool {
        self.verifying.get()
    }

    /// Inserts `reference` if a slot is free.
    ///
    /// # Errors
    ///
    /// The reference, if the chunk is full.
    #[inline]
    pub fn try_insert(&self, reference: VMExternRef) -> Result<(), VMExternRef> {
        let next = self.next.get();
        if next == self.end.get() {
            return Err(reference);
        }
        // SAFETY: `next` is below `end`, so it is a slot of this table's chunk, and what it holds is `None`.
        unsafe {
            next.write(Some(reference));
            self.next.set(next.add(1));
        }
        Ok(())
    }

    /// Inserts `reference`, growing the table where it is full.
    ///
    /// Without memory, or beyond the table's maximum, it ends as a failed
    /// allocation does; see [`try_insert_without_gc`](Self::try_insert_without_gc).
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
        match self.grow_for(1) {
            Ok(()) => self.try_insert(reference),
            Err(OutOfMemory(())) => Err(reference),
        }
    }

    /// Inserts `reference`, collecting where the table is full.
    ///
    /// Without memory it ends as a failed allocation does; see
    /// [`try_insert_with_gc`](Self::try_insert_with_gc).
    ///
    /// # Safety
    ///
    /// As for [`gc`].
    #[inline]
    pub unsafe fn insert_with_gc<W: StackWalker + ?Sized>(
        &self,
        reference: VMExternRef,
        registry: &StackMapRegistry,
        walker: &W,
    ) {
        // SAFETY: the caller keeps the contract of `gc`.
        if unsafe { self.try_insert_with_gc(reference, registry, walker) }.is_err() {
            self.fail();
        }
    }

    /// Inserts `reference`, collecting where the table is full.
    ///
    /// # Errors
    ///
    /// The reference, if no slot came free and there is no memory for more.
    ///
    /// # Safety
    ///
    /// As for [`gc`].
    #[inline]
    pub unsafe fn try_insert_with_gc<W: StackWalker + ?Sized>(
        &self,
        reference: VMExternRef,
        registry: &StackMapRegistry,
        walker: &W,
    ) -> Result<(), VMExternRef> {
        let Err(reference) = self.try_insert(reference) else {
            return Ok(());
        };
        // SAFETY: the caller keeps the contract of `gc`.
        match unsafe { self.reserve(1, registry, walker) } {
            Ok(()) => self.try_insert(reference),
            Err(OutOfMemory(())) => Err(reference),
        }
    }

    /// Sees to it that the next `n` insertions neither collect nor fail.
    ///
    /// A host that passes several references to Wasm reserves for all of them
    /// first: otherwise inserting the second could collect, and free the
    /// first, which no frame holds yet.
    ///
    /// # Errors
    ///
    /// No memory, or more than the table's maximum.
    ///
    /// # Safety
    ///
    /// As for [`gc`].
    #[inline]
    pub unsafe fn reserve<W: StackWalker + ?Sized>(
        &self,
        n: usize,
        registry: &StackMapRegistry,
        walker: &W,
    ) -> Result<(), OutOfMemory> {
        if n <= self.free_slots() {
            return Ok(());
        }
        if !self.is_empty() {
            // SAFETY: the caller keeps the contract of `gc`.
            unsafe { gc(registry, self, walker) };
        }
        self.grow_for(n)
    }

    /// Keeps `canary`'s address as a frame that walks must reach.
    ///
    /// A host sets it in the frame that enters Wasm. When a walker cannot
    /// prove that it saw everything, the collection sweeps only if the walk
    /// passed the canary. The outermost canary wins; nested calls keep it.
    ///
    /// The canary must be a local of the frame that enters Wasm, and outlive
    /// that call. [`with_stack_canary`](Self::with_stack_canary) takes care of
    /// both.
    #[must_use = "the canary is taken away when the guard goes"]
    pub fn set_stack_canary<'a>(&'a self, canary: &'a usize) -> CanaryGuard<'a> {
        let outermost = self.canary.get().is_none();
        if outermost {
            self.canary.set(Some(ptr::from_ref(canary).addr()));
        }
        CanaryGuard {
            table: outermost.then_some(self),
        }
    }

    /// Runs `f`, which enters Wasm, under a canary of its own.
    #[inline(never)]
    pub fn with_stack_canary<R>(&self, f: impl FnOnce() -> R) -> R {
        let canary = 0;
        let _guard = self.set_stack_canary(core::hint::black_box(&canary));
        f()
    }

    pub(crate) fn stack_canary(&self) -> Option<usize> {
        self.canary.get()
    }

    /// Claims the table for one collection; `None` if one is running already.
    pub(crate) fn begin_collection(&self) -> Option<CollectionGuard<'_>> {
        (!self.collecting.replace(true)).then(|| CollectionGuard(self))
    }

    /// Visits the entries; `visit` touches no table and runs no destructor.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&VMExternRef)) {
        let mut slot = self.base.get();
        while slot != self.next.get() {
            // SAFETY: slots from `base` to `next` are initialised, and nothing changes them meanwhile.
            if let Some(reference) = unsafe { &*slot } {
                visit(reference);
            }
            // SAFETY: `slot` is below `next`, so the following slot is at most at `next`.
            slot = unsafe { slot.add(1) };
        }
    }

    /// Keeps the first entry of each marked reference, takes its mark off, and gives up the others.
    ///
    /// It runs no destructor.
    pub(crate) fn sweep(&self) -> Garbage {
        let mut garbage = Garbage::new();
        let (mut from, mut kept, end) = (self.base.get(), self.base.get(), self.next.get());
        // Whatever happened below, no entry would be dropped twice.
        self.next.set(kept);
        while from != end {
            // SAFETY: slots up to the old `next` are initialised, each is read once, and `kept` never overtakes `from`.
            unsafe {
                match from.read() {
                    Some(reference) if reference.data().ref_count().unmark() => {
                        kept.write(Some(reference));
                        kept = kept.add(1);
                    }
                    Some(reference) => garbage.give_up(reference),
                    None => {}
                }
                from = from.add(1);
            }
        }
        // SAFETY: all slots from `kept` on have been read, and a slot of zeros is `None`.
        unsafe { kept.write_bytes(0, slots_between(kept, end)) };
        self.next.set(kept);
        garbage
    }

    /// Fits the capacity to what a collection found, without fail.
    ///
    /// The collection cost time in proportion to the entries and to the frames
    /// walked. Free slots in the same proportion keep the cost per insertion
    /// flat, however much survives and however deep the stack is. A table
    /// that has become four times too large gives memory back.
    pub(crate) fn fit(&self, frames: usize) {
        let survivors = self.len();
        let free = self.initial.max(survivors).max(frames);
        let wanted = survivors.saturating_add(free).min(self.maximum);
        let wanted = wanted.max(survivors);
        let capacity = self.capacity();
        let misfit = capacity != 0 && (capacity < wanted || capacity / 4 > wanted);
        if misfit && self.replace_chunk(wanted).is_err() {
            log::warn!("externref table: no memory for {wanted} slots, staying at {capacity}");
        }
    }

    #[cold]
    fn grow_for(&self, n: usize) -> Result<(), OutOfMemory> {
        if n <= self.free_slots() {
            return Ok(());
        }
        let needed = self.len().checked_add(n).ok_or(OutOfMemory(()))?;
        if needed > self.maximum {
            return Err(OutOfMemory(()));
        }
        let comfortable = needed
            .max(self.initial)
            .max(self.capacity().saturating_mul(2))
            .min(self.maximum);
        self.replace_chunk(comfortable)
            .or_else(|_| self.replace_chunk(needed))
    }

    /// Moves the entries into a chunk of `capacity` slots.
    fn replace_chunk(&self, capacity: usize) -> Result<(), OutOfMemory> {
        let layout = Layout::array::<Slot>(capacity).map_err(|_| OutOfMemory(()))?;
        let (len, old, old_capacity) = (self.len(), self.base.get(), self.capacity());
        debug_assert!(
            len <= capacity && capacity != 0,
            "a chunk holds what it replaces"
        );
        // SAFETY: a capacity is never zero, so the layout is not empty.
        let chunk: *mut Slot = unsafe { alloc_zeroed(layout) }.cast();
        if chunk.is_null() {
            return Err(OutOfMemory(()));
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

    #[cold]
    fn fail(&self) -> ! {
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

impl Default for VMExternRefActivationsTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for VMExternRefActivationsTable {
    fn drop(&mut self) {
        let garbage = self.sweep();
        // SAFETY: `sweep` has taken every entry out, for none is marked, and nobody uses the table any more.
        unsafe { free_chunk(self.base.get(), self.capacity()) };
        drop(garbage);
    }
}

impl fmt::Debug for VMExternRefActivationsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VMExternRefActivationsTable")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("canary", &self.canary.get())
            .finish_non_exhaustive()
    }
}

/// Takes the stack canary away again when it goes.
#[derive(Debug)]
pub struct CanaryGuard<'a> {
    table: Option<&'a VMExternRefActivationsTable>,
}

impl Drop for CanaryGuard<'_> {
    fn drop(&mut self) {
        if let Some(table) = self.table {
            table.canary.set(None);
        }
    }
}

/// Ends a collection when it goes, also if a destructor panics.
#[derive(Debug)]
pub(crate) struct CollectionGuard<'a>(&'a VMExternRefActivationsTable);

impl Drop for CollectionGuard<'_> {
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
        assert_eq!(table.sweep().len(), 2);
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
        // SAFETY: this is the inline sequence of `layout.rs`, with a reference counted for the slot.
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
        table.fit(0);
        assert_eq!(table.capacity(), 80);
        table.fit(1000);
        assert_eq!(table.capacity(), 1040);
        table.fit(0);
        assert_eq!(table.capacity(), 80, "a quarter is enough");
        drop(table.sweep());
        table.fit(0);
        assert_eq!(table.capacity(), 4);
        table.fit(0);
        assert_eq!(table.capacity(), 4, "a table that fits stays");
    }

    #[test]
    fn the_outermost_canary_wins() {
        let table = VMExternRefActivationsTable::new();
        let (outer, inner) = (0, 0);
        let guard = table.set_stack_canary(&outer);
        {
            let _nested = table.set_stack_canary(&inner);
            assert_eq!(table.stack_canary(), Some(ptr::from_ref(&outer).addr()));
        }
        assert_eq!(table.stack_canary(), Some(ptr::from_ref(&outer).addr()));
        drop(guard);
        assert_eq!(table.stack_canary(), None);
        table.with_stack_canary(|| assert!(table.stack_canary().is_some()));
        assert_eq!(table.stack_canary(), None);
    }

    #[test]
    fn impossible_reservations_fail() {
        let table = VMExternRefActivationsTable::new();
        table.insert_without_gc(VMExternRef::new(0_u32));
        for n in [usize::MAX, isize::MAX.unsigned_abs()] {
            assert_eq!(table.grow_for(n), Err(OutOfMemory(())));
        }
        assert_eq!(numbers(&table), [0]);
    }
}
