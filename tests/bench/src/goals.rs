//! The lines of the table, and the goal of each.

use crate::contender::Contender::{
    self, Arc, BTree, Backtrace, BacktraceWalker, Copying, CurrentFrame, Drc, Floor, Framehop,
    Handle, Malloc, Null, OurHandle, Ours, Python, Rc, Slab,
};
use crate::figures::Figures;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// The number of a contender in this line.
    pub(crate) value: fn(&Figures, Contender) -> Option<f64>,
    pub(crate) peers: &'static [Contender],
    pub(crate) goal: Goal,
    /// The goal as text, where the limit is a measurement too.
    pub(crate) why: &'static str,
}

/// The goal of our figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At most this.
    AtMost(fn(&Figures) -> Option<f64>),
    /// At least this.
    AtLeast(fn(&Figures) -> Option<f64>),
    /// No goal: the number explains others. Less is better.
    Nothing,
}

impl Goal {
    /// The limit, unless it depends on a measurement that is missing.
    pub(crate) fn limit(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit(figures),
            Self::Nothing => None,
        }
    }

    /// Whether `value` reaches the goal.
    pub(crate) fn is_met(self, figures: &Figures, value: f64) -> Option<bool> {
        let limit = self.limit(figures)?;
        Some(match self {
            Self::AtMost(_) => value <= limit,
            Self::AtLeast(_) | Self::Nothing => value >= limit,
        })
    }

    /// The factor by which `ours` is better than `peer`.
    pub(crate) fn ratio(self, ours: f64, peer: f64) -> f64 {
        match self {
            Self::AtMost(_) | Self::Nothing => peer / ours,
            Self::AtLeast(_) => ours / peer,
        }
    }
}

use Goal::{AtLeast, AtMost, Nothing};

const COLLECTORS: &[Contender] = &[Drc, Copying, Null];
const COLLECTING: &[Contender] = &[Drc, Copying];

/// The cheaper of the handles that guests of either engine hold.
fn handle(figures: &Figures, row: &str) -> Option<f64> {
    let ours = figures.first(row, "", OurHandle)?;
    Some(figures.first(row, "", Handle)?.min(ours))
}

/// The factor by which DRC's collections take longer, at the depth that suits DRC best.
fn drc_by_ours(figures: &Figures, contender: Contender) -> Option<f64> {
    let parts = ["0", "1", "4"].into_iter();
    let ratios = parts.flat_map(|part| {
        let ours = figures.curve("W7", part, contender);
        let theirs = figures.curve("W7", part, Drc);
        let ratio = |(ours, theirs): ((u32, f64), (u32, f64))| theirs.1 / ours.1;
        ours.into_iter().zip(theirs).map(ratio)
    });
    ratios.reduce(f64::min)
}

/// The better of the collectors that free cycles.
fn cycle_collector(figures: &Figures, row: &str, line: &str) -> Option<f64> {
    let copying = figures.first(row, line, Copying)?;
    Some(figures.first(row, line, Python)?.min(copying))
}

/// A line with one number for each contender, and a fixed upper limit.
macro_rules! line {
    ($row:literal, $part:literal, $what:literal, $unit:literal, $pick:ident, $peers:expr, $goal:expr, $why:literal) => {
        Line {
            row: $row,
            what: $what,
            unit: $unit,
            value: |figures, contender| figures.$pick($row, $part, contender),
            peers: $peers,
            goal: $goal,
            why: $why,
        }
    };
}

