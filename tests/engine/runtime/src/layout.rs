//! Every structure that compiled code reads or writes, with its offsets.
//!
//! ```text
//! VMContext (one per instance)              VMStoreContext (one per store)
//! +-------------+                           +--------------+
//! | store       |-------------------------->| record       |  ActivationRecord
//! | builtins    |--> [fn address; BUILTINS] | stack_limit  |
//! | type_ids    |--> [u32; types]           | handler_pc   |
//! | imports     |--> [VMFuncImport; …]      | handler_sp   |
//! | tables      |--> [*VMTable; all]        | handler_fp   |
//! | memories    |--> [*VMMemory; all]       | table        |  VMExternRefActivationsTable
//! | globals     |--> [*VMGlobal; all]       | (Rust only)  |
//! | functions   |--> [VMFuncRef; all]       +--------------+
//! +-------------+
//! ```
//!
//! "All" arrays hold the imported items first. The arrays never move and their words never change while the
//! instance lives, so compiled code may keep what it loaded from them. What a [`VMTable`] or a [`VMMemory`]
//! says may change at every call, and compiled code loads it anew at each access.
//!
//! ```
//! use vmexternref_engine_runtime::VMOffsets;
//!
//! // A compiler on a 64-bit machine that emits code for a 32-bit one.
//! let offsets = VMOffsets::new(4);
//! assert_eq!(offsets.context_tables(), 4 * 4);
//! assert_eq!(VMOffsets::HOST.func_ref_size(), 4 * VMOffsets::HOST.pointer_bytes());
//! ```

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::mem::{offset_of, size_of};
use core::ptr;

use vmexternref_core::VMExternRefActivationsTable;
use vmexternref_frame_pointer::{ActivationRecord, RecordOffsets};

