//! The development machine as a host of the same tests.
//!
//! What it prints is what every other host has to print.

use bare_metal_body::{Machine, MeasuredHeap};
use memmap2::{Mmap, MmapMut};
use std::alloc::System;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use vmexternref_engine_runtime::{CodePlacer, PlaceError, PlacedCode};

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

/// Places code in mappings.
struct Mappings;

struct Mapping(Mmap);

impl PlacedCode for Mapping {
    fn base(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

// SAFETY: a mapping starts at a page, holds the text and the tables behind it, and is read-only and executable from
// here until it is unmapped; the development machine is an x86, whose caches are coherent.
unsafe impl CodePlacer for Mappings {
    fn place(
        &self,
        text: &[u8],
        eh_frame: &[u8],
        _align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        let bytes = text.len() + eh_frame.len();
        let mut mapping = MmapMut::map_anon(bytes.max(1)).map_err(|_| PlaceError::OutOfMemory)?;
        mapping[..text.len()].copy_from_slice(text);
        mapping[text.len()..bytes].copy_from_slice(eh_frame);
        let mapping = mapping.make_exec().map_err(|_| PlaceError::NotExecutable)?;
        Ok(Box::new(Mapping(mapping)))
    }
}

fn main() -> ExitCode {
    let passed = bare_metal_body::run(Machine {
        console: &mut Console,
        heap: &HEAP,
        placer: Mappings,
    });
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
