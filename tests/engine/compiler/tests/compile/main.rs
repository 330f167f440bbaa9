//! The compiler through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

mod limits;
mod mutations;
mod object_files;
mod refusals;
mod safepoints;
mod scripts;
mod text;

use vmexternref_engine_abi::CompiledModule;
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};

/// One machine of each kind that code can be generated for, and bytecode for both pointer widths.
const TARGETS: [&str; 5] = [
    "x86_64-unknown-none",
    "aarch64-unknown-none",
    "riscv64gc-unknown-none-elf",
    "pulley32",
    "pulley64",
];

fn options(target: &str, zeal: bool) -> CompileOptions {
    CompileOptions {
        zeal,
        target: Some(target.parse().expect("a triple")),
        ..CompileOptions::default()
    }
}

fn compile_text(text: &str, options: &CompileOptions) -> Result<CompiledModule, CompileError> {
    compile(&wat::parse_str(text).expect("well-formed text"), options)
}

/// Compiles text for each kind of machine.
fn for_each_target(text: &str, check: impl Fn(&str, &CompiledModule)) {
    for target in TARGETS {
        let module = compile_text(text, &options(target, false));
        check(target, &module.expect("a valid module"));
    }
}
