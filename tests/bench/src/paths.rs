//! Hot paths in isolation, for an instruction counter to run.
//!
//! Each path runs a given number of rounds, in a loop of a few instructions. A counter runs a path
//! twice, with different numbers of rounds, and takes the difference.

use crate::engine::{Engine, Failure, Ours};
use crate::guest;
use crate::stopwatch::Effort;
use core::hint::black_box;
use core::mem::ManuallyDrop;
use vmexternref_bench::MadeStack;
use vmexternref_core::{VMExternRef, VMExternRefActivationsTable};

/// One path.
struct Path {
    name: &'static str,
    /// Operations of one round.
    operations: u32,
    /// Runs a number of rounds.
    run: fn(u32) -> Result<(), Failure>,
}

const fn path(name: &'static str, operations: u32, run: fn(u32) -> Result<(), Failure>) -> Path {
    Path {
        name,
        operations,
        run,
    }
}

/// Frames of the stacks that are collected.
const FRAMES: u32 = 1000;

const PATHS: &[Path] = &[
    path("empty_call", 1, |rounds| {
        exports(rounds)?.empty_calls(rounds)
    }),
    path("reference_call", 1, |rounds| {
        exports(rounds)?.reference_calls(rounds)
    }),
    path("table_get", 1, |rounds| compiled(GET, rounds, rounds)),
    path("table_set", 1, |rounds| compiled(SET, rounds, rounds)),
    path("host_call", 1, |rounds| compiled(CALL, rounds, rounds)),
    path("make_and_drop", 1, |rounds| compiled(MAKE, rounds, 512)),
    path("try_insert", 1, try_insert),
    path("clone_and_drop", 1, clone_and_drop),
    path("new_and_drop", 1, new_and_drop),
    path("gc_call", 1, |rounds| compiled("(call $gc)", rounds, 512)),
    path("gc_frame", FRAMES, |rounds| collect(rounds, 0, 1)),
    path("gc_frame_looked_up", FRAMES, |rounds| {
        collect(rounds, 0, 500)
    }),
    path("gc_frame_with_1_root", FRAMES, |rounds| {
        collect(rounds, 1, 1)
    }),
    path("gc_frame_with_4_roots", FRAMES, |rounds| {
        collect(rounds, 4, 1)
    }),
    path("gc_garbage", FRAMES, collect_garbage),
];

const GET: &str = "(local.set $held (table.get $table (i32.const 0)))";
const SET: &str = "(table.set $table (i32.const 0) (local.get $held))";
const CALL: &str = "(drop (call $value (local.get $held)))";
const MAKE: &str = "(drop (call $new (i64.const 7)))";

/// Runs the path of that name, and returns the number of operations of a round.
pub(crate) fn run(name: &str, rounds: u32) -> Result<(), Failure> {
    let found = PATHS.iter().find(|path| path.name == name);
    let path = found.ok_or_else(|| format!("the paths are: {}", names()))?;
    (path.run)(rounds)?;
    println!("{}", path.operations);
    Ok(())
}

fn names() -> String {
    let names: Vec<_> = PATHS.iter().map(|path| path.name).collect();
    names.join(" ")
}

/// An instance with the exports of W1, whose activations table needs no collection.
fn exports(rounds: u32) -> Result<ManuallyDrop<Ours>, Failure> {
    let text = guest::module(guest::EXPORTS);
    let ours = Ours::with_slots(&text, Effort::QUICK, rounds as usize + 16)?;
    Ok(ManuallyDrop::new(ours))
}

/// Runs `body` in Wasm, with a reference in `$held` and in element 0 of a table.
///
/// The activations table starts with room for this many references. A collection happens when it
/// is full.
fn compiled(body: &str, rounds: u32, slots: u32) -> Result<(), Failure> {
    let text = guest::module(&format!(
        r#"(table $table 1 externref)
        (func (export "run") (param $rounds i32) (result i32) (local $held externref)
          (local.set $held (call $new (i64.const 7)))
          (table.set $table (i32.const 0) (local.get $held))
          (loop $each
            {body}
            (br_if $each (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
          (i32.const 0))"#
    ));
    let mut engine = Ours::with_slots(&text, Effort::QUICK, slots as usize + 16)?;
    engine.run("run", i32::try_from(rounds)?)?;
    core::mem::forget(engine);
    Ok(())
}

/// Inserts clones; they cost half of what `clone_and_drop` does.
fn try_insert(rounds: u32) -> Result<(), Failure> {
    let table = VMExternRefActivationsTable::with_capacity(rounds as usize + 1, usize::MAX);
    let reference = VMExternRef::new(7_u64);
    table.insert_without_gc(reference.clone());
    for _ in 0..rounds {
        if black_box(&table).try_insert(reference.clone()).is_err() {
            return Err("the table is full".into());
        }
    }
    core::mem::forget((table, reference));
    Ok(())
}

fn clone_and_drop(rounds: u32) -> Result<(), Failure> {
    let reference = VMExternRef::new(7_u64);
    for _ in 0..rounds {
        drop(black_box(black_box(&reference).clone()));
    }
    Ok(())
}

fn new_and_drop(rounds: u32) -> Result<(), Failure> {
    for _ in 0..rounds {
        drop(black_box(VMExternRef::new(black_box(7_u64))));
    }
    Ok(())
}

/// Collects while a stack holds every reference.
fn collect(rounds: u32, references: usize, safepoints: usize) -> Result<(), Failure> {
    let stack = MadeStack::new(FRAMES as usize, references, safepoints)?;
    for _ in 0..rounds {
        black_box(stack.collect());
    }
    Ok(())
}

/// Inserts references that no frame holds, and collects them. Their objects stay alive.
fn collect_garbage(rounds: u32) -> Result<(), Failure> {
    let stack = MadeStack::new(1, 0, 1)?;
    let objects: Vec<_> = (0..FRAMES).map(VMExternRef::new).collect();
    for _ in 0..rounds {
        for object in &objects {
            stack.table().insert_without_gc(object.clone());
        }
        black_box(stack.collect());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PATHS, run};

    #[test]
    fn every_path_runs() {
        for path in PATHS {
            run(path.name, 10).unwrap_or_else(|failure| panic!("{}: {failure}", path.name));
        }
        assert!(run("?", 1).unwrap_err().to_string().contains("gc_frame"));
    }
}
