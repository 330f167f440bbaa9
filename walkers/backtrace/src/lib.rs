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
//! Unwind tables of compiled code. Register the tables that the compiler emitted with
//! [`UnwindTables`], and keep the registration as long as the code. A system's unwinder takes code
//! without tables for the end of the stack.
//!
//! # What you get
//!
//! [`BacktraceWalker`]: the return address, stack pointer and frame pointer of every frame, host
//! and Wasm, from the caller of the walk to the end of the stack. A frame costs about 150 ns.
//!
//! # Your responsibilities
//!
//! - Set the table's stack canary before the outermost entry into Wasm. The walk cannot prove that
//!   it saw every frame. The canary tells a collection how far the walk has to reach.
//! - Compile Wasm with frame pointers (Cranelift's `preserve_frame_pointers`). The walker derives
//!   the frame pointer from the place of the frame's record.
//!
//! # Not suitable for
//!
//! - Hosts without `std`, and stacks so deep that 150 ns a frame matter. Use the frame-pointer
//!   walkers.
//! - Registering tables on Windows and on 32-bit Arm, which use other formats. The walker works
//!   there, but the host has to register the tables itself.
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
mod augmentation;
mod compiled_code;
mod eh_frame;
mod error;
mod expression;
mod instructions;
mod registers;
mod registration;
mod unwind_tables;
mod walker;

pub use error::UnwindTablesError;
pub use unwind_tables::UnwindTables;
pub use walker::BacktraceWalker;
