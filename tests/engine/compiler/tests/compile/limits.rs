//! Each limit, and modules that would ask too much.

use crate::compile_text;
use vmexternref_engine_compiler::{
    Allowance, CompileError, CompileLimits, CompileOptions, compile,
};

/// What becomes of a module under these limits.
fn outcome(text: &str, limits: CompileLimits) -> Result<(), CompileError> {
    let options = CompileOptions {
        limits,
        ..CompileOptions::default()
    };
    compile_text(text, &options).map(drop)
}

/// A module that reaches a limit compiles, and one that exceeds it by one is refused by name.
fn exact(name: &str, most: u64, limits: CompileLimits, module: impl Fn(u64) -> String) {
    let at = module(most);
    assert_eq!(outcome(&at, limits), Ok(()), "{at}");
    let beyond = module(most + 1);
    let error = outcome(&beyond, limits).expect_err(&beyond);
    let message = format!("limit exceeded: more than {most} {name}");
    assert_eq!(error.to_string(), message);
}

fn repeated(count: u64, item: impl Fn(u64) -> String) -> String {
    let items: String = (0..count).map(item).collect();
    format!("(module {items})")
}

#[test]
fn the_module_has_at_most_so_many_items() {
    let all = CompileLimits::default();
    let limits = CompileLimits { types: 3, ..all };
    exact("types", 3, limits, |count| {
        repeated(count, |_| "(type (func))".into())
    });
    let limits = CompileLimits { imports: 3, ..all };
    exact("imports", 3, limits, |count| {
        repeated(count, |_| r#"(import "m" "f" (func))"#.into())
    });
    let limits = CompileLimits {
        functions: 3,
        ..all
    };
    exact("functions", 3, limits, |count| {
        repeated(count, |_| "(func)".into())
    });
    let limits = CompileLimits { globals: 3, ..all };
    exact("globals", 3, limits, |count| {
        repeated(count, |_| "(global i32 (i32.const 0))".into())
    });
    let limits = CompileLimits { exports: 3, ..all };
    exact("exports", 3, limits, |count| {
        repeated(count, |index| format!(r#"(func (export "{index}"))"#))
    });
    let limits = CompileLimits { elements: 3, ..all };
    exact("element segments", 3, limits, |count| {
        repeated(count, |_| "(elem func)".into())
    });
    let limits = CompileLimits { data: 3, ..all };
    exact("data segments", 3, limits, |count| {
        repeated(count, |_| "(data)".into())
    });
}

#[test]
fn a_function_has_at_most_so_many_locals_blocks_and_bytes() {
    let all = CompileLimits::default();
    let limits = CompileLimits { locals: 3, ..all };
    exact("locals of a function", 3, limits, |count| {
        format!(
            "(module (func (param i64 i64) {}))",
            "(local i32)".repeat(usize::try_from(count).unwrap())
        )
    });
    let limits = CompileLimits { depth: 3, ..all };
    exact("nested blocks", 3, limits, |count| {
        let count = usize::try_from(count).unwrap();
        format!(
            "(module (func {}{}))",
            "block loop ".repeat(count / 2),
            if count % 2 == 1 { "block " } else { "" }
        )
        .replace("))", &format!("{}))", " end".repeat(count)))
    });
    // The number of groups of locals, and the last `end`.
    let limits = CompileLimits {
        function_bytes: 5,
        ..all
    };
    exact("bytes of a function", 5, limits, |count| {
        format!(
            "(module (func {}))",
            "nop ".repeat(usize::try_from(count).unwrap() - 2)
        )
    });
}

#[test]
fn a_module_has_at_most_so_many_bytes() {
    let wasm = b"\0asm\x01\0\0\0";
    let within = |module_bytes| {
        let limits = CompileLimits {
            module_bytes,
            ..CompileLimits::default()
        };
        compile(
            wasm,
            &CompileOptions {
                limits,
                ..CompileOptions::default()
            },
        )
        .map(drop)
    };
    assert_eq!(within(8), Ok(()));
    let error = within(7).unwrap_err();
    assert_eq!(
        error.to_string(),
        "limit exceeded: more than 7 bytes of a module"
    );
}

/// A module needs exactly so much of an allowance.
fn needs(name: &str, most: u64, text: &str, limits: impl Fn(Allowance) -> CompileLimits) {
    let fixed = |fixed| limits(Allowance { fixed, per_byte: 0 });
    assert_eq!(outcome(text, fixed(most)), Ok(()), "{name}: {text}");
    let error = outcome(text, fixed(most - 1)).expect_err(text);
    let message = format!("limit exceeded: more than {} {name}", most - 1);
    assert_eq!(error.to_string(), message, "{text}");
    let bytes = wat::parse_str(text).unwrap().len() as u64;
    let per_byte = limits(Allowance {
        fixed: most % bytes,
        per_byte: most / bytes,
    });
    assert_eq!(outcome(text, per_byte), Ok(()), "{name}: {text}");
}

#[test]
fn operands_are_those_of_instructions_branches_loops_and_calls() {
    let function = 3 * 24;
    for (operands, text) in [
        (function + 1, "(module (func))"),
        (function + 3, "(module (func nop nop))"),
        // `i32.const`, `drop`, `end`
        (function + 2 + 2 + 1, "(module (func (drop (i32.const 0))))"),
        (3 * 24, r#"(module (import "m" "f" (func)))"#),
        (
            3 * 26,
            r#"(module (import "m" "f" (func (param i32) (result i32))))"#,
        ),
        (
            24 + function + 1,
            r#"(module (import "m" "f" (func)) (func))"#,
        ),
        // The block, two constants, a table with three targets for two operands, the block's end.
        (
            function + 1 + 2 * 2 + (1 + 3 * 2) + 3 + 2 + 1,
            "(module (func block (result i32) i32.const 0 i32.const 0 br_table 0 0 0 end drop))",
        ),
        // A loop with two locals that change.
        (
            function + 1 + 2 + 2 * (2 + 2) + 1 + 1,
            "(module (func (local i32 i32 i32)
                loop (local.set 0 (local.get 2)) (local.set 1 (local.get 2)) end))",
        ),
        (
            function + 2 + (3 + 16) + 2 + 1,
            "(module (table 1 externref) (func (drop (table.get 0 (i32.const 0)))))",
        ),
        (
            function + (2 + 8) + 2 + 1,
            "(module (global i32 (i32.const 0)) (func (drop (global.get 0))))",
        ),
    ] {
        needs("operands", operands, text, |operands| CompileLimits {
            operands,
            ..CompileLimits::default()
        });
    }
}

#[test]
fn live_values_are_operands_and_locals_that_change() {
    for (live, text) in [
        // Three instructions. After the first there is one operand.
        (1, "(module (func (local i32) (drop (local.get 0))))"),
        (1 + 3, "(module (func (param i32) (drop (local.get 0))))"),
        (
            1 + 3,
            "(module (func (local i32) (local.set 0 (i32.const 1))))",
        ),
        (
            1 + 3,
            "(module (func (param i32) (local i32) (local.set 1 (i32.const 1))))",
        ),
        (
            1 + 2 + 1,
            "(module (func i32.const 0 i32.const 0 i32.add drop))",
        ),
    ] {
        needs("live values", live, text, |live_values| CompileLimits {
            live_values,
            ..CompileLimits::default()
        });
    }
}

#[test]
fn live_references_are_operands_and_locals_of_that_type() {
    for (live, text) in [
        (1, "(module (func (param i32) (drop (local.get 0))))"),
        (
            1 + 3,
            "(module (func (param externref) (drop (local.get 0))))",
        ),
        (1, "(module (func (param funcref) (drop (local.get 0))))"),
    ] {
        needs("live references", live, text, |live_references| {
            CompileLimits {
                live_references,
                ..CompileLimits::default()
            }
        });
    }
}

#[test]
fn malformed_modules_are_invalid_not_too_large() {
    let text = "(module (type (func)) (func (i32.const 0) call 7 br 9 local.get 1000000))";
    let error = outcome(text, CompileLimits::default()).unwrap_err();
    assert!(matches!(error, CompileError::Invalid { .. }), "{error}");
}

#[test]
fn every_limit_has_a_row() {
    let limits = CompileLimits::default();
    let described = format!("{limits:?}");
    // One colon per field, and two more in each of three allowances.
    let fields = described.matches(": ").count() - 3 * 2;
    assert_eq!(limits.rows().len(), fields);
}
