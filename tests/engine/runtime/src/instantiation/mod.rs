//! Instantiation: from a loaded module and its imports to an instance.

mod definitions;
mod imports;
mod instance;
mod instantiate;
mod linker;
mod parts;

pub use instance::Instance;
pub use linker::Linker;
