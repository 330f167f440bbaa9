//! Compiled modules as ELF object files.

mod description;
mod object_file;
mod object_file_error;
mod sections;
#[cfg(feature = "write")]
mod writer;

pub use object_file::ObjectFile;
pub use object_file_error::ObjectFileError;
#[cfg(feature = "write")]
pub use writer::WriteError;
