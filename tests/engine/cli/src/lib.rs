//! A small WebAssembly engine whose guests hold externrefs, as a command line.
//!
//! It is the worked example of a host of `vmexternref` with `std`. It brings executable memory with
//! unwind tables, three walkers to choose from, a stack of known depth, host functions that cannot
//! panic through compiled frames, and files that are closed when the guest drops the last reference
//! to them.
//!
//! ```
//! use vmexternref_engine::{Session, Settings, WalkerKind, assemble, on_guest_stack};
//! use vmexternref_engine_runtime::Extern;
//!
//! let wasm = assemble(
//!     r#"(module
//!       (import "host" "new" (func $new (param i64) (result externref)))
//!       (import "host" "gc" (func $gc))
//!       (import "host" "live" (func $live (result i64)))
//!       (func (export "main") (result i64)
//!         (drop (call $new (i64.const 1)))
//!         (call $gc)
//!         (call $live)))"#,
//! )?;
//! let alive = on_guest_stack(1 << 20, |stack| {
//!     let session = Session::new(&Settings::new(WalkerKind::Activations, stack)).unwrap();
//!     let instance = session.instantiate(session.compile(&wasm).unwrap()).unwrap();
//!     let main = instance.export("main").and_then(Extern::into_func).unwrap();
//!     format!("{:?}", main.call(session.store(), &[]).unwrap())
//! })?;
//! assert_eq!(alive, "[I64(0)]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod command_line;
mod error;
mod host;
mod panics;
mod report;
mod script;
mod session;
mod source;

pub use command_line::compile::compile_module;
pub use command_line::run::{Invocation, run_module};
pub use command_line::run_command_line;
pub use error::EngineError;
pub use host::console::Console;
pub use report::Page;
pub use script::{Report, Tally, run_script, run_script_text, script_stack};
pub use session::engine_kind::EngineKind;
pub use session::guest_stack::on_guest_stack;
pub use session::walker_kind::WalkerKind;
pub use session::{Session, Settings};
pub use source::{assemble, read_module};
