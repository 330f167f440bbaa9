//! Why a call failed.

use core::error::Error;
use core::fmt;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::ValType;

use crate::error::trap::Trap;
use crate::error::wrong_store::WrongStore;

/// Why a call was refused or did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The callee trapped.
    Trap(Trap),
    /// The wrong number of arguments.
    ArgumentCount {
        /// What the function takes.
        expected: usize,
        /// What it was given.
        found: usize,
    },
    /// An argument of the wrong type.
    ArgumentType {
        /// Its index.
        index: usize,
        /// What the function takes.
        expected: ValType,
        /// What it was given.
        found: ValType,
    },
    /// Room for the wrong number of results.
    ResultCount {
        /// What the function returns.
        expected: usize,
        /// What there is room for.
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
