//! W3, W4 and W5: references loaded from and stored to tables and globals.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{self, Copying, Drc, Floor, Null, Ours};
use crate::engine::Failure;
use crate::guest;
use crate::stopwatch::Stopwatch;
use core::hint::black_box;
use vmexternref_core::VMExternRef;

const ENGINES: &[Contender] = &[Ours, Drc, Copying, Null];

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W3a",
        part: "dropped",
        contenders: ENGINES,
        sizes: &[16],
        quick_sizes: &[16],
        run: |task| scan(task, "dropped", |load| format!("(drop {load})")),
    },
    Workload {
        row: "W3a",
        part: "kept",
        contenders: ENGINES,
        sizes: &[16],
        quick_sizes: &[16],
        run: |task| scan(task, "kept", keep),
    },
    Workload {
        row: "W3b",
        part: "",
        contenders: &[Ours, Drc, Copying, Floor],
        sizes: &[16, 256, 4096, 65_536, 1 << 20],
        quick_sizes: &[16, 4096],
        run: |task| scan(task, "", keep),
    },
    Workload {
        row: "W4",
        part: "",
        contenders: ENGINES,
        sizes: &[0],
        quick_sizes: &[0],
        run: set,
    },
    Workload {
        row: "W5",
        part: "operands",
        contenders: ENGINES,
        sizes: &[0],
        quick_sizes: &[0],
        run: |task| swap_globals(task, "operands", SWAP_OPERANDS),
    },
    Workload {
        row: "W5",
        part: "local",
        contenders: ENGINES,
        sizes: &[0],
        quick_sizes: &[0],
        run: |task| swap_globals(task, "local", SWAP_THROUGH_A_LOCAL),
    },
];

/// Keeps a loaded reference in a local, so that an engine that counts has to count it.
fn keep(load: &str) -> String {
    format!("(local.set $kept {load})")
}

/// `table.get` over `x` references in turn, each followed by `finish`.
fn scan(task: &Task, line: &'static str, finish: fn(&str) -> String) -> Result<Lines, Failure> {
    if task.contender == Floor {
        return scan_floor(task);
    }
    let mask = task.x - 1;
    let body = finish(&format!(
        "(table.get $table (i32.and (local.get $times) (i32.const {mask})))"
    ));
    let run = guest::timed_run("(local $kept externref)", "", &body);
    let text = guest::module(&format!("{} {run}", guest::table(task.x)));
    let mut engine = task.instantiate(&text)?;
    engine.run("fill", task.size()?)?;
    engine.run("run", 0)?;
    let figure = engine.figure().ok_or("nothing was timed")?;
    Ok(vec![(line, figure)])
}

/// One count up and one down for each of `x` boxes in turn.
///
/// An engine that counts references touches a box when it is loaded, and again when
/// it is dropped.
fn scan_floor(task: &Task) -> Result<Lines, Failure> {
    let boxes: Vec<VMExternRef> = (0..task.x).map(VMExternRef::new).collect();
    let mut stopwatch = Stopwatch::new(task.effort);
    let mut turn = boxes.iter().cycle();
    stopwatch.run(|| {
        if let Some(reference) = turn.next() {
            drop(black_box(reference.clone()));
        }
    });
    let figure = stopwatch.figure().ok_or("nothing was timed")?;
    Ok(vec![("", figure)])
}

/// `table.set`, two references in turn, to one element.
fn set(task: &Task) -> Result<Lines, Failure> {
    let table = guest::table(1);
    let locals = "(local $a externref) (local $b externref)";
    let setup = "(local.set $a (call $new (i64.const 1)))
        (local.set $b (call $new (i64.const 2)))";
    let body = "(table.set $table (i32.const 0) (local.get $a))
        (table.set $table (i32.const 0) (local.get $b))";
    let text = guest::module(&format!(
        "{table} {}",
        guest::timed_run(locals, setup, body)
    ));
    Ok(vec![("", task.time(&text, 2.0)?)])
}

const SWAP_OPERANDS: &str = "(global.get $a)
    (global.get $b)
    (global.set $a)
    (global.set $b)";

const SWAP_THROUGH_A_LOCAL: &str = "(local.set $old (global.get $a))
    (global.set $a (global.get $b))
    (global.set $b (local.get $old))";

/// Two globals swap their references.
fn swap_globals(task: &Task, line: &'static str, body: &str) -> Result<Lines, Failure> {
    let globals = "(global $a (mut externref) (ref.null extern))
        (global $b (mut externref) (ref.null extern))";
    let setup = "(global.set $a (call $new (i64.const 1)))
        (global.set $b (call $new (i64.const 2)))";
    let run = guest::timed_run("(local $old externref)", setup, body);
    let text = guest::module(&format!("{globals} {run}"));
    Ok(vec![(line, task.time(&text, 1.0)?)])
}
