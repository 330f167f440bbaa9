//! The contexts of an instance and of its store.

use crate::vm::vm_func::{VMFuncImport, VMFuncRef};
use crate::vm::vm_item::{VMGlobal, VMMemory, VMTable};
use core::cell::Cell;
use core::ptr;
use vmexternref_core::VMExternRefActivationsTable;
use vmexternref_frame_pointer::ActivationRecord;

/// The part of a store that compiled code reads and writes.
#[repr(C)]
#[derive(Debug)]
pub struct VMStoreContext {
    /// Where this store's activations begin and end on the native stack.
    pub record: ActivationRecord,
    /// The lowest stack pointer at which a Wasm function may still start; 0 outside any activation.
    pub stack_limit: Cell<usize>,
    /// Where a trap resumes: the handler of the youngest entry trampoline.
    pub handler_pc: Cell<usize>,
    /// The stack pointer of the youngest entry trampoline.
    pub handler_sp: Cell<usize>,
    /// The frame pointer of the youngest entry trampoline.
    pub handler_fp: Cell<usize>,
    /// The references that this store's activations may hold.
    pub table: VMExternRefActivationsTable,
}

/// The target of the `vmctx` of a Wasm function: one instance.
#[repr(C)]
#[derive(Debug)]
pub struct VMContext {
    /// The store that owns this instance.
    pub store: *const VMStoreContext,
    /// The address of each [`Builtin`](crate::Builtin), indexed by its number.
    pub builtins: *const *const u8,
    /// The store-wide id of each type of the module.
    pub type_ids: *const u32,
    /// How to call each imported function.
    pub imports: *const VMFuncImport,
    /// All tables, the imported ones first.
    pub tables: *const *const VMTable,
    /// All memories, the imported ones first.
    pub memories: *const *const VMMemory,
    /// All globals, the imported ones first.
    pub globals: *const *const VMGlobal,
    /// All functions as references, the imported ones first.
    pub functions: *const VMFuncRef,
}

impl VMContext {
    /// The context that a host function gets when the host itself calls it.
    ///
    /// Only its store is set.
    #[must_use]
    pub const fn without_instance(store: *const VMStoreContext) -> Self {
        Self {
            store,
            builtins: ptr::null(),
            type_ids: ptr::null(),
            imports: ptr::null(),
            tables: ptr::null(),
            memories: ptr::null(),
            globals: ptr::null(),
            functions: ptr::null(),
        }
    }
}
