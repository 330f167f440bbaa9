//! The runtime of the `vmexternref` test engine: stores, instances and calls.
//!
//! A worked example of embedding `vmexternref`. It loads the machine code that the engine's
//! compiler makes, links it, runs it, and does the host's part of deferred reference counting. It
//! needs only `alloc`, so that the command line and a kernel use the same crate.
//!
//! *You provide* executable memory ([`CodePlacer`]), a stack of known depth
//! ([`Limits::stack_bytes`]) and host functions. *You get* a [`Store`], which owns everything
//! created in it. Dropping it releases every reference that it holds.
//!
//! ```
//! use vmexternref_engine_runtime::{Extern, ExternType, GlobalType, ValType};
//!
//! let ty = GlobalType { value: ValType::ExternRef, mutable: true };
//! assert_eq!(ExternType::Global(ty).to_string(), "global (mut externref)");
//! ```
//!
//! # Panics in host functions
//!
//! Host functions and destructors of host objects run above compiled frames, which cannot be
//! unwound. A panic that leaves one of them aborts. A host with `std` wraps them in `catch_unwind`
//! and returns a [`Trap`].

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod activation;
mod arch;
mod code;
mod error;
mod external;
mod heap;
mod instantiation;
mod item;
mod store;
#[cfg(test)]
mod testing;
mod value;

pub use activation::Caller;
pub use code::{CodePlacer, Module, PlacedCode};
pub use error::{AccessError, CallError, InstantiateError, LoadError, PlaceError, Trap};
pub use external::{Extern, Global, Memory, Table};
pub use instantiation::{Instance, Linker};
pub use store::{Limits, Store, WeakStore};
pub use value::{Func, Val};
pub use vmexternref_engine_abi::{
    Architecture, Builtin, BuiltinType, CompiledModule, ConstExpr, DataSegment, ElementSegment,
    Export, ExportItem, ExternType, FuncType, GlobalDefinition, GlobalType, Import, MemoryType,
    ObjectFile, ObjectFileError, RawHostFn, Safepoint, SegmentMode, TEXT_ALIGN, TableType, Target,
    TrapCode, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMHostFunc, VMMemory, VMOffsets,
    VMStoreContext, VMTable, ValType,
};
