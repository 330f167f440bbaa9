//! Why loading a module failed.

use crate::error::place_error::PlaceError;
use core::error::Error;
use core::fmt;
use vmexternref_core::{OutOfMemory, RegisterError};
use vmexternref_engine_abi::Target;

/// Why loading a module failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The code is for another machine.
    WrongTarget {
        /// The machine that the code is for.
        found: Target,
        /// The machine that the store runs code for.
        expected: Target,
    },
    /// The description contradicts itself.
    Malformed(&'static str),
    /// The host could not place the code.
    Place(PlaceError),
    /// The registry refused the stack maps.
    StackMaps(RegisterError),
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongTarget { found, expected } => {
                write!(f, "code for {found} on {expected}")
            }
            Self::Malformed(what) => write!(f, "malformed compiled module: {what}"),
            Self::Place(error) => error.fmt(f),
            Self::StackMaps(error) => error.fmt(f),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for LoadError {}

impl<T> From<OutOfMemory<T>> for LoadError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}
