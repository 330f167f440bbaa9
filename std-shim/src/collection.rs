//! Collecting with the system's unwinder.

use core::mem::{Discriminant, discriminant};
use std::sync::Mutex;
use vmexternref_backtrace::BacktraceWalker;
use vmexternref_core::{
    GcOutcome, GcReport, StackMapRegistry, VMExternRef, VMExternRefActivationsTable,
};

/// Frees what compiled code on this stack has let go of.
///
/// [`gc`](crate::gc) with [`BacktraceWalker`]. The report says whether it freed anything, and if
/// not, why; so does the `log` crate, at the level of warnings. Without a logger,
/// builds with debug assertions print the first failure of each kind on the standard error stream.
///
/// ```
/// use vmexternref::{StackMapRegistry, VMExternRef, VMExternRefActivationsTable};
/// use vmexternref::gc_with_backtrace;
///
/// let registry = StackMapRegistry::new();
/// let table = VMExternRefActivationsTable::new();
/// // Around each call into compiled code; this one calls back at once.
/// let report = table.with_stack_canary(|| {
///     table.insert_without_gc(VMExternRef::new(1));
///     // SAFETY: the canary is set, and no compiled code holds the reference.
///     unsafe { gc_with_backtrace(&registry, &table) }
/// });
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
/// - Each call into compiled code runs in
///   [`with_stack_canary`](VMExternRefActivationsTable::with_stack_canary) of `table`. (A table
///   that never had a canary frees nothing.)
/// - Functions with stack maps keep their frame record at the top of their frame, as Cranelift's
///   do with `preserve_frame_pointers`.
pub unsafe fn gc_with_backtrace(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
) -> GcReport {
    // SAFETY: the caller keeps the contract, and the unwinder passes no frame by.
    let report = unsafe { crate::gc(registry, table, &BacktraceWalker) };
    show_first_failure(&report);
    report
}

/// Prints the first failure of each kind, where a developer would not see it otherwise.
fn show_first_failure(report: &GcReport) {
    static SHOWN: Mutex<Vec<Discriminant<GcOutcome>>> = Mutex::new(Vec::new());
    if !cfg!(debug_assertions) || log::max_level() != log::LevelFilter::Off || report.swept() {
        return;
    }
    // A destructor that collects while this runs has nothing new to say.
    let Ok(mut shown) = SHOWN.try_lock() else {
        return;
    };
    let kind = discriminant(&report.outcome);
    if !shown.contains(&kind) {
        shown.push(kind);
        eprintln!("externref gc: {report}");
    }
}

/// Inserts a reference, and collects first if the table is full.
///
/// [`VMExternRefActivationsTable::insert_with_gc`] with [`BacktraceWalker`]. Gives back the report
/// of the collection, if there was one.
///
/// ```
/// use vmexternref::{
///     StackMapRegistry, VMExternRef, VMExternRefActivationsTable, insert_with_backtrace,
/// };
///
/// let registry = StackMapRegistry::new();
/// let table = VMExternRefActivationsTable::new();
/// table.with_stack_canary(|| {
///     for n in 0..10_000 {
///         // SAFETY: the canary is set, and no compiled code holds a reference.
///         unsafe { insert_with_backtrace(&table, VMExternRef::new(n), &registry) };
///     }
/// });
/// assert!(table.len() < 10_000, "most were freed on the way");
/// ```
///
/// # Panics
///
/// If a destructor panics.
///
/// # Safety
///
/// As for [`gc_with_backtrace`].
pub unsafe fn insert_with_backtrace(
    table: &VMExternRefActivationsTable,
    reference: VMExternRef,
    registry: &StackMapRegistry,
) -> Option<GcReport> {
    // SAFETY: the caller keeps the contract, and the unwinder passes no frame by.
    let report = unsafe { table.insert_with_gc(reference, registry, &BacktraceWalker) };
    report.iter().for_each(show_first_failure);
    report
}

#[cfg(test)]
mod tests {
    use super::{gc_with_backtrace, insert_with_backtrace};
    use crate::{GcOutcome, StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd};

    #[test]
    fn a_collection_walks_this_stack_and_frees_what_nobody_holds() {
        let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
        let held = VMExternRef::new("held by the host");
        table.insert_without_gc(held.clone());
        table.insert_without_gc(VMExternRef::new("held by nobody"));
        // SAFETY: the canary is set, and no compiled code is on the stack.
        let collect = || unsafe { gc_with_backtrace(&registry, &table) };
        let report = collect();
        assert_eq!(report.outcome, GcOutcome::KeptUnproven, "no canary yet");
        table.set_verification(false);
        let report = table.with_stack_canary(collect);
        let end = (report.outcome, report.walk_end);
        assert_eq!(end, (GcOutcome::Swept, Some(WalkEnd::INTERRUPTED)));
        assert_eq!((report.entries_before, report.entries_after), (2, 0));
        assert!(
            (1..20).contains(&report.frames),
            "up to the canary: {report}"
        );
        assert_eq!(held.strong_count(), 1);
        table.set_verification(true);
        let report = table.with_stack_canary(collect);
        assert_eq!(report.walk_end, Some(WalkEnd::Unproven), "to the end");
    }

    #[test]
    fn a_full_table_is_collected_and_takes_the_reference() {
        let registry = StackMapRegistry::new();
        let table = VMExternRefActivationsTable::with_capacity(4, 4);
        let reference = VMExternRef::new(0);
        let mut collections = 0;
        table.with_stack_canary(|| {
            for _ in 0..9 {
                // SAFETY: the canary is set, and no compiled code is on the stack.
                let report = unsafe { insert_with_backtrace(&table, reference.clone(), &registry) };
                collections += report.map_or(0, |report| usize::from(report.swept()));
            }
        });
        assert_eq!(collections, 2);
        assert!((1..=4).contains(&table.len()), "{}", table.len());
        assert_eq!(reference.strong_count(), 1 + table.len());
    }
}
