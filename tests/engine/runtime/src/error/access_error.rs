//! Why an access to a table, memory or global failed.

use crate::error::wrong_store::WrongStore;
use crate::heap::NotGrown;
use core::error::Error;
use core::fmt;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{TrapCode, ValType};

/// Why making, reading or writing a table, memory or global failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The item or the value belongs to another store.
    WrongStore,
    /// A value of the wrong type.
    WrongType {
        /// The type that the item holds.
        expected: ValType,
        /// The type of the value.
        found: ValType,
    },
    /// An access outside a memory.
    MemoryOutOfBounds,
    /// An access outside a table.
    TableOutOfBounds,
    /// The global is immutable.
    Immutable,
    /// The type is impossible: its minimum exceeds its maximum, or its elements are not references.
    InvalidType,
    /// The item would exceed its maximum, or the store's limit for such an item.
    LimitReached,
    /// The store's memories and tables would exceed its limit for all of them.
    StoreLimitReached,
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
            Self::StoreLimitReached => f.write_str("limit of all memories and tables reached"),
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

impl From<NotGrown> for AccessError {
    fn from(why: NotGrown) -> Self {
        match why {
            NotGrown::Budget => Self::StoreLimitReached,
            NotGrown::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl<T> From<OutOfMemory<T>> for AccessError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}
