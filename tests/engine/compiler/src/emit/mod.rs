//! Emitting code for functions and trampolines.

mod access;
mod emitter;
mod environment;
mod guard;
mod symbol;
mod trampolines;

pub(crate) use emitter::{Emitter, array_offset};
pub(crate) use environment::Environment;
pub(crate) use guard::Guarded;
pub use guard::UNGUARDED_FRAME_BYTES;
pub(crate) use symbol::Symbol;
pub(crate) use trampolines::{builtin, entry, exit};
