//! The collection: walk, mark, decide, sweep, and only then destroy.

use crate::activations_table::{Claim, VMExternRefActivationsTable};
use crate::entry_set::EntrySet;
use crate::extern_ref::VMExternData;
use crate::fault::{Fault, Faults, Root};
use crate::frame_reader::{Visited, Walked, walk_roots, walk_roots_rarely};
use crate::garbage::Garbage;
use crate::lost_roots::LostRoots;
use crate::marks::Marks;
use crate::observer::{ObservedStack, Observer};
use crate::registry::{Reading, StackMapRegistry};
use crate::report::{GcOutcome, GcReport};
use crate::walker::{StackWalker, WalkEnd};

/// Releases the entries of `table` that no Wasm frame holds any more.
///
/// It walks with `walker`, keeps what frames hold according to `registry`, releases every other
/// entry of the table, and then runs the destructors of the boxes that this freed. Destructors may
/// insert, collect, call Wasm, drop other references, and panic: the table is whole before the
/// first, and each runs exactly once. A collection that detects a broken contract frees nothing,
/// and says so in the report and in the log.
///
/// A collection of a table that does not [verify](VMExternRefActivationsTable::set_verification)
/// allocates only to resize the table, and does without where memory is out.
///
/// # What may interrupt it
///
/// A collection may run in an interrupt handler, and may be interrupted by one, as long as the two
/// share no object: the handler must not drop, clone, insert or collect references of the code that
/// it interrupts. Between the walk and the sweep no logger, no allocator and no destructor runs. A
/// collection that finds the marks of another one keeps everything.
///
/// # Panics
///
/// If a destructor panics. A second panic while the first unwinds aborts, as everywhere. A walker
/// that unwinds aborts too.
///
/// # Safety
///
/// - `walker` keeps the contract of [`StackWalker`], and the caller keeps its part of it.
/// - Each stack map in `registry` is right: the words it calls live are references, null or
///   [immediates](VMExternRefActivationsTable::set_immediate_bits), and every live reference of the
///   frame is among them.
/// - Every reference in a Wasm frame was inserted into `table` when it entered the frame. (One that
///   was not, but is alive, is kept and reported.)
/// - A host that enters Wasm under a [stack
///   canary](VMExternRefActivationsTable::with_stack_canary) does so each time, unless `walker`
///   proves its walks complete.
pub unsafe fn gc<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> GcReport {
    // SAFETY: the caller keeps the contract.
    let (report, garbage) = unsafe { collect(registry, table, walker) };
    drop(garbage);
    report
}

/// Collects as [`gc`] does, but leaves the destructors to the caller.
///
/// The [`Garbage`] can be released in slices, so that no pause is long.
///
/// # Safety
///
/// As for [`gc`].
pub unsafe fn collect<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> (GcReport, Garbage) {
    // SAFETY: the caller keeps the contract.
    unsafe { collect_telling(registry, table, walker, None) }
}

/// Collects as [`collect`] does, and tells `observer` of it.
///
/// ```no_run
/// # use vmexternref_core::*;
/// # unsafe fn example(
/// #     registry: &StackMapRegistry,
/// #     table: &VMExternRefActivationsTable,
/// #     walker: &dyn StackWalker,
/// #     observer: &mut dyn Observer,
/// # ) {
/// // In place of `gc`:
/// // SAFETY: the contract of `gc` is kept.
/// let (report, garbage) = unsafe { collect_observed(registry, table, walker, observer) };
/// drop(garbage);
/// # }
/// ```
///
/// # Panics
///
/// If the observer panics. In [`walked`](Observer::walked), nothing was collected. In
/// [`collected`](Observer::collected), the garbage is released while the panic unwinds.
///
/// # Safety
///
/// The contract of [`gc`] still holds after the observer has run. So if a frame holds a reference
/// that is in no entry of the table, the observer does not drop the last other one to its box.
pub unsafe fn collect_observed<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
    observer: &mut dyn Observer,
) -> (GcReport, Garbage) {
    // SAFETY: the caller keeps the contract.
    unsafe { collect_telling(registry, table, walker, Some(observer)) }
}

