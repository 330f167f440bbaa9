//! Functions as compiled code calls them.

use core::cell::Cell;
use core::ffi::c_void;

/// How compiled code calls an imported function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VMFuncImport {
    /// Code with the calling convention of Wasm functions.
    pub wasm_call: *const u8,
    /// Its first argument: a [`VMContext`](crate::VMContext) or a
    /// [`VMHostFunc`](crate::VMHostFunc).
    pub vmctx: *const c_void,
}

/// The target of a `funcref`.
#[repr(C)]
#[derive(Debug)]
pub struct VMFuncRef {
    /// Code with the calling convention of Wasm functions.
    ///
    /// Null in a host function until a module that calls functions of its type is loaded. Before
    /// that, no compiled code can call it.
    pub wasm_call: Cell<*const u8>,
    /// The first argument of `wasm_call`; written once, before any code reads it.
    pub vmctx: Cell<*const c_void>,
    /// The store-wide id of the function's type; occupies one word.
    pub type_id: u32,
    /// The entry trampoline of its type; null for a host function, and for one that its module
    /// does not give away.
    pub entry: *const u8,
}

impl VMFuncRef {
    /// Whether a function that the host has is compiled code, not the host's.
    #[must_use]
    pub const fn is_wasm(&self) -> bool {
        !self.entry.is_null()
    }
}
