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
//! An array of "all" items holds the imported ones first. While the instance lives, no array moves
//! and no word of one changes, so that compiled code may keep the words it has loaded. The fields
//! of a [`VMTable`] or a [`VMMemory`] may change at every call. Compiled code loads them anew at
//! each access.
//!
//! ```
//! use vmexternref_engine_abi::VMOffsets;
//!
//! // A compiler on a 64-bit machine that emits code for a 32-bit one.
//! let offsets = VMOffsets::new(4);
//! assert_eq!(offsets.context_tables(), 4 * 4);
//! assert_eq!(VMOffsets::HOST.func_ref_size(), 4 * VMOffsets::HOST.pointer_bytes());
//! ```

use crate::vm::vm_context::{VMContext, VMStoreContext};
use crate::vm::vm_func::{VMFuncImport, VMFuncRef};
use crate::vm::vm_host_func::VMHostFunc;
use crate::vm::vm_item::{VMGlobal, VMMemory, VMTable};
use core::mem::{offset_of, size_of};
use vmexternref_frame_pointer::RecordOffsets;

/// Offsets and sizes, in bytes, that compiled code bakes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VMOffsets {
    pointer_bytes: u8,
}

impl VMOffsets {
    /// The offsets of the machine that this code runs on.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a pointer has at most eight bytes"
    )]
    pub const HOST: Self = Self::new(size_of::<usize>() as u8);

    /// Size of a value in the array that trampolines pass.
    pub const VALUE_SIZE: u8 = 8;

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

    /// Size of a [`VMFuncImport`].
    #[must_use]
    pub const fn func_import_size(self) -> u8 {
        self.words(2)
    }

    /// Size of a [`VMFuncRef`].
    #[must_use]
    pub const fn func_ref_size(self) -> u8 {
        self.words(4)
    }

    /// Size of a type id in [`VMContext::type_ids`].
    #[must_use]
    pub const fn type_id_size(self) -> u8 {
        4
    }

    const fn words(self, count: u8) -> u8 {
        count * self.pointer_bytes
    }

    const fn record_size(self) -> u8 {
        RecordOffsets::new(self.pointer_bytes).size()
    }
}

/// Defines a method for each offset, and asserts that this machine's structures agree.
macro_rules! offsets {
    ($this:ident: $($offset:ident = $type:ident.$field:ident at $bytes:expr;)*) => {
        impl VMOffsets {
            $(
                #[doc = concat!("Offset of [`", stringify!($type), "::", stringify!($field), "`].")]
                #[must_use]
                pub const fn $offset($this) -> u8 {
                    $bytes
                }
            )*
        }

        $(const _: () = assert!(VMOffsets::HOST.$offset() as usize == offset_of!($type, $field));)*
    };
}

offsets! { self:
    store_record = VMStoreContext.record at 0;
    store_stack_limit = VMStoreContext.stack_limit at self.record_size();
    store_handler_pc = VMStoreContext.handler_pc at self.record_size() + self.words(1);
    store_handler_sp = VMStoreContext.handler_sp at self.record_size() + self.words(2);
    store_handler_fp = VMStoreContext.handler_fp at self.record_size() + self.words(3);
    store_table = VMStoreContext.table at self.record_size() + self.words(4);

    context_store = VMContext.store at self.words(0);
    context_builtins = VMContext.builtins at self.words(1);
    context_type_ids = VMContext.type_ids at self.words(2);
    context_imports = VMContext.imports at self.words(3);
    context_tables = VMContext.tables at self.words(4);
    context_memories = VMContext.memories at self.words(5);
    context_globals = VMContext.globals at self.words(6);
    context_functions = VMContext.functions at self.words(7);

    func_import_wasm_call = VMFuncImport.wasm_call at self.words(0);
    func_import_vmctx = VMFuncImport.vmctx at self.words(1);

    func_ref_wasm_call = VMFuncRef.wasm_call at self.words(0);
    func_ref_vmctx = VMFuncRef.vmctx at self.words(1);
    func_ref_type_id = VMFuncRef.type_id at self.words(2);
    func_ref_entry = VMFuncRef.entry at self.words(3);

    host_func_call = VMHostFunc.call at self.words(0);

    table_base = VMTable.base at self.words(0);
    table_len = VMTable.len at self.words(1);

    memory_base = VMMemory.base at self.words(0);
    memory_len = VMMemory.len at self.words(1);

    global_value = VMGlobal.value at 0;
}

const _: () = assert!(VMOffsets::HOST.func_import_size() as usize == size_of::<VMFuncImport>());
const _: () = assert!(VMOffsets::HOST.func_ref_size() as usize == size_of::<VMFuncRef>());
const _: () = assert!(VMOffsets::HOST.type_id_size() as usize == size_of::<u32>());
const _: () = assert!(VMOffsets::VALUE_SIZE as usize == size_of::<u64>());

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
