//! Element segments and data segments.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::module::const_expr::ConstExpr;
use crate::types::ValType;

/// What happens to a segment at instantiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentMode {
    /// Nothing.
    Passive,
    /// It is copied into the table or memory of that index, and dropped.
    Active {
        /// The index of the table or memory.
        index: u32,
        /// Where the copy starts.
        offset: ConstExpr,
    },
    /// It is dropped; only element segments.
    Declared,
}

/// References to put into tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ElementSegment {
    /// What happens at instantiation.
    pub mode: SegmentMode,
    /// The type of its elements.
    pub ty: ValType,
    /// Its elements.
    pub items: Vec<ConstExpr>,
}

/// Bytes to put into memories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSegment {
    /// What happens at instantiation.
    pub mode: SegmentMode,
    /// Its contents.
    pub bytes: Vec<u8>,
}
