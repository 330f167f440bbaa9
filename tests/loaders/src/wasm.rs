//! Binary modules.

use crate::counting::Bound;
use crate::object_file;
use vmexternref_engine_compiler::{Allowance, CompileLimits, CompileOptions, compile};

/// What the limits below allow for, and the intermediate forms of what they count.
pub(crate) const MEMORY: Bound = Bound {
    fixed: 64 << 20,
    per_byte: 4096,
};

/// Limits under which a check takes milliseconds.
const LIMITS: CompileLimits = CompileLimits {
    module_bytes: 1 << 16,
    types: 1000,
    imports: 1000,
    functions: 1000,
    globals: 1000,
    exports: 1000,
    elements: 1000,
    data: 1000,
    function_bytes: 1 << 14,
    locals: 1000,
    depth: 1000,
    operands: Allowance {
        fixed: 1 << 14,
        per_byte: 4,
    },
    live_values: Allowance {
        fixed: 1 << 18,
        per_byte: 64,
    },
    live_references: Allowance {
        fixed: 1 << 16,
        per_byte: 16,
    },
};

/// Compiles any bytes; for even lengths, with a collection at each safepoint.
pub fn read(bytes: &[u8]) {
    let options = CompileOptions {
        zeal: bytes.len().is_multiple_of(2),
        limits: LIMITS,
        ..CompileOptions::default()
    };
    match compile(bytes, &options) {
        Ok(module) => object_file::write_and_load(module),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error:?}"),
    }
}
