//! Why reading an object file failed.

use crate::elf::sections::VERSION;
use core::error::Error;
use core::fmt;

/// Why reading an object file failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectFileError {
    /// The bytes are not an ELF object file, or a truncated one.
    NotAnObject,
    /// A section is missing: another compiler wrote the file.
    MissingSection(&'static str),
    /// Another version of the compiler wrote the file.
    Version {
        /// The version of the file.
        found: u32,
    },
    /// The file is not as the compiler wrote it.
    Damaged,
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for ObjectFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not an ELF object file"),
            Self::MissingSection(name) => {
                write!(
                    f,
                    "no section {name}: not written by this engine's compiler"
                )
            }
            Self::Version { found } => write!(
                f,
                "object file of version {found}, this runtime reads version {VERSION}"
            ),
            Self::Damaged => f.write_str("damaged object file"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for ObjectFileError {}
