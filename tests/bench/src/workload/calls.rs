//! W1 and W2: references through calls, into Wasm and out of it.

use super::{Lines, Task, Workload};
use crate::contender::Contender::{self, Copying, Drc, Handle, Null, OurHandle, Ours};
use crate::engine::Failure;
use crate::guest;

const ENGINES: &[Contender] = &[Ours, Drc, Copying, Null];

pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        row: "W1",
        part: "empty",
        contenders: ENGINES,
        sizes: &[0],
        quick_sizes: &[0],
        run: empty_call,
    },
    Workload {
        row: "W1",
        part: "externref",
        contenders: ENGINES,
        sizes: &[0],
        quick_sizes: &[0],
        run: reference_call,
    },
    Workload {
        row: "W2",
        part: "",
        contenders: &[Ours, Drc, Copying, Null, Handle, OurHandle],
        sizes: &[0],
        quick_sizes: &[0],
        run: import_call,
    },
];

fn empty_call(task: &Task) -> Result<Lines, Failure> {
    let mut engine = task.instantiate(&guest::module(guest::EXPORTS))?;
    engine.time_empty_calls()?;
    let figure = engine.figure().ok_or("nothing was timed")?;
    Ok(vec![("empty", figure)])
}

fn reference_call(task: &Task) -> Result<Lines, Failure> {
    let mut engine = task.instantiate(&guest::module(guest::EXPORTS))?;
    engine.time_reference_calls()?;
    let figure = engine.figure().ok_or("nothing was timed")?;
    Ok(vec![("externref", figure)])
}

fn import_call(task: &Task) -> Result<Lines, Failure> {
    let (locals, setup, read) = match task.contender {
        Handle | OurHandle => (
            "(local $handle i32)",
            "(local.set $handle (call $new_handle (i64.const 7)))",
            "(call $handle_value (local.get $handle))",
        ),
        _ => (
            "(local $reference externref)",
            "(local.set $reference (call $new (i64.const 7)))",
            "(call $value (local.get $reference))",
        ),
    };
    let body = format!("(local.set $sum (i64.add (local.get $sum) {read}))");
    let locals = format!("{locals} (local $sum i64)");
    let text = guest::module(&guest::timed_run(&locals, setup, &body));
    Ok(vec![("", task.time(&text, 1.0)?)])
}
