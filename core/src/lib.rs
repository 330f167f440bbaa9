//! Deferred reference counting for Wasm `externref`s, without `std`.
//!
//! **What you give**: compiled code that fills a [table](VMExternRefActivationsTable)
//! and counts [references](VMExternRef) as [`Offsets`] says, its
//! [stack maps](ModuleStackMaps), and a [`StackWalker`] that finds its frames.
//!
//! **What you get**: [`VMExternRef`], a counted box of one word, and [`gc`],
//! which drops every host object that compiled code has let go of, while that
//! code is still running.
//!
//! **Your responsibilities** are the two lists at [`StackWalker`] and the
//! section *Safety* of [`gc`]. A violation that a collection can detect frees
//! nothing, and is [reported](GcReport).
//!
//! A [`CycleCollector`] frees host objects that refer to each other, if they can
//! name their references.
//!
//! The module `guide` of the crate [`vmexternref`](https://docs.rs/vmexternref)
//! explains each step of an embedding. Its page
//! [`bare_metal`](https://docs.rs/vmexternref/latest/vmexternref/guide/bare_metal/index.html)
//! is for hosts that depend on this crate alone.
//!
//! **Not suitable for** objects shared between threads, or compiled code that
//! moves references to where no stack map names them.
//!
//! # How it works
//!
//! References in locals and on the operand stack are not counted. Whenever a
//! reference enters a frame from outside, a counted clone of it goes into the
//! table. So the table holds at least what the frames hold: it
//! *over-approximates* them. When it is full, a collection walks the stack,
//! reads from the stack maps what the frames really hold, and releases all
//! other entries.
//!
//! Why that is sound:
//!
//! 1. A reference that a frame holds across a call is in the table, because it
//!    was inserted before and only a collection takes it out.
//! 2. A collection takes an entry out only if the walk saw every Wasm frame and
//!    none of them holds the reference.
//! 3. An object is dropped only when its count is zero, and every holder that
//!    is not a frame has counted itself.
//!
//! # Example
//!
//! A frame that holds one reference, with an array for a stack:
//!
//! ```
//! use vmexternref_core::*;
//!
//! let registry = StackMapRegistry::new();
//! let mut module = ModuleStackMaps::new(0x100, Matching::Strict);
//! module.function(0..0x100)?;
//! module.safepoint(0x10, StackMap::new(None, [1])?)?;
//! registry.register(0x1000, module)?;
//!
//! let table = VMExternRefActivationsTable::new();
//! let (held, dropped) = (VMExternRef::new("held"), VMExternRef::new("dropped"));
//! let stack = [0, held.as_raw().addr()];
//! table.insert_without_gc(held);
//! table.insert_without_gc(dropped);
//!
//! let sp = Some(stack.as_ptr().expose_provenance());
//! let frame = Frame::of_compiled_code(0x1010, sp, None);
//! // Sound: `stack` is the only frame, its map is right, and the table has what it holds.
//! let report = unsafe {
//!     let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
//!     gc(&registry, &table, &walker)
//! };
//! assert_eq!((report.roots, report.freed), (1, 1));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![no_std]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

/// The code in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod activations_table;
mod canary;
mod comparing;
mod cycles;
mod entry_set;
mod extern_ref;
mod fault;
mod frame_reader;
mod garbage;
mod gc;
mod hash;
mod insertion;
mod layout;
mod lost_roots;
mod marks;
mod module_maps;
mod observer;
mod quarantine;
mod recorded;
mod ref_count;
mod registry;
mod report;
#[cfg(feature = "wasmtime-environ")]
mod section;
mod site;
mod stack_map;
mod try_box;
mod walker;

pub use activations_table::{CanaryGuard, ImmediateBitsError, VMExternRefActivationsTable};
pub use canary::StackCanary;
pub use comparing::{ComparingWalker, Difference};
pub use cycles::{CycleCollector, CycleOutcome, CycleReport, WeakExternRef};
pub use extern_ref::trace::Trace;
pub use extern_ref::{OutOfMemory, VMExternData, VMExternRef, drop_extern_ref, set_quarantine};
pub use garbage::Garbage;
pub use gc::{collect, collect_observed, gc};
pub use layout::Offsets;
pub use module_maps::{Matching, ModuleStackMaps, RegisterError};
pub use observer::{ObservedFrame, ObservedSlot, ObservedStack, Observer, SlotContent};
pub use recorded::RecordedWalker;
pub use registry::{Registration, StackMapRegistry, UnregisterError};
pub use report::{GcOutcome, GcReport};
pub use stack_map::{StackMap, StackMapError};
pub use walker::{Frame, StackWalker, WalkEnd};
