//! What a cycle collection decided and did.

use core::fmt;

/// What a cycle collection decided, and so whether it freed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CycleOutcome {
    /// The boxes that only references among traced boxes kept alive were unlinked and released.
    Collected,
    /// Kept everything: traced values named more references to a box than there are, or references
    /// came and went while values were traced.
    KeptFalseTrace,
    /// Did nothing: a box has a mark.
    ///
    /// Either a walk of [`gc`](crate::gc) is under way, or the mark is what remains of a walk that
    /// broke its contract.
    KeptMarked,
    /// Did nothing: a collection of the same collector is under way.
    AlreadyCollecting,
}

impl fmt::Display for CycleOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collected => "collected",
            Self::KeptFalseTrace => {
                "kept everything, a value names references that it does not own, \
                 or references changed while values were traced"
            }
            Self::KeptMarked => "did nothing, a walk of a stack is under way",
            Self::AlreadyCollecting => "did nothing, a collection is under way",
        })
    }
}

/// What a cycle collection did.
///
/// ```
/// use vmexternref_core::{CycleCollector, CycleOutcome};
///
/// let report = CycleCollector::new().collect();
/// assert_eq!((report.outcome, report.boxes), (CycleOutcome::Collected, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CycleReport {
    /// Whether it collected, and if not, why.
    pub outcome: CycleOutcome,
    /// Traced boxes that were alive at the beginning.
    pub boxes: usize,
    /// References that these named, including those to boxes that are not traced.
    pub references: usize,
    /// Boxes that were found to be garbage, and unlinked.
    pub unlinked: usize,
    /// Unlinked boxes whose last reference was released.
    pub freed: usize,
    /// Boxes that were unlinked although something still holds them.
    ///
    /// Some `trace` or `unlink` is wrong: it named a reference that its value does not own, did
    /// not give up all that it named, or put one elsewhere.
    pub survivors: usize,
}

impl CycleReport {
    pub(super) const fn new(outcome: CycleOutcome) -> Self {
        Self {
            outcome,
            boxes: 0,
            references: 0,
            unlinked: 0,
            freed: 0,
            survivors: 0,
        }
    }
}

impl fmt::Display for CycleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: traced {} boxes with {} references, unlinked {}, freed {}",
            self.outcome, self.boxes, self.references, self.unlinked, self.freed
        )?;
        if self.survivors != 0 {
            write!(f, ", {} unlinked boxes are still held", self.survivors)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_report_names_survivors_only_where_there_are_some() {
        let mut report = CycleReport::new(CycleOutcome::Collected);
        assert!(report.to_string().ends_with("freed 0"), "{report}");
        report.survivors = 2;
        assert!(
            report
                .to_string()
                .ends_with(", 2 unlinked boxes are still held")
        );
    }
}
