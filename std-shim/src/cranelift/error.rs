//! What can be wrong with a compiled function.

use crate::{RegisterError, StackMapError};
use core::fmt;
use cranelift_codegen::ir::Type;

/// Why stack maps or unwind tables of a compiled function were not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CraneliftError {
    /// A stack map has an entry that is not as large as a pointer of the host.
    EntryType(Type),
    /// The function ends beyond the 4 GiB that a module can have.
    TooLarge,
    /// A stack map describes no frame of the host.
    StackMap(StackMapError),
    /// The module does not take the function.
    Register(RegisterError),
    /// The target has no unwind tables in the format of `.eh_frame`.
    NoUnwindTables,
    /// Unwind tables cannot be written, for this reason.
    Unwind(String),
}

impl fmt::Display for CraneliftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryType(ty) => write!(f, "a value of type {ty} cannot be a reference"),
            Self::TooLarge => f.write_str("the function ends beyond 4 GiB of code"),
            Self::StackMap(error) => write!(f, "a stack map is wrong: {error}"),
            Self::Register(error) => error.fmt(f),
            Self::NoUnwindTables => f.write_str("the target has no unwind tables of this format"),
            Self::Unwind(reason) => write!(f, "unwind tables cannot be written: {reason}"),
        }
    }
}

impl core::error::Error for CraneliftError {}

impl From<StackMapError> for CraneliftError {
    fn from(error: StackMapError) -> Self {
        Self::StackMap(error)
    }
}

impl From<RegisterError> for CraneliftError {
    fn from(error: RegisterError) -> Self {
        Self::Register(error)
    }
}
