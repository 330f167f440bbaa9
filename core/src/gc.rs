//! The collection: walk, mark, decide, sweep, and only then destroy.

use crate::activations_table::VMExternRefActivationsTable;
use crate::frame_reader::Walked;
use crate::garbage::Garbage;
use crate::mark::{mark_roots, rescue_marked};
use crate::registry::{Modules, StackMapRegistry};
use crate::walker::{StackWalker, WalkEnd};
use core::fmt;

/// What a collection decided, and so whether it freed anything.
///
/// | the walker says | canary | outcome |
/// | --- | --- | --- |
/// | `Complete` | any | [`Swept`](Self::Swept) |
/// | not `Complete` | set, and the walk covered it | [`Swept`](Self::Swept) |
/// | not `Complete` | set, and not covered | [`KeptUncovered`](Self::KeptUncovered) |
/// | not `Complete` | not set, no Wasm frame was seen | [`Swept`](Self::Swept) |
/// | not `Complete` | not set, a Wasm frame was seen | [`KeptBrokenPromise`](Self::KeptBrokenPromise) |
/// | anything, but a frame with live references has no usable address | any | [`KeptUnreadable`](Self::KeptUnreadable) |
/// | nothing: the registry is locked by the code that this collection interrupted | any | [`KeptRegistryLocked`](Self::KeptRegistryLocked) |
/// | nothing: a destructor of a collection of this table called | any | [`AlreadyCollecting`](Self::AlreadyCollecting) |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GcOutcome {
    /// Everything that no frame holds was let go.
    Swept,
    /// Kept everything: the walk may have missed frames before the canary.
    KeptUncovered,
    /// Kept everything: no canary promised that Wasm runs, but it does.
    KeptBrokenPromise,
    /// Kept everything: a frame with live references had no usable address.
    KeptUnreadable,
    /// Kept everything: the registry stayed locked.
    KeptRegistryLocked,
    /// Did nothing: a collection of this table is running already.
    AlreadyCollecting,
}

impl fmt::Display for GcOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swept => "swept",
            Self::KeptUncovered => "kept everything, the walk did not reach the stack canary",
            Self::KeptBrokenPromise => "kept everything, Wasm runs though no stack canary is set",
            Self::KeptUnreadable => "kept everything, a frame's references could not be located",
            Self::KeptRegistryLocked => "kept everything, the stack map registry is locked",
            Self::AlreadyCollecting => "did nothing, a collection is running already",
        })
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Whether it swept, and if not, why.
    pub outcome: GcOutcome,
    /// How the walk ended; `None` if there was none.
    pub walk_end: Option<WalkEnd>,
    /// Frames that the walker visited.
    pub frames: usize,
    /// Frames of these that belong to Wasm functions.
    pub wasm_frames: usize,
    /// Live references found in frames, duplicates included.
    pub roots: usize,
    /// Entries of the table before.
    pub entries_before: usize,
    /// Entries of the table after, before destructors ran.
    pub entries_after: usize,
    /// Boxes whose last reference went.
    pub freed: usize,
    /// Roots that were not in the table, each of which a contract forbids.
    ///
    /// They are kept alive. With two contexts on one stack, a walker that sees
    /// the whole stack shows the other's references too; they count here.
    pub contract_breaks: usize,
}

impl GcReport {
    fn new(outcome: GcOutcome, entries: usize) -> Self {
        Self {
            outcome,
            walk_end: None,
            frames: 0,
            wasm_frames: 0,
            roots: 0,
            entries_before: entries,
            entries_after: entries,
            freed: 0,
            contract_breaks: 0,
        }
    }
}

impl fmt::Display for GcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: walked {} frames ({} wasm), found {} roots, table {} -> {}, freed {}",
            self.outcome,
            self.frames,
            self.wasm_frames,
            self.roots,
            self.entries_before,
            self.entries_after,
            self.freed
        )?;
        if self.contract_breaks != 0 {
            write!(f, ", {} roots were not in the table", self.contract_breaks)?;
        }
        Ok(())
    }
}

