//! Why placing code failed.

use core::error::Error;
use core::fmt;

/// Why placing code failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// There is no memory left.
    OutOfMemory,
    /// The host cannot make memory executable.
    NotExecutable,
    /// The unwind tables are malformed.
    BadUnwindTables,
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "no memory for machine code",
            Self::NotExecutable => "memory cannot be made executable",
            Self::BadUnwindTables => "malformed unwind tables",
        })
    }
}

impl Error for PlaceError {}
