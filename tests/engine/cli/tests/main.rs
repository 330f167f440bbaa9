//! The engine as a whole: programs, scripts, two stores on one stack, several stacks of one store,
//! and the command line.

#![expect(clippy::unwrap_used, reason = "a test that panics says what failed")]

mod command_line;
mod compared;
mod compile;
mod contexts;
mod cycles;
mod destructors;
mod host_functions;
mod immediates;
mod programs;
mod readme;
mod report;
mod scripts;
#[cfg(not(target_arch = "s390x"))]
mod stacks;

use vmexternref_engine::{EngineKind, WalkerKind};

/// Whether the interpreter runs on this machine: its bytecode is little-endian.
pub(crate) const INTERPRETS: bool = cfg!(target_endian = "little");

/// Every walker that exists on this machine, with the engine whose frames it finds.
pub(crate) const WALKS: &[(EngineKind, WalkerKind)] = &[
    (EngineKind::Native, WalkerKind::Activations),
    (EngineKind::Native, WalkerKind::Backtrace),
    #[cfg(not(target_arch = "s390x"))]
    (EngineKind::Native, WalkerKind::CurrentFrame),
    #[cfg(target_endian = "little")]
    (EngineKind::Pulley, WalkerKind::Activations),
];
