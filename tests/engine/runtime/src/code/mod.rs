//! Modules: their checked description, and their code in executable memory.

mod check;
mod code_placer;
mod loaded_code;
mod module;

pub(crate) use check::check;
pub use code_placer::{CodePlacer, PlacedCode};
pub(crate) use loaded_code::LoadedCode;
pub use module::Module;