/// What compiled code shares with its store.
#[repr(C)]
#[derive(Debug)]
pub struct VMStoreContext {
    /// Where this store's activations begin and end on the native stack.
    pub record: ActivationRecord,
    /// The lowest stack pointer at which a Wasm function may still start; 0 outside of any activation.
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

/// What compiled code finds behind the `vmctx` of a Wasm function.
#[repr(C)]
#[derive(Debug)]
pub struct VMContext {
    /// The store this instance belongs to.
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
    /// What stands for the instance when the host calls a host function.
    pub(crate) const fn without_instance(store: *const VMStoreContext) -> Self {
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

/// How compiled code calls an imported function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct VMFuncImport {
    /// Code with the calling convention of Wasm functions.
    pub wasm_call: *const u8,
    /// Its first argument: a [`VMContext`] or a [`VMHostFunc`](crate::VMHostFunc).
    pub vmctx: *const c_void,
}

/// What a `funcref` points to.
#[repr(C)]
#[derive(Debug)]
pub struct VMFuncRef {
    /// Code with the calling convention of Wasm functions.
    ///
    /// Null in a host function until a module is loaded that knows its type; without such a module no compiled
    /// code can call it.
    pub wasm_call: Cell<*const u8>,
    /// The first argument of `wasm_call`; written once, before anything can read it.
    pub vmctx: Cell<*const c_void>,
    /// The store-wide id of the function's type; one word long.
    pub type_id: u32,
    /// The entry trampoline of its type; null for a host function.
    pub entry: *const u8,
}

impl VMFuncRef {
    /// Whether it is compiled code that runs, and not the host's.
    pub(crate) const fn is_wasm(&self) -> bool {
        !self.entry.is_null()
    }
}

/// What compiled code knows of a table.
#[repr(C)]
#[derive(Debug)]
pub struct VMTable {
    /// The elements, one word each.
    pub base: Cell<*mut usize>,
    /// How many elements there are.
    pub len: Cell<usize>,
}

/// What compiled code knows of a linear memory.
#[repr(C)]
#[derive(Debug)]
pub struct VMMemory {
    /// The first byte.
    pub base: Cell<*mut u8>,
    /// How many bytes there are.
    pub len: Cell<usize>,
}

/// A global variable; a reference occupies the first word.
#[repr(C)]
#[derive(Debug)]
pub struct VMGlobal {
    /// The bits of the value, zero-extended.
    pub value: UnsafeCell<u64>,
}

/// Offsets and sizes, in bytes, that compiled code bakes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VMOffsets {
    pointer_bytes: u8,
}

impl VMOffsets {
    /// The offsets of the machine this code runs on.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a pointer has at most eight bytes"
    )]
    pub const HOST: Self = Self::new(size_of::<usize>() as u8);

    /// The offsets of a machine whose pointers have 4 or 8 bytes.
    #[must_use]
    pub const fn new(pointer_bytes: u8) -> Self {
        Self { pointer_bytes }
    }

    /// Bytes in a pointer.
    #[must_use]
    pub const fn pointer_bytes(self) -> u8 {
        self.pointer_bytes
    }

    const fn word(self, index: u8) -> u8 {
        index * self.pointer_bytes
    }

    /// Offset of [`VMStoreContext::record`].
    #[must_use]
    pub const fn store_record(self) -> u8 {
        0
    }

    /// Offset of [`VMStoreContext::stack_limit`].
    #[must_use]
    pub const fn store_stack_limit(self) -> u8 {
        RecordOffsets::new(self.pointer_bytes).size()
    }

    /// Offset of [`VMStoreContext::handler_pc`].
    #[must_use]
    pub const fn store_handler_pc(self) -> u8 {
        self.store_stack_limit() + self.word(1)
    }

    /// Offset of [`VMStoreContext::handler_sp`].
    #[must_use]
    pub const fn store_handler_sp(self) -> u8 {
        self.store_stack_limit() + self.word(2)
    }

    /// Offset of [`VMStoreContext::handler_fp`].
    #[must_use]
    pub const fn store_handler_fp(self) -> u8 {
        self.store_stack_limit() + self.word(3)
    }

    /// Offset of [`VMStoreContext::table`].
    #[must_use]
    pub const fn store_table(self) -> u8 {
        self.store_stack_limit() + self.word(4)
    }

    /// Offset of [`VMContext::store`].
    #[must_use]
    pub const fn context_store(self) -> u8 {
        self.word(0)
    }

    /// Offset of [`VMContext::builtins`].
    #[must_use]
    pub const fn context_builtins(self) -> u8 {
        self.word(1)
    }

    /// Offset of [`VMContext::type_ids`].
    #[must_use]
    pub const fn context_type_ids(self) -> u8 {
        self.word(2)
    }

    /// Offset of [`VMContext::imports`].
    #[must_use]
    pub const fn context_imports(self) -> u8 {
        self.word(3)
    }

    /// Offset of [`VMContext::tables`].
    #[must_use]
    pub const fn context_tables(self) -> u8 {
        self.word(4)
    }

    /// Offset of [`VMContext::memories`].
    #[must_use]
    pub const fn context_memories(self) -> u8 {
        self.word(5)
    }

    /// Offset of [`VMContext::globals`].
    #[must_use]
    pub const fn context_globals(self) -> u8 {
        self.word(6)
    }

    /// Offset of [`VMContext::functions`].
    #[must_use]
    pub const fn context_functions(self) -> u8 {
        self.word(7)
    }

    /// Offset of [`VMFuncImport::wasm_call`].
    #[must_use]
    pub const fn func_import_wasm_call(self) -> u8 {
        self.word(0)
    }

    /// Offset of [`VMFuncImport::vmctx`].
    #[must_use]
    pub const fn func_import_vmctx(self) -> u8 {
        self.word(1)
    }

    /// Size of a [`VMFuncImport`].
    #[must_use]
    pub const fn func_import_size(self) -> u8 {
        self.word(2)
    }

    /// Offset of [`VMFuncRef::wasm_call`].
    #[must_use]
    pub const fn func_ref_wasm_call(self) -> u8 {
        self.word(0)
    }

    /// Offset of [`VMFuncRef::vmctx`].
    #[must_use]
    pub const fn func_ref_vmctx(self) -> u8 {
        self.word(1)
    }

    /// Offset of [`VMFuncRef::type_id`], a `u32`.
    #[must_use]
    pub const fn func_ref_type_id(self) -> u8 {
        self.word(2)
    }

    /// Offset of [`VMFuncRef::entry`].
    #[must_use]
    pub const fn func_ref_entry(self) -> u8 {
        self.word(3)
    }

    /// Size of a [`VMFuncRef`].
    #[must_use]
    pub const fn func_ref_size(self) -> u8 {
        self.word(4)
    }

    /// Offset of [`VMTable::base`].
    #[must_use]
    pub const fn table_base(self) -> u8 {
        self.word(0)
    }

    /// Offset of [`VMTable::len`].
    #[must_use]
    pub const fn table_len(self) -> u8 {
        self.word(1)
    }

    /// Offset of [`VMMemory::base`].
    #[must_use]
    pub const fn memory_base(self) -> u8 {
        self.word(0)
    }

    /// Offset of [`VMMemory::len`].
    #[must_use]
    pub const fn memory_len(self) -> u8 {
        self.word(1)
    }

    /// Offset of [`VMGlobal::value`].
    #[must_use]
    pub const fn global_value(self) -> u8 {
        0
    }

    /// Offset of the code address in a [`VMHostFunc`](crate::VMHostFunc).
    #[must_use]
    pub const fn host_func_call(self) -> u8 {
        0
    }
}

