//! The machine that a host brings, and the run of all tests on it.

use crate::engine::Engine;
use crate::fault;
use crate::guests::PROGRAMS;
use crate::measured_heap::HeapMeter;
use crate::report::Report;
use crate::session::Surroundings;
use crate::{basics, exhaustion, programs};
use core::fmt::{self, Write};

/// A console, a heap and what runs the guests.
pub struct Machine<'m> {
    /// The sink of all lines.
    pub console: &'m mut dyn Write,
    /// The global allocator.
    pub heap: &'static dyn HeapMeter,
    /// What runs the guests.
    pub engine: Engine,
}

/// Runs all tests. Returns whether every one passed.
pub fn run(machine: Machine<'_>) -> bool {
    let mut report = Report::new(machine.console);
    let surroundings = Surroundings {
        heap: machine.heap,
        engine: machine.engine,
    };
    fault::overflow_the_stack();
    basics::test(&mut report);
    programs::test(&mut report, &surroundings);
    exhaustion::test(&mut report, &surroundings);
    let guests: usize = PROGRAMS.iter().map(|guest| guest.object.len()).sum();
    report.measured(format_args!("guests: {guests} bytes"));
    report.passed()
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}