/// Every line, in the order of the table.
pub(crate) const LINES: &[Line] = &[
    line!(
        "W1",
        "empty",
        "an empty call of Wasm",
        "ns",
        first,
        COLLECTORS,
        Nothing,
        "for comparison"
    ),
    line!(
        "W1",
        "externref",
        "a call with a reference, back and forth",
        "ns",
        first,
        COLLECTORS,
        AtMost(|figures| Some(figures.first("W1", "empty", Ours)? * 1.3)),
        "1.3 x our empty call"
    ),
    line!(
        "W2",
        "",
        "an import reads a reference",
        "ns",
        first,
        &[Drc, Copying, Null, Handle, OurHandle],
        AtMost(|figures| handle(figures, "W2")),
        "the cheaper handle"
    ),
    line!(
        "W3a",
        "dropped",
        "table.get and drop, 16 references",
        "ns",
        first,
        COLLECTORS,
        AtMost(|_| Some(1.5)),
        ""
    ),
    line!(
        "W3a",
        "kept",
        "table.get into a local, 16 references",
        "ns",
        first,
        COLLECTORS,
        Nothing,
        "for comparison"
    ),
    line!(
        "W3b",
        "",
        "table.get into a local, 1 M references",
        "ns",
        last,
        &[Drc, Copying, Floor],
        AtMost(|figures| Some(
            3.0 * figures.first("W3a", "kept", Ours)? + figures.last("W3b", "", Floor)?
        )),
        "3 x W3a into a local + a miss"
    ),
    line!(
        "W4",
        "",
        "table.set",
        "ns",
        first,
        COLLECTORS,
        AtMost(|_| Some(1.5)),
        ""
    ),
    line!(
        "W5",
        "operands",
        "two globals swap",
        "ns",
        first,
        COLLECTORS,
        AtMost(|_| Some(3.0)),
        ""
    ),
    line!(
        "W5",
        "local",
        "two globals swap through a local",
        "ns",
        first,
        COLLECTORS,
        Nothing,
        "for comparison"
    ),
    line!(
        "W6",
        "",
        "a reference is made and dropped",
        "ns",
        first,
        &[Drc, Copying, Null, Handle, OurHandle, Malloc],
        AtMost(|figures| handle(figures, "W6")),
        "the cheaper handle"
    ),
    line!(
        "W7",
        "0",
        "collection, frames without references",
        "ns/frame",
        worst,
        COLLECTING,
        AtMost(|_| Some(4.0)),
        ""
    ),
    line!(
        "W7",
        "1",
        "collection, 1 reference a frame",
        "ns/frame",
        worst,
        COLLECTING,
        AtMost(|_| Some(7.0)),
        ""
    ),
    line!(
        "W7",
        "4",
        "collection, 4 references a frame",
        "ns/frame",
        worst,
        COLLECTING,
        AtMost(|_| Some(16.0)),
        ""
    ),
    Line {
        row: "W7",
        what: "times faster than DRC, at its best depth",
        unit: "x",
        value: drc_by_ours,
        peers: &[],
        goal: AtLeast(|_| Some(8.0)),
        why: "",
    },
    line!(
        "W8",
        "none",
        "W6 below 100 k frames",
        "ns",
        last,
        COLLECTING,
        AtMost(|figures| Some(1.5 * figures.first("W8", "none", Ours)?)),
        "1.5 x below 1 frame"
    ),
    line!(
        "W8",
        "shared",
        "the same, 1 shared reference a frame",
        "ns",
        last,
        COLLECTING,
        AtMost(|figures| Some(1.5 * figures.first("W8", "shared", Ours)?)),
        "1.5 x below 1 frame"
    ),
    line!(
        "W9",
        "bytes",
        "memory of a reference to a u64",
        "bytes",
        first,
        COLLECTING,
        AtMost(|_| Some(40.0)),
        ""
    ),
    line!(
        "W9",
        "held",
        "of that, held after the last reference",
        "%",
        first,
        COLLECTING,
        Nothing,
        "for comparison: the allocator's affair"
    ),
    line!(
        "W9",
        "returned",
        "of that, returned when malloc_trim asks",
        "%",
        first,
        COLLECTING,
        AtLeast(|_| Some(80.0)),
        "all but the table's slots"
    ),
    line!(
        "W10",
        "",
        "W6 beside 1 M references",
        "ns",
        last,
        COLLECTING,
        AtMost(|figures| Some(1.2 * figures.first("W6", "", Ours)?)),
        "1.2 x W6"
    ),
    line!(
        "W11",
        "table",
        "1 M die in a table: longest pause",
        "ms",
        first,
        COLLECTING,
        AtMost(|_| Some(20.0)),
        ""
    ),
    line!(
        "W11",
        "whole",
        "1 M die in frames: in one go",
        "ms",
        first,
        &[],
        AtMost(|_| Some(20.0)),
        ""
    ),
    line!(
        "W11",
        "scan",
        "the same, sliced: the scan before",
        "ms",
        first,
        &[],
        Nothing,
        "for comparison"
    ),
    line!(
        "W11",
        "slice",
        "the same: a slice of 1000",
        "us",
        first,
        &[],
        AtMost(|_| Some(100.0)),
        ""
    ),
    line!(
        "W12",
        "",
        "dead when its slot is overwritten",
        "1 = yes",
        first,
        COLLECTING,
        AtLeast(|_| Some(1.0)),
        ""
    ),
    line!(
        "W13",
        "new",
        "a box, new and dropped",
        "ns",
        first,
        &[Rc, Arc, Slab],
        AtMost(|figures| Some(0.95 * figures.first("W13", "new", Rc)?)),
        "0.95 x Rc"
    ),
    line!(
        "W13",
        "clone",
        "a box, cloned and dropped",
        "ns",
        first,
        &[Rc, Arc],
        AtMost(|figures| figures.first("W13", "clone", Rc)),
        "Rc"
    ),
    line!(
        "W14",
        "few",
        "1 k addresses of 1 M safepoints looked up",
        "ns",
        first,
        &[BTree],
        AtMost(|_| Some(25.0)),
        ""
    ),
    line!(
        "W14",
        "many",
        "1 M addresses of 1 M safepoints",
        "ns",
        first,
        &[BTree, Floor],
        AtMost(|figures| Some(1.5 * figures.first("W14", "many", Floor)?)),
        "1.5 x a read of that memory"
    ),
    Line {
        row: "W14",
        what: "(un)register among 10 k modules, by among 1",
        unit: "x",
        value: |figures, contender| figures.growth("W14", "register", contender),
        peers: &[],
        goal: AtMost(|_| Some(1.5)),
        why: "",
    },
    line!(
        "W15",
        "",
        "walk of 1000 frames",
        "ns/frame",
        first,
        &[Framehop, Backtrace, BacktraceWalker, CurrentFrame, Floor],
        AtMost(|_| Some(2.0)),
        ""
    ),
    line!(
        "W16",
        "",
        "(un)register anywhere among 1 M modules",
        "us",
        last,
        &[BTree],
        AtMost(|_| Some(3.0)),
        ""
    ),
    line!(
        "W16",
        "",
        "the same, by among 1",
        "x",
        growth,
        &[BTree],
        AtMost(|_| Some(2.0)),
        ""
    ),
    line!(
        "W17",
        "each",
        "(un)register beside no other thread",
        "us",
        first,
        &[BTree],
        Nothing,
        "for comparison"
    ),
    line!(
        "W17",
        "each",
        "speed beside 2 that collect, by alone",
        "x",
        speedup,
        &[BTree],
        AtLeast(|_| Some(0.4)),
        "3 threads, 2 processors"
    ),
    line!(
        "W17",
        "processor",
        "processor time beside 2 that collect",
        "us",
        last,
        &[BTree],
        Nothing,
        "for comparison"
    ),
    line!(
        "W17",
        "slowest",
        "the slowest beside 2 that collect",
        "ms",
        last,
        &[BTree],
        AtMost(|_| Some(20.0)),
        ""
    ),
    line!(
        "W18",
        "",
        "collections on 2 threads, by on 1",
        "x",
        speedup,
        &[Floor],
        AtLeast(|_| Some(1.9)),
        ""
    ),
    line!(
        "W19",
        "",
        "collection below 100 k host frames",
        "ns",
        last,
        &[Backtrace, Drc, Copying],
        AtMost(|figures| Some(1.2 * figures.first("W19", "", Ours)?)),
        "1.2 x below 10"
    ),
    line!(
        "W20",
        "dead",
        "1 M cells in rings of 10 die: collection",
        "ns/cell",
        first,
        &[Copying, Python],
        AtMost(|figures| cycle_collector(figures, "W20", "dead")),
        "the better of both"
    ),
    line!(
        "W20",
        "life",
        "the same, and made and linked before",
        "ns/cell",
        first,
        &[Copying, Python],
        Nothing,
        "for comparison"
    ),
    line!(
        "W21",
        "",
        "1 M cells in rings of 10 live: collection",
        "ns/cell",
        first,
        &[Copying, Python],
        AtMost(|figures| cycle_collector(figures, "W21", "")),
        "the better of both"
    ),
    line!(
        "W22",
        "untraced",
        "a box, new and dropped",
        "ns",
        first,
        &[],
        Nothing,
        "for comparison"
    ),
    line!(
        "W22",
        "traced",
        "a traced box, new and dropped",
        "ns",
        first,
        &[],
        AtMost(|figures| Some(2.0 * figures.first("W22", "untraced", Ours)?)),
        "2 x untraced"
    ),
    line!(
        "W23",
        "",
        "a weak reference upgraded, dropped",
        "ns",
        first,
        &[Rc],
        AtMost(|figures| Some(1.5 * figures.first("W23", "", Rc)?)),
        "1.5 x Rc"
    ),
    line!(
        "W24",
        "walk",
        "walk of 1000 frames on 100 stacks",
        "ns/frame",
        last,
        &[],
        AtMost(|figures| Some(1.3 * figures.first("W24", "walk", Ours)?)),
        "1.3 x on one"
    ),
    line!(
        "W24",
        "collection",
        "collection, 1000 frames on 100 stacks",
        "ns/frame",
        last,
        &[],
        AtMost(|figures| Some(1.3 * figures.first("W24", "collection", Ours)?)),
        "1.3 x on one"
    ),
    line!(
        "W25",
        "",
        "walk of 1000 frames of Pulley",
        "ns/frame",
        first,
        &[],
        AtMost(|_| Some(3.0)),
        ""
    ),
    line!(
        "W26",
        "",
        "W6, interpreted",
        "ns",
        first,
        &[],
        Nothing,
        "for comparison"
    ),
    line!(
        "W27",
        "none",
        "W26 below 100 k frames",
        "ns",
        last,
        &[],
        AtMost(|figures| Some(1.5 * figures.first("W27", "none", Ours)?)),
        "1.5 x below 1 frame"
    ),
    line!(
        "W27",
        "shared",
        "the same, 1 shared reference a frame",
        "ns",
        last,
        &[],
        AtMost(|figures| Some(1.5 * figures.first("W27", "shared", Ours)?)),
        "1.5 x below 1 frame"
    ),
];

