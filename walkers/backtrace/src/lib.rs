//! A stack walker for `vmexternref` on top of the `backtrace` crate.
//!
//! ```text
//!   gc -> BacktraceWalker -> backtrace::trace -> the system's unwinder
//!                                                   |
//!        unwind tables of the host  <---------------+
//!        unwind tables of compiled code  <----------+  (UnwindTables)
//! ```
//!
//! # What you give
//!
//! Compiled code with unwind tables: register what the compiler emitted for it with
//! [`UnwindTables`], and keep the registration for as long as the code. A system's unwinder that
//! comes to code it has no tables for takes that for the end of the stack.
//!
//! # What you get
//!
//! [`BacktraceWalker`]: the return address, stack pointer and frame pointer of every frame, host
//! and Wasm, from the caller of the walk to the end of the stack. It costs about 150 ns a frame.
//!
//! # Your responsibilities
//!
//! - Set the table's stack canary before the outermost entry into Wasm: the walk cannot prove that
//!   it saw everything, and the canary tells a collection how far it has to come.
//! - Compile Wasm with frame pointers (Cranelift's `preserve_frame_pointers`): a frame's frame
//!   pointer is derived from where its record is then.
//!
//! # Not suitable for
//!
//! - Hosts without `std`, and stacks deep enough for 150 ns a frame to matter: use the
//!   frame-pointer walkers.
//! - `UnwindTables` on Windows and on 32-bit Arm, whose tables have other formats. The walker
//!   works there, but the registration of tables is the host's own.
//!
//! # Example
//!
//! ```
//! use core::ops::ControlFlow;
//! use vmexternref_backtrace::BacktraceWalker;
//! use vmexternref_core::{StackWalker, WalkEnd};
//!
//! let mut frames = 0;
//! let end = BacktraceWalker.walk(&mut |frame| {
//!     println!("{:#x}", frame.pc);
//!     frames += 1;
//!     ControlFlow::Continue(())
//! });
//! assert!(frames > 0);
//! assert_eq!(end, WalkEnd::Unproven);
//! ```

mod aligned_table;
mod bytes;
mod eh_frame;
mod instructions;
mod registration;
mod unwind_tables;
mod walker;

pub use eh_frame::UnwindTablesError;
pub use unwind_tables::UnwindTables;
pub use walker::BacktraceWalker;
