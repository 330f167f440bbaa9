//! What runs a store's code: the machine itself, or an interpreter of bytecode.
//!
//! | | native | Pulley |
//! | --- | --- | --- |
//! | modules | machine code, in memory that the host made executable | bytecode, in plain memory |
//! | frames | on the stack of the host's calls | on a stack of the interpreter's |
//! | where Wasm was entered and left | trampolines record it | the interpreter's host records it |
//! | calls of the host | by address | by number: [`HostCall`] |
//! | a trap | resumes at the entry trampoline's handler | ends the interpreter's call |
//!
//! Nothing else in the runtime knows which of them a store has.

mod native;
#[cfg(feature = "pulley")]
mod pulley;

use crate::code::{CodePlacer, PlacedCode};
use crate::error::PlaceError;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::fmt;
use core::ops::{ControlFlow, Range};
use vmexternref_core::{Frame, OutOfMemory, StackWalker, WalkEnd};
use vmexternref_engine_abi::{
    CompiledModule, HostCall, Target, TrapCode, VMFuncRef, VMStoreContext,
};
use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker};

pub(crate) use native::resume;

/// The engine of a store.
#[derive(Clone)]
pub(crate) enum Engine {
    /// The machine, with the host's executable memory.
    Native(Rc<dyn CodePlacer>),
    /// The interpreter.
    #[cfg(feature = "pulley")]
    Pulley,
}

impl Engine {
    /// The target that modules have to be compiled for.
    pub(crate) const fn target(&self) -> Target {
        match self {
            Self::Native(_) => Target::HOST,
            #[cfg(feature = "pulley")]
            Self::Pulley => Target::BYTECODE,
        }
    }

    /// Puts a module's code where it can run.
    pub(crate) fn place(
        &self,
        module: &mut CompiledModule,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        match self {
            Self::Native(placer) => native::place(&**placer, module),
            #[cfg(feature = "pulley")]
            Self::Pulley => pulley::place(module),
        }
    }

    /// What the engine needs for a stack on which Wasm may use `bytes`.
    #[cfg_attr(
        not(feature = "pulley"),
        expect(unused_variables, reason = "machine code runs on the host's own stack")
    )]
    pub(crate) fn stack(&self, bytes: usize) -> Result<EngineStack, OutOfMemory> {
        match self {
            Self::Native(_) => Ok(EngineStack::native()),
            #[cfg(feature = "pulley")]
            Self::Pulley => {
                let interpreter = pulley::Interpreter::new(bytes)?;
                Ok(EngineStack(RefCell::new(Kind::Pulley(interpreter))))
            }
        }
    }

    /// Calls a Wasm function through its entry trampoline, in an activation of its own.
    ///
    /// `host` does what bytecode calls the host for.
    ///
    /// # Errors
    ///
    /// After a trap. `Some` is a trap that the engine itself found; any other is recorded in the
    /// store.
    ///
    /// # Safety
    ///
    /// - `func` is a Wasm function of the store of `context`. That store has this engine, and
    ///   `stack` is the engine's for the stack that runs. `slots` are slots for the type of `func`.
    ///   References among the arguments are in the activations table, and nothing has collected
    ///   since they were inserted.
    /// - `host` keeps the contract of the call for the arguments that the compiler passes.
    // Inlined, so that a call of machine code goes through one frame less.
    #[inline(always)]
    pub(crate) unsafe fn call(
        &self,
        stack: &EngineStack,
        context: &VMStoreContext,
        func: &VMFuncRef,
        slots: *mut u64,
        host: impl FnMut(HostCall, &Arguments) -> Result<u32, Abandoned>,
    ) -> Result<(), Option<TrapCode>> {
        match self {
            Self::Native(_) => {
                let _unused = (stack, host);
                // SAFETY: the caller keeps the contract.
                unsafe { native::call(&context.record, func, slots) }
            }
            #[cfg(feature = "pulley")]
            Self::Pulley => {
                let vm = stack.interpreter();
                // SAFETY: the caller keeps the contract.
                unsafe { pulley::call(vm, &context.record, func, slots, host) }
            }
        }
    }
}

/// What an engine keeps for each stack.
pub(crate) struct EngineStack(RefCell<Kind>);

/// It is borrowed only for moments in which no other code runs.
enum Kind {
    Native,
    #[cfg(feature = "pulley")]
    Pulley(pulley::Interpreter),
}

impl EngineStack {
    /// What a native engine keeps: nothing.
    pub(crate) const fn native() -> Self {
        Self(RefCell::new(Kind::Native))
    }

    /// Whether the engine is the machine.
    pub(crate) fn is_native(&self) -> bool {
        matches!(*self.0.borrow(), Kind::Native)
    }

    /// Exchanges what two stacks have.
    pub(crate) fn swap(&self, other: &Self) {
        self.0.swap(&other.0);
    }

    /// The walker over the frames of a stack with that record.
    ///
    /// `stack` is where the host's own calls lie.
    pub(crate) fn walker<'r>(
        &self,
        record: &'r ActivationRecord,
        stack: Range<usize>,
    ) -> FramesWalker<'r> {
        match &*self.0.borrow() {
            Kind::Native => FramesWalker::Native(ActivationsWalker::new(record).with_stack(stack)),
            #[cfg(feature = "pulley")]
            Kind::Pulley(interpreter) => FramesWalker::Pulley(interpreter.walker(record)),
        }
    }

    /// The interpreter of a stack of bytecode.
    #[cfg(feature = "pulley")]
    fn interpreter(&self) -> pulley::Running {
        match &*self.0.borrow() {
            Kind::Native => unreachable!("the stacks of a store have its engine"),
            Kind::Pulley(interpreter) => interpreter.running(),
        }
    }
}

impl fmt::Debug for EngineStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineStack").finish_non_exhaustive()
    }
}

/// The arguments of a call of the host by bytecode. Only such a call makes them.
pub(crate) struct Arguments([u64; Self::MOST]);

impl Arguments {
    /// The most arguments of any call.
    pub(crate) const MOST: usize = 6;

    /// An argument of 32 bits.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half of a register that holds 32 bits means nothing"
    )]
    pub(crate) const fn int(&self, index: usize) -> u32 {
        self.0[index] as u32
    }

    /// An argument as wide as a pointer.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the register holds a pointer of this machine"
    )]
    pub(crate) const fn word(&self, index: usize) -> usize {
        self.0[index] as usize
    }
}

/// The frames between a call of the host and its entry trampoline are to be abandoned.
///
/// The trap is recorded in the store.
#[derive(Debug)]
pub(crate) struct Abandoned;

/// Walks the frames of one stack.
#[derive(Clone, Debug)]
pub(crate) enum FramesWalker<'r> {
    /// Between trampolines that record where they are.
    Native(ActivationsWalker<'r>),
    /// On the interpreter's stack.
    #[cfg(feature = "pulley")]
    Pulley(vmexternref_pulley::PulleyWalker<'r>),
}

impl<'r> FramesWalker<'r> {
    /// The walker of machine code.
    pub(crate) fn into_native(self) -> Option<ActivationsWalker<'r>> {
        match self {
            Self::Native(walker) => Some(walker),
            #[cfg(feature = "pulley")]
            Self::Pulley(_) => None,
        }
    }
}

// SAFETY: it is the walker of the stack's engine.
unsafe impl StackWalker for FramesWalker<'_> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        match self {
            Self::Native(walker) => walker.walk(visit),
            #[cfg(feature = "pulley")]
            Self::Pulley(walker) => walker.walk(visit),
        }
    }

    #[inline]
    fn proves_end(&self) -> bool {
        true
    }
}
