//! Why an instantiation failed.

use crate::error::trap::Trap;
use crate::error::wrong_store::WrongStore;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use vmexternref_core::OutOfMemory;

/// Why an instantiation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstantiateError {
    /// An import has no item.
    UnknownImport {
        /// The first name.
        module: String,
        /// The second name.
        name: String,
    },
    /// The item for an import has another type.
    IncompatibleImport {
        /// The first name.
        module: String,
        /// The second name.
        name: String,
        /// The type that the import asks for, as text.
        expected: String,
        /// The type of the item, as text.
        found: String,
    },
    /// There are more items than imports.
    TooManyImports {
        /// The number of imports.
        expected: usize,
        /// The number of items.
        found: usize,
    },
    /// The module or an item belongs to another store.
    WrongStore,
    /// A memory exceeds the store's limit for one.
    MemoryLimit {
        /// Its initial size in pages.
        pages: u32,
    },
    /// A table exceeds the store's limit for one.
    TableLimit {
        /// Its initial number of elements.
        elements: u32,
    },
    /// The store's memories and tables would exceed its limit for all of them.
    StoreLimit {
        /// The limit in bytes.
        bytes: usize,
    },
    /// An active segment does not fit, or the start function trapped.
    Trap(Trap),
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for InstantiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownImport { module, name } => {
                write!(f, "unknown import {module:?} {name:?}")
            }
            Self::IncompatibleImport {
                module,
                name,
                expected,
                found,
            } => {
                write!(
                    f,
                    "incompatible import type for {module:?} {name:?}: expected {expected}, found {found}"
                )
            }
            Self::TooManyImports { expected, found } => {
                write!(f, "too many imports: expected {expected}, found {found}")
            }
            Self::WrongStore => f.write_str("an item of another store"),
            Self::MemoryLimit { pages } => write!(f, "memory limit reached: {pages} pages"),
            Self::TableLimit { elements } => {
                write!(f, "table limit reached: {elements} elements")
            }
            Self::StoreLimit { bytes } => {
                write!(
                    f,
                    "limit exceeded: more than {bytes} bytes of memories and tables"
                )
            }
            Self::Trap(trap) => trap.fmt(f),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for InstantiateError {}

impl From<WrongStore> for InstantiateError {
    fn from(WrongStore: WrongStore) -> Self {
        Self::WrongStore
    }
}

impl<T> From<OutOfMemory<T>> for InstantiateError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}
