//! Small modules that ask as much as they can of a compiler end within bounded work.
//!
//! Work is measured in allocated bytes, those in use at a time and those in all: whatever takes
//! long in the code generator allocates for each step.

use vmexternref_engine::assemble;
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};
use vmexternref_loaders::{Bound, allocated_by};

/// Bytes that compiling a module of 64 KiB may allocate in all.
///
/// The code generator's verifier, which tests have, allocates most of them.
const WORK: usize = 4 << 30;

/// Bytes that it may have allocated at a time.
const MEMORY: Bound = Bound {
    fixed: 384 << 20,
    per_byte: 0,
};

/// Compiles a module, or refuses it, within the bounds. Returns whether it compiles.
fn compiles(name: &str, text: &str) -> bool {
    let wasm = assemble(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(wasm.len() <= 1 << 16, "{name} has {} bytes", wasm.len());
    let mut compiled = false;
    let work = allocated_by(|| {
        let outcome = MEMORY.check(name, 0, || compile(&wasm, &CompileOptions::default()));
        match outcome {
            Ok(_) => compiled = true,
            Err(CompileError::Limit(_)) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    });
    assert!(work <= WORK, "{name} ({} bytes): {work} bytes", wasm.len());
    compiled
}

fn each(count: u32, item: impl Fn(u32) -> String) -> String {
    (0..count).map(item).collect()
}

/// A function with so many locals of a type, and this body.
fn function(locals: usize, ty: &str, body: &str) -> String {
    let locals = format!("{ty} ").repeat(locals);
    format!(
        r#"(module
            (import "h" "new" (func $new (result externref)))
            (import "h" "use" (func $use (param externref)))
            (import "h" "number" (func $number (result i64)))
            (table $t 10 externref)
            (global $g (mut externref) (ref.null extern))
            (func (local {locals}) {body}))"#
    )
}

fn nested(kind: &str, depth: usize, inside: &str) -> String {
    format!(
        "{} {inside} {}",
        format!("{kind} ").repeat(depth),
        "end ".repeat(depth)
    )
}

#[test]
fn locals_in_nested_loops() {
    let read = each(10_000, |index| format!("local.get {index} drop "));
    assert!(compiles(
        "read",
        &function(10_000, "i32", &nested("loop", 1000, &read))
    ));
    let write = each(7000, |index| {
        format!("local.get {index} local.set {index} ")
    });
    assert!(!compiles(
        "write",
        &function(7000, "i32", &nested("loop", 1000, &write))
    ));
    let some = each(200, |index| format!("local.get {index} local.set {index} "));
    assert!(compiles(
        "some",
        &function(200, "i32", &nested("loop", 1000, &some))
    ));
    assert!(compiles(
        "deep",
        &function(0, "i32", &nested("loop", 9999, ""))
    ));
}

#[test]
fn locals_behind_many_blocks() {
    for ty in ["i32", "externref"] {
        let write = each(2000, |index| {
            format!("local.get {index} local.set {index} ")
        });
        let ifs = "i32.const 0 if end ".repeat(1000);
        compiles(ty, &function(2000, ty, &(ifs + &write)));
        let branches = "i32.const 0 br_if 0 ".repeat(4000);
        compiles(ty, &function(2000, ty, &(branches + &write)));
    }
    let write = each(7000, |index| {
        format!("local.get {index} local.set {index} ")
    });
    let branches = "i32.const 0 br_if 0 ".repeat(4000);
    assert!(!compiles(
        "beyond",
        &function(7000, "i32", &(branches + &write))
    ));
}

#[test]
fn live_references_across_calls() {
    let live = |count| "call $new ".repeat(count) + &"call $use ".repeat(count);
    assert!(compiles("1000", &function(0, "i32", &live(1000))));
    assert!(!compiles("10000", &function(0, "i32", &live(10_000))));
    let numbers = "call $number ".repeat(3000) + &"i64.add ".repeat(2999) + "drop";
    compiles("numbers", &function(0, "i32", &numbers));
}

#[test]
fn operands_of_blocks_branches_and_calls() {
    let types = format!(
        "(type $wide (func (result {0}))) (type $through (func (param {0}) (result {0})))",
        "i64 ".repeat(1000)
    );
    let wide = |body: &str| {
        format!(
            "(module {types} (table 1 funcref)
                (func $wide (type $wide) {}) (func call $wide {body} {}))",
            "i64.const 0 ".repeat(1000),
            "drop ".repeat(1000)
        )
    };
    assert!(compiles("once", &wide("")));
    assert!(!compiles(
        "blocks",
        &wide(&nested("block (type $through)", 1000, ""))
    ));
    let indirect = "i32.const 0 call_indirect (type $through) ";
    assert!(!compiles("indirect", &wide(&indirect.repeat(1000))));
    let branches = "i32.const 0 br_if 0 ".repeat(1000);
    assert!(!compiles(
        "branches",
        &wide(&format!("block (type $through) {branches} end"))
    ));
    let table = format!("i32.const 0 br_table {}", "0 ".repeat(1000));
    assert!(!compiles(
        "table",
        &wide(&format!("block (type $through) {table} end"))
    ));
    let narrow = format!("i32.const 0 br_table {}", "0 ".repeat(50_000));
    assert!(compiles("targets", &function(0, "i32", &narrow)));
}

#[test]
fn many_functions_and_types() {
    let types = each(9000, |index| {
        let params = (0..3).map(|bit: u32| {
            if index >> bit & 1 == 0 {
                "i32 "
            } else {
                "i64 "
            }
        });
        format!("(type (func (param {})))", params.collect::<String>())
    });
    assert!(compiles("types", &format!("(module {types})")));
    compiles("functions", &format!("(module {})", "(func)".repeat(9000)));
}

#[test]
fn references_in_tables_and_globals() {
    let elements = "(table.set $t (i32.const 0) (table.get $t (i32.const 1))) ".repeat(3000);
    compiles("elements", &function(0, "i32", &elements));
    let globals = "(global.set $g (global.get $g)) ".repeat(3000);
    compiles("globals", &function(0, "i32", &globals));
}
