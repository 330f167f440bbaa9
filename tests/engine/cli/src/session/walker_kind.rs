//! The walkers to choose from.

use crate::error::EngineError;
use clap::ValueEnum;
use core::fmt;
use core::ops::{ControlFlow, Range};
use std::rc::Rc;
use vmexternref_backtrace::BacktraceWalker;
use vmexternref_core::{Frame, StackWalker, WalkEnd};
use vmexternref_engine_runtime::{Store, WeakStore};

cfg_select! {
    any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64") => {
        mod host_frames;
        use host_frames::HostFrames;
    }
    _ => {
        mod no_host_frames;
        use no_host_frames::HostFrames;
    }
}

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
    /// Every walker that exists on this architecture.
    pub const ALL: &[Self] = &[
        Self::Activations,
        Self::Backtrace,
        #[cfg(any(
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "x86_64"
        ))]
        Self::CurrentFrame,
    ];

    /// The walker for `store`, whose guests run on `stack`.
    pub fn build(
        self,
        store: &Store,
        stack: Range<usize>,
    ) -> Result<Rc<dyn StackWalker>, EngineError> {
        Ok(match self {
            Self::Activations => {
                store.set_stack_bounds(stack);
                Rc::new(StoreActivations(store.downgrade()))
            }
            Self::Backtrace => Rc::new(BacktraceWalker),
            Self::CurrentFrame => HostFrames::walker(store, stack)?,
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
