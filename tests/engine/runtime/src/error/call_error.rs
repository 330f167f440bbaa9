//! Why a call failed.

use crate::error::trap::Trap;
use crate::error::wrong_store::WrongStore;
use core::error::Error;
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::ValType;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The callee trapped.
    Trap(Trap),
    /// The number of arguments is wrong.
    ArgumentCount {
        /// The number of parameters.
        expected: usize,
        /// The number of arguments.
        found: usize,
    },
    /// The type of an argument is wrong.
    ArgumentType {
        /// Its index.
        index: usize,
        /// The type of the parameter.
        expected: ValType,
        /// The type of the argument.
        found: ValType,
    },
    /// The slice for the results has the wrong length.
    ResultCount {
        /// The number of results.
        expected: usize,
        /// The length of the slice.
        found: usize,
    },
    /// The function, or an argument, belongs to another store.
    WrongStore,
    /// There is no memory for the arguments.
    OutOfMemory,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(trap) => trap.fmt(f),
            Self::ArgumentCount { expected, found } => {
                write!(
                    f,
                    "wrong number of arguments: expected {expected}, found {found}"
                )
            }
            Self::ArgumentType {
                index,
                expected,
                found,
            } => {
                write!(
                    f,
                    "wrong type of argument {index}: expected {expected}, found {found}"
                )
            }
            Self::ResultCount { expected, found } => {
                write!(
                    f,
                    "wrong number of results: expected {expected}, found {found}"
                )
            }
            Self::WrongStore => f.write_str("a function of another store"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for CallError {}

impl From<WrongStore> for CallError {
    fn from(WrongStore: WrongStore) -> Self {
        Self::WrongStore
    }
}

impl From<Trap> for CallError {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

impl<T> From<OutOfMemory<T>> for CallError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}
