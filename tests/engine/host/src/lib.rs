//! The module `host` that guests of the test engine import, the same on every host.
//!
//! | function | type | |
//! | --- | --- | --- |
//! | `new` | `[i64] -> [externref]` | a new object that holds the number; null without memory |
//! | `value` | `[externref] -> [i64]` | the number; a trap for null and for resources |
//! | `same` | `[externref externref] -> [i32]` | 1 if both are the same object, or both null; else 0 |
//! | `gc` | `[] -> []` | collects |
//! | `live` | `[] -> [i64]` | the number of host objects that are alive |
//! | `print_i64` | `[i64] -> []` | prints the number |
//! | `print_ref` | `[externref] -> []` | prints a description of the object |
//! | `call` | `[funcref] -> []` | calls a function of type `[] -> []` |
//! | `try_call` | `[funcref] -> [i32]` | the same; the number of its trap, or 0 |
//! | `call_with` | `[funcref externref externref] -> [externref]` | calls a function with both references |
//! | `new_finalized` | `[i64 funcref] -> [externref]` | an object whose destructor calls the function with the number |
//! | `cell` | `[] -> [externref]` | a new cell: an object with two references, null at first; null without memory |
//! | `cell_get` | `[externref i32] -> [externref]` | reference 0 or 1 of a cell; a trap for all else |
//! | `cell_set` | `[externref i32 externref] -> []` | sets it, to any object or null |
//! | `collect_cycles` | `[] -> []` | frees the cells that only cells keep alive |
//! | `weak` | `[externref] -> [externref]` | a new object that refers to a cell and does not keep it alive |
//! | `upgrade` | `[externref] -> [externref]` | the cell that a weak reference refers to; null if it is dead |
//!
//! *You provide* a [`Platform`]: a console, and a way to catch panics where there is one. *You get*
//! a [`Host`] that defines these functions in a linker, counts its objects in a [`Census`], and
//! defines more functions in the same module if you have some.
//!
//! ```
//! use core::fmt;
//! use std::rc::Rc;
//! use vmexternref_engine_host::{Census, Host, Platform, Shown};
//! use vmexternref_engine_runtime::{Linker, Store, Val};
//! # use vmexternref_engine_code_memory::CodeMemory;
//!
//! #[derive(Debug)]
//! struct Terminal;
//!
//! impl Platform for Terminal {
//!     fn print(&self, line: fmt::Arguments<'_>) {
//!         println!("{line}");
//!     }
//! }
//!
//! # let store = Store::new(Default::default(), Default::default(), Rc::new(CodeMemory::default()))?;
//! let host = Host::new(Rc::new(Terminal), Census::default());
//! let mut linker = Linker::new();
//! host.define(&store, &mut linker)?;
//!
//! let new = linker.lookup("host", "new").and_then(|item| item.into_func());
//! let new = new.expect("`new` is defined");
//! let results = new.call(&store, &[Val::I64(7)])?;
//! assert_eq!(Shown(&results[0]).to_string(), "externref(value 7)");
//! assert_eq!(host.census().alive(), 1);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Cycles
//!
//! Cells can refer to each other, so a [`CycleCollector`](vmexternref_core::CycleCollector) traces
//! them. All other objects are leaves, and cost what they would without it.
//!
//! Who holds a cell:
//!
//! - Cells, which say so by [`Trace`](vmexternref_core::Trace).
//! - Everything that counts: other objects, Wasm tables and globals, the host's own references, and
//!   the entries of the activations table. The result of `cell_get` goes to Wasm through that table
//!   as any result does. For the collector these are holders from outside, and so alive.
//!
//! An entry outlives the frame that it was made for until the table is collected. So `gc` and then
//! `collect_cycles` frees everything that is dead; `collect_cycles` alone leaves the cells that an
//! old entry reaches.
//!
//! Nobody has to ask. `cell` collects cycles before it makes a cell, when a collection is due: when
//! there are twice as many cells as the last one left, and at least 512 (more where they have many
//! references, see [`CycleCollector::is_due`](vmexternref_core::CycleCollector::is_due)). So the
//! pause is that of a visit to so many cells, and the cost for each cell made stays flat. Only
//! `cell` and `collect_cycles` collect cycles. In a store with zeal each `cell` does.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cells;
mod cycles;
mod functions;
mod host;
mod object;
mod platform;
mod references;
mod shown;
#[cfg(test)]
mod testing;

pub use cycles::CycleEvent;
pub use host::{Host, HostFunction, mistyped};
pub use object::{Census, CensusObserver, Finalized, HostKind, HostObject, Resource};
pub use platform::Platform;
pub use references::References;
pub use shown::{Shown, ShownRef};
