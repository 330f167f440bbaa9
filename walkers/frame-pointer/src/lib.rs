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
//! - One record for one context on one stack.
//!
//! # Not suitable for
//!
//! - Compiled code without frame pointers: use the walker over the `backtrace` crate.
//! - One record whose nested activations lie on different stacks (fibers): such a walk is
//!   `Stopped`. A record for each stack works.
//! - Stacks that grow towards higher addresses.
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
mod probe;

#[cfg(all(
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

pub use activations::ActivationsWalker;
#[cfg(all(
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
