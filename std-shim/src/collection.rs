//! Collecting with the system's unwinder.

use vmexternref_backtrace::BacktraceWalker;
use vmexternref_core::{GcReport, StackMapRegistry, VMExternRef, VMExternRefActivationsTable};

/// Frees what compiled code on this stack has let go of.
///
/// [`gc_with`](crate::gc_with), walking with [`BacktraceWalker`].
///
/// ```
/// use vmexternref::{StackMapRegistry, VMExternRef, VMExternRefActivationsTable, gc};
///
/// let registry = StackMapRegistry::new();
/// let table = VMExternRefActivationsTable::new();
/// table.insert_without_gc(VMExternRef::new(1));
/// // SAFETY: no compiled code is on the stack.
/// let report = unsafe { gc(&registry, &table) };
/// assert_eq!(report.freed, 1);
/// ```
///
/// # Panics
///
/// If a destructor panics.
///
/// # Safety
///
/// - Each stack map in `registry` tells the truth about the code that it is registered for.
/// - Every reference in a frame of compiled code was inserted into `table` when it came there.
/// - A stack canary is set on `table`, or no compiled code that holds its references is on the
///   stack.
/// - Functions with stack maps keep their frame record at the top of their frame, as Cranelift's
///   do with `preserve_frame_pointers`.
pub unsafe fn gc(registry: &StackMapRegistry, table: &VMExternRefActivationsTable) -> GcReport {
    // SAFETY: the caller keeps the contract, and the unwinder passes no frame by.
    unsafe { crate::gc_with(registry, table, &BacktraceWalker) }
}

/// Inserts a reference, and collects first if the table is full.
///
/// [`VMExternRefActivationsTable::insert_with_gc`], walking with [`BacktraceWalker`].
///
/// ```
/// use vmexternref::{
///     StackMapRegistry, VMExternRef, VMExternRefActivationsTable, insert_with_gc,
/// };
///
/// let registry = StackMapRegistry::new();
/// let table = VMExternRefActivationsTable::new();
/// for n in 0..10_000 {
///     // SAFETY: no compiled code is on the stack.
///     unsafe { insert_with_gc(&table, VMExternRef::new(n), &registry) };
/// }
/// assert!(table.len() < 10_000, "most were freed on the way");
/// ```
///
/// # Panics
///
/// If a destructor panics.
///
/// # Safety
///
/// As for [`gc`].
pub unsafe fn insert_with_gc(
    table: &VMExternRefActivationsTable,
    reference: VMExternRef,
    registry: &StackMapRegistry,
) {
    // SAFETY: the caller keeps the contract, and the unwinder passes no frame by.
    unsafe { table.insert_with_gc(reference, registry, &BacktraceWalker) }
}

#[cfg(test)]
mod tests {
    use super::{gc, insert_with_gc};
    use crate::{GcOutcome, StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd};

    #[test]
    fn a_collection_walks_this_stack_and_frees_what_nobody_holds() {
        let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
        let held = VMExternRef::new("held by the host");
        table.insert_without_gc(held.clone());
        table.insert_without_gc(VMExternRef::new("held by nobody"));
        // SAFETY: no compiled code is on the stack.
        let report = unsafe { gc(&registry, &table) };
        assert_eq!(
            (report.outcome, report.walk_end),
            (GcOutcome::Swept, Some(WalkEnd::Unproven))
        );
        assert_eq!((report.entries_before, report.entries_after), (2, 0));
        assert!(report.frames > 3, "{report}");
        assert_eq!(held.strong_count(), 1);
    }

    #[test]
    fn a_full_table_is_collected_and_takes_the_reference() {
        let registry = StackMapRegistry::new();
        let table = VMExternRefActivationsTable::with_capacity(4, 4);
        let reference = VMExternRef::new(0);
        for _ in 0..9 {
            // SAFETY: no compiled code is on the stack.
            unsafe { insert_with_gc(&table, reference.clone(), &registry) };
        }
        assert!((1..=4).contains(&table.len()), "{}", table.len());
        assert_eq!(reference.strong_count(), 1 + table.len());
    }
}
