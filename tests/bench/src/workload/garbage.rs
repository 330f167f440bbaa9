//! W6 and W10: references that are made and dropped, alone and beside many others.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{Copying, Drc, Handle, Malloc, Null, OurHandle, Ours};
use crate::engine::Failure;
use crate::guest;
use crate::stopwatch::Stopwatch;
use core::hint::black_box;

pub(super) const W6: &[Workload] = &[Workload {
    row: "W6",
    part: "",
    contenders: &[Ours, Drc, Copying, Null, Handle, OurHandle, Malloc],
    sizes: &[0],
    quick_sizes: &[0],
    run: make_and_drop,
}];

pub(super) const W10: &[Workload] = &[Workload {
    row: "W10",
    part: "",
    contenders: &[Ours, Drc, Copying],
    sizes: &[1, 1000, 10_000, 100_000, 1_000_000],
    quick_sizes: &[1, 1000],
    run: make_and_drop_beside_others,
}];

/// The body of W6, W8 and W10.
pub(super) const MAKE_AND_DROP: &str = "(drop (call $new (i64.const 7)))";

fn make_and_drop(task: &Task) -> Result<Lines, Failure> {
    let body = match task.contender {
        Malloc => return malloc_and_free(task),
        Handle | OurHandle => "(call $drop_handle (call $new_handle (i64.const 7)))",
        _ => MAKE_AND_DROP,
    };
    let text = guest::module(&guest::timed_run("", "", body));
    Ok(vec![("", task.time(&text, 1.0)?)])
}

/// The cost of a box of a `u64` for the allocator.
fn malloc_and_free(task: &Task) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    stopwatch.run(|| {
        // SAFETY: `malloc` may be asked for any size, and `free` gets what it returned.
        unsafe { libc::free(black_box(libc::malloc(black_box(32)))) }
    });
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![("", figure)])
}

/// The same, beside a table of `x` references that the guest does not touch.
fn make_and_drop_beside_others(task: &Task) -> Result<Lines, Failure> {
    let run = guest::timed_run("", "", MAKE_AND_DROP);
    let text = guest::module(&format!("{} {run}", guest::table(task.x)));
    let mut engine = task.instantiate(&text)?;
    engine.run("fill", task.size()?)?;
    engine.run("run", 0)?;
    let figure = engine.figure().ok_or("nothing was timed")?;
    Ok(vec![("", figure)])
}
