//! The engine as a whole: programs, scripts, two stores on one stack, several stacks of one store,
//! and the command line.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

mod command_line;
mod compared;
mod compile;
mod contexts;
mod cycles;
mod host_functions;
mod immediates;
mod programs;
mod readme;
mod scripts;
mod stacks;

use vmexternref_engine::{EngineKind, WalkerKind};

/// Every walker, with the engine whose frames it finds.
pub(crate) const WALKS: [(EngineKind, WalkerKind); 4] = [
    (EngineKind::Native, WalkerKind::Activations),
    (EngineKind::Native, WalkerKind::Backtrace),
    (EngineKind::Native, WalkerKind::CurrentFrame),
    (EngineKind::Pulley, WalkerKind::Activations),
];
