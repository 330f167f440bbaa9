//! Stack walkers for `vmexternref` that follow frame pointers, without `std`.
//!
//! ```text
//!              older frames, higher addresses
//!         |                                   |
//!         +-----------------------------------+
//!         | return address into the host      |   <- entry_fp + 1 word
//!         | the host's frame pointer          |   <- entry_fp  (entry trampoline)
//!         +-----------------------------------+
//!         | spills, outgoing arguments        |
//!         +-----------------------------------+ --.
//!         | pc in the entry trampoline        |   |
//!   .---> | fp of the entry trampoline        |   | a Wasm frame
//!   |     +-----------------------------------+   |
//!   |     | externrefs, other values          |   |
//!   |     +-----------------------------------+ --'
//!   |     | pc in the Wasm function = exit_pc |
//!   `-----| fp of the Wasm function           |   <- exit_fp  (exit trampoline)
//!         +-----------------------------------+
//!         | host frames: laid out by the host's compiler, never looked at
//!         v
//!              younger frames, lower addresses
//! ```
//!
//! On `s390x`, where compiled code keeps a back chain, frame pointers and return addresses lie
//! elsewhere: in the 160 bytes that each frame saves registers in.
//!
//! There are two ways in. [`ActivationsWalker`] is the one to use: it starts where compiled code
//! says it left Wasm, ends where compiled code says it was entered, sees Wasm frames only, and so
//! can *prove* that it saw all of them. `CurrentFrameWalker` starts at the frame that calls it and
//! follows host frames too; it exists for hosts that cannot add trampolines.
//!
//! # What you give
//!
//! Compiled code that keeps its frame pointers (Cranelift's `preserve_frame_pointers`), and one
//! [`ActivationRecord`] per host context, at an address that compiled code knows. Trampolines
//! write three words into it, at the offsets that [`RecordOffsets`] holds:
//!
//! | trampoline | on the way | writes |
//! | --- | --- | --- |
//! | entry | host → Wasm | its own frame pointer into `entry_fp` |
//! | exit | Wasm → host | its own frame pointer into `exit_fp`, its own return address into `exit_pc` |
//!
//! # What you get
//!
//! Each Wasm frame's return address, stack pointer and frame pointer, youngest first, through
//! host-to-Wasm calls nested to any depth; about two nanoseconds a frame, no allocation, no lock,
//! no unwind tables. Every step is checked before it is taken: a chain that is misaligned, turns
//! back or leaves its bounds ends the walk as [`WalkEnd::Stopped`], with the reason.
//!
//! # Your responsibilities
//!
//! - Enter Wasm through [`ActivationRecord::enter`], so that an inner call does not overwrite what
//!   the outer one recorded.
//! - Leave Wasm through an exit trampoline for every call that may collect, or run a destructor.
//! - One record for one context on one stack, and a walk over all records of a context
//!   ([Several stacks](#several-stacks)).
//!
//! # Not suitable for
//!
//! - Compiled code without frame pointers: use the walker over the `backtrace` crate.
//! - One record whose nested activations lie on different stacks: such a walk is `Stopped`.
//! - Stacks that grow towards higher addresses.
//!
//! `CurrentFrameWalker` exists on `x86_64`, `aarch64` and `riscv64` only: elsewhere this crate does
//! not know where host code keeps its frame records.
//!
//! Code that is interpreted has frame records on a stack of the interpreter's: a [`Chain`] follows
//! them. The crate `vmexternref-pulley` does so for Pulley.
//!
//! # Several stacks
//!
//! A host that suspends a guest in the middle of a host call (async host functions, green threads,
//! generators) has several stacks with live references of one table. What it does, step by step:
//!
//! 1. *It makes a stack*, with an [`ActivationRecord`] of its own. The record goes into the set of
//!    the context's stacks, which the host keeps as it likes: a list, a run queue.
//! 2. *It switches* stacks, in host code. Right before, it gives compiled code the record of the
//!    stack that runs next: where compiled code finds the record at a fixed place of its context,
//!    the host [swaps](ActivationRecord::swap) it. It also exchanges whatever else belongs to a
//!    stack: its limit, its trap handler.
//! 3. *It collects*, on any of the stacks, with a [`StacksWalker`] over the records of all: the
//!    running one, those that are suspended, and those that wait for the stack that they resumed.
//!    The walk proves its end, so canaries do not matter. A walker that sees only the running stack
//!    passes no canary of the others, and its collections keep everything.
//! 4. *It throws a stack away* while Wasm is suspended on it. It resumes the stack once more, and
//!    the host function that suspended it traps: the call ends, and host frames release what they
//!    own. Or it frees the stack as it is. Then it takes the record out of the set first, and the
//!    canaries out of the table (`VMExternRefActivationsTable::discard_stack_canaries`). Either
//!    way, the references of the Wasm frames go at the next collection.
//!
//! # Example
//!
//! ```
//! use core::ops::ControlFlow;
//! use vmexternref_core::{StackWalker, WalkEnd};
//! use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker};
//!
//! let record = ActivationRecord::new();
//! let walker = ActivationsWalker::new(&record);
//! let end = walker.walk(&mut |frame| {
//!     println!("{:#x}", frame.pc);
//!     ControlFlow::Continue(())
//! });
//! // No Wasm on the stack, and that is certain.
//! assert_eq!(end, WalkEnd::Complete);
//! ```
//!
//! [`WalkEnd::Stopped`]: vmexternref_core::WalkEnd::Stopped

#![no_std]

mod activation;
mod activations;
mod arch;
mod chain;
mod entering;
mod layout;
#[cfg(test)]
mod made_stack;
mod probe;
mod record;
mod stacks;

#[cfg(all(
    not(miri),
    target_pointer_width = "64",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
))]
mod current_frame;

#[cfg(test)]
extern crate std;

pub use activation::Activation;
pub use activations::ActivationsWalker;
pub use chain::{Broken, Chain, ChainEnd, Link};
#[cfg(all(
    not(miri),
    target_pointer_width = "64",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
))]
pub use current_frame::CurrentFrameWalker;
pub use layout::{ActivationRecord, RecordOffsets};
pub use probe::host_has_frame_pointers;
pub use stacks::StacksWalker;
