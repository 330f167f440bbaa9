//! Stack maps name the references that are live across a call, and nothing else.

use crate::{compile_text, for_each_target, options};
use core::ops::Range;
use vmexternref_engine_abi::{CompiledModule, Safepoint};

const IMPORTS: &str = r#"
    (import "host" "gc" (func $gc))
    (import "host" "take" (func $take (param externref)))
    (import "host" "make" (func $make (result externref)))
"#;

/// The safepoints of each function of a module made of `functions`.
fn of_each_function(functions: &str, check: impl Fn(&str, Vec<Vec<Safepoint>>)) {
    let text = format!("(module {IMPORTS} {functions})");
    for_each_target(&text, |target, module| check(target, by_function(module)));
}

fn by_function(module: &CompiledModule) -> Vec<Vec<Safepoint>> {
    let within = |range: &Range<u32>| {
        (range.start + 1..=range.end)
            .filter_map(|offset| Safepoint::lookup(&module.stack_maps, offset))
            .collect()
    };
    module.functions.iter().map(within).collect()
}

fn live(points: &[Safepoint]) -> Vec<usize> {
    points.iter().map(|point| point.references.len()).collect()
}

#[test]
fn every_call_of_a_function_is_known() {
    let functions = "
        (table 1 externref) (memory 1)
        (func (export \"f\") (param externref) (result i32)
            call $gc
            local.get 0 call $take
            (table.set (i32.const 0) (call $make))
            (drop (memory.grow (i32.const 1)))
            (drop (table.grow (local.get 0) (i32.const 1)))
            (call 3 (local.get 0)))";
    let text = format!("(module {IMPORTS} {functions})");
    for_each_target(&text, |target, module| {
        let calls = &module.return_addresses;
        let of_binary = module.origin.calls.iter();
        for (offset, _) in of_binary.filter(|(offset, _)| within(module, *offset)) {
            assert!(calls.contains(offset), "{target}: {offset:#x}");
        }
        let length = u32::try_from(module.text.len()).unwrap();
        for point in (0..length).filter_map(|offset| Safepoint::lookup(&module.stack_maps, offset))
        {
            assert!(calls.contains(&point.return_offset), "{target}");
        }
        assert!(
            calls.iter().all(|&offset| within(module, offset)),
            "{target}"
        );
        assert!(calls.len() >= 6, "{target}: {calls:#x?}");
    });
}

/// Whether a call of a function can return to `offset`.
fn within(module: &CompiledModule, offset: u32) -> bool {
    let mut functions = module.functions.iter();
    functions.any(|function| function.contains(&(offset - 1)))
}

#[test]
fn a_reference_used_after_a_call_is_in_one_map() {
    of_each_function(
        "(func (param externref) (result externref) call $gc local.get 0)",
        |target, functions| {
            assert_eq!(live(&functions[0]), [1], "{target}");
            let point = &functions[0][0];
            assert!(point.references[0] < point.frame_bytes, "{target}");
            let word = if target == "pulley32" { 4 } else { 8 };
            assert_eq!(point.references[0] % word, 0, "{target}");
        },
    );
}

#[test]
fn a_dead_reference_is_in_no_map() {
    of_each_function(
        "(func (param externref) (local externref)
             local.get 0 call $take
             call $gc
             call $make local.set 1
             call $make drop)",
        |target, functions| assert!(functions[0].is_empty(), "{target}"),
    );
}

#[test]
fn an_argument_is_not_kept_by_its_caller() {
    of_each_function(
        "(func (param externref externref) (result externref)
             local.get 0 call $take local.get 1)",
        |target, functions| assert_eq!(live(&functions[0]), [1], "{target}"),
    );
}

#[test]
fn results_block_parameters_and_selections_are_kept() {
    of_each_function(
        "(func (result externref) call $make call $gc)
         (func (param i32) (result externref)
             call $make
             (if (param externref) (result externref) (local.get 0)
                 (then call $gc) (else drop call $make call $gc)))
         (func (param externref externref i32) (result externref)
             (select (result externref) (local.get 0) (local.get 1) (local.get 2))
             call $gc)
         (func (param externref i32) (result externref)
             local.get 0
             (loop (param externref) (result externref)
                 call $gc
                 (br_if 0 (local.get 1))))",
        |target, functions| {
            assert_eq!(live(&functions[0]), [1], "call result, {target}");
            assert_eq!(live(&functions[1]), [1, 1], "block parameters, {target}");
            assert_eq!(live(&functions[2]), [1], "selection, {target}");
            assert_eq!(live(&functions[3]), [1], "loop parameter, {target}");
        },
    );
}

