//! The development machine as a host of the same tests.
//!
//! Its output is the reference for every other host.

use bare_metal_body::{Engine, Machine, MeasuredHeap};
use std::alloc::System;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use vmexternref_engine_code_memory::CodeMemory;

#[global_allocator]
static HEAP: MeasuredHeap<System> = MeasuredHeap::new(System);

/// The standard output.
struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        io::stdout()
            .write_all(text.as_bytes())
            .map_err(|_| fmt::Error)
    }
}

fn main() -> ExitCode {
    let passed = bare_metal_body::run(Machine {
        console: &mut Console,
        heap: &HEAP,
        engine: Engine::native(CodeMemory::default()),
    });
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
