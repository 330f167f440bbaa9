//! Checks of everything that reads bytes which somebody else may have written.
//!
//! | loader | reads | with |
//! | --- | --- | --- |
//! | `wasm` | binary modules | `compile`, then [`object_file`] with the result |
//! | `text` | modules and scripts in the text format | `assemble`, and the reader of scripts |
//! | `object_file` | compiled modules | `ObjectFile::read`, `Module::load`, instantiation |
//! | `stack_maps` | `.wasmtime.stackmap` sections | `ModuleStackMaps`, the registry, `Safepoint` |
//! | `unwind_tables` | `.eh_frame` sections | `UnwindTables::check` |
//!
//! A [`Loader`] has one function `check`, for any bytes: it panics if the loader panics, accepts
//! what it should refuse, or needs more memory than its [`Bound`]. `cargo test` runs it on mutated
//! seeds for a second, `cargo run --example long` for as long as it is told, and the targets of
//! `tests/fuzz` as a fuzzer finds new paths.

mod counting;
mod loader;
mod mutation;
pub mod object_file;
mod seeds;
pub mod stack_maps;
pub mod text;
pub mod unwind_tables;
pub mod wasm;

pub use counting::{Bound, Counting, allocated_by};
pub use loader::{LOADERS, Loader};
