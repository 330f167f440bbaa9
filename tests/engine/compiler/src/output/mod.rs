//! The finished text of a module, with its tables.

mod relocation;
mod stack_maps;
mod text;

pub(crate) use text::{FinishedText, Text};
