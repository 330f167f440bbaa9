//! A stack walker for `vmexternref` over the frames of Pulley, Wasmtime's interpreter.
//!
//! ```text
//!         older frames, higher addresses: the top of the interpreter's stack
//!         +-----------------------------------+
//!         | usize::MAX: return to the host    |
//!   .---> | fp before the call = entry_fp     |   a frame of bytecode
//!   |     +-----------------------------------+
//!   |     | externrefs, other values          |
//!   |     +-----------------------------------+ --.
//!   |     | pc in the older frame             |   |
//!   `-----| fp of the older frame             |   |  <- exit_fp, the interpreter's fp
//!         +-----------------------------------+   |  a frame of bytecode, which goes
//!         | externrefs, other values          |   |  on at exit_pc
//!         +-----------------------------------+ --'
//!         |                                   |  <- the interpreter's sp
//!         V
//!         younger frames, lower addresses
//! ```
//!
//! Pulley's frames lie on a stack of the interpreter's own, and its host knows all registers
//! whenever bytecode calls it. So the host itself records where bytecode was entered and left, and
//! bytecode needs no trampolines for it: [`call`] does that.
//!
//! # What you give
//!
//! Bytecode for Cranelift's target `pulley32` or `pulley64`, whose functions keep frame records
//! (`preserve_frame_pointers`); a [`Vm`] to run it on; the addresses of the stack of that `Vm`
//! ([`stack_bounds`]); one [`ActivationRecord`] for each `Vm`.
//!
//! A call of a function that the compiler declared as not `colocated` becomes
//! `call_indirect_host`. Its number is in the byte at the place of the relocation
//! `PulleyCallIndirectHost` plus 3. The call's stack map is that of the place where bytecode goes
//! on afterwards.
//!
//! # What you get
//!
//! The return address and the frame pointer of each frame, youngest first, through calls nested to
//! any depth; about two nanoseconds a frame, no allocation, no lock. The stack pointer is given for
//! each frame but the youngest of an activation, whose stack map has to know its frame's size.
//! Every step is checked before it is taken: a chain of frames that is misaligned, turns back,
//! leaves the interpreter's stack or does not end where the host entered it ends the walk as
//! [`WalkEnd::Stopped`], with the reason.
//!
//! # Your responsibilities
//!
//! - Enter bytecode through [`call`], with the record of the `Vm` that runs it.
//! - Several interpreters that hold references of one table have a record each, and are walked
//!   together by a [`StacksWalker`].
//!
//! # Not suitable for
//!
//! - Bytecode that was compiled without frame pointers.
//! - Records that compiled code's own trampolines write: use [`ActivationsWalker`], with the bounds
//!   of the interpreter's stack.
//!
//! # Example
//!
//! ```
//! use core::ops::ControlFlow;
//! use core::ptr::NonNull;
//! use pulley_interpreter::encode;
//! use pulley_interpreter::interp::Vm;
//! use vmexternref_core::{StackWalker, WalkEnd};
//! use vmexternref_pulley::{ActivationRecord, PulleyWalker, call, stack_bounds};
//!
//! // A function that calls host function 7.
//! let mut bytecode = Vec::new();
//! encode::push_frame(&mut bytecode);
//! encode::call_indirect_host(&mut bytecode, 7_u8);
//! let resume = bytecode.len();
//! encode::pop_frame(&mut bytecode);
//! encode::ret(&mut bytecode);
//! let function = NonNull::from(&mut bytecode[..]).cast();
//!
//! const STACK_BYTES: usize = 4096;
//! let mut vm = Vm::with_stack(STACK_BYTES).expect("memory");
//! let (record, stack) = (ActivationRecord::new(), stack_bounds(&vm, STACK_BYTES));
//! let mut seen = Vec::new();
//! let host = |id| {
//!     assert_eq!(id, 7);
//!     let end = PulleyWalker::new(&record, stack.clone()).walk(&mut |frame| {
//!         seen.push(frame.pc);
//!         ControlFlow::Continue(())
//!     });
//!     assert_eq!(end, WalkEnd::Complete);
//!     ControlFlow::<()>::Continue(())
//! };
//! // Sound: the function is whole, has no arguments, and lives longer than the call.
//! unsafe { call(NonNull::from(&mut vm), &record, function, &[], host) }.expect("no trap");
//! assert_eq!(seen, [function.as_ptr().addr() + resume]);
//! ```
//!
//! [`ActivationsWalker`]: vmexternref_frame_pointer::ActivationsWalker
//! [`Vm`]: pulley_interpreter::interp::Vm
//! [`WalkEnd::Stopped`]: vmexternref_core::WalkEnd::Stopped

#![no_std]

mod bounds;
mod call;
mod walker;

#[cfg(test)]
extern crate std;

pub use bounds::stack_bounds;
pub use call::{CallEnd, call};
pub use vmexternref_frame_pointer::{ActivationRecord, StacksWalker};
pub use walker::PulleyWalker;