/// Collects, and tells the observer, if there is one.
///
/// # Safety
///
/// As for [`collect_observed`].
#[inline]
unsafe fn collect_telling<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
    observer: Option<&mut dyn Observer>,
) -> (GcReport, Garbage) {
    match table.claim() {
        // SAFETY: the caller keeps the contract.
        Some(claim) => unsafe { collect_claimed(registry, table, claim, walker, observer) },
        None => {
            let report = GcReport::new(GcOutcome::AlreadyCollecting, table.len());
            (report, Garbage::new())
        }
    }
}

/// Collects a table that nobody else can claim.
///
/// # Safety
///
/// As for [`collect_observed`].
#[inline]
unsafe fn collect_claimed<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    claim: Claim<'_>,
    walker: &W,
    mut observer: Option<&mut dyn Observer>,
) -> (GcReport, Garbage) {
    let entries_before = table.len();
    let modules = registry.read();
    if log::log_enabled!(log::Level::Trace) {
        // SAFETY: the caller keeps the contract.
        unsafe { trace_roots(&modules, table, &walker) }
    }
    if let Some(observer) = observer.as_deref_mut() {
        // SAFETY: the caller keeps the contract, also for what the observer does.
        observer.walked(&unsafe { ObservedStack::record(&modules, table, &walker) });
    }
    let (marks, mut faults) = (Marks::new(table), Faults::new(table.immediate_bits()));
    // SAFETY: the caller keeps the contract.
    let walked = unsafe { mark_roots(&modules, table, walker, &marks, &mut faults) };
    let mut outcome = decide(&walked, &faults, table);
    let mut taken_back = false;
    let (garbage, missing) = if outcome == GcOutcome::Swept {
        let swept = marks.sweep(walked.marks, table.allows_foreign_roots());
        taken_back = swept.taken_back;
        if taken_back {
            outcome = GcOutcome::KeptContractBreak;
        }
        (swept.garbage, swept.missing)
    } else {
        (Garbage::new(), marks.take_off(walked.marks))
    };
    let wrong = faults.len() + missing;
    let foreign = table.allows_foreign_roots() && outcome != GcOutcome::KeptContractBreak;
    // A table that verifies marks its own entries only, so that no other box has a mark of it.
    let lost_roots = missing != 0 && !table.verifies();
    if lost_roots {
        // SAFETY: the caller keeps the contract, and nothing on the stack has changed since the
        // walk.
        unsafe { keep_marked(&modules, table, &walker, missing) }
    }
    drop(modules);
    drop(claim);
    let report = GcReport {
        outcome,
        walk_end: Some(walked.end),
        frames: walked.frames,
        wasm_frames: walked.wasm_frames(),
        words: walked.words,
        roots: walked.roots,
        entries_before,
        entries_after: table.len(),
        freed: garbage.len(),
        contract_breaks: if foreign { 0 } else { wrong },
        foreign_roots: if foreign { wrong } else { 0 },
    };
    if report.contract_breaks != 0 {
        faults.report();
    }
    if taken_back && !lost_roots {
        log::error!("externref gc: another collection of the same objects ran during this one");
    }
    announce(&report, table);
    if report.swept() {
        table.fit(report.frames, report.words);
    }
    if let Some(observer) = observer {
        observer.collected(&report, &garbage);
    }
    (report, garbage)
}

/// Walks, and marks the box of each root in its own reference count.
///
/// # Safety
///
/// The contract of [`gc`].
#[inline]
unsafe fn mark_roots<W: StackWalker + ?Sized>(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &W,
    marks: &Marks<'_>,
    faults: &mut Faults,
) -> Walked {
    if table.verifies() {
        // SAFETY: the caller keeps the contract of `gc`.
        return unsafe { mark_verified_roots(modules, table, &walker, marks, faults) };
    }
    // SAFETY: the caller keeps the contract of `gc`: an aligned root is a box.
    unsafe { walk_roots::<_, true>(modules, table, walker, faults, |root| marks.set(root.word)) }
}

