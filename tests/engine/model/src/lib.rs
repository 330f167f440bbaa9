//! Random guests of the engine, against an interpreter that knows which object each value is.
//!
//! A case is a program, read from bytes: functions in up to three modules that share tables and
//! globals, with references in locals, operands, parameters of blocks, multiple values, arguments
//! beyond the registers, tail calls, calls through tables and through the host (on stacks of their
//! own, too), traps that the host catches, and references that are dead on one path only. An
//! interpreter foretells what the guest shows to the host and how the run ends. It also knows who
//! holds each object, so it foretells how many are left: after each collection within bounds, and
//! at the end exactly.
//!
//! Each program runs in every [`Configuration`]. The test, the long run and `tests/soak`
//! share [`check`]. [`run_case`] names it by a seed.

mod case;
mod configuration;
mod emitter;
mod generator;
mod oracle;
mod program;
mod run;
mod stack;
mod tally;

pub use case::run_case;
pub use configuration::Configuration;
pub use tally::Tally;

use arbitrary::{Result, Unstructured};
use oracle::Outcome;
use program::Program;
use run::Binaries;
use vmexternref_engine::on_guest_stack;

/// Bytes of stack for guests.
const STACK: usize = 1 << 20;

/// Runs one case, and adds what it did to `tally`.
///
/// # Errors
///
/// Those of [`Unstructured`]: the bytes do not describe a program.
///
/// # Panics
///
/// If the engine does not do what the interpreter says.
pub fn check(u: &mut Unstructured<'_>, tally: &mut Tally) -> Result<()> {
    let program = Program::generate(u)?;
    let Some(outcome) = Outcome::of(&program) else {
        tally.too_long += 1;
        return Ok(());
    };
    let binaries = emitter::emit(&program);
    let agreed = on_guest_stack(STACK, |stack| {
        let mut binaries = Binaries::new(&binaries);
        for configuration in Configuration::all() {
            run::run(&mut binaries, &outcome, configuration, &stack);
        }
    });
    agreed.unwrap_or_else(|error| panic!("{error}"));
    tally.count(&program, &outcome);
    Ok(())
}
