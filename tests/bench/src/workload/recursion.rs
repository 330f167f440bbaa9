//! W7 and W8: collections, and garbage, at the bottom of a recursion.

use super::garbage::MAKE_AND_DROP;
use super::{Lines, Task, Workload};
use crate::contender::Contender::{self, Copying, Drc, Ours};
use crate::engine::Failure;
use crate::guest::{self, Held};

const ENGINES: &[Contender] = &[Ours, Drc, Copying];

const DEPTHS: &[u32] = &[100, 1000, 10_000, 100_000];

const fn w7(part: &'static str, run: fn(&Task) -> Result<Lines, Failure>) -> Workload {
    Workload {
        row: "W7",
        part,
        contenders: ENGINES,
        sizes: DEPTHS,
        quick_sizes: &[100],
        run,
    }
}

const fn w8(part: &'static str, run: fn(&Task) -> Result<Lines, Failure>) -> Workload {
    Workload {
        row: "W8",
        part,
        contenders: ENGINES,
        sizes: &[1, 100, 1000, 10_000, 100_000],
        quick_sizes: &[1, 100],
        run,
    }
}

pub(super) const WORKLOADS: &[Workload] = &[
    w7("0", |task| collection(task, Held::Nothing, "0")),
    w7("1", |task| collection(task, Held::Own(1), "1")),
    w7("4", |task| collection(task, Held::Own(4), "4")),
    w8("none", |task| garbage(task, Held::Nothing, "none")),
    w8("shared", |task| garbage(task, Held::Shared, "shared")),
];

/// One collection below `x` frames; nanoseconds per frame.
fn collection(task: &Task, held: Held, line: &'static str) -> Result<Lines, Failure> {
    let text = guest::module(&guest::recursion(held, "(call $gc)"));
    Ok(vec![(line, task.time(&text, f64::from(task.x))?)])
}

/// References made and dropped below `x` frames; nanoseconds per reference.
fn garbage(task: &Task, held: Held, line: &'static str) -> Result<Lines, Failure> {
    let text = guest::module(&guest::recursion(held, MAKE_AND_DROP));
    Ok(vec![(line, task.time(&text, 1.0)?)])
}
