//! The walkers to choose from.

use crate::error::EngineError;
use clap::ValueEnum;
use core::fmt;
use core::ops::{ControlFlow, Range};
use std::sync::Arc;
use vmexternref_backtrace::BacktraceWalker;
use vmexternref_core::{Frame, StackMapRegistry, StackWalker, WalkEnd};
use vmexternref_engine_runtime::{Store, WeakStore};
use vmexternref_frame_pointer::{CurrentFrameWalker, host_has_frame_pointers};

/// How a collection finds stack frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WalkerKind {
    /// From the activation records of the store, Wasm frames only.
    #[default]
    Activations,
    /// With the platform's unwinder and unwind tables, host frames included.
    Backtrace,
    /// From the current frame, by frame pointers, host frames included.
    #[value(alias = "frame-pointer")]
    CurrentFrame,
}

impl WalkerKind {
    /// Every walker.
    pub const ALL: [Self; 3] = [Self::Activations, Self::Backtrace, Self::CurrentFrame];

    /// The walker for `store`, whose guests run on `stack`.
    pub fn build(
        self,
        store: &Store,
        stack: Range<usize>,
    ) -> Result<Box<dyn StackWalker>, EngineError> {
        Ok(match self {
            Self::Activations => {
                store.set_stack_bounds(stack);
                Box::new(StoreActivations(store.downgrade()))
            }
            Self::Backtrace => Box::new(BacktraceWalker),
            Self::CurrentFrame if !host_has_frame_pointers() => {
                return Err(EngineError::NoFramePointers);
            }
            Self::CurrentFrame => Box::new(HostFrames {
                registry: Arc::clone(store.registry()),
                stack,
            }),
        })
    }
}

impl fmt::Display for WalkerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no walker is hidden");
        f.write_str(value.get_name())
    }
}

/// Walks from the activation records of a store.
struct StoreActivations(WeakStore);

// SAFETY: the store's walker keeps the contract, and a store that is gone has no activations.
unsafe impl StackWalker for StoreActivations {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        match self.0.upgrade() {
            Some(store) => store.activations().walk(visit),
            None => WalkEnd::Complete,
        }
    }

    fn proves_end(&self) -> bool {
        true
    }
}

/// Walks from the current frame. It exists only where the probe found frame pointers.
struct HostFrames {
    registry: Arc<StackMapRegistry>,
    stack: Range<usize>,
}

// SAFETY: `CurrentFrameWalker` keeps the contract.
unsafe impl StackWalker for HostFrames {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        // SAFETY: the probe found frame pointers in this build, which compiled every host frame
        // between Wasm and here, and `on_guest_stack` gave bounds that end at a local of its frame.
        unsafe { CurrentFrameWalker::new(&self.registry, self.stack.clone()) }.walk(visit)
    }
}
