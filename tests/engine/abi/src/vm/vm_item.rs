//! Tables, memories and globals as compiled code accesses them.

use core::cell::{Cell, UnsafeCell};

/// The part of a table that compiled code reads.
#[repr(C)]
#[derive(Debug)]
pub struct VMTable {
    /// The elements, one word each.
    pub base: Cell<*mut usize>,
    /// The number of elements.
    pub len: Cell<usize>,
}

/// The part of a linear memory that compiled code reads.
#[repr(C)]
#[derive(Debug)]
pub struct VMMemory {
    /// The first byte.
    pub base: Cell<*mut u8>,
    /// The number of bytes.
    pub len: Cell<usize>,
}

/// A global variable; a reference occupies the first word.
#[repr(C)]
#[derive(Debug)]
pub struct VMGlobal {
    /// The bits of the value, zero-extended.
    pub value: UnsafeCell<u64>,
}
