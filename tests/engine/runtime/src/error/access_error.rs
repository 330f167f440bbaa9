//! Why an access to a table, memory or global failed.

use core::error::Error;
use core::fmt;

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{TrapCode, ValType};

use crate::error::wrong_store::WrongStore;

/// Why a table, memory or global could not be made, read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// It belongs to another store, or the value does.
    WrongStore,
    /// A value of the wrong type.
    WrongType {
        /// What is stored there.
        expected: ValType,
        /// What was given.
        found: ValType,
    },
    /// An access outside of a memory.
    MemoryOutOfBounds,
    /// An access outside of a table.
    TableOutOfBounds,
    /// The global cannot change.
    Immutable,
    /// A minimum beyond the maximum, or an impossible element.
    InvalidType,
    /// It would become larger than its type, or the store's limits, allow.
    LimitReached,
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongStore => f.write_str("an item of another store"),
            Self::WrongType { expected, found } => {
                write!(f, "wrong type of value: expected {expected}, found {found}")
            }
            Self::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds.fmt(f),
            Self::TableOutOfBounds => TrapCode::TableOutOfBounds.fmt(f),
            Self::Immutable => f.write_str("the global is immutable"),
            Self::InvalidType => f.write_str("invalid type"),
            Self::LimitReached => f.write_str("size limit reached"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for AccessError {}

impl From<WrongStore> for AccessError {
    fn from(WrongStore: WrongStore) -> Self {
        Self::WrongStore
    }
}

impl<T> From<OutOfMemory<T>> for AccessError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}