#[test]
fn a_tail_call_keeps_nothing() {
    of_each_function(
        "(func (param externref) local.get 0 return_call $take)",
        |target, functions| assert!(functions[0].is_empty(), "{target}"),
    );
}

#[test]
fn function_references_and_numbers_are_in_no_map() {
    of_each_function(
        "(func (param funcref i64) (result funcref i64) call $gc local.get 0 local.get 1)",
        |target, functions| assert!(functions[0].is_empty(), "{target}"),
    );
}

/// The slow path of `table.get` collects. Its map names the other live references, but not the
/// loaded one.
#[test]
fn loads_from_tables_and_globals_keep_what_is_live_around_them() {
    of_each_function(
        "(table $t 1 externref) (global $g (mut externref) (ref.null extern))
         (func (param externref) (result externref) (local externref)
             (local.set 1 (table.get $t (i32.const 0))) local.get 0)
         (func (param externref) (result externref) (local externref)
             (local.set 1 (global.get $g)) local.get 0)
         (func (result externref) (table.get $t (i32.const 0)))
         (func (param externref) (global.set $g (local.get 0)))
         (func (result externref) (table.get $t (i32.const 0)) call $gc)",
        |target, functions| {
            assert_eq!(live(&functions[0]), [1], "table.get, {target}");
            assert_eq!(live(&functions[1]), [1], "global.get, {target}");
            assert!(functions[2].is_empty(), "the loaded element, {target}");
            assert!(functions[3].is_empty(), "the stored value, {target}");
            assert_eq!(live(&functions[4]), [1], "loaded before a call, {target}");
        },
    );
}

/// An operand that is used up before anything can release it is never inserted, so there is no
/// call.
#[test]
fn operands_that_are_used_up_at_once_cost_no_call() {
    of_each_function(
        "(table $t 1 externref)
         (global $a (mut externref) (ref.null extern))
         (global $b (mut externref) (ref.null extern))
         (func (param externref) (result externref)
             (drop (table.get $t (i32.const 0))) local.get 0)
         (func (param externref) (result externref)
             (drop (ref.is_null (global.get $a))) local.get 0)
         (func (param externref) (result externref)
             (global.set $a (table.get $t (i32.const 0))) local.get 0)
         (func (param externref) (result externref)
             global.get $a global.get $b global.set $a global.set $b local.get 0)",
        |target, functions| {
            assert!(functions[0].is_empty(), "dropped, {target}");
            assert!(functions[1].is_empty(), "looked at, {target}");
            assert_eq!(live(&functions[2]), [1], "the old value, {target}");
            assert_eq!(live(&functions[3]), [1], "one old value of two, {target}");
        },
    );
}

#[test]
fn zeal_collects_where_parameters_are_live() {
    let text = "(module (func (param externref) (result externref)
        (loop (br_if 0 (ref.is_null (local.get 0)))) local.get 0))";
    let module = compile_text(text, &options("x86_64-unknown-none", true)).expect("valid");
    assert!(module.zeal);
    assert_eq!(
        live(&by_function(&module)[0]),
        [1, 1],
        "entry and loop header"
    );
}

#[test]
fn maps_lie_in_functions_and_their_slots_in_frames() {
    of_each_function(
        "(func (param externref i32) (result externref)
             (local externref)
             call $make local.set 2
             (loop
                 call $make drop
                 (br_if 0 (local.get 1)))
             call $gc
             (select (result externref) (local.get 0) (local.get 2) (local.get 1)))",
        |target, functions| {
            assert_eq!(live(&functions[0]), [1, 2, 2], "{target}");
            for point in &functions[0] {
                assert!(
                    point
                        .references
                        .iter()
                        .all(|slot| slot + 8 <= point.frame_bytes)
                );
            }
        },
    );
}

#[test]
fn safepoints_are_return_addresses() {
    let text = format!(
        "(module {IMPORTS}
            (func $f (param externref) (result externref) call $gc local.get 0)
            (func (param externref) (result externref) local.get 0 call $f call $gc))"
    );
    let module = compile_text(&text, &options("aarch64-unknown-none", false)).expect("valid");
    let (code, _) = module.text.as_chunks::<4>();
    let points: Vec<_> = by_function(&module).into_iter().flatten().collect();
    assert_eq!(live(&points), [1, 1]);
    for point in points {
        assert_eq!(point.return_offset % 4, 0);
        let before = u32::from_le_bytes(code[point.return_offset as usize / 4 - 1]);
        let is_bl = before >> 26 == 0b10_0101;
        let is_blr = before & 0xffff_fc1f == 0xd63f_0000;
        assert!(is_bl || is_blr, "{before:#x}");
    }
}
