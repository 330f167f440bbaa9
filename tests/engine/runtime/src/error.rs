//! Why an operation of the host was refused.

use alloc::boxed::Box;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use vmexternref_core::{OutOfMemory, RegisterError};
use vmexternref_engine_abi::{ExternType, Target, TrapCode, ValType};

use crate::code::PlaceError;
use crate::handle::WrongStore;
use crate::trap::Trap;

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

impl From<TrapCode> for AccessError {
    /// Only the two codes that an access can end with.
    fn from(code: TrapCode) -> Self {
        match code {
            TrapCode::MemoryOutOfBounds => Self::MemoryOutOfBounds,
            _ => Self::TableOutOfBounds,
        }
    }
}

impl<T> From<OutOfMemory<T>> for AccessError {
    fn from(_: OutOfMemory<T>) -> Self {
        Self::OutOfMemory
    }
}

/// Why a compiled module could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The code is for another machine.
    WrongTarget {
        /// What the code is for.
        found: Target,
    },
    /// The description contradicts itself.
    Malformed(&'static str),
    /// The host could not place the code.
    Place(PlaceError),
    /// The stack maps were refused.
    StackMaps(RegisterError),
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongTarget { found } => {
                write!(f, "code for {found} on {}", Target::HOST)
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

/// Why a module could not be instantiated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstantiateError {
    /// Nothing was given for an import.
    UnknownImport {
        /// The first name.
        module: String,
        /// The second name.
        name: String,
    },
    /// What was given for an import does not fit.
    IncompatibleImport {
        /// The first name.
        module: String,
        /// The second name.
        name: String,
        /// What the module needs.
        expected: Box<ExternType>,
        /// What it was given.
        found: Box<ExternType>,
    },
    /// More items than imports.
    TooManyImports {
        /// How many the module needs.
        expected: usize,
        /// How many it was given.
        found: usize,
    },
    /// The module, or an import, belongs to another store.
    WrongStore,
    /// A memory larger than the store allows.
    MemoryLimit {
        /// The pages it needs.
        pages: u32,
    },
    /// A table larger than the store allows.
    TableLimit {
        /// The elements it needs.
        elements: u32,
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
