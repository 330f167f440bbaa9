//! The interface between the compiler and the runtime of the `vmexternref` test engine.
//!
//! The compiler makes a [`CompiledModule`], the runtime loads it, and an [`ObjectFile`] carries it
//! from one machine to another. While the code runs, it reads and writes the structures that
//! [`VMOffsets`] describes, calls the runtime by the numbers of [`Builtin`], and ends with a
//! [`TrapCode`].
//!
//! *You get* plain data and its layout, for any target, on any host that has `alloc`. Nothing in
//! this crate runs a guest.
//!
//! ```
//! use vmexternref_engine_abi::{ExternType, GlobalType, ValType};
//!
//! let ty = GlobalType { value: ValType::ExternRef, mutable: true };
//! assert_eq!(ExternType::Global(ty).to_string(), "global (mut externref)");
//! ```

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod builtin;
mod elf;
mod host_call;
mod module;
mod trap_code;
mod types;
mod vm;

pub use builtin::{Builtin, BuiltinType};
#[cfg(feature = "write")]
pub use elf::WriteError;
pub use elf::{ObjectFile, ObjectFileError};
pub use host_call::HostCall;
pub use module::{
    Architecture, CompiledModule, ConstExpr, DataSegment, ElementSegment, Export, ExportItem,
    GlobalDefinition, Import, Origin, Safepoint, SegmentMode, TEXT_ALIGN, Target,
};
pub use trap_code::TrapCode;
pub use types::{ExternType, FuncType, GlobalType, MemoryType, TableType, ValType};
pub use vm::{
    RawHostFn, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMHostFunc, VMMemory, VMOffsets,
    VMStoreContext, VMTable,
};
