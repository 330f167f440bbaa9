//! What a collection decided and did.

use crate::walker::WalkEnd;
use core::fmt;

/// What a collection decided: to free what it could, or why it kept everything.
///
/// The first row that fits decides:
///
/// | the walk | stack canaries | outcome |
/// | --- | --- | --- |
/// | met a live word that is no reference in the table | any | [`KeptContractBreak`](Self::KeptContractBreak) |
/// | met a frame that the walker calls compiled, in no registered module | any | [`KeptUnregistered`](Self::KeptUnregistered) |
/// | met a frame in a module that matches [strictly](crate::Matching::Strict), at a call that was not declared | any | [`KeptUndeclared`](Self::KeptUndeclared) |
/// | met a frame with live references that has no usable address, or does not fit its stack map | any | [`KeptUnreadable`](Self::KeptUnreadable) |
/// | is [`Complete`](WalkEnd::Complete) | any | [`Swept`](Self::Swept) |
/// | passed every canary, and then met a Wasm frame (only a table that verifies looks) | some | [`KeptBrokenPromise`](Self::KeptBrokenPromise) |
/// | passed every canary | some | [`Swept`](Self::Swept) |
/// | did not pass every canary | some | [`KeptUncovered`](Self::KeptUncovered) |
/// | is [`Stopped`](WalkEnd::Stopped) | none | [`KeptStopped`](Self::KeptStopped) |
/// | is [`Unproven`](WalkEnd::Unproven) | none in the table's life | [`KeptUnproven`](Self::KeptUnproven) |
/// | is `Unproven`, and met a Wasm frame | none now | [`KeptBrokenPromise`](Self::KeptBrokenPromise) |
/// | is `Unproven` | none now | [`Swept`](Self::Swept) |
///
/// Of the last two rows: a table that has had a canary belongs to a host that sets one for each
/// call into Wasm. If there is none now, no Wasm runs, and a Wasm frame shows a call without one.
///
/// Where several of the second to the fourth row fit, that of the oldest frame decides.
///
/// A live word of the first row is misaligned, or is a reference in no entry of the table. A table
/// that [verifies](crate::VMExternRefActivationsTable::set_verification) finds the latter during
/// the walk. Without verification the sweep finds it, and is undone. A table that [allows foreign
/// roots](crate::VMExternRefActivationsTable::allow_foreign_roots) passes over references that are
/// in no entry.
///
/// A collection during a walk of the same table does nothing:
/// [`AlreadyCollecting`](Self::AlreadyCollecting).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GcOutcome {
    /// Every entry that no frame holds was released.
    Swept,
    /// Kept everything: a live word was no reference in the table.
    KeptContractBreak,
    /// Kept everything: a compiled frame lies in no registered module.
    KeptUnregistered {
        /// The frame's return address.
        pc: usize,
    },
    /// Kept everything: a frame is at a call that its module, which matches
    /// [strictly](crate::Matching::Strict), did not declare.
    KeptUndeclared {
        /// The frame's return address.
        pc: usize,
    },
    /// Kept everything: a frame with live references had no usable address, or its stack map calls
    /// words live that are below its stack pointer, as one of a larger frame does.
    KeptUnreadable {
        /// The frame's return address.
        pc: usize,
    },
    /// Kept everything: the walk did not pass every stack canary.
    KeptUncovered,
    /// Kept everything: the walk stopped, and there was no canary to show that it came far enough.
    KeptStopped,
    /// Kept everything: Wasm runs outside of every canary.
    KeptBrokenPromise,
    /// Kept everything: neither a canary nor the walker proves that the walk saw all of Wasm.
    KeptUnproven,
    /// Did nothing: a walk of this table is under way.
    AlreadyCollecting,
}