#[cfg(test)]
mod tests {
    use super::{Goal, LINES};
    use crate::contender::Contender::{Drc, Ours};
    use crate::figures::{Figure, Figures};
    use crate::workload;

    #[test]
    fn every_workload_has_a_line() {
        for workload in workload::all() {
            assert!(
                LINES.iter().any(|line| line.row == workload.row),
                "{}",
                workload.row
            );
        }
    }

    #[test]
    fn goals_have_directions() {
        let figures = Figures::default();
        let few = Goal::AtMost(|_| Some(2.0));
        assert_eq!(few.is_met(&figures, 2.5), Some(false));
        assert!((few.ratio(2.0, 8.0) - 4.0).abs() < 1e-9);
        let many = Goal::AtLeast(|_| Some(2.0));
        assert_eq!(many.is_met(&figures, 2.5), Some(true));
    }

    #[test]
    fn the_distance_to_drc_is_that_of_its_best_depth() {
        let mut figures = Figures::default();
        for (contender, x, value) in [
            (Ours, 1, 1.0),
            (Ours, 2, 2.0),
            (Drc, 1, 30.0),
            (Drc, 2, 40.0),
        ] {
            figures.push(Figure {
                row: "W7",
                line: "4".into(),
                contender,
                x,
                value,
            });
        }
        assert_eq!(super::drc_by_ours(&figures, Ours), Some(20.0));
    }
}
