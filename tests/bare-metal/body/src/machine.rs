//! What a host brings, and what is done with it.

use crate::guests::PROGRAMS;
use crate::measured_heap::HeapMeter;
use crate::report::Report;
use crate::session::Surroundings;
use crate::{basics, exhaustion, programs};
use alloc::rc::Rc;
use core::fmt::{self, Write};
use vmexternref_engine_runtime::CodePlacer;

/// What a host brings: a console, its heap and executable memory.
///
/// It also has two mebibytes of stack.
pub struct Machine<'m, P> {
    /// Where lines are printed.
    pub console: &'m mut dyn Write,
    /// The global allocator.
    pub heap: &'static dyn HeapMeter,
    /// Where code goes.
    pub placer: P,
}

/// Runs all tests; whether every one passed.
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
