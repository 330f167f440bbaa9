//! W7, W8 and W19: collections, and garbage, at the bottom of a recursion.

use super::garbage::MAKE_AND_DROP;
use super::{Lines, Task, Workload};
use crate::contender::Contender::{self, Backtrace, Copying, Drc, Ours};
use crate::engine::{Engine, Failure, Ours as OurEngine};
use crate::guest::{self, Held};
use crate::stopwatch::Stopwatch;
use core::hint::black_box;
use std::rc::Rc;
use vmexternref_backtrace::BacktraceWalker;

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

pub(super) const W19: &[Workload] = &[Workload {
    row: "W19",
    part: "",
    contenders: &[Ours, Backtrace, Drc, Copying],
    sizes: &[10, 100, 1000, 10_000, 100_000],
    quick_sizes: &[10, 1000],
    run: below_host_frames,
}];

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

/// One collection in a guest that is called below `x` frames of the host.
///
/// Ours walks with the platform's unwinder, and ends at the canary. The crate `backtrace` alone
/// walks to the end of the stack.
fn below_host_frames(task: &Task) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    let figure = if task.contender == Backtrace {
        let trace = || {
            backtrace::trace(|frame| {
                black_box(frame.ip());
                true
            });
        };
        call_below(task.x, &mut || stopwatch.run(trace));
        stopwatch.figure()
    } else {
        let text = guest::module(&guest::timed_run("", "", "(call $gc)"));
        let mut engine = if task.contender == Ours {
            let engine = OurEngine::new(&text, task.effort)?;
            engine.set_walker(Rc::new(BacktraceWalker));
            Box::new(engine) as Box<dyn Engine>
        } else {
            task.instantiate(&text)?
        };
        let mut outcome = Ok(0);
        call_below(task.x, &mut || outcome = engine.run("run", 0));
        outcome?;
        engine.figure()
    };
    Ok(vec![("", figure.ok_or("nothing was timed")?)])
}

/// Calls `call` below so many frames.
#[inline(never)]
fn call_below(frames: u32, call: &mut dyn FnMut()) {
    if frames > 1 {
        call_below(frames - 1, call);
    } else {
        call();
    }
    // What happens after the calls keeps them from being jumps.
    black_box(frames);
}