/// Frees what compiled code has let go of, as far as `table` knows it.
///
/// It walks with `walker`, keeps what frames hold according to `registry`,
/// gives up every other entry of the table, and then runs the destructors of
/// what that freed. They may insert, collect (which does nothing), call Wasm,
/// and panic; whatever they do, each is run exactly once, and the table is
/// whole before the first. In a steady state it allocates nothing.
///
/// # Panics
///
/// If a destructor or the walker panics. A second panic while the first
/// unwinds aborts, as everywhere.
///
/// # Safety
///
/// - `walker` keeps the contract of [`StackWalker`], and the caller keeps its
///   part of it.
/// - Each stack map in `registry` tells the truth: the words it calls live are
///   references or null, and every live reference of a frame that the walk
///   meets is among them.
/// - Every reference in a frame of Wasm was inserted into `table` when it
///   entered the frame. (One that was not, but is alive, is kept and reported.)
/// - If no stack canary is set on `table`, no Wasm frame holds references of
///   it, or `walker` proves its walks complete.
pub unsafe fn gc<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> GcReport {
    let Some(_running) = table.begin_collection() else {
        return GcReport::new(GcOutcome::AlreadyCollecting, table.len());
    };
    // SAFETY: the caller keeps the contract.
    let (report, garbage) = unsafe { collect_claimed(registry, table, walker) };
    drop(garbage);
    report
}

/// Collects as [`gc`] does, but leaves the destructors to the caller.
///
/// The garbage can be released in slices, so that no pause is long.
///
/// # Panics
///
/// If the walker panics.
///
/// # Safety
///
/// As for [`gc`].
pub unsafe fn collect<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> (GcReport, Garbage) {
    match table.begin_collection() {
        // SAFETY: the caller keeps the contract.
        Some(_running) => unsafe { collect_claimed(registry, table, walker) },
        None => {
            let report = GcReport::new(GcOutcome::AlreadyCollecting, table.len());
            (report, Garbage::new())
        }
    }
}

/// Collects a table that this collection has claimed.
///
/// # Safety
///
/// As for [`gc`].
unsafe fn collect_claimed<W: StackWalker + ?Sized>(
    registry: &StackMapRegistry,
    table: &VMExternRefActivationsTable,
    walker: &W,
) -> (GcReport, Garbage) {
    let Some(modules) = registry.try_read() else {
        log::warn!("externref gc: {}", GcOutcome::KeptRegistryLocked);
        let report = GcReport::new(GcOutcome::KeptRegistryLocked, table.len());
        return (report, Garbage::new());
    };
    let mut report = GcReport::new(GcOutcome::Swept, table.len());
    // SAFETY: the caller keeps the contract.
    let walked = unsafe { mark_roots(&modules, table, walker) };
    report.outcome = decide(&walked, table.stack_canary().is_some());
    let (garbage, unmarked) = sweep(table, report.outcome == GcOutcome::Swept);
    report.contract_breaks = walked.untouched;
    if unmarked < walked.marks {
        // SAFETY: the caller keeps the contract, and nothing on the stack has changed since the walk.
        report.contract_breaks +=
            unsafe { rescue(&modules, table, walker, walked.marks - unmarked) };
    }
    drop(modules);
    report.walk_end = Some(walked.end);
    report.frames = walked.frames;
    report.wasm_frames = walked.wasm_frames;
    report.roots = walked.roots;
    report.entries_after = table.len();
    report.freed = garbage.len();
    if report.outcome == GcOutcome::Swept {
        table.fit(walked.frames);
        log::debug!("externref gc: {report}");
    } else {
        log::warn!("externref gc: {report}");
    }
    (report, garbage)
}

/// The table in [`GcOutcome`]'s documentation.
fn decide(walked: &Walked, canary: bool) -> GcOutcome {
    if walked.unreadable {
        return GcOutcome::KeptUnreadable;
    }
    match walked.end {
        WalkEnd::Complete => GcOutcome::Swept,
        _ if walked.covered => GcOutcome::Swept,
        _ if canary => GcOutcome::KeptUncovered,
        _ if walked.wasm_frames == 0 => GcOutcome::Swept,
        _ => GcOutcome::KeptBrokenPromise,
    }
}

/// Takes all marks off the table's entries; keeps all or one entry per mark.
///
/// Says how many marks it took off.
fn sweep(table: &VMExternRefActivationsTable, sweeps: bool) -> (Garbage, usize) {
    if sweeps {
        let garbage = table.sweep();
        return (garbage, table.len());
    }
    let mut unmarked = 0;
    table.for_each(|entry| unmarked += usize::from(entry.data().ref_count().unmark()));
    (Garbage::new(), unmarked)
}

/// Keeps roots alive that were in no entry; says how many there were.
///
/// # Safety
///
/// As for [`rescue_marked`].
#[cold]
unsafe fn rescue<W: StackWalker + ?Sized>(
    modules: &Modules,
    table: &VMExternRefActivationsTable,
    walker: &W,
    missing: usize,
) -> usize {
    // SAFETY: the caller keeps the contract.
    let rescued = unsafe { rescue_marked(modules, table, walker) };
    if rescued < missing {
        log::error!(
            "externref gc: the walker did not show {} roots again, they will never be freed",
            missing - rescued
        );
    }
    missing
}

#[cfg(test)]
mod tests;
