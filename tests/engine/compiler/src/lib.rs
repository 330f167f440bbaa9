//! The compiler of the `vmexternref` test engine: WebAssembly to machine code.
//!
//! A worked example of a Cranelift front end that keeps the books of deferred reference counting: references to
//! host objects are declared to the stack maps, entered into the activations table before anything can release
//! them, and counted where they are stored.
//!
//! *You give* a Wasm binary: WebAssembly 2.0 without SIMD, and tail calls. *You get* a
//! [`CompiledModule`](vmexternref_engine_abi::CompiledModule), for this machine or for another one of
//! `x86_64`, `aarch64` and `riscv64`: position-independent code, unwind tables, stack maps and a description.
//! *Not suitable for* untrusted code on a shared machine: nothing here defends against speculation.

mod access;
mod call;
mod compile;
mod control;
mod conversion;
mod emitter;
mod environment;
mod error;
mod function;
mod global;
mod guard;
mod isa;
mod memory;
mod metadata;
mod numeric;
mod object_file;
mod reference;
mod relocations;
mod symbol;
mod table;
mod text;
mod trampolines;
mod trap;
mod unentered;
mod unwind;
mod validate;

pub use compile::compile;
pub use error::CompileError;
pub use guard::UNGUARDED_FRAME_BYTES;
pub use isa::CompileOptions;
pub use object_file::write_object_file;
