//! The compiler of the `vmexternref` test engine: WebAssembly to machine code.
//!
//! A worked example of a Cranelift front end with deferred reference counting. It declares
//! references to host objects to the stack maps, inserts them into the activations table before
//! anything can release them, and counts them where they are stored.
//!
//! *You give* a Wasm binary: WebAssembly 2.0 without SIMD, and tail calls. *You get* a
//! [`CompiledModule`](vmexternref_engine_abi::CompiledModule): position-independent code, unwind
//! tables, stack maps and a description, for this machine or for another `x86_64`, `aarch64` or
//! `riscv64` machine; or bytecode of the Pulley interpreter, for any little-endian machine. Modules
//! that would take too long or too much memory are refused: see [`CompileLimits`]. *Not suitable
//! for* untrusted code on a shared machine: the code has no defence against speculation.

mod compile;
mod emit;
mod error;
mod isa;
mod limits;
mod output;
mod translate;
mod wasm;

pub use compile::compile;
pub use emit::UNGUARDED_FRAME_BYTES;
pub use error::CompileError;
pub use isa::CompileOptions;
pub use limits::{Allowance, CompileLimits};
