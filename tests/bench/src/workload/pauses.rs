//! W11 and W12: when objects die, and how long the guest waits.

use super::{Lines, Task, Workload};
use crate::clock::{median, thread_nanoseconds};
use crate::contender::Contender::{Copying, Drc, Ours};
use crate::engine::Failure;
use crate::guest;
use vmexternref_core::{
    RecordedWalker, StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd, collect,
};

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W11",
        part: "table",
        contenders: &[Ours, Drc, Copying],
        sizes: &[1_000_000],
        quick_sizes: &[10_000],
        run: table_cleared,
    },
    Workload {
        row: "W11",
        part: "activations",
        contenders: &[Ours],
        sizes: &[1_000_000],
        quick_sizes: &[10_000],
        run: activations_left,
    },
    Workload {
        row: "W12",
        part: "",
        contenders: &[Ours, Drc, Copying],
        sizes: &[0],
        quick_sizes: &[0],
        run: overwritten,
    },
];

/// Milliseconds that `f` takes.
#[expect(clippy::cast_precision_loss, reason = "times of seconds at most")]
pub(super) fn milliseconds(f: impl FnOnce()) -> f64 {
    let before = thread_nanoseconds();
    f();
    (thread_nanoseconds() - before) as f64 / 1e6
}

/// Clears a table of `x` references, and then collects. Returns the longer of the two times.
fn table_cleared(task: &Task) -> Result<Lines, Failure> {
    let mut engine = task.instantiate(&guest::module(&guest::table(task.x)))?;
    let mut pauses = Vec::new();
    for _ in 0..task.effort.batches {
        engine.run("fill", task.size()?)?;
        engine.run("collect", 0)?;
        let mut outcome = Ok(0);
        let clear =
            milliseconds(|| outcome = engine.run("clear", i32::try_from(task.x).unwrap_or(0)));
        outcome?;
        let mut outcome = Ok(0);
        let collect = milliseconds(|| outcome = engine.run("collect", 0));
        outcome?;
        pauses.push(clear.max(collect));
    }
    Ok(vec![(
        "table",
        median(&mut pauses).ok_or("nothing was timed")?,
    )])
}

/// References released in one slice.
const SLICE: usize = 1000;

/// Releases `x` references of frames that have returned: at once, and in slices.
fn activations_left(task: &Task) -> Result<Lines, Failure> {
    let registry = StackMapRegistry::new();
    // SAFETY: no Wasm runs in this process.
    let walker = unsafe { RecordedWalker::new(Vec::new(), WalkEnd::Complete) };
    let (mut whole, mut scans, mut slices) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..task.effort.batches {
        let table = filled_table(task.x);
        // SAFETY: no Wasm runs, so no frame holds a reference, and the walk is complete.
        let collect = |table| unsafe { collect(&registry, table, &walker) }.1;
        whole.push(milliseconds(|| drop(collect(&table))));
        let table = filled_table(task.x);
        let mut garbage = None;
        scans.push(milliseconds(|| garbage = Some(collect(&table))));
        let mut garbage = garbage.ok_or("the collection ran")?;
        let mut longest: f64 = 0.0;
        while !garbage.is_empty() {
            longest = longest.max(milliseconds(|| {
                garbage.release(SLICE);
            }));
        }
        slices.push(longest * 1e3);
    }
    let nothing = "nothing was timed";
    Ok(vec![
        ("whole", median(&mut whole).ok_or(nothing)?),
        ("scan", median(&mut scans).ok_or(nothing)?),
        ("slice", median(&mut slices).ok_or(nothing)?),
    ])
}

fn filled_table(entries: u32) -> VMExternRefActivationsTable {
    let table = VMExternRefActivationsTable::new();
    for value in 0..u64::from(entries) {
        table.insert_without_gc(VMExternRef::new(value));
    }
    table
}

/// 1 if an object dies when the only slot that holds it is overwritten.
fn overwritten(task: &Task) -> Result<Lines, Failure> {
    let text = guest::module(
        r#"(table $table 1 externref)
        (func (export "store") (param i32) (result i32)
          (table.set $table (i32.const 0) (call $new_watched))
          (i32.const 0))
        (func (export "collect") (param i32) (result i32)
          (call $gc)
          (call $alive))
        (func (export "overwrite") (param i32) (result i32)
          (table.set $table (i32.const 0) (ref.null extern))
          (call $alive))"#,
    );
    let mut engine = task.instantiate(&text)?;
    engine.run("store", 0)?;
    if engine.run("collect", 0)? != 1 {
        return Err("the stored object is dead".into());
    }
    let left = engine.run("overwrite", 0)?;
    Ok(vec![("", if left == 0 { 1.0 } else { 0.0 })])
}