impl fmt::Display for GcOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swept => "swept",
            Self::KeptContractBreak => {
                "kept everything, a live word is no reference of the activations table"
            }
            Self::KeptUnregistered { pc } => {
                return write!(
                    f,
                    "kept everything, compiled code at pc {pc:#x} is in no registered module"
                );
            }
            Self::KeptUndeclared { pc } => {
                return write!(
                    f,
                    "kept everything, no call that returns to pc {pc:#x} was declared: \
                     the stack maps are not of this code, or lie at wrong offsets"
                );
            }
            Self::KeptUnreadable { pc } => {
                return write!(
                    f,
                    "kept everything, the frame at pc {pc:#x} does not tell where its references are, \
                     or is smaller than its stack map"
                );
            }
            Self::KeptUncovered => "kept everything, the walk did not pass every stack canary",
            Self::KeptStopped => "kept everything, the walk stopped and no stack canary is set",
            Self::KeptBrokenPromise => "kept everything, Wasm runs outside of every stack canary",
            Self::KeptUnproven => {
                "kept everything, nothing proves that the walk saw all of Wasm: \
                 wrap each call into Wasm in `with_stack_canary`, or call `clear` when none runs"
            }
            Self::AlreadyCollecting => "did nothing, a walk of this table is under way",
        })
    }
}

/// What a collection did.
///
/// ```
/// use vmexternref_core::*;
///
/// let (registry, table) = (StackMapRegistry::new(), VMExternRefActivationsTable::new());
/// table.insert_without_gc(VMExternRef::new("a host object"));
/// // A walk that ends without a proof, for a table that has never had a canary.
/// // SAFETY: no compiled code runs, so that there are no frames to visit.
/// let report = unsafe {
///     gc(&registry, &table, &RecordedWalker::new(vec![], WalkEnd::Unproven))
/// };
/// assert!(!report.swept());
/// match report.outcome {
///     GcOutcome::KeptUnproven => assert_eq!((report.freed, report.entries_after), (0, 1)),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Whether it swept, and if not, why.
    pub outcome: GcOutcome,
    /// How the walk ended; `None` if there was none.
    ///
    /// A walk that passed the last stack canary is [interrupted](WalkEnd::INTERRUPTED) there.
    pub walk_end: Option<WalkEnd>,
    /// Frames that the walker visited.
    pub frames: usize,
    /// How many of these frames belong to Wasm functions.
    pub wasm_frames: usize,
    /// Live words in frames, including null, immediates and duplicates.
    pub words: usize,
    /// Live references found in frames, including duplicates.
    pub roots: usize,
    /// Entries of the table before.
    pub entries_before: usize,
    /// Entries of the table after, before destructors ran.
    pub entries_after: usize,
    /// Boxes whose last reference was released.
    pub freed: usize,
    /// Roots that no contract allows: misaligned words, or words in no entry of the table.
    ///
    /// If there is one, everything is kept. A table that
    /// [verifies](crate::VMExternRefActivationsTable::set_verification) touches none of them. A
    /// table that does not takes an aligned one for a box: it is inserted, so that the box stays
    /// alive; and if there is no box, the process may crash.
    pub contract_breaks: usize,
    /// Roots in no entry of a table that allows [foreign
    /// roots](crate::VMExternRefActivationsTable::allow_foreign_roots).
    pub foreign_roots: usize,
}

impl GcReport {
    pub(crate) fn new(outcome: GcOutcome, entries: usize) -> Self {
        Self {
            outcome,
            walk_end: None,
            frames: 0,
            wasm_frames: 0,
            words: 0,
            roots: 0,
            entries_before: entries,
            entries_after: entries,
            freed: 0,
            contract_breaks: 0,
            foreign_roots: 0,
        }
    }

    /// Whether the collection freed what it could.
    #[inline]
    #[must_use]
    pub fn swept(&self) -> bool {
        self.outcome == GcOutcome::Swept
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
        if self.foreign_roots != 0 {
            write!(f, ", {} roots of other tables", self.foreign_roots)?;
        }
        match self.walk_end {
            // Broken off at the last canary: no cause of anything.
            None | Some(WalkEnd::INTERRUPTED) => Ok(()),
            Some(end) => write!(f, "; {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_report_names_how_the_walk_ended() {
        let mut report = GcReport::new(GcOutcome::KeptStopped, 3);
        report.walk_end = Some(WalkEnd::stopped("the chain is broken", Some(0x42)));
        let text = report.to_string();
        assert!(
            text.starts_with("kept everything, the walk stopped"),
            "{text}"
        );
        assert!(
            text.ends_with("; the walk stopped at pc 0x42: the chain is broken"),
            "{text}"
        );
        for outcome in [GcOutcome::Swept, GcOutcome::KeptUnregistered { pc: 1 }] {
            report.outcome = outcome;
            report.walk_end = Some(WalkEnd::INTERRUPTED);
            assert!(
                report.to_string().ends_with("freed 0"),
                "all canaries were passed"
            );
        }
    }
}
