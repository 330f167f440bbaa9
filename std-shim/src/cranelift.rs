//! What a compiler on Cranelift needs: inline sequences, stack maps, unwind tables.
//!
//! ```text
//!   References, record_entry, record_exit     into the functions and trampolines
//!   declare_value_needs_stack_map(v)          for each value that is a reference: parameters,
//!                                             results of calls and block parameters; not what
//!                                             `References::insert` returns, which is declared
//!       |  Context::compile
//!       V
//!   add_function    -> ModuleStackMaps -> StackMapRegistry::register(address of the code, …)
//!   unwind_tables   -> UnwindTables::register(…)       for the backtrace walker only
//! ```
//!
//! Declare references as values of the pointer's type, and compile with the setting
//! `preserve_frame_pointers`.

mod error;
mod references;
mod stack_maps;
#[cfg(feature = "frame-pointer")]
mod trampolines;
mod unwind_tables;

pub use error::CraneliftError;
pub use references::{Insertion, ReferenceAccess, References, Release};
pub use stack_maps::add_function;
#[cfg(feature = "frame-pointer")]
pub use trampolines::{record_entry, record_exit};
pub use unwind_tables::{UnwindTableBuilder, unwind_tables};
