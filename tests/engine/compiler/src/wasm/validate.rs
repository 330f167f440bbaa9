//! Validation: WebAssembly 2.0 without SIMD, and tail calls.

use crate::error::CompileError;
use wasmparser::{Parser, Validator, WasmFeatures};

/// The features of this engine.
pub(crate) const SUPPORTED: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL);

/// The names of features that this engine does not have.
const UNSUPPORTED: [(&str, WasmFeatures); 16] = [
    ("SIMD", WasmFeatures::SIMD),
    ("relaxed SIMD", WasmFeatures::RELAXED_SIMD),
    ("threads", WasmFeatures::THREADS),
    (
        "shared-everything threads",
        WasmFeatures::SHARED_EVERYTHING_THREADS,
    ),
    ("multiple memories", WasmFeatures::MULTI_MEMORY),
    ("exception handling", WasmFeatures::EXCEPTIONS),
    ("legacy exception handling", WasmFeatures::LEGACY_EXCEPTIONS),
    ("memory64", WasmFeatures::MEMORY64),
    (
        "extended constant expressions",
        WasmFeatures::EXTENDED_CONST,
    ),
    (
        "typed function references",
        WasmFeatures::FUNCTION_REFERENCES,
    ),
    ("garbage-collected types", WasmFeatures::GC),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("memory control", WasmFeatures::MEMORY_CONTROL),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("custom descriptors", WasmFeatures::CUSTOM_DESCRIPTORS),
];

/// Validates the whole module, function bodies included.
pub(crate) fn validate(wasm: &[u8]) -> Result<(), CompileError> {
    if Parser::is_component(wasm) {
        return Err(CompileError::Unsupported("the component model".into()));
    }
    match check(wasm, SUPPORTED) {
        Ok(()) => Ok(()),
        Err(error) => Err(explain(wasm, error)),
    }
}

fn check(wasm: &[u8], features: WasmFeatures) -> wasmparser::Result<()> {
    Validator::new_with_features(features)
        .validate_all(wasm)
        .map(drop)
}

/// Names the unsupported features that would make the module valid, if there are any.
fn explain(wasm: &[u8], error: wasmparser::Error) -> CompileError {
    let everything = UNSUPPORTED
        .iter()
        .fold(SUPPORTED, |all, (_, feature)| all.union(*feature));
    if let Err(still) = check(wasm, everything) {
        let about_a_feature = error.missing_wasm_feature().is_some();
        return if about_a_feature { still } else { error }.into();
    }
    let needed: Vec<&str> = UNSUPPORTED
        .iter()
        .filter(|(_, feature)| check(wasm, everything.difference(*feature)).is_err())
        .map(|(name, _)| *name)
        .collect();
    CompileError::Unsupported(if needed.is_empty() {
        "a feature newer than WebAssembly 2.0".into()
    } else {
        needed.join(", ")
    })
}
