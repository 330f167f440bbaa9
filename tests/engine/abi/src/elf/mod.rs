//! Compiled modules as ELF object files.

mod object_file;

pub use object_file::{ObjectFile, ObjectFileError};
