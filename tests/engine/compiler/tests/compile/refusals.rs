//! Refused modules, and the message of each error.

use crate::compile_text;
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};

fn refusal(text: &str) -> CompileError {
    compile_text(text, &CompileOptions::default()).expect_err(text)
}

#[test]
fn unsupported_features_are_named() {
    let cases = [
        ("SIMD", "(module (func (result v128) v128.const i64x2 0 0))"),
        ("SIMD", "(module (import \"m\" \"g\" (global v128)))"),
        (
            "relaxed SIMD",
            "(module (func (param v128 v128 v128) (result v128)
                local.get 0 local.get 1 local.get 2 f32x4.relaxed_madd))",
        ),
        ("threads", "(module (memory 1 1 shared))"),
        (
            "threads",
            "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
        ),
        ("multiple memories", "(module (memory 1) (memory 1))"),
        ("exception handling", "(module (tag))"),
        (
            "exception handling",
            "(module (func (block $l (try_table (catch_all $l)))))",
        ),
        ("memory64", "(module (memory i64 1))"),
        ("memory64", "(module (table i64 1 funcref))"),
        (
            "extended constant expressions",
            "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
        ),
        (
            "typed function references",
            "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
        ),
        (
            "garbage-collected types",
            "(module (type (struct (field i32))))",
        ),
        ("garbage-collected types", "(module (func (param anyref)))"),
        ("custom page sizes", "(module (memory 1 (pagesize 1)))"),
        (
            "wide arithmetic",
            "(module (func (param i64 i64 i64 i64) (result i64 i64)
                local.get 0 local.get 1 local.get 2 local.get 3 i64.add128))",
        ),
        ("the component model", "(component)"),
    ];
    for (feature, text) in cases {
        let error = refusal(text);
        assert!(
            matches!(&error, CompileError::Unsupported(names) if names.contains(feature)),
            "{feature}: {error}"
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn invalid_modules_say_where() {
    for text in [
        "(module (func (result i32)))",
        "(module (func i64.const 0 i32.eqz drop))",
        "(module (func (result i32) v128.const i64x2 0 0))",
        "(module (func call 1))",
    ] {
        let error = refusal(text);
        assert!(
            matches!(&error, CompileError::Invalid { offset, .. } if *offset > 8),
            "{text}: {error}"
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn other_bytes_are_malformed() {
    for bytes in [&b""[..], b"\0asm", b"\0asm\x02\0\0\0", b"ELF", b"(module)"] {
        let error = compile(bytes, &CompileOptions::default()).expect_err("not a module");
        assert!(matches!(error, CompileError::Invalid { .. }), "{error}");
    }
}
