//! W25 to W27: guests that are interpreted.

use super::garbage::MAKE_AND_DROP;
use super::walkers::{per_frame, recursion, time};
use super::{Lines, Task, Workload};
use crate::contender::Contender::Ours;
use crate::engine::{Engine, Failure, Ours as OurEngine, Scene};
use crate::guest::{self, Held};
use crate::stopwatch::Stopwatch;

const fn row(
    row: &'static str,
    part: &'static str,
    sizes: &'static [u32],
    run: fn(&Task) -> Result<Lines, Failure>,
) -> Workload {
    Workload {
        row,
        part,
        contenders: &[Ours],
        sizes,
        quick_sizes: sizes.split_at(1).0,
        run,
    }
}

const DEPTHS: &[u32] = &[1, 100, 1000, 10_000, 100_000];

pub(super) const WORKLOADS: &[Workload] = &[
    row("W25", "", &[1000], walk),
    row("W26", "", &[0], |task| {
        garbage(task, &guest::timed_run("", "", MAKE_AND_DROP), "")
    }),
    row("W27", "none", DEPTHS, |task| {
        garbage(
            task,
            &guest::recursion(Held::Nothing, MAKE_AND_DROP),
            "none",
        )
    }),
    row("W27", "shared", DEPTHS, |task| {
        garbage(
            task,
            &guest::recursion(Held::Shared, MAKE_AND_DROP),
            "shared",
        )
    }),
];

/// Walks from the bottom of `x` frames of bytecode; nanoseconds per frame visited.
fn walk(task: &Task) -> Result<Lines, Failure> {
    let mut engine = OurEngine::interpreted(&guest::module(&recursion()), task.effort)?;
    engine.set_walk(by_records);
    engine.run("run", task.size()?)?;
    per_frame(&mut engine, task.x)
}

fn by_records(scene: &Scene<'_>, stopwatch: &mut Stopwatch) -> usize {
    time(&scene.store.activations(), stopwatch)
}

/// References made and dropped by the interpreted guest `items`; nanoseconds per reference.
fn garbage(task: &Task, items: &str, line: &'static str) -> Result<Lines, Failure> {
    let mut engine = OurEngine::interpreted(&guest::module(items), task.effort)?;
    engine.run("run", task.size()?)?;
    Ok(vec![(line, engine.figure().ok_or("nothing was timed")?)])
}
