//! The machine that a host brings, and the run of all tests on it.

use crate::guests::PROGRAMS;
use crate::measured_heap::HeapMeter;
use crate::report::Report;
use crate::session::Surroundings;
use crate::{basics, exhaustion, programs};
use alloc::rc::Rc;
use core::fmt::{self, Write};
use vmexternref_engine_runtime::CodePlacer;

/// A console, a heap and executable memory.
///
/// The machine also has a stack of two mebibytes.
pub struct Machine<'m, P> {
    /// The sink of all lines.
    pub console: &'m mut dyn Write,
    /// The global allocator.
    pub heap: &'static dyn HeapMeter,
    /// Executable memory.
    pub placer: P,
}

/// Runs all tests. Returns whether every one passed.
pub fn run<P: CodePlacer + 'static>(machine: Machine<'_, P>) -> bool {
    let mut report = Report::new(machine.console);
    let surroundings = Surroundings {
        heap: machine.heap,
        placer: Rc::new(machine.placer),
    };
    basics::test(&mut report);
    programs::test(&mut report, &surroundings);
    exhaustion::test(&mut report, &surroundings);
    let guests: usize = PROGRAMS.iter().map(|guest| guest.object.len()).sum();
    report.measured(format_args!("guests: {guests} bytes"));
    report.passed()
}

impl<P> fmt::Debug for Machine<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}
