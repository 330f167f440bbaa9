//! Executable memory for hosts that have `std`.
//!
//! ```text
//!  page boundary
//!  v
//!  +----------------------+---------------+---------+
//!  | text                 | unwind tables | padding |   one mapping for each module
//!  +----------------------+---------------+---------+
//! ```
//!
//! A mapping is written once, and is then read-only and executable until the module is dropped.
//! The platform's unwinder knows its tables for as long.
//!
//! ```
//! use vmexternref_engine_code_memory::CodeMemory;
//! use vmexternref_engine_runtime::CodePlacer;
//!
//! let memory = CodeMemory::default();
//! let no_tables = [0; 4];
//! let code = memory.place(&[0xc3; 16], &no_tables, 16)?;
//! let placement = memory.newest().expect("code was placed");
//! assert_eq!(placement.text, code.base().addr()..code.base().addr() + 16);
//! # Ok::<(), vmexternref_engine_runtime::PlaceError>(())
//! ```

mod code_memory;
mod instruction_cache;

pub use code_memory::{CodeMemory, Placement};