/// Walks, and marks the boxes of those roots that are in the table; touches no other word.
///
/// # Safety
///
/// The contract of [`gc`], but the words that stack maps call live may be anything.
unsafe fn mark_verified_roots(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &dyn StackWalker,
    marks: &Marks<'_>,
    faults: &mut Faults,
) -> Walked {
    let entries = EntrySet::new(table);
    let mut visit = |root: Root| mark_entry(&entries, root.word, marks);
    // SAFETY: the caller keeps the contract of `gc`.
    unsafe { walk_roots_rarely(modules, table, walker, faults, &mut visit) }
}

/// Marks the box at `word`, if it is an entry.
// Not inlined, for there are several forms of the closure that calls it.
#[inline(never)]
fn mark_entry(entries: &EntrySet<'_>, word: usize, marks: &Marks<'_>) -> Visited {
    if VMExternData::can_be_at(word) && !entries.contains(word) {
        return Err(Fault::NotInTable);
    }
    // SAFETY: the word is misaligned, or that of an entry, which keeps its box alive.
    unsafe { marks.set(word) }
}

/// Logs each root before anything is marked: a logger may do what it likes.
///
/// # Safety
///
/// The contract of [`gc`].
#[cold]
unsafe fn trace_roots(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &dyn StackWalker,
) {
    // SAFETY: the caller keeps the contract of `gc`.
    unsafe {
        walk_roots_rarely(modules, table, walker, &mut Faults::new(0), &mut |root| {
            if root.word & table.immediate_bits() == 0 {
                log::trace!("externref gc: {root}");
            }
            Ok(false)
        });
    }
}

/// The table in [`GcOutcome`]'s documentation, but for what only the sweep can tell.
fn decide(walked: &Walked, faults: &Faults, table: &VMExternRefActivationsTable) -> GcOutcome {
    let foreign_allowed = table.allows_foreign_roots();
    if faults.len() != 0 && !(foreign_allowed && faults.are_foreign()) {
        return GcOutcome::KeptContractBreak;
    }
    if let Some(kept) = walked.kept {
        return kept;
    }
    match walked.end {
        WalkEnd::Complete => GcOutcome::Swept,
        _ if walked.covered && walked.outside_canaries.is_some() && !foreign_allowed => {
            GcOutcome::KeptBrokenPromise
        }
        _ if walked.covered => GcOutcome::Swept,
        _ if !table.canaries().is_empty() => GcOutcome::KeptUncovered,
        WalkEnd::Stopped { .. } => GcOutcome::KeptStopped,
        WalkEnd::Unproven if !table.canaries().was_used() => GcOutcome::KeptUnproven,
        WalkEnd::Unproven if walked.wasm_frames() != 0 => GcOutcome::KeptBrokenPromise,
        WalkEnd::Unproven => GcOutcome::Swept,
    }
}

/// Finds the `missing` boxes that are marked still, and keeps those that nobody may own.
///
/// # Safety
///
/// The contract of [`gc`], and nothing has happened on the stack since the roots were marked.
#[cold]
unsafe fn keep_marked(
    modules: &Reading<'_>,
    table: &VMExternRefActivationsTable,
    walker: &dyn StackWalker,
    missing: usize,
) {
    let mut lost = LostRoots::new();
    let mut visit = |root| {
        // SAFETY: the caller keeps the contract of `gc`: an aligned root is a box.
        unsafe {
            if table.allows_foreign_roots() {
                lost.pass_over(root);
            } else {
                lost.take(root);
            }
        }
        Ok(false)
    };
    // SAFETY: the caller keeps the contract of `gc`.
    unsafe { walk_roots_rarely(modules, table, walker, &mut Faults::new(0), &mut visit) };
    lost.keep(table, missing);
}

/// Logs what a collection did.
fn announce(report: &GcReport, table: &VMExternRefActivationsTable) {
    let usual = match report.outcome {
        GcOutcome::Swept => true,
        // The first one says what to do.
        GcOutcome::KeptUnproven => !table.warns_of_no_proof(),
        _ => false,
    };
    if usual {
        log::debug!("externref gc: {report}");
    } else {
        log::warn!("externref gc: {report}");
    }
}

#[cfg(test)]
mod tests;