macro_rules! assert_offsets {
    ($($offset:ident = $type:ident . $field:ident;)*) => {
        $(const _: () = assert!(VMOffsets::HOST.$offset() as usize == offset_of!($type, $field));)*
    };
}

assert_offsets! {
    store_record = VMStoreContext.record;
    store_stack_limit = VMStoreContext.stack_limit;
    store_handler_pc = VMStoreContext.handler_pc;
    store_handler_sp = VMStoreContext.handler_sp;
    store_handler_fp = VMStoreContext.handler_fp;
    store_table = VMStoreContext.table;
    context_store = VMContext.store;
    context_builtins = VMContext.builtins;
    context_type_ids = VMContext.type_ids;
    context_imports = VMContext.imports;
    context_tables = VMContext.tables;
    context_memories = VMContext.memories;
    context_globals = VMContext.globals;
    context_functions = VMContext.functions;
    func_import_wasm_call = VMFuncImport.wasm_call;
    func_import_vmctx = VMFuncImport.vmctx;
    func_ref_wasm_call = VMFuncRef.wasm_call;
    func_ref_vmctx = VMFuncRef.vmctx;
    func_ref_type_id = VMFuncRef.type_id;
    func_ref_entry = VMFuncRef.entry;
    table_base = VMTable.base;
    table_len = VMTable.len;
    memory_base = VMMemory.base;
    memory_len = VMMemory.len;
    global_value = VMGlobal.value;
}

const _: () = assert!(VMOffsets::HOST.func_import_size() as usize == size_of::<VMFuncImport>());
const _: () = assert!(VMOffsets::HOST.func_ref_size() as usize == size_of::<VMFuncRef>());

#[cfg(test)]
mod tests {
    use super::VMOffsets;

    #[test]
    fn narrow_targets_have_the_same_order_at_half_the_distance() {
        let narrow = VMOffsets::new(4);
        let wide = VMOffsets::new(8);
        assert_eq!(narrow.context_functions() * 2, wide.context_functions());
        assert_eq!(narrow.func_ref_entry() * 2, wide.func_ref_entry());
        assert_eq!(narrow.store_table() * 2, wide.store_table());
        assert_eq!(narrow.table_len() * 2, wide.table_len());
    }
}
