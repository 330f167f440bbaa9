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
//! # let store = Store::new(Default::default(), Default::default(), Rc::new(CodeMemory::default()));
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

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod functions;
mod host;
mod object;
mod platform;
mod shown;
#[cfg(test)]
mod testing;

pub use host::{Host, HostFunction, mistyped};
pub use object::{Census, Finalized, HostKind, HostObject, Resource};
pub use platform::Platform;
pub use shown::{Shown, ShownRef};
