//! The runtime of the `vmexternref` test engine: stores, instances and calls.
//!
//! A worked example of embedding `vmexternref`. It loads the machine code that the engine's
//! compiler makes, links it, runs it, and does the host's part of deferred reference counting. It
//! needs only `alloc`, so that the command line and a kernel use the same crate.
//!
//! *You provide* executable memory ([`CodePlacer`]), a stack of known depth
//! ([`Limits::stack_bytes`]) and host functions. A store that interprets bytecode
//! (`Store::interpreted`, feature `pulley`) needs no executable memory. *You get* a [`Store`]. It
//! owns everything created in it. Dropping it releases every reference that it holds.
//!
//! ```
//! use vmexternref_engine_runtime::{Extern, ExternType, GlobalType, ValType};
//!
//! let ty = GlobalType { value: ValType::ExternRef, mutable: true };
//! assert_eq!(ExternType::Global(ty).to_string(), "global (mut externref)");
//! ```
//!
//! # Calls that are suspended
//!
//! An async host suspends a call inside a host function and goes on elsewhere. For that it runs
//! each such call on a stack of its own, such as a coroutine's:
//!
//! 1. It makes the coroutine, and tells the store where its stack is: [`Store::add_stack`].
//! 2. It starts the coroutine, and later resumes it, inside [`GuestStack::run`]. The coroutine
//!    calls Wasm as any other code does. If it calls several stores, each is told.
//! 3. A host function that has to wait suspends its coroutine. Then `run` returns, and the host
//!    resumes another coroutine, calls the store itself, or collects. Collections see the frames of
//!    every stack.
//! 4. To cancel a call, the host resumes the coroutine once more and tells it so. The host function
//!    returns a [`Trap`], which ends the call. Or the host drops the [`GuestStack`], and then the
//!    coroutine's stack without unwinding it: frames of Wasm cannot be unwound.
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
mod engine;
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
pub use heap::try_box;
pub use instantiation::{Instance, Linker};
pub use store::{GuestStack, Limits, Store, WeakStore};
pub use value::{Func, Val};
pub use vmexternref_engine_abi::{
    Architecture, Builtin, BuiltinType, CompiledModule, ConstExpr, DataSegment, ElementSegment,
    Export, ExportItem, ExternType, FuncType, GlobalDefinition, GlobalType, Import, MemoryType,
    ObjectFile, ObjectFileError, Origin, RawHostFn, Safepoint, SegmentMode, TEXT_ALIGN, TableType,
    Target, TrapCode, VMContext, VMFuncImport, VMFuncRef, VMGlobal, VMHostFunc, VMMemory,
    VMOffsets, VMStoreContext, VMTable, ValType,
};
