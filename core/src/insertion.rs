//! Insertions that collect where the table is full.

use crate::activations_table::VMExternRefActivationsTable;
use crate::extern_ref::{OutOfMemory, VMExternRef};
use crate::gc::gc;
use crate::registry::StackMapRegistry;
use crate::report::GcReport;
use crate::walker::StackWalker;

impl VMExternRefActivationsTable {
    /// Inserts `reference`, collecting where the table is full.
    ///
    /// Gives back the report of the collection, if there was one. Calls
    /// [`handle_alloc_error`](alloc::alloc::handle_alloc_error) when out of memory; see
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
    ) -> Option<GcReport> {
        // SAFETY: the caller keeps the contract of `gc`.
        match unsafe { self.try_insert_with_gc(reference, registry, walker) } {
            Ok(report) => report,
            Err(_) => self.fail(),
        }
    }

    /// Inserts `reference`, collecting where the table is full.
    ///
    /// Gives back the report of the collection, if there was one.
    ///
    /// # Errors
    ///
    /// The reference and the report, if no slot came free and there is no memory for more.
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
    ) -> Result<Option<GcReport>, OutOfMemory<(VMExternRef, Option<GcReport>)>> {
        let Err(reference) = self.try_insert(reference) else {
            return Ok(None);
        };
        // SAFETY: the caller keeps the contract of `gc`.
        let report = match unsafe { self.reserve(1, registry, walker) } {
            Ok(report) => report,
            Err(OutOfMemory(report)) => return Err(OutOfMemory((reference, report))),
        };
        match self.try_insert(reference) {
            Ok(()) => Ok(report),
            Err(reference) => Err(OutOfMemory((reference, report))),
        }
    }

    /// Makes the next `n` insertions neither collect nor fail.
    ///
    /// Gives back the report of the collection that this took, if it took one. A host that passes
    /// several references to Wasm reserves for all of them first: otherwise inserting the second
    /// could collect, and free the first, which no frame holds yet.
    ///
    /// # Errors
    ///
    /// No memory, or more than the table's maximum; with the report.
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
    ) -> Result<Option<GcReport>, OutOfMemory<Option<GcReport>>> {
        if n <= self.free_slots() {
            return Ok(None);
        }
        // SAFETY: the caller keeps the contract of `gc`.
        let report = (!self.is_empty()).then(|| unsafe { gc(registry, self, walker) });
        match self.reserve_without_gc(n) {
            Ok(()) => Ok(report),
            Err(OutOfMemory(())) => Err(OutOfMemory(report)),
        }
    }
}
