//! Random hosts of the library, against books of who must be alive.
//!
//! A case is a sequence of operations, read from bytes: boxes of several types, tables that
//! compiled code fills inline, modules that come and go, made-up stacks with their frames and
//! canaries, walkers of several kinds, garbage in slices, cycles, and weak references. The model
//! keeps books of its own, which never ask the library: who holds each object, what each frame
//! truly holds, and what [the documented decision](vmexternref_core::GcOutcome) of each collection
//! has to be.
//!
//! Hosts that break their contract are part of it, where the library can tell: walkers that end
//! early, registries that lack the module of a frame, frames that hold what was never inserted,
//! words that are no references. Then nothing that is held may die, and the report has to say so.
//!
//! The test, the long run and the fuzz target share [`check`].

mod books;
mod cases;
mod collections;
mod cycles;
mod frames;
mod modules;
mod objects;
mod operations;
mod stacks;
mod tables;
mod tally;
mod walks;
mod world;

pub use cases::bytes_of;
pub use tally::Tally;

use arbitrary::{Result, Unstructured};
use world::World;

/// Objects that one case makes at most.
const OBJECTS: usize = 64;

/// Runs one case, and adds what it did to `tally`.
///
/// # Errors
///
/// Those of [`Unstructured`]: the bytes do not describe a case.
///
/// # Panics
///
/// If the library does not do what the books say.
pub fn check(u: &mut Unstructured<'_>, tally: &mut Tally) -> Result<()> {
    let mut world = World::new(u)?;
    let mut result = Ok(());
    while !u.is_empty() && result.is_ok() && world.objects_made() < OBJECTS {
        result = world.step(u);
        world.check();
    }
    world.end(tally);
    result
}
