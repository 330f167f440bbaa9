//! The errors for accesses outside a table or a memory.

use crate::error::access_error::AccessError;
use vmexternref_engine_abi::TrapCode;

/// The table does not have these elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideTable;

/// The memory does not have these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutsideMemory;

impl From<OutsideTable> for AccessError {
    fn from(OutsideTable: OutsideTable) -> Self {
        Self::TableOutOfBounds
    }
}

impl From<OutsideTable> for TrapCode {
    fn from(OutsideTable: OutsideTable) -> Self {
        Self::TableOutOfBounds
    }
}

impl From<OutsideMemory> for AccessError {
    fn from(OutsideMemory: OutsideMemory) -> Self {
        Self::MemoryOutOfBounds
    }
}

impl From<OutsideMemory> for TrapCode {
    fn from(OutsideMemory: OutsideMemory) -> Self {
        Self::MemoryOutOfBounds
    }
}
