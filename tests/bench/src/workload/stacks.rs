//! W24: frames on many stacks, as a host has that suspends guests.

use super::walkers::time;
use super::{Lines, Task, Workload};
use crate::contender::Contender::Ours;
use crate::engine::Failure;
use crate::stopwatch::Stopwatch;
use core::hint::black_box;
use std::sync::Arc;
use vmexternref_bench::MadeStack;
use vmexternref_core::{
    StackCanary, StackMapRegistry, StackWalker, VMExternRefActivationsTable, gc,
};
use vmexternref_frame_pointer::StacksWalker;

pub(super) const WORKLOADS: &[Workload] = &[Workload {
    row: "W24",
    part: "",
    contenders: &[Ours],
    sizes: &[1, 100],
    quick_sizes: &[1, 100],
    run: on_stacks,
}];

/// Frames on all stacks together.
const FRAMES: u32 = 1000;

/// Bytes from one stack to the next, so that each has pages of its own.
const SPACE: usize = 64 << 10;

/// Walks and collects with 1000 frames on `x` stacks; nanoseconds per frame.
fn on_stacks(task: &Task) -> Result<Lines, Failure> {
    let registry = Arc::new(StackMapRegistry::new());
    let frames = usize::try_from(FRAMES / task.x)?;
    let (mut stacks, mut spaces) = (Vec::new(), Vec::new());
    for _ in 0..task.x {
        stacks.push(MadeStack::registered_in(
            Arc::clone(&registry),
            frames,
            0,
            1,
        )?);
        spaces.push(black_box(Vec::<u8>::with_capacity(SPACE)));
    }
    let walkers: Vec<_> = stacks.iter().map(MadeStack::walker).collect();
    if let [one] = &walkers[..] {
        return measure(task, &registry, one);
    }
    // SAFETY: these are all stacks, and iterating over a slice runs no other code.
    let all = unsafe { StacksWalker::new(walkers.iter().cloned()) };
    measure(task, &registry, &all)
}

fn measure(
    task: &Task,
    registry: &StackMapRegistry,
    walker: &impl StackWalker,
) -> Result<Lines, Failure> {
    let mut stopwatch = Stopwatch::new(task.effort);
    let walked = time(walker, &mut stopwatch);
    let walk = stopwatch.figure().ok_or("nothing was timed")?;
    let mut stopwatch = Stopwatch::new(task.effort);
    let collected = time_collections(task.x, registry, walker, &mut stopwatch);
    let collection = stopwatch.figure().ok_or("nothing was timed")?;
    let frames = usize::try_from(FRAMES)?;
    if (walked, collected) != (frames, frames) {
        return Err(format!("{walked} frames were walked, {collected} collected").into());
    }
    Ok(vec![
        ("walk", walk / f64::from(FRAMES)),
        ("collection", collection / f64::from(FRAMES)),
    ])
}

/// Times collections under a canary for each stack, and returns the number of Wasm frames.
fn time_collections(
    stacks: u32,
    registry: &StackMapRegistry,
    walker: &impl StackWalker,
    stopwatch: &mut Stopwatch,
) -> usize {
    let table = VMExternRefActivationsTable::new();
    table.set_verification(false);
    let canaries: Vec<_> = (0..stacks).map(|_| StackCanary::new()).collect();
    // SAFETY: the guards go before the canaries.
    let set = |canary| unsafe { table.set_stack_canary(canary) };
    let _guards: Vec<_> = canaries.iter().map(set).collect();
    let mut frames = 0;
    stopwatch.run(|| {
        // SAFETY: the frames are as the maps say and hold nothing, and the walk is complete.
        frames = unsafe { gc(registry, &table, walker) }.wasm_frames;
    });
    frames
}
