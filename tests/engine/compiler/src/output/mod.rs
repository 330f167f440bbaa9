//! The finished text of a module, with its tables.

mod relocation;
mod text;
mod unwind;

pub(crate) use text::{FinishedText, Text};
