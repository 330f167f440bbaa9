//! Damaged modules are errors, never panics.

use crate::options;
use vmexternref_engine_compiler::compile;

const WHOLE: &str = r#"(module
    (import "host" "new" (func $new (param i64) (result externref)))
    (table $t 2 4 externref)
    (memory 1 2)
    (global $g (mut externref) (ref.null extern))
    (func $f (export "f") (param i32 externref) (result externref)
        (local f64)
        (block (result externref)
            (if (local.get 0) (then (table.set $t (i32.const 1) (local.get 1))))
            (loop
                (i32.store offset=8 (local.get 0) (i32.const 3))
                (br_if 0 (i32.eqz (local.get 0))))
            (global.set $g (call $new (i64.const 7)))
            (br_table 0 0 (table.get $t (i32.const 0)) (local.get 0))))
    (func (result externref) (return_call $f (i32.const 1) (global.get $g)))
    (elem (table $t) (i32.const 0) externref (ref.null extern))
    (data (i32.const 0) "abc"))"#;

fn wasm() -> Vec<u8> {
    wat::parse_str(WHOLE).expect("well-formed text")
}

#[test]
fn every_truncation_is_an_error() {
    let (wasm, options) = (wasm(), options("x86_64-unknown-none", false));
    compile(&wasm, &options).expect("the whole module is valid");
    let ends = section_ends(&wasm);
    assert!(ends.len() > 8, "{ends:?}");
    for len in 0..wasm.len() {
        let compiled = compile(&wasm[..len], &options);
        // A module may end after any section; the remaining sections must then be consistent.
        if !ends.contains(&len) {
            assert!(compiled.is_err(), "{len} bytes of {}", wasm.len());
        }
    }
}

/// Where the header ends, and each section.
fn section_ends(wasm: &[u8]) -> Vec<usize> {
    let mut ends = vec![8];
    while let Some(&end) = ends.last()
        && end < wasm.len()
    {
        // The section's kind is one byte, and its size is a LEB128 number.
        let (mut size, mut at) = (0, end + 1);
        for shift in (0..).step_by(7) {
            size |= usize::from(wasm[at] & 0x7f) << shift;
            at += 1;
            if wasm[at - 1] < 0x80 {
                break;
            }
        }
        ends.push(at + size);
    }
    ends
}

#[test]
fn every_changed_byte_is_survived() {
    let (wasm, options) = (wasm(), options("x86_64-unknown-none", false));
    let mut refused = 0;
    for index in 0..wasm.len() {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = wasm.clone();
            damaged[index] ^= change;
            refused += usize::from(compile(&damaged, &options).is_err());
        }
    }
    assert!(refused > wasm.len(), "most changes make a module invalid");
}
