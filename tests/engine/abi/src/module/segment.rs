//! Element segments and data segments.

use crate::module::const_expr::ConstExpr;
use crate::types::ValType;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The use of a segment at instantiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentMode {
    /// None: instructions of the module use it.
    Passive,
    /// It is copied into the table or memory of that index, and dropped.
    Active {
        /// The index of the table or memory.
        index: u32,
        /// Where the copy starts in the table or memory.
        offset: ConstExpr,
    },
    /// It is dropped. Only element segments are declared.
    Declared,
}

/// A segment of references for tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ElementSegment {
    /// Its use at instantiation.
    pub mode: SegmentMode,
    /// The type of its elements.
    pub ty: ValType,
    /// Its elements.
    pub items: Vec<ConstExpr>,
}

/// A segment of bytes for memories.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSegment {
    /// Its use at instantiation.
    pub mode: SegmentMode,
    /// Its contents.
    pub bytes: Vec<u8>,
}
